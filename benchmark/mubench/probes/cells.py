"""From what three models said to the cells of a probe: means, differences, and what leaks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from scipy.stats import (  # type: ignore[import-untyped,unused-ignore]
    false_discovery_control,
)

from mubench.record import Probe, Value
from mubench.rng import stream
from mubench.stats.bootstrap import Resampling
from mubench.stats.permutation import paired_permutation_p
from mubench.types import ROLES, Estimate, Role

#: Share of the cells said to leak that may be chance alone.
FALSE = 0.05

Kind = Literal["leakage", "components", "membership", "memorisation", "recovery"]
#: By item id: a value in [0, 1].
Values = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Place:
    """A cell to be: what it is called, and the persons of its items by item id."""

    axes: Mapping[str, str]
    metric: str
    unit: str
    persons: Mapping[str, str]


def paired(
    probe: Kind, places: Iterable[tuple[Place, Mapping[Role, Values]]], seed: int
) -> list[Probe]:
    """The cells of a probe whose three models answered the same items."""
    return judged([_cell(probe, place, values, seed) for place, values in places])


def _cell(probe: Kind, place: Place, values: Mapping[Role, Values], seed: int) -> Probe:
    ids = sorted(place.persons)
    people = [place.persons[id_] for id_ in ids]
    target, gold, method = ([values[role][id_] for id_ in ids] for role in ROLES)
    sample = Resampling(people, stream(seed, "probe"))
    known = sample.difference(target, gold).low
    return Probe(
        probe=probe,
        axes=dict(place.axes),
        metric=place.metric,
        unit=place.unit,
        n=len(ids),
        persons=sample.persons,
        target=value(sample.mean(target)),
        gold=value(sample.mean(gold)),
        method=value(sample.mean(method)),
        difference=value(sample.difference(method, gold)),
        p=paired_permutation_p(method, gold, people, stream(seed, "probe", "leaks")),
        known=None if known is None else known > 0,
    )


def judged(cells: Sequence[Probe]) -> list[Probe]:
    """The cells with ``leaks`` decided together, so that of the cells that are said to leak a
    share of ``FALSE`` at most does not (Benjamini and Hochberg 1995)."""
    if not cells:
        return []
    adjusted = false_discovery_control([cell.p for cell in cells])
    return [
        cell.model_copy(update={"leaks": bool(p <= FALSE and (cell.difference.low or 0.0) > 0)})
        for cell, p in zip(cells, adjusted, strict=True)
    ]


def value(estimate: Estimate) -> Value:
    """An estimate as it is recorded."""
    return Value(**asdict(estimate))
