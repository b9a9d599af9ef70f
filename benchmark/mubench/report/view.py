"""What terminal and page both show of a record, in one order and one number format."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mubench.record import Cell, NotApplicable, RunRecord, Value
from mubench.types import ASPECTS, DIRECTIONS, MATCHINGS, MODALITIES, TASKS

MISSING = "n/a"
MODALITY_TITLES = {
    "image_text": "image+text",
    "text": "text-only",
    "image_to_text": "image to text",
    "text_to_image": "text to image",
    "image_to_image": "image tower",
    "text_to_text": "text tower",
}
#: Sets whose names are too long for a narrow column.
SET_TITLES = {"holdout_identity": "held-out", "holdout_association": "own facts"}
ASPECT_TITLES = {
    "efficacy": "Efficacy",
    "generalizability": "Generalizability",
    "utility": "Utility",
    "other": "Other",
}
#: Health metrics: how much of the output could be judged at all.
RATES = {"parsed": "parsed", "refusal": "refused", "degenerate": "degenerate"}

_TASKS = (*TASKS, *MATCHINGS)
_JOINERS = "\u200c\u200d"  # part of ordinary Persian, Hindi and emoji text


def clean(text: str) -> str:
    """``text`` with control, bidi-control and unpaired surrogate characters made visible."""

    def visible(char: str) -> str:
        category = unicodedata.category(char)
        if category in {"Cc", "Cs", "Zl", "Zp"} and char not in "\n\t":
            return f"<U+{ord(char):04X}>"
        if category == "Cf" and char not in _JOINERS:
            return f"<U+{ord(char):04X}>"
        return char

    return text if text.isascii() and text.isprintable() else "".join(map(visible, text))


def line(text: str, limit: int = 60) -> str:
    """``text`` cleaned, on one line and no longer than ``limit`` characters."""
    flat = " ".join(clean(text).split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "\u2026"


def number(value: float | None, *, signed: bool = False) -> str:
    """Two decimals, or three digits where two decimals would be absurd; ``n/a`` for None."""
    if value is None:
        return MISSING
    text = f"{value:+.2f}" if abs(value) < 1000 else f"{value:+.3g}"
    if text == "-0.00":
        text = "+0.00"
    return text if signed else text.removeprefix("+")


def flops(value: float | None) -> str:
    """Floating-point operations with a prefix, as ``3.2 TFLOP``; ``n/a`` for None."""
    if value is None:
        return MISSING
    units = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"))
    factor, prefix = next((unit for unit in units if value >= unit[0]), units[-1])
    return f"{value / factor:.3g} {prefix}FLOP"


def half_width(value: Value | None) -> str:
    """Half of the 95 % interval as ``±.05``; empty where there is no interval."""
    if value is None or value.low is None or value.high is None:
        return ""
    return "±" + number((value.high - value.low) / 2).removeprefix("0")


def interval(value: Value | None) -> str:
    """The 95 % interval as ``[0.36, 0.46]``; empty where there is none."""
    if value is None or value.low is None or value.high is None:
        return ""
    return f"[{number(value.low)}, {number(value.high)}]"


@dataclass(frozen=True, slots=True)
class Row:
    """One headline metric of one set and task, in every modality that has it."""

    aspect: str
    set: str
    task: str
    metric: str
    label: str  # the task, or the metric where a task has several headline metrics
    cells: Mapping[str, Cell]


def missing(record: RunRecord) -> list[NotApplicable]:
    """What has no number among the headlines, and why: as the run says, and metrics that are
    headline numbers elsewhere and were not admitted about the forget set."""
    known = {(cell.task, cell.metric) for cell in record.cells if cell.headline}
    left: dict[str, dict[str, None]] = {}
    for cell in record.cells:
        if not cell.headline and (cell.task, cell.metric) in known:
            asked = f"{MODALITY_TITLES.get(cell.modality, cell.modality)} {cell.task}"
            left.setdefault(f"{asked} {cell.metric}", {})[cell.set] = None
    reason = "no headline: mubench meta-eval does not admit it, docs/meta-eval.md"
    return [
        *record.not_applicable,
        *(
            NotApplicable(what=f"{' and '.join(sets)}: {w}", reason=reason)
            for w, sets in left.items()
        ),
    ]


def _order(value: str, known: tuple[str, ...]) -> tuple[int, str]:
    return (known.index(value) if value in known else len(known), value)


def modalities(record: RunRecord) -> tuple[str, ...]:
    """What the record's headline cells are measured in: both modalities, or directions."""
    found = {cell.modality for cell in record.cells if cell.headline}
    directions = tuple(direction for direction in DIRECTIONS if direction in found)
    return directions or MODALITIES


