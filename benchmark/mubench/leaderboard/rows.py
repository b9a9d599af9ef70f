"""From runs to rows: one row is one method, setting, model and forget ratio, over its seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from scipy import special  # type: ignore[import-untyped,unused-ignore]

from mubench.hashing import sha
from mubench.metrics.catalogue import METRICS
from mubench.record import Cell, RunRecord, Value
from mubench.types import ASPECTS, MODALITIES, SETS, TASKS

from .bundle import Bundle

#: A row needs as many seeds, or it bears a badge.
SEEDS = 3
#: Utility that a row has to keep, as a share of the target's, in order to be ranked.
UTILITY = 0.9


@dataclass(frozen=True)
class Row:
    """The runs of one setting with different seeds, in the order of their seeds."""

    bundles: tuple[Bundle, ...]

    @property
    def first(self) -> RunRecord:
        return self.bundles[0].record

    @property
    def records(self) -> list[RunRecord]:
        return [bundle.record for bundle in self.bundles]

    @cached_property
    def id(self) -> str:
        return sha(_setting(self.first))[:12]

    @property
    def seeds(self) -> list[int]:
        return [record.spec["seed"] for record in self.records]

    @cached_property
    def cells(self) -> dict[str, list[Cell]]:
        """The cells of all seeds by column, of columns that every seed has."""
        found: dict[str, list[Cell]] = {}
        for record in self.records:
            for cell in record.cells:
                found.setdefault(column_id(cell), []).append(cell)
        return {key: cells for key, cells in found.items() if len(cells) == len(self.bundles)}

    def value(self, column: str, part: str) -> Value | None:
        """``part`` of a cell (method, gap, difference, target, ...) over the seeds."""
        values = [getattr(cell, part) for cell in self.cells.get(column, [])]
        return over_seeds(values) if values and None not in values else None

    @property
    def is_reference(self) -> bool:
        """Whether this is target or gold run as if it were a method: shown, never ranked."""
        return bool(self.first.method.get("kind") == "reference")

    @cached_property
    def utility(self) -> float:
        """What is left of the target: the mean over headline utility cells of method / target."""
        shares = [
            cell.method.value / cell.target.value
            for cells in self.cells.values()
            for cell in cells
            if cell.headline and cell.set in ASPECTS["utility"] and cell.target.value
        ]
        return statistics.fmean(shares) if shares else math.nan

    @property
    def seconds(self) -> float:
        """What unlearning alone took, as a mean over the seeds."""
        return statistics.fmean(_cost(record, "seconds") for record in self.records)

    @property
    def peak_mb(self) -> float:
        return statistics.fmean(_cost(record, "peak_mb") for record in self.records)


def _cost(record: RunRecord, part: str) -> float:
    costs = [getattr(stage, part) for stage in record.stages if stage.kind in ("learn", "unlearn")]
    return 0.0 if not costs else sum(costs) if part == "seconds" else max(costs)


def _setting(record: RunRecord) -> dict[str, Any]:
    """What all seeds of a row have in common."""
    spec = {key: part for key, part in record.spec.items() if key != "seed"}
    return {"content": record.data["content_sha"], "spec": spec}


def group(bundles: Iterable[Bundle]) -> list[Row]:
    """Rows from bundles; of a seed that was submitted twice, the first counts."""
    found: dict[str, dict[int, Bundle]] = {}
    for bundle in bundles:
        key = sha(_setting(bundle.record))
        found.setdefault(key, {}).setdefault(bundle.record.spec["seed"], bundle)
    return [Row(tuple(of[seed] for seed in sorted(of))) for of in found.values()]


def over_seeds(values: Sequence[Value]) -> Value:
    """The mean over seeds. Its interval joins that of the people, which all seeds share, and the
    t interval of the seeds: the two are independent, so that their squares add up."""
    mean = statistics.fmean(value.value for value in values)
    if any(value.low is None or value.high is None for value in values):
        return Value(value=mean)
    below = statistics.fmean(value.value - (value.low or 0.0) for value in values)
    above = statistics.fmean((value.high or 0.0) - value.value for value in values)
    spread, k = 0.0, len(values)
    if k > 1:
        deviation = statistics.stdev(value.value for value in values)
        spread = float(special.stdtrit(k - 1, 0.975)) * deviation / math.sqrt(k)
    return Value(value=mean, low=mean - math.hypot(below, spread),
                 high=mean + math.hypot(above, spread))  # fmt: skip


def column_id(cell: Cell) -> str:
    return f"{cell.set}/{cell.modality}/{cell.task}/{cell.metric}"


@dataclass(frozen=True)
class Column:
    """One metric of one set, modality and task; ``group`` is the aspect it speaks of."""

    id: str
    group: str
    set: str
    modality: str
    task: str
    metric: str
    title: str
    better: str
    headline: bool


def columns(rows: Iterable[Row]) -> list[Column]:
    """Every column that a row has, by aspect, set, modality and task."""
    cells = {key: cells[0] for row in rows for key, cells in row.cells.items()}
    aspect: dict[str, str] = {name: aspect for aspect, names in ASPECTS.items() for name in names}
    titles = {info.name: info.title for infos in METRICS.values() for info in infos}
    made = [
        Column(
            id=key,
            group=aspect.get(cell.set, "other"),
            set=cell.set,
            modality=cell.modality,
            task=cell.task,
            metric=cell.metric,
            title=titles.get(cell.metric, cell.metric),
            better=cell.better,
            headline=cell.headline,
        )
        for key, cell in cells.items()
    ]
    groups = [*ASPECTS, "other"]

    def order(column: Column) -> tuple[Any, ...]:
        return (
            groups.index(column.group), _place(column.set, SETS),
            _place(column.modality, MODALITIES), _place(column.task, TASKS),
            not column.headline, column.metric,
        )  # fmt: skip

    return sorted(made, key=order)


def _place(name: str, known: Sequence[str]) -> tuple[int, str]:
    return (known.index(name) if name in known else len(known), name)


@dataclass(frozen=True)
class Standing:
    """Where a row stands: its distance to gold, its rank interval, or why it is not ranked."""

    distance: Value | None
    low: int | None = None
    high: int | None = None
    gated: str = ""


def standings(rows: Sequence[Row]) -> Mapping[str, Standing]:
    """Rows in their default order by id: the nearest to gold first, gated ones after all others."""
    found = {row.id: _standing(row) for row in rows}
    ranked = [key for key, one in found.items() if not one.gated and one.distance is not None]
    for key in ranked:
        low = 1 + sum(_nearer(found[other], found[key]) for other in ranked)
        high = len(ranked) - sum(_nearer(found[key], found[other]) for other in ranked)
        found[key] = Standing(found[key].distance, low, high)

    def order(key: str) -> tuple[Any, ...]:
        one = found[key]
        distance = one.distance.value if one.distance else math.inf
        return bool(one.gated), distance, key

    return {key: found[key] for key in sorted(found, key=order)}


def _nearer(one: Standing, other: Standing) -> bool:
    """Whether one is nearer to gold for certain: the intervals do not meet."""
    if one.distance is None or other.distance is None:
        return False
    high, low = one.distance.high, other.distance.low
    return high is not None and low is not None and high < low


def _standing(row: Row) -> Standing:
    forgotten = (*ASPECTS["efficacy"], *ASPECTS["generalizability"])
    gaps = [
        gap
        for key, cells in row.cells.items()
        if cells[0].headline and cells[0].set in forgotten
        if (gap := row.value(key, "gap")) is not None
    ]
    if not gaps:
        return Standing(None, gated="no headline metric tells target from gold")
    distance = Value(
        value=statistics.fmean(abs(gap.value) for gap in gaps),
        low=statistics.fmean(_least(gap) for gap in gaps),
        high=statistics.fmean(_most(gap) for gap in gaps),
    )
    if row.is_reference:
        return Standing(distance, gated="a reference, not a method")
    if row.utility < UTILITY:
        return Standing(distance, gated=f"keeps {row.utility:.0%} of the target's utility")
    return Standing(distance)


def _least(gap: Value) -> float:
    """The smallest distance to 0 within the interval."""
    if gap.low is None or gap.high is None:
        return abs(gap.value)
    return 0.0 if gap.low <= 0 <= gap.high else min(abs(gap.low), abs(gap.high))


def _most(gap: Value) -> float:
    if gap.low is None or gap.high is None:
        return abs(gap.value)
    return max(abs(gap.low), abs(gap.high))
