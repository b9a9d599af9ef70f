"""How little brings back whom a dual encoder forgot, beyond what it brings to gold as well.

The mean of a few trained pictures of everybody names new ones (prototypes; after arXiv:2506.01318):
gold tells faces and classes apart, too, so what counts is the excess over it. And a few forgotten
pairs are trained again for a few steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from mubench.record import Probe
from mubench.types import Candidate, Example, Response, Role

from .cells import Place, Values, paired

#: Pictures of a prototype.
SHOTS = (1, 5)
#: Pairs of each forgotten one that are trained again, and for how many steps.
PAIRS, STEPS = 4, 20
RELEARNED = "relearning"


class Data(Protocol):
    """What is looked at of a benchmark (see `mubench.data.load.BenchmarkData`)."""

    @property
    def examples(self) -> Sequence[Example]: ...
    def train(self, *sets: str) -> Sequence[Example]: ...


def prototypes(shots: int) -> str:
    """The name of an attack, and of its gallery."""
    return f"{shots}-shot prototypes"


ATTACKS = (*map(prototypes, SHOTS), RELEARNED)


def galleries(data: Data) -> dict[str, tuple[Candidate, ...]]:
    """Of everybody trained, the first pictures; fewer where there are fewer."""
    pictures: dict[str, dict[str, None]] = {}
    for pair in data.train("forget", "retain", "holdout_identity", "holdout_association"):
        pictures.setdefault(pair.person, {})[str(pair.image)] = None
    return {
        prototypes(shots): tuple(
            Candidate(person, images=tuple(images)[:shots]) for person, images in pictures.items()
        )
        for shots in SHOTS
    }


def questions(data: Data) -> list[Example]:
    """What is asked of new pictures of forgotten ones, attack by attack (set): whose they are."""
    shown = [e for e in data.examples if e.set == "test" and e.modality == "image_to_text"]
    named = [e for e in shown if e.gallery]
    once = {e.image: e for e in shown}
    found = [
        replace(
            example,
            id=f"{example.image}/{prototypes(shots)}",
            set=prototypes(shots),
            task="prototype",
            modality="image_to_image",
            answer=example.person,
            keyword=example.person,
            gallery=prototypes(shots),
            choices=(),
        )
        for shots in SHOTS
        for example in once.values()
    ]
    return [
        *found,
        *(replace(e, id=f"{e.id}/{RELEARNED}", set=RELEARNED) for e in named),
    ]


def relearned(data: Data) -> list[Example]:
    """The first pairs of each forgotten one."""
    of: dict[str, list[Example]] = {}
    for pair in data.train("forget"):
        of.setdefault(pair.person, []).append(pair)
    return [pair for pairs in of.values() for pair in pairs[:PAIRS]]


def recovery_cells(
    asked: Sequence[Example], said: Mapping[Role, Mapping[str, Response]], seed: int
) -> list[Probe]:
    """Share of new pictures that are named rightly, by attack."""
    return paired("recovery", _places(asked, said), seed)


def _places(
    asked: Sequence[Example], said: Mapping[Role, Mapping[str, Response]]
) -> Iterator[tuple[Place, Mapping[Role, Values]]]:
    for attack in ATTACKS:
        persons = {e.id: e.person for e in asked if e.set == attack}
        if persons:
            values: dict[Role, Values] = {
                role: {id_: float(min(of[id_].ranks) == 1) for id_ in persons}
                for role, of in said.items()
            }
            yield Place({"attack": attack}, "accuracy", "fraction", persons), values
