"""Many runs side by side: one row a model and method, with intervals over seeds."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import mean
from typing import Any, Literal, TypeVar

from mubench.record import Cell, RunRecord
from mubench.stats.runs import over_runs
from mubench.types import ASPECTS, DIRECTIONS, MODALITIES, Estimate

from .view import MISSING, MODALITY_TITLES, SET_TITLES, number

GAP_SETS = (*ASPECTS["efficacy"], *ASPECTS["generalizability"])
KEPT_SETS = ASPECTS["utility"]
#: What a method is asked to reach: half of the gap closed somewhere, retain kept everywhere.
HALF, KEPT = 0.5, 0.9
#: How close a dual encoder puts pairs, and not whether it finds them: a method can go far beyond
#: gold there, which a mean with what is found would hide. What each is called in a table.
CLOSENESS = {"similarity": "similarity", "auc": "membership"}
#: What stands side by side in a table; the towers of a dual encoder are in CSV and JSON alone.
DIRECTED = DIRECTIONS[:2]

Place = tuple[str, str]  # set, modality
Close = tuple[str, str, str]  # metric, set, modality
Key = TypeVar("Key", Place, Close)


@dataclass(frozen=True, slots=True)
class Failure:
    """A run that gave no record, and why in one line."""

    model: str
    method: str
    seed: int
    reason: str


@dataclass(frozen=True, slots=True)
class Summary:
    """One run in few numbers.

    ``gaps``: the mean gap of a set's headline metrics in a modality, each cut to [-1, 1] so that
    no small denominator rules; None where target and gold differ in none. ``closeness``: the gaps
    of `CLOSENESS`, uncut, which are no part of ``gaps`` and ``kept``. ``kept``: the mean of method
    / target over the others. ``distance``: the mean |gap|, cut, of all on forget, in [0, 1].
    ``gated``: the model broke, so that its distance says nothing.
    """

    model: str
    method: str
    seed: int
    gaps: Mapping[Place, float | None]
    closeness: Mapping[Close, float]
    kept: Mapping[Place, float]
    distance: float | None
    label: str | None
    gated: bool
    seconds: float  # of unlearning alone

    @property
    def retained(self) -> float:
        """``kept`` of the retain set in the modality that lost most."""
        return min(value for (set_, _), value in self.kept.items() if set_ == "retain")


def summary(record: RunRecord) -> Summary:
    """The numbers of one run that are compared with those of others."""
    headline = [cell for cell in record.cells if cell.headline]
    places: dict[Place, list[Cell]] = {}
    for cell in headline:
        if cell.metric not in CLOSENESS:
            places.setdefault((cell.set, cell.modality), []).append(cell)
    forget = _gaps([cell for cell in headline if cell.set == "forget"])
    return Summary(
        model=record.spec["model"]["name"],
        method=record.spec["method"]["name"],
        seed=record.spec["seed"],
        gaps={
            place: mean(found) if (found := _gaps(cells)) else None
            for place, cells in places.items()
            if place[0] in GAP_SETS
        },
        closeness={
            (cell.metric, cell.set, cell.modality): cell.gap.value
            for cell in headline
            if cell.set in GAP_SETS and cell.metric in CLOSENESS and cell.gap
        },
        kept={
            place: mean(cell.method.value / cell.target.value for cell in cells)
            for place, cells in places.items()
            if place[0] in KEPT_SETS and all(cell.target.value > 0 for cell in cells)
        },
        distance=mean(map(abs, forget)) if forget else None,
        label=record.label.name if record.label else None,
        gated=record.label is not None and record.label.gated,
        seconds=sum(s.seconds for s in record.stages if s.kind in ("learn", "unlearn")),
    )


def _gaps(cells: Sequence[Cell]) -> list[float]:
    return [max(-1.0, min(1.0, cell.gap.value)) for cell in cells if cell.gap]


@dataclass(frozen=True, slots=True)
class Row:
    """A method on a model over all its seeds. ``reached``: see ``verdict``."""

    model: str
    method: str
    seeds: tuple[int, ...]
    gaps: Mapping[Place, Estimate]
    closeness: Mapping[Close, Estimate]
    kept: Mapping[Place, Estimate]
    seconds: Estimate
    labels: tuple[str, ...]  # each once, the commonest first
    reached: Literal["yes", "no", "open"]
    moved: bool


def rows(summaries: Iterable[Summary]) -> list[Row]:
    """One row a model and method, in the order in which they first come."""
    groups: dict[tuple[str, str], list[Summary]] = {}
    for one in summaries:
        groups.setdefault((one.model, one.method), []).append(one)
    return [_row(model, method, found) for (model, method), found in groups.items()]


def _row(model: str, method: str, runs: Sequence[Summary]) -> Row:
    gaps = _over_seeds([run.gaps for run in runs])
    kept = _over_seeds([run.kept for run in runs])
    sides = _sides([*gaps, *kept])
    forget = [gap for (set_, side), gap in gaps.items() if set_ == "forget" and side in sides]
    retain = [estimate for (set_, _), estimate in kept.items() if set_ == "retain"]
    return Row(
        model=model,
        method=method,
        seeds=tuple(run.seed for run in runs),
        gaps=gaps,
        closeness=_over_seeds([run.closeness for run in runs]),
        kept=kept,
        seconds=over_runs([run.seconds for run in runs]),
        labels=tuple(name for name, _ in Counter(r.label for r in runs if r.label).most_common()),
        # What is found the other way round is not forgotten.
        reached="no"
        if any(run.gated for run in runs)
        else verdict(forget, retain, all if sides == DIRECTED else any),
        moved=any(_high(gap) < 1 for gap in forget),
    )


def _sides(places: Iterable[Place]) -> tuple[str, ...]:
    """What a row of these places shows side by side: both directions, or both modalities."""
    return DIRECTED if any(side in DIRECTED for _, side in places) else MODALITIES


def _over_seeds(runs: Sequence[Mapping[Key, float | None]]) -> dict[Key, Estimate]:
    found = {place: [run.get(place) for run in runs] for run in runs for place in run}
    known = {place: [v for v in values if v is not None] for place, values in found.items()}
    return {place: over_runs(values) for place, values in known.items() if values}


def verdict(
    forget: Sequence[Estimate],
    retain: Sequence[Estimate],
    enough: Callable[[Iterable[bool]], bool] = any,
) -> Literal["yes", "no", "open"]:
    """Whether half of the gap is closed in ``enough`` of the forget gaps (any or all) and retain
    kept in all, by whole intervals.

    "open": the intervals, or the single run, do not tell.
    """
    if not forget or not retain or any(e.low is None for e in (*forget, *retain)):
        return "open"
    if enough(_high(gap) <= HALF for gap in forget) and all(_low(kept) >= KEPT for kept in retain):
        return "yes"
    if not enough(_low(gap) <= HALF for gap in forget) or any(
        _high(kept) < KEPT for kept in retain
    ):
        return "no"
    return "open"


def _low(estimate: Estimate) -> float:
    return estimate.value if estimate.low is None else estimate.low


def _high(estimate: Estimate) -> float:
    return estimate.value if estimate.high is None else estimate.high


# -- written --------------------------------------------------------------------------------------


def markdown(command: str, found: Sequence[Row], failures: Sequence[Failure]) -> str:
    """The table with its legend, as GitHub shows it."""
    several = len({row.model for row in found}) > 1
    columns = _columns(found)
    head = [
        *(["model"] if several else []),
        "method",
        *(title for title, _ in columns),
        "half closed",
        "moved",
        "label",
        "seconds",
    ]
    lines = [f"`{command}`", "", _line(head), _line(["---"] * len(head))]
    shown = [_sides([*row.gaps, *row.kept]) for row in found]
    for row, sides in zip(found, shown, strict=True):
        cells = [*([row.model] if several else []), f"`{row.method}`"]
        cells += [_side_by_side(places(row), sides) for _, places in columns]
        cells += [row.reached, "yes" if row.moved else "no", ", ".join(row.labels) or MISSING]
        cells += [f"{row.seconds.value:.0f}"]
        lines.append(_line(cells))
    pairs = dict.fromkeys(shown) or [MODALITIES]
    named = ", or ".join(" / ".join(MODALITY_TITLES[side] for side in pair) for pair in pairs)
    lines += ["", LEGEND.format(sides=named)]
    if DIRECTED in pairs:
        lines += ["", DIRECTED_LEGEND]
    if failures:
        lines += ["", "Not in the table:", ""]
        groups: dict[tuple[str, str, str], list[str]] = {}
        for f in failures:
            groups.setdefault((f.method, f.model, f.reason), []).append(str(f.seed))
        for (method, model, reason), seeds in groups.items():
            lines.append(f"- `{method}` on {model}, seed {', '.join(seeds)}: {reason}")
    return "\n".join(lines) + "\n"


LEGEND = (
    "Every cell: {sides}; ± is half of the 95 % t interval over seeds. gap: the mean"
    " over headline metrics of (method - gold) / (target - gold), each cut to [-1, 1]: 1"
    " nothing forgotten, 0 like gold, below 0 beyond it. The sets to keep: the mean"
    " of method / target. half closed: a forget gap of at most 0.5 in one modality and retain"
    " of at least 0.9 in both, by whole intervals; no where a run broke, by its label; open: the"
    " intervals do not tell. moved: a forget gap whose interval ends below 1. label: what the runs"
    " say of themselves, the commonest first. seconds: unlearning alone, on the machine that ran"
    " it."
)
DIRECTED_LEGEND = (
    "Dual encoders: gap is that of what is found (R@1). The gaps of similarity and membership have"
    " columns of their own and are not cut: below 0, the forget pairs are further apart than in a"
    " model that never saw them. half closed: in both directions, for what is found the other way"
    " round is not forgotten. Numbers of one tower alone are in the CSV file."
)


def _columns(
    found: Sequence[Row],
) -> list[tuple[str, Callable[[Row], Mapping[str, Estimate]]]]:
    """Titles, and what each shows of a row by modality; without those that no row fills."""

    def of(part: str, *place: str) -> Callable[[Row], dict[str, Estimate]]:
        return lambda row: {
            key[-1]: value for key, value in getattr(row, part).items() if key[:-1] == place
        }

    every = [(f"{set_} gap", of("gaps", set_)) for set_ in GAP_SETS]
    every += [
        (f"{set_} {title}", of("closeness", metric, set_))
        for metric, title in CLOSENESS.items()
        for set_ in GAP_SETS
    ]
    every += [(SET_TITLES.get(set_, set_), of("kept", set_)) for set_ in KEPT_SETS]
    return [one for one in every if any(one[1](row) for row in found)]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _side_by_side(of: Mapping[str, Estimate], sides: Sequence[str]) -> str:
    found = [of.get(side) for side in sides]
    return " / ".join(_short(estimate) for estimate in found) if any(found) else MISSING


def _short(estimate: Estimate | None) -> str:
    if estimate is None:
        return MISSING
    if estimate.low is None or estimate.high is None:
        return number(estimate.value)
    half = number((estimate.high - estimate.low) / 2).removeprefix("0")
    return f"{number(estimate.value)}±{half}"


def as_json(
    command: str,
    found: Sequence[Row],
    summaries: Sequence[Summary],
    failures: Sequence[Failure],
) -> str:
    """Rows, single runs and failures, for programs."""
    value = {
        "command": command,
        "rows": [_plain(asdict(row)) for row in found],
        "runs": [_plain(asdict(one)) for one in summaries],
        "failures": [asdict(failure) for failure in failures],
    }
    return json.dumps(value, indent=1) + "\n"


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    """Places as ``set.modality``: JSON has no tuples for keys."""
    for name in ("gaps", "closeness", "kept"):
        value[name] = {".".join(place): number for place, number in value[name].items()}
    return value


def as_csv(found: Sequence[Row]) -> str:
    """One line a row and number: model, method, seeds, what, set, modality, value, low, high."""
    out = io.StringIO()
    write = csv.writer(out, lineterminator="\n").writerow
    write(["model", "method", "seeds", "what", "set", "modality", "value", "low", "high"])
    for row in found:
        seeds = " ".join(map(str, row.seeds))
        numbers = [("gap", place, value) for place, value in row.gaps.items()]
        numbers += [
            (CLOSENESS[metric], (set_, side), gap)
            for (metric, set_, side), gap in row.closeness.items()
        ]
        numbers += [("kept", place, value) for place, value in row.kept.items()]
        numbers += [("seconds", ("", ""), row.seconds)]
        for what, place, value in numbers:
            ends = ["" if end is None else f"{end:.6g}" for end in (value.low, value.high)]
            write([row.model, row.method, seeds, what, *place, f"{value.value:.6g}", *ends])
    return out.getvalue()
