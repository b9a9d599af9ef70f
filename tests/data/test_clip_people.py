"""clip-people: the people of people-mini, asked as pairs; who may see what under which split."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from mubench.data.load import BenchmarkData
from mubench.data.tables import Tables, write
from mubench.types import DIRECTIONS, Scope
from mubench_data.build import PeopleOptions, build_people
from mubench_data.captions import NAME_HELD_OUT, variant
from mubench_data.clip_people import build_clip_people

OPTIONS = PeopleOptions(
    fictitious=20,
    celebrities=3,
    holdout=3,
    scenes=4,
    words=4,
    facts=("birthplace", "occupation", "hobby", "food", "pet"),
    image_size=48,
)


@pytest.fixture(scope="module")
def tables() -> Tables:
    made = build_clip_people(OPTIONS)
    made.images = dict(made.images).items()
    return made


@pytest.fixture(scope="module")
def folder(tables: Tables, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip-people")
    write(tables, path)
    return path


@pytest.fixture(params=["association", "identity"])
def data(folder: Path, request: pytest.FixtureRequest) -> BenchmarkData:
    return BenchmarkData(folder, 0.25, "test", request.param)


def test_people_and_portraits_are_those_of_the_people_benchmark(tables: Tables) -> None:
    people = build_people(OPTIONS)
    assert tables.people == people.people
    assert tables.splits["order"] == people.splits["order"]
    assert dict(tables.images) == dict(people.images)


def test_sets_and_directions(data: BenchmarkData) -> None:
    asked = Counter((e.set, e.modality) for e in data.examples)
    both = ("image_to_text", "text_to_image")
    for set_ in ("forget", "test", "retain", "holdout_identity", "celebrity", "general"):
        assert all(asked[set_, direction] for direction in both), set_
    kept = data.scope == "association"
    assert all(bool(asked["holdout_association", direction]) == kept for direction in both)
    assert all(asked["forget", direction] for direction in DIRECTIONS[:3])
    assert {modality for _, modality in asked} == set(DIRECTIONS)


def test_a_method_is_shown_neither_holdout(data: BenchmarkData) -> None:
    shown = data.train("forget", "retain")
    forget = data.forget
    assert {e.person for e in shown if e.set == "forget"} == forget
    held_out = {e.person for e in data.train("holdout_identity")}
    assert len(held_out) == 2
    assert not held_out & {e.person for e in shown}
    if data.scope == "association":
        assert {e.fact for e in data.train("forget")} == {"name"}
        others = data.train("holdout_association")
        assert {e.person for e in others} == forget
        assert "name" not in {e.fact for e in others}
    else:
        assert len({e.fact for e in data.train("forget")}) == 6
        assert not data.train("holdout_association")


def test_gold_sees_no_forgotten_association(folder: Path) -> None:
    """Neither the name nor, under identity, anything else of a forget person, in words or photos."""
    scopes: tuple[Scope, ...] = ("association", "identity")
    for scope in scopes:
        data = BenchmarkData(folder, 0.25, "test", scope)
        names = {person.name for person in data.people if person.id in data.forget}
        rest = [e for e in data._train if e.set != "forget"]
        assert not any(name in e.answer for e in rest for name in names)
        if scope == "identity":
            assert not data.forget & {e.person for e in rest}


def test_unseen_photos_and_held_out_wordings_are_unseen(data: BenchmarkData) -> None:
    trained = [e for e in data._train if e.person in data.forget]
    photos, captions = {e.image for e in trained}, {e.answer for e in trained}
    test = [e for e in data.examples if e.set == "test"]
    assert not photos & {e.image for e in test}
    assert not captions & {e.question for e in test}
    wordings = {text.format(who="X") for text in NAME_HELD_OUT}
    for name in ("names held out", "names slip"):
        for candidate in data.gallery(name):
            assert not captions & set(candidate.texts)
            assert len(candidate.texts) == len(wordings)
    seen = [e for e in data.examples if e.set == "forget" and e.task == "retrieval" and e.image]
    assert {e.image for e in seen} <= photos


def test_every_question_can_be_answered(data: BenchmarkData) -> None:
    ids = set(data.image_ids())
    for example in data.examples:
        if example.gallery:
            labels = [one.label for one in data.gallery(example.gallery)]
            right = labels.count(example.answer)
            assert example.task == "membership" or 0 < right < len(labels), example.id
            for one in data.gallery(example.gallery):
                assert set(one.images) <= ids
        else:
            assert example.choices.count(example.answer) == 1
            assert len(set(example.choices)) == 4
        assert example.image is None or example.image in ids


def test_photos_offered_by_a_fact_are_right_only_for_the_asked_one(data: BenchmarkData) -> None:
    facts = {person.id: person.facts for person in data.people}
    asked = [e for e in data.examples if e.task == "choice" and e.modality == "text_to_image"]
    assert asked
    for example in asked:
        shown = [facts[image.partition("/")[0]][example.fact] for image in example.choices]
        assert shown.count(facts[example.person][example.fact]) == 1
        assert example.answer.startswith(f"{example.person}/")


def test_non_members_are_nobody_s_training_pairs(data: BenchmarkData) -> None:
    trained = {(e.image, e.answer) for e in data._train}
    members = [e for e in data.examples if e.task == "membership"]
    assert {(e.image, e.question) for e in members} <= trained
    strangers = {person.id for person in data.people if person.role == "holdout"}
    for pair in data.gallery("non-members"):
        assert {image.partition("/")[0] for image in pair.images} <= strangers


def test_name_variants() -> None:
    found = [variant("Anna Lee", kind) for kind in ("first", "last", "turned", "slip")]
    assert found == ["Anna", "Lee", "Lee, Anna", "Anna eLe"]  # nothing else differs in it
    assert variant("Bo Diaz", "slip") == "Bo Daiz"
    assert variant("Cy Moon", "slip") == "Cy Mono"
