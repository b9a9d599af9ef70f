"""Many runs side by side: one row a model and method, with intervals over seeds."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import mean
from typing import Any, Literal

from mubench.record import Cell, RunRecord
from mubench.stats.runs import over_runs
from mubench.types import ASPECTS, MODALITIES, Estimate

from .view import MISSING, MODALITY_TITLES, number

GAP_SETS = (*ASPECTS["efficacy"], *ASPECTS["generalizability"])
KEPT_SETS = ASPECTS["utility"]
#: What a method is asked to reach: half of the gap closed somewhere, retain kept everywhere.
HALF, KEPT = 0.5, 0.9

Place = tuple[str, str]  # set, modality


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
    no small denominator rules; None where target and gold differ in none. ``kept``: the mean of
    method / target over them. ``distance``: the mean |gap| on forget, in [0, 1].
    """

    model: str
    method: str
    seed: int
    gaps: Mapping[Place, float | None]
    kept: Mapping[Place, float]
    distance: float | None
    label: str | None
    seconds: float  # of unlearning alone

    @property
    def retained(self) -> float:
        """``kept`` of the retain set in the modality that lost most."""
        return min(value for (set_, _), value in self.kept.items() if set_ == "retain")


def summary(record: RunRecord) -> Summary:
    """The numbers of one run that are compared with those of others."""
    places: dict[Place, list[Cell]] = {}
    for cell in record.cells:
        if cell.headline:
            places.setdefault((cell.set, cell.modality), []).append(cell)
    forget = [
        gap for (set_, _), cells in places.items() if set_ == "forget" for gap in _gaps(cells)
    ]
    return Summary(
        model=record.spec["model"]["name"],
        method=record.spec["method"]["name"],
        seed=record.spec["seed"],
        gaps={
            place: mean(found) if (found := _gaps(cells)) else None
            for place, cells in places.items()
            if place[0] in GAP_SETS
        },
        kept={
            place: mean(cell.method.value / cell.target.value for cell in cells)
            for place, cells in places.items()
            if place[0] in KEPT_SETS and all(cell.target.value > 0 for cell in cells)
        },
        distance=mean(map(abs, forget)) if forget else None,
        label=record.label.name if record.label else None,
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
    forget = [estimate for (set_, _), estimate in gaps.items() if set_ == "forget"]
    retain = [estimate for (set_, _), estimate in kept.items() if set_ == "retain"]
    return Row(
        model=model,
        method=method,
        seeds=tuple(run.seed for run in runs),
        gaps=gaps,
        kept=kept,
        seconds=over_runs([run.seconds for run in runs]),
        labels=tuple(name for name, _ in Counter(r.label for r in runs if r.label).most_common()),
        reached=verdict(forget, retain),
        moved=any(_high(gap) < 1 for gap in forget),
    )


def _over_seeds(runs: Sequence[Mapping[Place, float | None]]) -> dict[Place, Estimate]:
    found = {place: [run.get(place) for run in runs] for run in runs for place in run}
    known = {place: [v for v in values if v is not None] for place, values in found.items()}
    return {place: over_runs(values) for place, values in known.items() if values}


def verdict(forget: Sequence[Estimate], retain: Sequence[Estimate]) -> Literal["yes", "no", "open"]:
    """Whether half of the gap is closed in a modality and retain kept in all, by whole intervals.

    "open": the intervals, or the single run, do not tell.
    """
    if not forget or not retain or any(e.low is None for e in (*forget, *retain)):
        return "open"
    if any(_high(gap) <= HALF for gap in forget) and all(_low(kept) >= KEPT for kept in retain):
        return "yes"
    if all(_low(gap) > HALF for gap in forget) or any(_high(kept) < KEPT for kept in retain):
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
    head = [
        *(["model"] if several else []),
        "method",
        *(f"{set_} gap" for set_ in GAP_SETS),
        *KEPT_SETS,
        "half closed",
        "moved",
        "label",
        "seconds",
    ]
    lines = [f"`{command}`", "", _line(head), _line(["---"] * len(head))]
    for row in found:
        cells = [*([row.model] if several else []), f"`{row.method}`"]
        cells += [_both(row.gaps, set_) for set_ in GAP_SETS]
        cells += [_both(row.kept, set_) for set_ in KEPT_SETS]
        cells += [row.reached, "yes" if row.moved else "no", ", ".join(row.labels) or MISSING]
        cells += [f"{row.seconds.value:.0f}"]
        lines.append(_line(cells))
    modalities = " / ".join(MODALITY_TITLES.values())
    lines += [
        "",
        f"Every cell: {modalities}; ± is half of the 95 % t interval over seeds. gap: the mean"
        " over headline metrics of (method - gold) / (target - gold), each cut to [-1, 1]: 1"
        " nothing forgotten, 0 like gold, below 0 beyond it. retain, celebrity, general: the mean"
        " of method / target. half closed: a forget gap of at most 0.5 in one modality and retain"
        " of at least 0.9 in both, by whole intervals; open: the intervals do not tell. moved: a"
        " forget gap whose interval ends below 1. label: what the runs say of themselves, the"
        " commonest first. seconds: unlearning alone, on the machine that"
        " ran it.",
    ]
    if failures:
        lines += ["", "Not in the table:", ""]
        groups: dict[tuple[str, str, str], list[str]] = {}
        for f in failures:
            groups.setdefault((f.method, f.model, f.reason), []).append(str(f.seed))
        for (method, model, reason), seeds in groups.items():
            lines.append(f"- `{method}` on {model}, seed {', '.join(seeds)}: {reason}")
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _both(of: Mapping[Place, Estimate], set_: str) -> str:
    found = [of.get((set_, modality)) for modality in MODALITIES]
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
    for name in ("gaps", "kept"):
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
        numbers += [("kept", place, value) for place, value in row.kept.items()]
        numbers += [("seconds", ("", ""), row.seconds)]
        for what, place, value in numbers:
            ends = ["" if end is None else f"{end:.6g}" for end in (value.low, value.high)]
            write([row.model, row.method, seeds, what, *place, f"{value.value:.6g}", *ends])
    return out.getvalue()
