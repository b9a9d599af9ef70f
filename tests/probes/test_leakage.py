"""The leakage matrix: what each path shows and hides, and which cells planted models light up."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from mubench.probes.leakage import (
    COLUMNS,
    PATHS,
    PLACES,
    REVERSE,
    TITLES,
    component_cells,
    items,
    leakage_cells,
    probes,
)
from mubench.types import Example
from probes.material import ASKED, DATA, GOLD, TARGET, model

NAMES = {person.id: person.name for person in DATA.people}
NAMED = {"image+name", "name", "name-reworded"}
TEXT = {"name", "name-reworded", "description", "whose-facts"}


def of(path: str, task: str = "") -> list[Example]:
    return [e for e in ASKED if e.set == path and task in ("", e.task)]


def key(example: Example) -> tuple[str, str, str]:
    return example.person, example.fact, example.task


# -- questions ------------------------------------------------------------------------------


def test_every_path_is_asked_and_ids_are_unique():
    assert {e.set for e in ASKED} == set(TITLES)
    assert len({e.id for e in ASKED}) == len(ASKED)
    assert {e.person for e in ASKED} == DATA.forget


@pytest.mark.parametrize("path", [path.name for path in PATHS])
def test_paths_ask_the_same_facts_in_the_same_forms(path):
    wanted = {key(item.image): item.image for item in items(DATA.examples)}
    found = {key(e): e for e in of(path)}
    assert found.keys() == wanted.keys()
    for place, example in found.items():
        assert (example.keyword, example.choices) == (wanted[place].keyword, wanted[place].choices)
        assert example.modality == ("text" if path in TEXT else "image_text")
        assert (example.image is None) == (path in TEXT)
        assert (NAMES[example.person] in example.question) == (path in NAMED)


def test_image_and_name_are_the_trained_questions():
    stored = {e.id: e for e in DATA.examples}
    for path, modality in (("image", "image_text"), ("name", "text")):
        for example in of(path):
            own = next(
                e for e in stored.values()
                if (e.set, e.modality, key(e)) == ("forget", modality, key(example))
            )  # fmt: skip
            assert (example.question, example.image, example.answer) == (
                own.question,
                own.image,
                own.answer,
            )


def test_a_path_changes_one_thing():
    image, name = ({key(e): e for e in of(path)} for path in ("image", "name"))
    for example in of("photo"):
        assert example.question == image[key(example)].question
        assert int(example.image[-1]) >= 4 > int(image[key(example)].image[-1])
    for path, usual in (("image-reworded", image), ("name-reworded", name)):
        for example in of(path):
            assert example.image == usual[key(example)].image
            assert example.question != usual[key(example)].question
    trained = {e.question for e in DATA.train("forget")}
    assert not {e.question for e in of("name-reworded", "choice")} & trained
    for path in ("sketch", "card"):
        for example in of(path):
            assert example.image == f"{example.person}/{path}"
            assert example.question == image[key(example)].question


def test_a_group_photo_is_asked_about_by_place():
    for example in of("group"):
        place = DATA.groups[example.image].index(example.person)
        assert [where in example.question for where in PLACES] == [n == place for n in range(3)]
        assert "this person" not in example.question.lower()


def test_a_description_tells_neither_name_nor_answer_but_the_other_facts():
    facts = {person.id: person.facts for person in DATA.people}
    for example in of("description"):
        told = [fact for fact, value in facts[example.person].items() if value in example.question]
        assert example.fact not in told
        assert len(told) >= 4
        assert not any(word in example.question for word in NAMES[example.person].split())


def test_names_are_offered_alike_and_right_once():
    for path in REVERSE:
        offered = Counter(name for e in of(path, "choice") for name in e.choices)
        assert set(offered.values()) == {4}
        assert Counter(e.answer for e in of(path, "choice")) == Counter(set(offered))
        for example in of(path):
            assert example.answer == NAMES[example.person]
            assert example.answer not in example.question
    assert all(e.image is None for e in of("whose-facts"))
    assert all(e.image for e in of("whose-portrait"))


class Without:
    """The benchmark as published data may be: no probe pictures, no twins in a test set."""

    def __init__(self) -> None:
        self.examples = [e for e in DATA.examples if e.set != "test"]
        self.people, self.groups = DATA.people, {}
        self.train = DATA.train

    def image_ids(self):
        return [id_ for id_ in DATA.image_ids() if "view" in id_]


def test_what_data_have_nothing_for_is_left_out():
    left = {"image", "image+name", "name", "description", *REVERSE}
    assert {e.set for e in probes(Without())} == left


def test_a_fact_asked_in_one_modality_only_has_no_paths():
    class OneForm(Without):
        examples = [e for e in DATA.examples if e.modality == "text"]  # noqa: RUF012

        def __init__(self) -> None:
            super().__init__()
            self.examples = OneForm.examples

    assert probes(OneForm()) == []


# -- cells ----------------------------------------------------------------------------------


def leaking(method, target=TARGET) -> set[str]:
    """Paths that light up, each in every form it has or in none."""
    cells = leakage_cells(ASKED, {"target": target, "gold": GOLD, "method": method}, 0)
    forms: dict[str, set[bool]] = {}
    for cell in cells:
        forms.setdefault(cell.axes["path"], set()).add(bool(cell.leaks))
        assert cell.leaks == (cell.difference.low > 0)
    assert set(forms) == set(TITLES)
    assert all(len(lit) == 1 for lit in forms.values())
    return {path for path, lit in forms.items() if lit == {True}}


def test_the_target_leaks_everywhere_and_gold_nowhere():
    assert leaking(TARGET) == set(TITLES)
    assert leaking(GOLD) == set()


def test_planted_forgetters_of_one_modality_leak_by_the_other():
    assert leaking(model(lambda e: e.modality == "text")) == TEXT
    assert leaking(model(lambda e: e.modality != "text")) == set(TITLES) - TEXT


def test_one_path_alone_is_found():
    assert leaking(model(lambda e: e.set == "card")) == {"card"}


def test_where_the_target_knows_nothing_there_was_nothing_to_forget():
    blind = model(lambda e: e.set != "sketch")
    cells = leakage_cells(ASKED, {"target": blind, "gold": GOLD, "method": blind}, 0)
    assert {c.axes["path"] for c in cells if not c.known} == {"sketch"}


def test_of_too_few_people_nothing_is_said_for_certain():
    four = sorted(DATA.forget)[:4]
    asked = [e for e in ASKED if e.person in four]
    cells = leakage_cells(asked, {"target": TARGET, "gold": GOLD, "method": TARGET}, 0)
    assert {cell.known for cell in cells} == {None}
    assert not any(cell.leaks for cell in cells)


def test_every_form_is_a_column_with_its_items():
    cells = leakage_cells(ASKED, {"target": TARGET, "gold": GOLD, "method": GOLD}, 0)
    people = len(DATA.forget)
    counts = {(c.axes["path"], c.axes["form"]): (c.n, c.persons) for c in cells}
    assert counts["image", "choice"] == (5 * people, people)
    assert counts["image", "cloze"] == counts["image", "free"] == (2 * people, people)
    # A sentence says more than the fact, so it has neither.
    assert counts["image", "likelihood"] == counts["image", "first_token"] == (2 * people, people)
    assert counts["whose-portrait", "first_token"] == (people, people)
    assert counts["whose-portrait", "free"] == (people, people)
    assert {c.axes["form"] for c in cells} == set(COLUMNS)


def test_chance_lights_nothing_up():
    """Models that know nothing and guess: no cell of the matrix may leak, with many cells."""
    rng = np.random.default_rng(11)
    lit = 0
    for _ in range(3):
        gold, method = (model(lambda e: bool(rng.random() < 0.25)) for _ in range(2))
        cells = leakage_cells(ASKED, {"target": TARGET, "gold": gold, "method": method}, 0)
        lit += sum(bool(cell.leaks) for cell in cells)
    assert lit == 0


def test_forgetting_more_than_gold_does_not_leak():
    knows = model(lambda e: e.task == "choice")
    cells = leakage_cells(ASKED, {"target": TARGET, "gold": knows, "method": GOLD}, 0)
    assert not any(cell.leaks for cell in cells)
    assert min(cell.difference.value for cell in cells) == -1


def test_components_show_which_one_brings_the_fact_back():
    restored = {
        "none": GOLD,
        "language": GOLD,
        "projector": model(lambda e: e.modality != "text"),
        "vision+projector+language": TARGET,
    }
    said = {"target": TARGET, "gold": GOLD, "method": GOLD}
    cells = component_cells(ASKED, said, restored, 0)
    lit = {(c.axes["components"], c.axes["path"]) for c in cells if c.leaks}
    assert lit == {
        ("projector", "image"),
        ("vision+projector+language", "image"),
        ("vision+projector+language", "name"),
    }


def test_without_keywords_the_free_column_is_rouge():
    plain = [replace(e, keyword="") for e in ASKED if e.set == "image" and e.task == "generation"]
    said = {"target": TARGET, "gold": GOLD, "method": GOLD}
    free = next(c for c in leakage_cells(plain, said, 0) if c.axes["form"] == "free")
    assert free.target.value == 1
    assert 0 <= free.gold.value < 0.5
