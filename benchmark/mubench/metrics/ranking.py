"""Who comes closest to gold: distances, ranks with intervals, and what it cost.

The distance of a method is the mean of |normalised gap| over the headline cells of the forget
people, seen and unseen, of all modalities: too much forgotten is as far from gold as too little.
Only methods that keep ``KEPT`` of the target's utility are ranked, and none whose label is gated.
Ranks have intervals from a bootstrap that draws people and, where a method was run with several
seeds, its seeds; all methods are compared on the same people.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean

import numpy as np
import numpy.typing as npt

from mubench.errors import UsageError
from mubench.metrics.labels import utility
from mubench.record import Cell, RunRecord, Stage
from mubench.rng import stream
from mubench.stats.clustered import ALPHA, adjusted
from mubench.types import ASPECTS, Estimate, Example

KEPT = 0.9
DRAWS = 2000
Floats = npt.NDArray[np.float64]
Key = tuple[str, str, str, str]  # set, modality, task, metric


@dataclass(frozen=True)
class Entry:
    """One run of a method: its record, the questions, and item scores by role and example."""

    name: str
    record: RunRecord
    examples: Sequence[Example]
    scores: Mapping[str, Mapping[str, Mapping[str, float]]]


@dataclass(frozen=True, slots=True)
class Cost:
    """What unlearning took, as a mean over seeds. ``flops``: floating-point operations, None where
    they were not counted. ``overhead``: time of an answer relative to the target's."""

    seconds: float
    peak_mb: float
    flops: float | None
    retain: bool  # whether data about the people to keep is needed
    state: str  # what has to be kept to have the unlearned model
    overhead: float | None


@dataclass(frozen=True)
class Standing:
    """One method among others; ``rank`` is None where ``reason`` says why it is not ranked."""

    name: str
    seeds: int
    label: str
    distance: Estimate | None
    by_modality: Mapping[str, float] = field(default_factory=dict)
    utility: float | None = None
    rank: int | None = None
    low: int | None = None
    high: int | None = None
    reason: str = ""
    tied: bool = False  # with the first
    cost: Cost | None = None
    front: bool = False  # no other ranked method is better in distance, utility and time


def standings(entries: Sequence[Entry], seed: int = 0) -> list[Standing]:
    """Ranked methods first, then the others. UsageError where runs cannot be compared."""
    methods = _by_method(entries)
    keys = _common_cells(entries)
    people = sorted({e.person for e in entries[0].examples if e.set in _forget_sets()})
    rng = stream(seed, "ranks")
    picked = rng.integers(len(people), size=(DRAWS, len(people)))
    picked += np.arange(DRAWS)[:, None] * len(people)
    counts = np.bincount(picked.ravel(), minlength=DRAWS * len(people))
    weights = counts.reshape(DRAWS, len(people)).astype(np.float64)
    whole = np.ones((1, len(people)))
    found: dict[str, tuple[Standing, Floats]] = {}
    for name, runs in methods.items():
        gaps = [np.abs(_gaps(run, keys, people, whole))[:, 0] for run in runs]
        drawn = np.stack([np.abs(_gaps(run, keys, people, weights)).mean(0) for run in runs])
        chosen = rng.integers(len(runs), size=(len(runs), DRAWS))
        distances = np.take_along_axis(drawn, chosen, 0).mean(0)
        found[name] = (_standing(name, runs, keys, gaps, distances), distances)
    ranked = {name: draws for name, (one, draws) in found.items() if not one.reason}
    table = np.stack(list(ranked.values())) if ranked else np.zeros((0, DRAWS))
    places = table.argsort(0).argsort(0) + 1
    order = sorted(ranked, key=lambda name: found[name][0].distance.value)  # type: ignore[union-attr]
    tied, front = _tied(order, ranked), _front([found[name][0] for name in order])
    result = []
    for place, name in enumerate(order, start=1):
        own = places[list(ranked).index(name)]
        low, high = np.quantile(own, [ALPHA / 2, 1 - ALPHA / 2], method="nearest")
        one = found[name][0]
        result.append(
            replace(
                one,
                rank=place,
                low=min(int(low), place),
                high=max(int(high), place),
                tied=name in tied,
                front=front[place - 1],
            )
        )
    return result + [one for one, _ in found.values() if one.reason]


def _by_method(entries: Sequence[Entry]) -> dict[str, list[Entry]]:
    """Runs by method; the same name with other settings is another method."""
    if not entries:
        raise UsageError("there are no runs to compare")
    first = entries[0]
    methods: dict[str, list[Entry]] = {}
    configs: dict[str, list[str]] = {}
    for entry in entries:
        for what in ("benchmark", "model", "target"):
            if _without_title(entry.record.spec[what]) != _without_title(first.record.spec[what]):
                raise UsageError(f"{entry.name} and {first.name} differ in {what}: not comparable")
        if [e.id for e in entry.examples] != [e.id for e in first.examples]:
            raise UsageError(f"{entry.name} and {first.name} were not asked the same questions")
        name, config = entry.record.spec["method"]["name"], repr(entry.record.spec["method"])
        seen = configs.setdefault(name, [])
        if config not in seen:
            seen.append(config)
        number = seen.index(config)
        methods.setdefault(f"{name} #{number + 1}" if number else name, []).append(entry)
    return methods


def _without_title(section: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in section.items() if key not in ("title", "data_dir")}


def _forget_sets() -> tuple[str, ...]:
    return (*ASPECTS["efficacy"], *ASPECTS["generalizability"])


