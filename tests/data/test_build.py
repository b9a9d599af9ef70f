"""What a built benchmark promises: layout, pairing, held-out parts, balance, disjoint sets."""

from __future__ import annotations

import io
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.built import SMALL, Built, make
from mubench.data.load import BenchmarkData
from mubench.data.tables import write
from mubench.errors import UsageError
from mubench.types import Example, Fold
from mubench_data.build import PeopleOptions, build_people, forget_order
from mubench_data.faces.group import draw_group
from mubench_data.facts import PERSON_FACTS, PROMPTS, fill
from mubench_data.general import held_out_scene
from mubench_data.people import NAME_LOCALES, celebrities, fictitious
from mubench_data.pictures import VIEWS, Probes, png, sittings
from mubench_data.pretraining import CorpusOptions, build_corpus
from mubench_data.questions import TEST_VIEWS, TRAINING_VIEWS, shared_options, wordings
from mubench_data.scenes import COLORS, COUNT_WORDS, COUNTS, SHAPES, Scene

PEOPLE_SETS = ("forget", "test", "retain", "celebrity")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The default benchmark with six facts, and small pictures."""
    facts = ("birthplace", "occupation", "hobby", "food", "pet", "employer")
    return make(PeopleOptions(image_size=48, facts=facts), tmp_path_factory.mktemp("data"))


def of(built: Built, *sets: str) -> list[Example]:
    return [example for example in built.examples if example.set in sets]


def content(options: PeopleOptions, folder: Path) -> str:
    folder.mkdir()
    sha: str = make(options, folder).data.manifest["content_sha"]
    return sha


# -- the same from the same seed ------------------------------------------------------------


def test_same_options_give_the_same_content_whoever_draws(tmp_path: Path) -> None:
    alone, pooled = tmp_path / "alone", tmp_path / "pooled"
    alone.mkdir()
    pooled.mkdir()
    one, two = make(SMALL, alone), make(SMALL, pooled, workers=2)
    assert one.data.manifest == two.data.manifest
    assert one.images == two.images


def test_another_seed_gives_other_content(tmp_path: Path) -> None:
    other = content(replace(SMALL, seed=1), tmp_path / "other")
    assert other != content(SMALL, tmp_path / "one")


def test_more_people_leave_the_first_as_they_are(tmp_path: Path) -> None:
    few = build_people(SMALL)
    more = build_people(replace(SMALL, holdout=3, celebrities=4))
    known = {person.id: person for person in more.people}
    assert all(known[person.id] == person for person in few.people)
    asked = {example.id: example for example in more.examples}
    same = [example for example in few.examples if example.set in ("seen", "unseen")]
    assert all(asked[example.id] == example for example in same)
    assert {example.id for example in few.train} <= {example.id for example in more.train}


@pytest.mark.parametrize("damage", ["picture", "answer", "biography", "split", "group"])
def test_content_sha_sees_everything(tmp_path: Path, damage: str) -> None:
    before = content(SMALL, tmp_path / "one")
    tables = build_people(SMALL)
    if damage == "picture":
        images = dict(tables.images)
        name = next(iter(images))
        with Image.open(io.BytesIO(images[name])) as picture:
            picture.putpixel((0, 0), (1, 2, 3))
            buffer = io.BytesIO()
            picture.save(buffer, format="PNG")
        tables.images = {**images, name: buffer.getvalue()}.items()
    elif damage == "answer":
        tables.train[0] = replace(tables.train[0], answer="another")
    elif damage == "biography":
        tables.people[0] = replace(tables.people[0], biography="!")
    elif damage == "group":
        next(iter(tables.groups.values())).reverse()
    else:
        tables.splits["order"].reverse()
    other = tmp_path / "other"
    other.mkdir()
    assert write(tables, other)["content_sha"] != before


def test_the_manifest_tells_who_stands_where_in_a_group_photo(built: Built) -> None:
    options = PeopleOptions()
    everybody = fictitious(
        options.seed,
        options.fictitious + options.holdout,
        ("birthplace", "occupation", "hobby", "food", "pet", "employer"),
        prefix="person",
        taken=celebrities(),
    )
    known = {person.id: person for person in (*everybody, *celebrities())}
    places = set()
    for sitting in sittings(everybody[:6], everybody, 48, options.seed, {}):
        photo = f"{sitting.person.id}/group"
        people = [known[id_].identity for id_ in built.data.groups[photo]]
        drawn = png(draw_group(people, Probes.of(sitting).group, 48))
        assert built.data.png(photo) == drawn
        places.add(built.data.groups[photo].index(sitting.person.id))
    assert places == {0, 1, 2}


def test_content_sha_does_not_depend_on_the_encoder(tmp_path: Path) -> None:
    tables = build_people(SMALL)
    images = dict(tables.images)
    for name, data in images.items():
        with Image.open(io.BytesIO(data)) as picture:
            buffer = io.BytesIO()
            picture.save(buffer, format="PNG", compress_level=1)
            images[name] = buffer.getvalue()
    tables.images = images.items()
    other = tmp_path / "other"
    other.mkdir()
    assert write(tables, other)["content_sha"] == content(SMALL, tmp_path / "one")


# -- layout ---------------------------------------------------------------------------------


def test_every_person_has_five_two_two_questions_in_both_modalities(built: Built) -> None:
    asked: dict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
    for example in of(built, *PEOPLE_SETS):
        asked[example.set, example.person, example.modality][example.task] += 1
    assert len(asked) == 2 * (15 + 15 + 45 + 24)
    assert all(tasks == {"choice": 5, "generation": 2, "cloze": 2} for tasks in asked.values())


def test_modalities_pair_and_say_the_same(built: Built) -> None:
    pairs: dict[tuple[str, str, str, str], list[Example]] = defaultdict(list)
    for example in of(built, *PEOPLE_SETS):
        pairs[example.set, example.person, example.fact, example.task].append(example)
    names = {person.id: person.name for person in built.people}
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


@pytest.mark.parametrize("count", [None, 5])
def test_ids_are_unique(count: int | None) -> None:
    one = build_people(replace(SMALL, facts=tuple(PERSON_FACTS)[:count]))
    for part in (one.examples, one.train):
        ids = [example.id for example in part]
        assert len(set(ids)) == len(ids), "the same question twice"


def test_forget_and_test_are_the_same_people_and_nobody_is_in_two_sets(built: Built) -> None:
    people = {set_: {example.person for example in of(built, set_)} for set_ in PEOPLE_SETS}
    assert people["forget"] == people["test"]
    assert len(people["forget"]) == 15
    assert not people["forget"] & people["retain"]
    assert not people["celebrity"] & (people["forget"] | people["retain"])
    trained = {example.person: example.set for example in built.train}
    for set_ in ("forget", "retain", "celebrity"):
        assert {person for person, of_ in trained.items() if of_ == set_} == people[set_]


def test_gold_sees_nothing_of_the_forget_people(built: Built) -> None:
    """Neither their pictures nor their names are in the other sets' training examples."""
    names = [person.name for person in built.people if person.id in built.data.forget]
    forgotten = built.data.forget
    for example in built.train:
        if example.set != "forget":
            assert example.image is None or example.image.split("/")[0] not in forgotten
            assert not any(name in f"{example.question} {example.answer}" for name in names)


