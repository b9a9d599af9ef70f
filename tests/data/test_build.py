"""What a built benchmark promises: layout, pairing, held-out parts, balance, disjoint sets."""

from __future__ import annotations

import csv
import io
from collections import Counter, defaultdict
from dataclasses import replace
from importlib.resources import files

import pytest
from PIL import Image

from mubench.types import Example
from mubench_data.build import (
    Benchmark,
    PeopleOptions,
    build_people,
    held_out_scene,
    split_forget,
)
from mubench_data.facts import PERSON_FACTS, PROMPTS, fill
from mubench_data.people import celebrities, fictitious
from mubench_data.pretraining import CorpusOptions, build_corpus
from mubench_data.questions import TEST_VIEW, TRAINING_VIEWS, wordings
from mubench_data.scenes import COLORS, COUNT_WORDS, COUNTS, SHAPES, Scene

SMALL = PeopleOptions(
    fictitious=5, celebrities=2, forget_ratio=0.4, scenes=2, words=2, image_size=32
)
PEOPLE_SETS = ("forget", "test", "retain", "celebrity")


@pytest.fixture(scope="module")
def built() -> Benchmark:
    """The default benchmark, with small pictures."""
    return build_people(PeopleOptions(image_size=32))


def of(built: Benchmark, *sets: str) -> list[Example]:
    return [example for example in built.examples if example.set in sets]


# -- the same from the same seed ------------------------------------------------------------


def test_same_options_give_the_same_content() -> None:
    assert build_people(SMALL).content_sha() == build_people(SMALL).content_sha()


def test_another_seed_gives_other_content() -> None:
    assert build_people(replace(SMALL, seed=1)).content_sha() != build_people(SMALL).content_sha()


def test_content_sha_sees_one_byte_of_one_picture() -> None:
    one = build_people(SMALL)
    before = one.content_sha()
    name, png = next(iter(one.images.items()))
    one.images[name] = png[:-1] + bytes([png[-1] ^ 1])
    assert one.content_sha() != before


def test_content_sha_sees_training_questions_and_people() -> None:
    one, before = build_people(SMALL), build_people(SMALL).content_sha()
    one.train[0] = replace(one.train[0], answer="another")
    assert one.content_sha() != before
    other = build_people(SMALL)
    other.people[0]["biography"] += "!"
    assert other.content_sha() != before


# -- layout ---------------------------------------------------------------------------------


def test_every_person_has_five_two_two_questions_in_both_modalities(built: Benchmark) -> None:
    asked: dict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
    for example in of(built, *PEOPLE_SETS):
        asked[example.set, example.person, example.modality][example.task] += 1
    assert len(asked) == 2 * (15 + 15 + 45 + 24)
    assert all(tasks == {"choice": 5, "generation": 2, "cloze": 2} for tasks in asked.values())


def test_modalities_pair_and_say_the_same(built: Benchmark) -> None:
    pairs: dict[tuple[str, str, str, str], list[Example]] = defaultdict(list)
    for example in of(built, *PEOPLE_SETS):
        pairs[example.set, example.person, example.fact, example.task].append(example)
    names = {row["id"]: row["name"] for row in built.people}
    for pair in pairs.values():
        shown, named = sorted(pair, key=lambda example: example.modality)
        assert (shown.modality, named.modality) == ("image_text", "text")
        assert (shown.choices, shown.keyword) == (named.choices, named.keyword)
        assert shown.answer.replace("This person", names[named.person]) == named.answer
        assert shown.image is not None
        assert shown.image.startswith(f"{shown.person}/")
        assert named.image is None
        assert names[shown.person] not in shown.question, "the picture must be needed"
        assert names[named.person] in named.question


@pytest.mark.parametrize("facts", [tuple(PERSON_FACTS), tuple(PERSON_FACTS)[:5]])
@pytest.mark.parametrize("part", ["examples", "train"])
def test_ids_are_unique(facts: tuple[str, ...], part: str) -> None:
    one = build_people(replace(SMALL, facts=facts))
    ids = [example.id for example in getattr(one, part)]
    assert len(set(ids)) == len(ids), "the same question twice"