def rows(record: RunRecord) -> list[Row]:
    """The headline cells by aspect, set and task; unknown sets come last as ``other``."""
    aspects = [(aspect, name) for aspect, names in ASPECTS.items() for name in names]
    known = tuple(name for _, name in aspects)
    aspect_of: dict[str, str] = {name: aspect for aspect, name in aspects}
    found: dict[tuple[str, str, str], dict[str, Cell]] = {}
    for cell in record.cells:
        if cell.headline:
            found.setdefault((cell.set, cell.task, cell.metric), {})[cell.modality] = cell
    keys = sorted(found, key=lambda key: (_order(key[0], known), _order(key[1], _TASKS)))
    several = {key[:2] for key in keys if sum(key[:2] == other[:2] for other in keys) > 1}
    return [
        Row(
            aspect=aspect_of.get(key[0], "other"),
            set=key[0],
            task=key[1],
            metric=key[2],
            label=key[2] if key[:2] in several else key[1],
            cells=found[key],
        )
        for key in keys
    ]


def metric_words(record: RunRecord) -> str:
    """Which headline metric stands behind each task: ``choice = accuracy, cloze = match``."""
    names: dict[str, list[str]] = {}
    for row in rows(record):
        metrics = names.setdefault(row.task, [])
        if row.metric not in metrics:
            metrics.append(row.metric)
    return ", ".join(f"{line(task)} = {line(' and '.join(m))}" for task, m in names.items())


#: What each label says, in one sentence.
LABELS = {
    "matched": "No difference to a retrained model was found, and what should stay has stayed.",
    "under-forgot": "The model still knows more of the forget set than a retrained one.",
    "over-forgot": "It scores lower on the forget set than a model that never saw it.",
    "format damage": "It still knows, by its likelihoods, what it no longer manages to write.",
    "refusal": "It refuses to answer about the forget set; gold answers and is wrong.",
    "over-generalised": "What should have stayed is lost along with the forget set.",
    "collapsed": "The model is broken: low scores on the forget set say nothing.",
    "not memorised": "The target never knew the forget set: there was nothing to forget.",
}


#: What the signs of health mean.
SIGNALS = {
    "option_entropy": "how evenly the options A, B, C ... are chosen: 1 evenly, 0 always one",
    "distinct_2": "share of different word pairs in the texts: low where it repeats itself",
    "perplexity": "of the true options of general questions, a neutral text",
}


def verdict(cell: Cell) -> str:
    """The outcome of the equivalence test of a headline cell, in words."""
    if cell.verdict == "equivalent":
        return f"like gold within ±{cell.margin:.2f}"
    if cell.verdict == "different":
        return f"differs by {number(cell.difference.value, signed=True)}"
    if cell.resolvable is None:
        return f"not resolvable with {cell.n} items"
    needed = f", {cell.items_needed} needed" if cell.items_needed else ""
    return f"not resolvable with {cell.n} items{needed}"


def judged(record: RunRecord) -> list[Row]:
    """The rows that have a verdict about forgetting."""
    sets = (*ASPECTS["efficacy"], *ASPECTS["generalizability"])
    return [
        row for row in rows(record) if row.set in sets and any(map(_judged, row.cells.values()))
    ]


def _judged(cell: Cell) -> bool:
    return cell.verdict is not None


def gold_count(record: RunRecord) -> int:
    """How many gold models the run was compared with."""
    return max((len(cell.golds) for cell in record.cells), default=1) or 1