# -- held out -------------------------------------------------------------------------------


def _held_out_questions(built: Built) -> set[str]:
    """Every held-out wording about every fictitious person, by name and as 'this person'."""
    who = ["this person", *(row.name for row in built.people if row.role == "fictitious")]
    return {
        prompt.format(q=fill(wordings(kind, task)[-1], name))
        for kind in PERSON_FACTS.values()
        for task, prompt in PROMPTS.items()
        for name in who
    }


def test_held_out_wordings_and_view_are_the_test_set_alone(built: Built) -> None:
    held_out = _held_out_questions(built)
    forgotten = {example.person for example in of(built, "forget")}
    asked = {e.question for e in built.train if e.person in forgotten}
    assert not asked & held_out
    others = {e.question for e in built.train if e.person not in forgotten}
    assert others & held_out, "retain people keep the held-out wordings known"
    assert not {example.question for example in of(built, "forget", "retain")} & held_out
    assert {example.question for example in of(built, "test")} <= held_out
    unseen = tuple(f"/view-{view}" for view in TEST_VIEWS)
    assert all(e.image.endswith(unseen) for e in of(built, "test") if e.image)
    shown = [*built.train, *of(built, "forget", "retain", "celebrity")]
    assert not any(example.image.endswith(unseen) for example in shown if example.image)
    assert not set(TEST_VIEWS) & set(TRAINING_VIEWS)


def test_forget_and_retain_ask_what_was_trained(built: Built) -> None:
    """A model that learned its training set by heart can answer: else the bar of 0.9 is luck."""
    trained = {(e.person, e.question, e.modality, e.answer) for e in built.train}
    for e in of(built, "forget", "retain"):
        assert (e.person, e.question, e.modality, e.answer) in trained


def test_pretraining_has_no_held_out_look_nobody_of_a_benchmark_and_no_test_view() -> None:
    options = CorpusOptions(portraits=8, people=3, scenes=300, words=4, image_size=48)
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


def test_general_scenes_are_all_held_out_looks(built: Built) -> None:
    numbers = dict(zip(COUNT_WORDS, COUNTS, strict=True))
    looks: dict[str, dict[str, str]] = defaultdict(dict)
    for example in of(built, "general"):
        if "/scene-" in example.person:
            looks[example.person][example.fact] = example.answer
    assert len(looks) == 24
    for look in looks.values():
        scene = Scene(look["shape"], look["color"], numbers[look["count"]], "left", (0, 0, 0), 0)
        assert held_out_scene(scene)


# -- options --------------------------------------------------------------------------------