def test_forget_and_test_are_the_same_people_and_nobody_is_in_two_sets(built: Benchmark) -> None:
    people = {set_: {example.person for example in of(built, set_)} for set_ in PEOPLE_SETS}
    assert people["forget"] == people["test"]
    assert len(people["forget"]) == 15
    assert not people["forget"] & people["retain"]
    assert not people["celebrity"] & (people["forget"] | people["retain"])
    trained = {example.person: example.set for example in built.train}
    for set_ in ("forget", "retain", "celebrity"):
        assert {person for person, of_ in trained.items() if of_ == set_} == people[set_]


def test_gold_sees_nothing_of_the_forget_people(built: Benchmark) -> None:
    """Neither their pictures nor their names are in the other sets' training examples."""
    names = [row["name"] for row in built.people if row["set"] == "forget"]
    forgotten = {row["id"] for row in built.people if row["set"] == "forget"}
    for example in built.train:
        if example.set != "forget":
            assert example.image is None or example.image.split("/")[0] not in forgotten
            assert not any(name in f"{example.question} {example.answer}" for name in names)


# -- held out -------------------------------------------------------------------------------


def _held_out_questions(built: Benchmark) -> set[str]:
    """Every held-out wording about every fictitious person, by name and as 'this person'."""
    who = ["this person", *(row["name"] for row in built.people if row["source"] == "fictitious")]
    return {
        prompt.format(q=fill(wordings(kind, task)[-1], name))
        for kind in PERSON_FACTS.values()
        for task, prompt in PROMPTS.items()
        for name in who
    }


def test_held_out_wordings_and_view_are_the_test_set_alone(built: Benchmark) -> None:
    held_out = _held_out_questions(built)
    forgotten = {example.person for example in of(built, "forget")}
    asked = {e.question for e in built.train if e.person in forgotten}
    assert not asked & held_out
    others = {e.question for e in built.train if e.person not in forgotten}
    assert others & held_out, "retain people keep the held-out wordings known"
    assert not {example.question for example in of(built, "forget", "retain")} & held_out
    assert {example.question for example in of(built, "test")} <= held_out
    view = f"/view-{TEST_VIEW}"
    assert all(e.image.endswith(view) for e in of(built, "test") if e.image)
    others = [*built.train, *of(built, "forget", "retain", "celebrity")]
    assert not any(example.image.endswith(view) for example in others if example.image)
    assert TEST_VIEW not in TRAINING_VIEWS


def test_forget_and_retain_ask_what_was_trained(built: Benchmark) -> None:
    """A model that learned its training set by heart can answer: else the bar of 0.9 is luck."""
    trained = {(e.person, e.question, e.modality, e.answer) for e in built.train}
    for e in of(built, "forget", "retain"):
        assert (e.person, e.question, e.modality, e.answer) in trained


def test_pretraining_has_no_held_out_look_nobody_of_a_benchmark_and_no_test_view() -> None:
    options = CorpusOptions(portraits=8, people=3, scenes=300, words=4, image_size=32)
    avoid = fictitious(0, 60, tuple(PERSON_FACTS), prefix="person", taken=celebrities())
    corpus = build_corpus(options, avoid)
    numbers = dict(zip(COUNT_WORDS, COUNTS, strict=True))
    shown = {
        (label["shape"], label["color"], numbers[label["count"]])
        for key, label in corpus.labels.items()
        if key.startswith("scene-")
    }
    looks = {
        (shape, color, count): held_out_scene(Scene(shape, color, count, "left", (0, 0, 0), 0))
        for shape in SHAPES
        for color in COLORS
        for count in COUNTS
    }
    assert 0.08 < sum(looks.values()) / len(looks) < 0.3, "about one look in six is held out"
    assert len(shown) > 50
    assert not any(looks[look] for look in shown)
    text = "\n".join(f"{example.question} {example.answer}" for example in corpus.examples)
    assert not any(person.name in text for person in avoid)