@dataclass(frozen=True, slots=True)
class Rate:
    """The worst rate over the tasks of one set and modality."""

    set: str
    modality: str
    metric: str
    target: float
    method: float

    @property
    def moved(self) -> bool:
        """Whether the method differs from the target by a tenth or more."""
        return round(abs(self.method - self.target), 9) >= 0.1


def rates(record: RunRecord) -> list[Rate]:
    """Health rates of target and method; where several tasks have one, the worst of each."""
    found: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in record.cells:
        if cell.metric in RATES:
            found.setdefault((cell.set, cell.modality, cell.metric), []).append(cell)
    known = tuple(name for names in ASPECTS.values() for name in names)
    keys = sorted(
        found,
        key=lambda key: (
            _order(key[0], known),
            _order(key[1], (*MODALITIES, *DIRECTIONS)),
            _order(key[2], tuple(RATES)),
        ),
    )
    result = []
    for key in keys:
        cells = found[key]
        worst = min if cells[0].better == "up" else max
        result.append(
            Rate(
                set=key[0],
                modality=key[1],
                metric=key[2],
                target=worst(cell.target.value for cell in cells),
                method=worst(cell.method.value for cell in cells),
            )
        )
    return result


def rate_columns(found: list[Rate]) -> list[tuple[str, str]]:
    """The (modality, metric) pairs that at least one set has, in their usual order."""
    pairs = {(rate.modality, rate.metric) for rate in found}
    return sorted(
        pairs,
        key=lambda pair: (
            _order(pair[0], (*MODALITIES, *DIRECTIONS)),
            _order(pair[1], tuple(RATES)),
        ),
    )


def gap_reasons(record: RunRecord) -> list[str]:
    """Why gaps are missing in the headline cells: each reason once, without its numbers."""
    cells = [cell for row in rows(record) for cell in row.cells.values()]
    reasons = Counter(cell.gap_reason.partition(" (")[0] for cell in cells if cell.gap_reason)
    return [f"{reason} ({count} of {len(cells)} cells)" for reason, count in reasons.items()]


def seconds(record: RunRecord) -> tuple[float, float]:
    """What all stages cost when they were computed, and the part read from earlier runs."""
    total = sum(stage.seconds for stage in record.stages)
    return total, sum(stage.seconds for stage in record.stages if stage.cached)


def told(detail: Mapping[str, Any]) -> list[str]:
    """A stage's details, clause by clause; what the evaluation engine noted in plain words."""
    clauses = []
    for name, item in detail.items():
        if name == "fallback":
            clauses += [
                f"{MODALITY_TITLES.get(kind, kind)} answered without sharing work: {reason}"
                for kind, reason in item.items()
            ]
        elif name == "unchecked":
            clauses += [
                f"{MODALITY_TITLES.get(kind, kind)} answers not compared with plain ones: {reason}"
                for kind, reason in item.items()
            ]
        elif name == "retried":
            clauses.append(f"asked again in smaller parts {len(item)} times, first for: {item[0]}")
        elif name == "out_of_memory":
            clauses.append(f"batches halved {item} times because memory ran out")
        else:
            clauses.append(line(f"{name.replace('_', ' ')} {item}"))
    return [line(clause, 200) for clause in clauses]


def name_of(value: Any) -> str:
    """The name of a part of the specification that is a plain name or a table with one."""
    if isinstance(value, Mapping):
        for key in ("name", "title", "id", "repo"):
            if value.get(key):
                return str(value[key])
    return MISSING if value is None or isinstance(value, Mapping) else str(value)


@dataclass(frozen=True, slots=True)
class Identity:
    """What was run, in words."""

    method: str
    model: str
    benchmark: str
    seed: str


def identity(record: RunRecord) -> Identity:
    """The method, model, benchmark and seed of a run."""
    return Identity(
        method=name_of(record.method or record.spec.get("method")),
        model=name_of(record.spec.get("model")),
        benchmark=name_of(record.data.get("benchmark") or record.spec.get("benchmark")),
        seed=name_of(record.spec.get("seed")),
    )
