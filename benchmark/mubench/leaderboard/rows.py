"""From runs to rows: one row is one method, setting, model and forget ratio, over its seeds."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from scipy import special  # type: ignore[import-untyped,unused-ignore]

from mubench.errors import MubenchError
from mubench.hashing import sha
from mubench.metrics import ranking
from mubench.metrics.catalogue import METRICS
from mubench.metrics.labels import utility
from mubench.metrics.ranking import Cost, Standing
from mubench.probes.leakage import COLUMNS, TITLES
from mubench.record import Cell, Probe, RunRecord, Value
from mubench.report.probes import ATTACKS, MEASURES
from mubench.types import ASPECTS, MODALITIES, SETS, TASKS, Example

from .bundle import Bundle

#: Paths to a fact that show no picture.
WORDS_ALONE = ("name", "name-reworded", "description", "whose-facts")
HEADLINE_PRIVACY = {("min_k_plus", "auc"), ("extraction_strength", "extraction_strength")}
#: A row needs as many seeds, or it bears a badge.
SEEDS = 3


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
    def cells(self) -> dict[str, list[Cell | Probe]]:
        """The cells of all seeds by column, of columns that every seed has."""
        found: dict[str, list[Cell | Probe]] = {}
        for record in self.records:
            cells: list[Cell | Probe] = [*record.cells, *record.probes]
            for cell in cells:
                found.setdefault(column_id(cell), []).append(cell)
        return {key: cells for key, cells in found.items() if len(cells) == len(self.bundles)}

    @cached_property
    def _values(self) -> dict[tuple[str, str], Value | None]:
        return {}

    def value(self, column: str, part: str) -> Value | None:
        """``part`` of a cell (method, gap, difference, target, ...) over the seeds."""
        key = column, part
        if key not in self._values:
            self._values[key] = self._over_seeds(column, part)
        return self._values[key]

    def _over_seeds(self, column: str, part: str) -> Value | None:
        # Probes have no gap and no prior.
        values: list[Any] = [getattr(cell, part, None) for cell in self.cells.get(column, [])]
        return over_seeds(values) if values and None not in values else None

    @property
    def split(self) -> str:
        """Who is forgotten and what of them, as text: it says which questions were asked."""
        benchmark = self.first.spec["benchmark"]
        return f"{benchmark['forget_ratio']:g}-{benchmark['scope']}"

    @property
    def is_reference(self) -> bool:
        """Whether this is target or gold run as if it were a method: shown, never ranked."""
        return bool(self.first.method.get("kind") == "reference")

    @cached_property
    def cost(self) -> Cost:
        return ranking.cost(self.records)


def _setting(record: RunRecord, *without: str) -> dict[str, Any]:
    """What all seeds of a row have in common: the parts of a spec that ranking compares."""
    parts = [part for part in ("benchmark", "model", "target", "method") if part not in without]
    untitled = {
        part: {k: v for k, v in record.spec[part].items() if k not in ("title", "data_dir")}
        for part in parts
    }
    return {"content": record.data["content_sha"], **untitled}


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
    if len(values) == 1:
        return values[0]
    mean = statistics.fmean(value.value for value in values)
    if any(value.low is None or value.high is None for value in values):
        return Value(value=mean)
    below = statistics.fmean(value.value - (value.low or 0.0) for value in values)
    above = statistics.fmean((value.high or 0.0) - value.value for value in values)
    k = len(values)
    # By math: statistics.stdev computes with fractions, which takes a third of a site's time.
    deviation = math.dist([value.value for value in values], [mean] * k) / math.sqrt(k - 1)
    spread = float(special.stdtrit(k - 1, 0.975)) * deviation / math.sqrt(k)
    return Value(value=mean, low=mean - math.hypot(below, spread),
                 high=mean + math.hypot(above, spread))  # fmt: skip


def column_id(cell: Cell | Probe) -> str:
    if isinstance(cell, Probe):
        return "/".join((cell.probe, *cell.axes.values(), cell.metric))
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
    made = [_column(key, cell) for key, cell in cells.items()]
    groups = [*ASPECTS, "leakage", "privacy", "other"]
    sets = (*SETS, *TITLES.values(), *ATTACKS.values(), *MEASURES.values())

    def order(column: Column) -> tuple[Any, ...]:
        return (
            groups.index(column.group), _place(column.set, sets),
            _place(column.modality, MODALITIES), _place(column.task, TASKS),
            not column.headline, column.metric,
        )  # fmt: skip

    return sorted(made, key=order)


def _column(id_: str, cell: Cell | Probe) -> Column:
    if isinstance(cell, Probe):
        return _probe_column(id_, cell)
    aspect: dict[str, str] = {name: aspect for aspect, names in ASPECTS.items() for name in names}
    titles = {info.name: info.title for info in METRICS.get(cell.task, ())}
    return Column(
        id=id_,
        group=aspect.get(cell.set, "other"),
        set=cell.set,
        modality=cell.modality,
        task=cell.task,
        metric=cell.metric,
        title=titles.get(cell.metric, cell.metric),
        better=cell.better,
        headline=cell.headline,
    )


def _probe_column(id_: str, cell: Probe) -> Column:
    """Of a path to the facts, free answers are headline; of privacy, one attack and one measure."""
    axes = cell.axes
    if cell.probe in ("leakage", "components"):
        put_back = f", {axes['components']} put back" if cell.probe == "components" else ""
        return Column(
            id=id_,
            group="leakage",
            set=TITLES.get(axes["path"], axes["path"]) + put_back,
            modality="text" if axes["path"] in WORDS_ALONE else "image_text",
            task=axes["form"],
            metric=axes["form"],
            title=COLUMNS[axes["form"]][0] if axes["form"] in COLUMNS else axes["form"],
            better="to_gold",
            headline=cell.probe == "leakage" and axes["form"] == "free",
        )
    named = axes.get("attack", cell.metric)
    return Column(
        id=id_,
        group="leakage" if cell.probe == "recovery" else "privacy",
        set={**ATTACKS, **MEASURES}.get(named, named),
        modality=axes.get("modality", "image_to_text"),  # recovery looks for names
        task=cell.probe,
        metric=cell.metric,
        title=cell.unit,
        better="to_gold",
        headline=cell.probe == "recovery" or (named, cell.metric) in HEADLINE_PRIVACY,
    )


def _place(name: str, known: Sequence[str]) -> tuple[int, str]:
    return (known.index(name) if name in known else len(known), name)


@dataclass(frozen=True)
class Scored:
    """What ranking needs of a row: the questions about the forget people, and of each seed the
    scores by model and question."""

    examples: Sequence[Example]
    runs: Sequence[Mapping[str, Mapping[str, Mapping[str, float]]]]


def standings(rows: Sequence[Row], scored: Mapping[str, Scored]) -> dict[str, Standing]:
    """Where each row stands among those of its model and forget ratio, in their order: ranked
    ones by distance, then those that are listed only. Rows without scores are not ranked."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(sha(_setting(row.first, "method")), []).append(row)
    found: dict[str, Standing] = {}
    for group in groups.values():
        found |= _ranked(group, scored)

    def order(row: Row) -> tuple[Any, ...]:
        one = found[row.id]
        return one.rank is None, one.distance.value if one.distance else math.inf, row.id

    return {row.id: found[row.id] for row in sorted(rows, key=order)}


def _ranked(group: Sequence[Row], scored: Mapping[str, Scored]) -> dict[str, Standing]:
    found: dict[str, Standing] = {}
    by_name: dict[str, str] = {}  # what ranking calls a row
    entries = []
    names: Counter[str] = Counter()
    for row in group:
        name = row.first.spec["method"]["name"]
        if row.is_reference:
            found[row.id] = _unranked(row, "a reference, not a method")
        elif row.id not in scored:
            found[row.id] = _unranked(row, "its benchmark was not at hand when the pages were made")
        else:
            names[name] += 1
            by_name[name if names[name] == 1 else f"{name} #{names[name]}"] = row.id
            own = scored[row.id]
            entries += [
                ranking.Entry(row.id, bundle.record, own.examples, scores)
                for bundle, scores in zip(row.bundles, own.runs, strict=True)
            ]
    if entries:
        try:
            found |= {by_name[one.name]: one for one in ranking.standings(entries)}
        except MubenchError as error:
            found |= {row.id: _unranked(row, str(error)) for row in group if row.id not in found}
    return found


def _unranked(row: Row, reason: str) -> Standing:
    name = row.first.spec["method"]["name"]
    return Standing(name, len(row.seeds), "", None, utility=utility(row.first.cells), reason=reason)