def test_general_scenes_are_all_held_out_looks(built: Benchmark) -> None:
    numbers = dict(zip(COUNT_WORDS, COUNTS, strict=True))
    looks: dict[str, dict[str, str]] = defaultdict(dict)
    for example in of(built, "general"):
        if example.person.startswith("scene-"):
            looks[example.person][example.fact] = example.answer
    assert len(looks) == 24
    for look in looks.values():
        scene = Scene(look["shape"], look["color"], numbers[look["count"]], "left", (0, 0, 0), 0)
        assert held_out_scene(scene)


# -- options --------------------------------------------------------------------------------


def test_options_are_four_distinct_and_hold_the_truth(built: Benchmark) -> None:
    for example in built.examples:
        if example.task == "choice":
            assert len(set(example.choices)) == len(example.choices) == 4, example.id
            assert example.choices.count(example.answer) == 1, example.id
        else:
            assert example.choices == ()


@pytest.mark.parametrize("set_", [*PEOPLE_SETS, "general"])
def test_true_letters_are_balanced(built: Benchmark, set_: str) -> None:
    asked = [example for example in of(built, set_) if example.task == "choice"]
    letters = Counter(example.choices.index(example.answer) for example in asked)
    assert set(letters) == {0, 1, 2, 3}
    assert all(0.2 <= count / len(asked) <= 0.3 for count in letters.values()), letters


@pytest.mark.parametrize("set_", ["forget", "test", "retain"])
def test_length_of_an_option_is_no_cue(built: Benchmark, set_: str) -> None:
    """Always taking the longest or the shortest option is about as good as guessing."""
    asked = [example for example in of(built, set_) if example.task == "choice"]
    for pick in (max, min):
        wins = 0.0
        for example in asked:
            length = pick(len(option) for option in example.choices)
            best = [option for option in example.choices if len(option) == length]
            wins += (example.answer in best) / len(best)
        assert 0.1 < wins / len(asked) < 0.4, (pick.__name__, wins / len(asked))


def test_values_are_balanced_within_each_group() -> None:
    """Over all people together, the commonest retain answer would never be a forget person's."""
    groups = [range(0, 40, 4), [index for index in range(40) if index % 4]]
    people = fictitious(3, 40, tuple(PERSON_FACTS), prefix="person", groups=groups)
    for group in groups:
        for kind in PERSON_FACTS:
            counts = Counter(people[index].facts[kind] for index in group)
            assert max(counts.values()) <= -(-len(group) // len(PERSON_FACTS[kind].values))


# -- people ---------------------------------------------------------------------------------


def test_splits_of_a_seed_are_nested() -> None:
    small, middle, large = (split_forget(60, ratio, 0) for ratio in (0.05, 0.10, 0.15))
    assert set(small) < set(middle) < set(large)
    assert [len(part) for part in (small, middle, large)] == [3, 6, 9]
    assert split_forget(60, 0.10, 1) != middle


def test_names_are_unique_and_nobody_famous_lends_one() -> None:
    people = fictitious(0, 120, ("pet",), prefix="person", taken=celebrities())
    parts = [part for person in people for part in person.name.split()]
    assert len(set(parts)) == len(parts) == 240
    famous = {part for person in celebrities() for part in person.name.split()}
    assert not famous & set(parts)


def test_faces_are_unique_and_none_is_a_celebrity_s() -> None:
    people = fictitious(0, 60, ("pet",), prefix="person", taken=celebrities())
    faces = [person.identity for person in (*people, *celebrities())]
    assert len(set(faces)) == len(faces)


def test_every_celebrity_has_a_source_and_every_fact() -> None:
    text = files("mubench_data").joinpath("celebrities.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 24
    assert len({row["name"] for row in rows}) == len(rows)
    for row in rows:
        assert all(value and value.strip() == value for value in row.values()), row
        assert row["source"] != row["name"]


# -- pictures -------------------------------------------------------------------------------


def test_every_picture_decodes_and_is_used(built: Benchmark) -> None:
    for name, png in built.images.items():
        with Image.open(io.BytesIO(png)) as picture:
            picture.load()
            assert (picture.format, picture.size) == ("PNG", (32, 32)), name
    used = {e.image for e in (*built.examples, *built.train) if e.image}
    assert used <= set(built.images)
    assert len(set(built.images.values())) == len(built.images), "two pictures are the same"
