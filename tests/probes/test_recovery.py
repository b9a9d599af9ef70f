"""Recovery: what is asked, of whom, among what; the excess over gold by hand."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from mubench.probes.recovery import (
    PAIRS,
    RELEARNED,
    SHOTS,
    galleries,
    prototypes,
    questions,
    recovery_cells,
    relearned,
)
from mubench.types import Example, Response

PEOPLE = [f"p{number}" for number in range(26)]
FORGET, KEPT = PEOPLE[:24], PEOPLE[24:]


def example(person: str, set_: str, image: str, **changes: Any) -> Example:
    made = Example(
        id=f"{image}/{set_}", set=set_, task="retrieval", modality="image_to_text", person=person,
        fact="name", question="", answer=f"Name of {person}", keyword="", image=image,
        gallery="names",
    )  # fmt: skip
    return replace(made, **changes)


@dataclass
class Data:
    examples: list[Example] = field(default_factory=list)

    def train(self, *sets: str) -> list[Example]:
        return [
            example(person, set_, f"{person}/{view}", id=f"{person}/{view}/{way}", task="pair")
            for set_, people in (("forget", FORGET), ("retain", KEPT))
            if set_ in sets
            for person in people
            for view in range(3)
            for way in range(2)
        ]


DATA = Data(
    [
        *(example(p, "test", f"{p}/new-{n}") for p in FORGET for n in range(2)),
        example("p0", "test", "p0/new-0", id="again", gallery="names slip"),
        example("p0", "test", "p0/new-0", id="open", task="choice", gallery="", choices=("a", "b")),
        example("p0", "test", "", id="words", modality="text_to_image", question="?"),
        example("p25", "retain", "p25/0"),
    ]
)


def test_prototypes_are_the_first_pictures_of_everybody_once_each() -> None:
    found = galleries(DATA)
    assert set(found) == {prototypes(shots) for shots in SHOTS}
    for shots in SHOTS:
        of = {one.label: one.images for one in found[prototypes(shots)]}
        assert set(of) == set(PEOPLE)
        assert of["p7"] == tuple(f"p7/{view}" for view in range(min(shots, 3)))


def test_every_new_picture_of_the_forgotten_is_asked_once_an_attack() -> None:
    asked = questions(DATA)
    for shots in SHOTS:
        own = [e for e in asked if e.set == prototypes(shots)]
        assert len(own) == 48
        assert {e.answer for e in own} == set(FORGET)
        assert all(e.gallery == prototypes(shots) and not e.choices for e in own)
    names = [e for e in asked if e.set == RELEARNED]
    assert len(names) == 49  # as the test set asks them, in every gallery
    assert len({e.id for e in asked}) == len(asked)


def test_a_few_pairs_of_each_are_trained_again() -> None:
    found = relearned(DATA)
    assert [pair.person for pair in found] == [person for person in FORGET for _ in range(PAIRS)]


def test_the_excess_over_gold() -> None:
    asked = [e for e in questions(DATA) if e.set == prototypes(1)]

    def model(right: int) -> dict[str, Response]:
        """Names the first ``right`` of everybody's two pictures."""
        return {
            e.id: Response(e.id, "ok", ranks=(1 if int(e.id.split("/")[1][-1]) < right else 2,))
            for e in asked
        }

    assert asked[0].id == "p0/new-0/1-shot prototypes"
    (cell,) = recovery_cells(asked, {"target": model(2), "gold": model(1), "method": model(2)}, 0)
    assert (cell.target.value, cell.gold.value, cell.method.value) == (1.0, 0.5, 1.0)
    assert cell.difference.value == pytest.approx(0.5)
    assert cell.leaks and cell.known
    (same,) = recovery_cells(asked, {"target": model(2), "gold": model(1), "method": model(1)}, 0)
    assert same.difference.value == 0 and not same.leaks