def _common_cells(entries: Sequence[Entry]) -> list[Key]:
    """Headline forget cells in which target and gold differ, in every run."""
    keys = [
        [_key(c) for c in entry.record.cells if c.headline and c.set in _forget_sets() and c.gap]
        for entry in entries
    ]
    common = [key for key in keys[0] if all(key in other for other in keys)]
    if not common:
        raise UsageError("target and gold differ on no headline cell that all runs share")
    return common


def _key(cell: Cell) -> Key:
    return cell.set, cell.modality, cell.task, cell.metric


def _gaps(entry: Entry, keys: Sequence[Key], people: Sequence[str], weights: Floats) -> Floats:
    """Normalised gaps, shape (cells, draws), for people weighted by ``weights`` (draws, people).
    What target and gold differ by is that of all people: a draw must not divide by next to 0."""
    number = {person: place for place, person in enumerate(people)}
    golds = [role for role in entry.scores if role.startswith("gold")]
    groups: dict[tuple[str, str, str], list[Example]] = {}
    for example in entry.examples:
        groups.setdefault((example.set, example.modality, example.task), []).append(example)
    rows = []
    for set_, modality, task, metric in keys:
        asked = [e for e in groups[set_, modality, task] if metric in entry.scores["target"][e.id]]
        person = np.array([number[e.person] for e in asked])

        def of(role: str, asked: list[Example] = asked, metric: str = metric) -> Floats:
            return np.array([entry.scores[role][e.id][metric] for e in asked])

        gold = np.mean([of(role) for role in golds], axis=0)
        away = np.bincount(person, of("method") - gold, len(people))
        items = np.bincount(person, minlength=len(people)).astype(np.float64)
        known = float((of("target") - gold).mean())
        rows.append(weights @ away / np.maximum(weights @ items, 1) / known)
    return np.stack(rows)


def _standing(
    name: str, runs: Sequence[Entry], keys: Sequence[Key], gaps: Sequence[Floats], draws: Floats
) -> Standing:
    mean = np.mean(gaps, axis=0)
    low, high = np.quantile(draws, [ALPHA / 2, 1 - ALPHA / 2])
    value = float(mean.mean())
    kept = [share for run in runs if (share := utility(run.record.cells)) is not None]
    share = float(np.mean(kept)) if kept else None
    labels = [run.record.label for run in runs]
    gated = [label for label in labels if label is None or label.gated]
    reason = ""
    if gated:
        reason = gated[0].name if gated[0] else "no label"
    elif share is None or share < KEPT:
        reason = f"keeps {'nothing measured' if share is None else f'{share:.0%}'} of utility"
    return Standing(
        name=name,
        seeds=len(runs),
        label=", ".join(dict.fromkeys(label.name if label else "none" for label in labels)),
        distance=Estimate(value, min(float(low), value), max(float(high), value)),
        by_modality={
            modality: float(
                np.mean([m for m, key in zip(mean, keys, strict=True) if key[1] == modality])
            )
            for modality in dict.fromkeys(key[1] for key in keys)
        },
        utility=share,
        reason=reason,
        cost=cost([run.record for run in runs]),
    )


def cost(records: Sequence[RunRecord]) -> Cost:
    """What unlearning took in these runs, which differ by their seeds."""
    work = [[s for s in one.stages if s.kind in ("learn", "unlearn")] for one in records]
    kinds = [stage.detail.get("delta") for stage in work[0]]
    return Cost(
        seconds=fmean(sum(stage.seconds for stage in stages) for stages in work),
        peak_mb=fmean(max((stage.peak_mb for stage in stages), default=0.0) for stages in work),
        flops=_mean([_flops(stages) for stages in work]),
        retain="retain" in records[0].method.get("needs", ()),
        state=str(kinds[-1]) if kinds and kinds[-1] else "none",
        overhead=_mean([_overhead(one) for one in records]),
    )


def _flops(stages: Sequence[Stage]) -> float | None:
    """What the stages counted; one that only subtracts what was learned counts nothing."""
    counted = [stage.detail["flops"] for stage in stages if "flops" in stage.detail]
    return float(sum(counted)) if counted else None


def _overhead(record: RunRecord) -> float | None:
    answers = {s.role: s.seconds for s in record.stages if s.kind == "predict"}
    own, target = answers.get("method"), answers.get("target")
    return own / target if own and target else None


def _mean(values: Sequence[float | None]) -> float | None:
    """None where any is not known: a mean of the others would be of other runs."""
    known = [value for value in values if value is not None]
    return fmean(known) if len(known) == len(values) else None


def _tied(order: Sequence[str], draws: Mapping[str, Floats]) -> set[str]:
    """Those that the first does not beat: paired draws, p-values adjusted to each other."""
    if not order:
        return set()
    ps = []
    for name in order[1:]:
        worse = np.count_nonzero(draws[name] <= draws[order[0]])
        ps.append(min(1.0, 2 * (1 + worse) / (1 + DRAWS)))
    found = zip(order[1:], adjusted(ps), strict=True)
    return {order[0], *(name for name, p in found if p is None or p >= ALPHA)}


def _front(ranked: Sequence[Standing]) -> list[bool]:
    """Which are not dominated: no other is as good in every goal and better in one."""
    goals = np.array([_goals(one) for one in ranked]).reshape(len(ranked), 3)
    return [not ((goals <= own).all(1) & (goals < own).any(1)).any() for own in goals]


def _goals(standing: Standing) -> tuple[float, float, float]:
    """Distance, utility lost, seconds: the less, the better."""
    assert standing.distance is not None
    seconds = standing.cost.seconds if standing.cost else 0.0
    return standing.distance.value, -(standing.utility or 0.0), seconds