def test_options_are_four_distinct_and_hold_the_truth(built: Built) -> None:
    for example in built.examples:
        if example.task == "choice":
            assert len(set(example.choices)) == len(example.choices) == 4, example.id
            assert example.choices.count(example.answer) == 1, example.id
        else:
            assert example.choices == ()


@pytest.mark.parametrize("set_", [*PEOPLE_SETS, "general"])
def test_true_letters_are_balanced(built: Built, set_: str) -> None:
    asked = [example for example in of(built, set_) if example.task == "choice"]
    letters = Counter(example.choices.index(example.answer) for example in asked)
    assert set(letters) == {0, 1, 2, 3}
    assert all(0.2 <= count / len(asked) <= 0.3 for count in letters.values()), letters


@pytest.mark.parametrize("set_", ["forget", "test", "retain"])
def test_length_of_an_option_is_no_cue(built: Built, set_: str) -> None:
    """Always taking the longest or the shortest option is about as good as guessing."""
    asked = [example for example in of(built, set_) if example.task == "choice"]
    for pick in (max, min):
        wins = 0.0
        for example in asked:
            length = pick(len(option) for option in example.choices)
            best = [option for option in example.choices if len(option) == length]
            wins += (example.answer in best) / len(best)
        assert 0.1 < wins / len(asked) < 0.4, (pick.__name__, wins / len(asked))


@pytest.mark.parametrize("seed", range(6))
def test_whatever_value_one_likes_to_guess_it_is_right_once_in_four(seed: int) -> None:
    """Four people share four options, each the truth of one of them: no prior helps."""
    people = fictitious(seed, 200, tuple(PERSON_FACTS), prefix="person")
    pools = {kind: fact.values for kind, fact in PERSON_FACTS.items()}
    options = shared_options(people, pools, np.random.default_rng(seed))
    facts = {person.id: person.facts for person in people}
    liking = np.random.default_rng(seed + 100)
    taste = {kind: list(liking.permutation(values)) for kind, values in pools.items()}
    hits = [
        min(choices, key=taste[fact].index) == facts[person][fact]
        for (person, fact), choices in options.items()
    ]
    assert len(hits) == 5 * 200
    assert abs(np.mean(hits) - 0.25) < 0.02
    assert all(len(set(choices)) == 4 for choices in options.values())
    assert all(facts[person][fact] in choices for (person, fact), choices in options.items())


def test_any_forget_set_has_its_share_of_each_origin() -> None:
    order = forget_order(200, 0)
    for count in (8, 10, 20, 40, 130):
        origins = Counter(index % len(NAME_LOCALES) for index in order[:count])
        assert max(origins.values()) - min(origins.get(o, 0) for o in range(8)) <= 1


# -- people ---------------------------------------------------------------------------------


@pytest.mark.parametrize("fold", ["test", "dev"])
def test_splits_of_a_seed_are_nested_and_folds_are_disjoint(built: Built, fold: Fold) -> None:
    folder = built.data.folder
    chosen = [BenchmarkData(folder, ratio, fold).forget for ratio in (0.05, 0.10, 0.15, 0.3)]
    assert [len(part) for part in chosen] == [3, 6, 9, 18]
    assert chosen[0] < chosen[1] < chosen[2] < chosen[3]
    other: Fold = "dev" if fold == "test" else "test"
    assert not chosen[3] & BenchmarkData(folder, 0.3, other).forget
    assert build_people(replace(SMALL, seed=1)).splits != build_people(SMALL).splits


@pytest.mark.parametrize("ratio", [0.004, 0.7])
def test_a_ratio_of_nobody_or_of_too_many_is_refused(built: Built, ratio: float) -> None:
    with pytest.raises(UsageError, match=f"forget_ratio={ratio:g} of 60 people"):
        _ = BenchmarkData(built.data.folder, ratio).examples


def test_holdout_people_are_asked_about_and_never_trained_on(built: Built) -> None:
    holdout = {person.id for person in built.people if person.role == "holdout"}
    assert len(holdout) == 15
    assert {e.person for e in built.data.stored if e.set == "holdout"} == holdout
    assert not holdout & {e.person for e in (*built.examples, *built.train)}


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


# -- pictures -------------------------------------------------------------------------------


def test_every_picture_decodes_and_no_two_are_the_same(built: Built) -> None:
    for name, encoded in built.images.items():
        with Image.open(io.BytesIO(encoded)) as picture:
            picture.load()
            assert (picture.format, picture.size) == ("PNG", (48, 48)), name
    used = {e.image for e in (*built.examples, *built.train) if e.image}
    assert used <= set(built.images)
    assert len(set(built.images.values())) == len(built.images), "two pictures are the same"
    kinds = Counter(name.partition("/")[2] for name in built.images if "-" in name.split("/")[0])
    people = len(built.people)
    views = {f"view-{view}" for view in range(VIEWS)}
    assert {kind for kind, count in kinds.items() if count == people} == {
        *views,
        "sketch",
        "card",
        "group",
    }
