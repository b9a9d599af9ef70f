"""Membership inference and memorisation: the forget people against people nobody was trained on.

Both kinds of people are drawn by the same generator and asked the same questions, so that nothing
but training tells them apart; a swapped picture shows what the words alone give away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from mubench.metrics.privacy import ATTACKS, MEMORISATION, Item, Tokens, loss
from mubench.record import Probe, Value
from mubench.rng import stream
from mubench.stats.auc import Pools, TwoPools
from mubench.types import MODALITIES, ROLES, Estimate, Example, Modality, Role

from .cells import Place, Values, paired, value

#: The loss with the picture of somebody else.
SWAPPED = "loss, swapped picture"
NAMES = (*ATTACKS, SWAPPED)


class Data(Protocol):
    """What is looked at of a benchmark (see `mubench.data.load.BenchmarkData`)."""

    @property
    def examples(self) -> Sequence[Example]: ...
    @property
    def holdout(self) -> Sequence[Example]: ...


@dataclass(frozen=True, slots=True)
class Seen:
    """How one model saw the true answer of one question; the gradient norm where it has one."""

    tokens: Tokens
    gradient: float | None = None


@dataclass(frozen=True, slots=True)
class Questions:
    """Questions to be answered freely, for the tokens of the true answers. ``members``: about the
    forget people. ``others``: about the holdout people. ``swapped``: those of both with a picture,
    each with the picture of a retained person."""

    members: tuple[Example, ...]
    others: tuple[Example, ...]
    swapped: tuple[Example, ...]

    @property
    def all(self) -> tuple[Example, ...]:
        return (*self.members, *self.others, *self.swapped)

    @staticmethod
    def of(asked: Sequence[Example]) -> Questions:
        """The same from ``all``."""
        own = [example for example in asked if not is_swapped(example.id)]
        return Questions(
            tuple(example for example in own if example.set == "forget"),
            tuple(example for example in own if example.set != "forget"),
            tuple(example for example in asked if is_swapped(example.id)),
        )


def questions(data: Data, seed: int) -> Questions:
    """What membership is inferred from. ``others`` is empty where there are no holdout people."""
    members = tuple(_freely(example) for example in data.examples if example.set == "forget")
    others = tuple(map(_freely, data.holdout))
    retained = {e.person: e.image for e in data.examples if e.set == "retain" and e.image}
    pictures = list(retained.values())
    rng = stream(seed, "privacy", "swapped")
    swapped = tuple(
        replace(example, id=_swapped(example), image=pictures[int(rng.integers(len(pictures)))])
        for example in (*members, *others)
        if example.image and pictures
    )
    return Questions(members, others, swapped)


def _freely(example: Example) -> Example:
    """Without options and wrong answers: those are asked about in the evaluation sets."""
    return replace(example, choices=(), perturbed=(), paraphrase="")


def _swapped(example: Example) -> str:
    return f"swapped/{example.id}"


def is_swapped(id_: str) -> bool:
    """Whether a question shows the picture of somebody else."""
    return id_.startswith("swapped/")


def privacy_cells(
    asked: Questions,
    seen: Mapping[Role, Mapping[str, Seen]],
    base: Mapping[str, Seen],
    seed: int,
) -> list[Probe]:
    """AUC and PrivLeak of every attack, then memorisation, by modality. ``base``: the model before
    any of these people were learned."""
    found: list[Probe] = []
    for modality in MODALITIES:
        members, others = (
            [e for e in pool if e.modality == modality] for pool in (asked.members, asked.others)
        )
        if members and others:
            found += _attacked(modality, members, others, seen, base, seed)
    return [*found, *_memorised(asked.members, seen, seed)]


def _attacked(
    modality: Modality,
    members: Sequence[Example],
    others: Sequence[Example],
    seen: Mapping[Role, Mapping[str, Seen]],
    base: Mapping[str, Seen],
    seed: int,
) -> list[Probe]:
    pools = TwoPools(
        [e.person for e in members], [e.person for e in others], stream(seed, "membership")
    )
    people = len({e.person for e in (*members, *others)})

    def scores(attack: str, role: Role) -> Pools:
        return Pools(
            *([_score(attack, e, seen[role], base) for e in pool] for pool in (members, others))
        )

    def cell(
        attack: str, metric: str, unit: str, values: Mapping[Role, Value], difference: Value
    ) -> Probe:
        return Probe(
            probe="membership",
            axes={"modality": modality, "attack": attack},
            metric=metric,
            unit=unit,
            n=len(members) + len(others),
            persons=people,
            target=values["target"],
            gold=values["gold"],
            method=values["method"],
            difference=difference,
        )

    found = []
    for attack in NAMES:
        if not all(_possible(attack, members[0], seen[role]) for role in ROLES):
            continue
        by_role = {role: scores(attack, role) for role in ROLES}
        areas = {role: value(pools.auc(by_role[role])) for role in ROLES}
        difference = value(pools.difference(by_role["method"], by_role["gold"]))
        found.append(cell(attack, "auc", "AUC", areas, difference))
        leaks = {role: pools.privleak(by_role[role], by_role["gold"]) for role in ROLES}
        told = {role: value(leak) for role, leak in leaks.items() if leak is not None}
        if told:  # all or none: it is gold that decides whether there is a scale
            told["gold"] = value(Estimate(0.0))
            found.append(cell(attack, "privleak", "%", told, told["method"]))
    return found


def _possible(attack: str, example: Example, seen: Mapping[str, Seen]) -> bool:
    if attack == SWAPPED:
        return _swapped(example) in seen
    return attack != "grad_norm" or seen[example.id].gradient is not None


def _score(
    attack: str, example: Example, seen: Mapping[str, Seen], base: Mapping[str, Seen]
) -> float:
    if attack == SWAPPED:
        return loss(seen[_swapped(example)].tokens)
    own = seen[example.id]
    item = Item(example.answer, own.tokens, base[example.id].tokens, own.gradient)
    return ATTACKS[attack](item)


def _memorised(
    members: Sequence[Example], seen: Mapping[Role, Mapping[str, Seen]], seed: int
) -> list[Probe]:
    places = []
    for modality in MODALITIES:
        persons = {e.id: e.person for e in members if e.modality == modality}
        for name, measure in MEMORISATION.items():
            if persons:
                place = Place({"modality": modality}, name, "fraction", persons)
                values: dict[Role, Values] = {
                    role: {id_: measure(seen[role][id_].tokens) for id_ in persons}
                    for role in ROLES
                }
                places.append((place, values))
    return paired("memorisation", places, seed)
