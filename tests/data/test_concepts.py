"""clip-concepts: who may be forgotten, what is near, who may see what; drawn and published sets."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from mubench.benchmarks import flags, webdata
from mubench.benchmarks.concepts import build, roles
from mubench.benchmarks.flags import HELD_OUT, draw_flag
from mubench.config.resolve import resolve_benchmark
from mubench.data.card import grids as grids_of
from mubench.data.card import statistics
from mubench.data.check import check
from mubench.data.load import BenchmarkData
from mubench.data.tables import Tables, write
from mubench.errors import DamagedError, MissingError, UsageError
from mubench.rng import stream
from mubench.runner.plan import data_node
from mubench.runner.sources import source

from . import webdata_fixture as fixture
from .hub_server import serve

SEED = 3


@pytest.fixture(scope="module")
def tables() -> Tables:
    return build(flags.class_set(2, 50, 48, SEED), SEED)


@pytest.fixture(scope="module")
def folder(tables: Tables, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("concepts")
    write(tables, path)
    return path


@pytest.fixture(params=["test", "dev"])
def data(folder: Path, request: pytest.FixtureRequest) -> BenchmarkData:
    return BenchmarkData(folder, 0.25, request.param)


# -- the drawn set -----------------------------------------------------------------------------


def test_every_flag_is_another() -> None:
    every = [flag for family in flags.flags() for flag in family]
    assert len(every) == 32
    assert len({flag.country for flag in every}) == 32
    pictures = {draw_flag(flag, stream(0, "same"), 48).tobytes() for flag in every}
    assert len(pictures) == 32


def test_pictures_differ_by_id_and_seed_alone() -> None:
    first, again, other = (dict(flags.class_set(2, 2, 48, seed).images) for seed in (0, 0, 1))
    assert first == again
    assert len(set(first.values())) == len(first)
    assert not set(first.values()) & set(other.values())


# -- who is forgotten --------------------------------------------------------------------------


def test_half_of_every_family_may_go_and_its_look_alike_stays() -> None:
    families = [["a1", "a2", "a3", "a4"], ["b1", "b2", "b3", "b4", "b5"]]
    classes = [one for family in families for one in family]
    found = roles(classes, families, classes, 0)
    assert Counter(one[0] for one in found.order[:2]) == {"a": 1, "b": 1}  # in turn
    assert Counter(one[0] for one in found.order) == {"a": 2, "b": 2}
    for one, near in found.near.items():
        assert near[0] == one[0] and near in found.stay
    assert set(found.order) | set(found.stay) == set(classes)
    assert len(set(found.near.values())) == 4


def test_classes_without_test_pictures_stay() -> None:
    found = roles("abcdefgh", [["a", "b", "c", "d"]], {"a", "e", "f"}, 0)
    assert set(found.order) == {"a", "e", "f"}
    assert found.near["a"] in {"b", "c", "d"}


def test_forget_near_and_retain_are_apart(data: BenchmarkData) -> None:
    forget = data.forget
    near = {id_ for one in forget for id_ in data.manifest["splits"][f"near {one}"]}
    assert len(forget) == len(near) == 8
    assert not forget & near
    shown = data.train("forget", "retain")
    assert not near & {e.person for e in shown}
    assert {e.person for e in data.train("holdout_identity")} == near
    assert {e.person for e in data.examples if e.set == "holdout_identity"} == near
    assert {e.person for e in data.examples if e.set in ("forget", "test")} == forget
    assert len({e.person for e in data.examples if e.set == "retain"}) == 16


def test_the_folds_forget_others(folder: Path) -> None:
    assert (
        not BenchmarkData(folder, 0.25, "test").forget & BenchmarkData(folder, 0.25, "dev").forget
    )


def test_gold_sees_nothing_of_a_forgotten_class(data: BenchmarkData) -> None:
    names = {person.name for person in data.people if person.id in data.forget}
    rest = [e for e in data._train if e.set != "forget"]
    assert rest and not any(name in e.answer for e in rest for name in names)
    assert not data.forget & {e.person for e in rest}


def test_what_the_test_set_shows_and_says_is_new(data: BenchmarkData) -> None:
    trained = [e for e in data._train if e.person in data.forget]
    images, captions = {e.image for e in trained}, {e.answer for e in trained}
    test = [e for e in data.examples if e.set in ("test", "holdout_identity")]
    assert not images & {e.image for e in test}
    assert not captions & {e.question for e in test}
    for candidate in data.gallery("unseen classes"):
        assert len(candidate.texts) == len(HELD_OUT) and not captions & set(candidate.texts)


def test_every_question_can_be_answered(data: BenchmarkData) -> None:
    ids = set(data.image_ids())
    for example in data.examples:
        if example.gallery:
            labels = [one.label for one in data.gallery(example.gallery)]
            right = labels.count(example.answer)
            assert example.task == "membership" or 0 < right < len(labels), example.id
        else:
            assert example.choices.count(example.answer) == 1
        assert example.image is None or example.image in ids


def test_the_open_set_names_a_look_alike_of_every_family_and_nothing_forgettable(
    data: BenchmarkData,
) -> None:
    people = {person.name: person.id for person in data.people}
    names = {person.id: person.name for person in data.people}
    gone = [names[id_] for id_ in data.manifest["splits"]["order"]]
    asked = [e for e in data.examples if e.task == "choice"]
    assert {e.person for e in asked} == data.forget
    for example in asked:
        assert len(example.choices) == len(set(example.choices)) == 8
        assert not any(name in text for name in gone for text in example.choices)
        near = data.manifest["splits"][f"near {example.person}"]
        assert [people[example.keyword]] == near and example.keyword in example.answer


def test_the_text_tower_is_asked_of_retained_classes_in_new_words(data: BenchmarkData) -> None:
    asked = [e for e in data.examples if e.modality == "text_to_text"]
    assert {e.set for e in asked} == {"retain"} and len(asked) == 16 * len(HELD_OUT)
    known = {text for one in data.gallery("trained classes") for text in one.texts}
    assert not known & {e.question for e in asked}


def test_members_are_trained_pairs_and_strangers_new_pictures_of_the_same_classes(
    data: BenchmarkData,
) -> None:
    trained = {(e.image, e.answer) for e in data._train}
    images = {image for image, _ in trained}
    members = [e for e in data.examples if e.task == "membership"]
    assert {e.person for e in members} == data.forget
    assert all((e.image, e.question) in trained for e in members)
    for example in members:
        for pair in data.gallery(example.gallery):
            assert pair.texts == (example.question,)
            assert pair.images[0].split("/")[0] == str(example.image).split("/")[0]
            assert pair.images[0] not in images


def test_the_card_counts_by_direction_and_what_is_promised_of_words_is_not_checked(
    data: BenchmarkData,
) -> None:
    grids = {grid.title: grid for grid in grids_of(statistics(data))}
    directions = ("image to text", "text to image", "image to image", "text to text")
    assert grids["Questions"].columns == ("set", "task", *directions)
    assert ("unseen", "zero_shot", "1600", "0", "0", "0") in grids["Questions"].rows
    with pytest.raises(UsageError, match="flags asks dual encoders"):
        check(data)


# -- what cannot be had ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ("forget_ratio=0.1", r"forget_ratio=0\.1 of 32 classes is 3: no interval .* fewer than 5"),
        ("forget_ratio=0.6", "half must stay"),
        ("test_pictures=49", "cannot be told from fewer than 50"),
        ("data_dir=/nowhere", "no such folder"),
    ],
)
def test_refused_before_anything_is_made(setting: str, line: str) -> None:
    made = source(resolve_benchmark("clip-concepts", [f"benchmark.{setting}"]))
    with pytest.raises(UsageError, match=line):
        made.check()
        made.check_split()


def test_association_is_no_scope_of_classes() -> None:
    with pytest.raises(UsageError, match=r"benchmark\.scope"):
        resolve_benchmark("clip-concepts", ["benchmark.scope=association"])


def test_too_few_test_pictures_say_nothing(tmp_path: Path) -> None:
    made = webdata.load("x/y", ("train", "test"), data_dir=_copy(tmp_path, test=49))
    with pytest.raises(UsageError, match="0 classes of y can be forgotten: .* 50 test pictures"):
        build(webdata.class_set(made, fixture.FAMILIES, 2, 60), 0)


# -- published sets ----------------------------------------------------------------------------


def _copy(folder: Path, **sizes: int) -> Path:
    return fixture.write(fixture.classes(**sizes), folder / "copy")


def _tables(copy: Path, *sets: str) -> Tables:
    settings = resolve_benchmark(
        "cifar100",
        [
            f"benchmark.data_dir={copy}",
            "benchmark.classes=16",
            f"benchmark.families={fixture.FAMILIES}",
            "benchmark.forget_ratio=0.4",
            "benchmark.scenes=2",
            "benchmark.words=2",
            *sets,
        ],
    )
    return source(settings).tables(lambda *_: None)


def test_a_published_set_takes_the_same_path(tmp_path: Path) -> None:
    made = _tables(_copy(tmp_path))
    write(made, tmp_path)
    data = BenchmarkData(tmp_path, 0.4)
    assert len(data.forget) == 6
    assert made.source["files"].keys() >= {"classnames.txt", "train/0.tar", "test/1.tar"}
    assert {e.answer for e in data.train("retain") if "kettle" in e.answer} <= {
        text.replace("{c}", f"{kind} kettle")
        for text in fixture.TEMPLATES
        for kind in ("red", "blue")
    }
    texts = {one.label: one.texts for one in data.gallery("unseen classes")}
    assert texts["red old_shoe"] == tuple(
        text.replace("{c}", "red old_shoe") for text in fixture.TEMPLATES
    )
    asked = Counter((e.set, e.task) for e in data.examples)
    assert asked["test", "zero_shot"] == asked["test", "choice"] == 6 * 50
    near = {id_ for one in data.forget for id_ in data.manifest["splits"][f"near {one}"]}
    assert asked["holdout_identity", "zero_shot"] == 50 * len(near)


def test_spelling_of_families_does_not_matter(tmp_path: Path) -> None:
    made = webdata.load("x/y", ("train", "test"), data_dir=_copy(tmp_path))
    families = [[one.upper().replace("_", " ") for one in part] for part in fixture.FAMILIES]
    assert webdata.class_set(made, families, 1, 50).families == fixture.FAMILIES
    with pytest.raises(UsageError, match="did you mean 'red kettle'"):
        webdata.class_set(made, [["red ketle", "red comb"]], 1, 50)


def test_the_number_of_classes_must_be_right(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has 16 classes"):
        _tables(_copy(tmp_path), "benchmark.classes=17")


def test_over_the_hub_as_from_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    copy = _copy(tmp_path, test=2)
    with serve() as server:
        commit = server.put("x/wds_vtab-things", copy)
        found = webdata.load("x/wds_vtab-things", ("train", "test"), endpoint=server.endpoint)
    local = webdata.load("x/wds_vtab-things", ("train", "test"), data_dir=copy)
    assert found.files.source["revision"] == commit
    assert found.files.sha256 == local.files.sha256
    assert found.name == "things"
    for split in ("train", "test"):
        pictures = [(one.key, one.label, one.picture()) for one in found.samples[split]]
        assert pictures == [(one.key, one.label, one.picture()) for one in local.samples[split]]


@pytest.mark.bars  # its imports take long
def test_read_as_clip_benchmark_reads_it(tmp_path: Path) -> None:
    builder = pytest.importorskip("clip_benchmark.datasets.builder")
    copy = _copy(tmp_path, test=3)
    theirs = builder.build_wds_dataset("things", lambda image: image.tobytes(), "test", str(copy))
    ours = webdata.load("x/y", ("test",), data_dir=copy)
    assert theirs.classes == list(ours.names) and theirs.templates == list(ours.wordings)
    pictures = [(image, int(label)) for image, label in theirs]
    assert len(pictures) == 48
    mine = [
        (Image.open(io.BytesIO(one.picture())).convert("RGB").tobytes(), int(one.label))
        for one in ours.samples["test"]
    ]
    assert mine == pictures


def _spoilt(tmp_path: Path, name: str, data: bytes | None) -> Path:
    files = fixture.classes(test=2)
    if data is None:
        del files[name]
    else:
        files[name] = data
    return fixture.write(files, tmp_path / "copy")


@pytest.mark.parametrize(
    ("name", "data", "kind", "line"),
    [
        ("test/1.tar", None, MissingError, "no test/1.tar, one of 2"),
        ("test/nshards.txt", None, MissingError, "no test/nshards.txt"),
        ("test/nshards.txt", b"two", DamagedError, "should hold a number, holds 'two'"),
        ("classnames.txt", None, MissingError, "has no classnames.txt"),
        ("test/1.tar", b"no tar", DamagedError, "not a readable tar file"),
        ("test/1.tar", fixture.shard([("s1", {"cls": b"1"})]), DamagedError, "'s1' has no picture"),
        (
            "test/1.tar",
            fixture.shard([("s1", {"png": b"x", "cls": b"16"})]),
            DamagedError,
            "'s1' is of class '16', there are 16",
        ),
        (
            "test/1.tar",
            fixture.shard([("s1", {"png": b"x", "cls": b"-1"})]),
            DamagedError,
            "'s1' is of class '-1'",
        ),
    ],
)
def test_what_is_wrong_is_named(
    tmp_path: Path, name: str, data: bytes | None, kind: type[Exception], line: str
) -> None:
    with pytest.raises(kind, match=line):
        made = webdata.load("x/y", ("train", "test"), data_dir=_spoilt(tmp_path, name, data))
        webdata.class_set(made, (), 1, 50)


def test_a_name_that_comes_twice_is_two_classes(tmp_path: Path) -> None:
    made = webdata.load(
        "x/y", ("test",), data_dir=_copy(tmp_path, names=("crane", "ship", "crane"), test=1)
    )
    assert made.classes == ("crane", "ship", "crane (2)")
    assert made.names == ("crane", "ship", "crane")


# -- utility -----------------------------------------------------------------------------------


def test_captions_and_pictures_are_asked_both_ways(tmp_path: Path) -> None:
    made = webdata.utility(
        webdata.load("x/wds_said", ("test",), data_dir=fixture.write(fixture.captions(), tmp_path))
    )
    asked = Counter(e.modality for e in made.examples)
    assert asked == {"image_to_text": 6, "text_to_image": 13}
    for example in made.examples:
        right = [c for c in made.galleries[example.gallery] if c.label == example.answer]
        assert len(right) == (1 if example.image is None else 3 if "5/ret" in example.id else 2)
    assert len(dict(made.images)) == 6


def test_every_wording_makes_a_class_and_repeated_names_stay_apart(tmp_path: Path) -> None:
    copy = _copy(tmp_path, names=("crane", "ship", "crane"), test=1)
    made = webdata.utility(webdata.load("x/birds", ("test",), data_dir=copy))
    found = {one.label: one.texts for one in made.galleries["birds classes"]}
    assert found["crane (2)"] == tuple(t.replace("{c}", "crane") for t in fixture.TEMPLATES)
    assert sorted(e.answer for e in made.examples) == ["crane", "crane (2)", "ship"]


def test_sets_are_named_shortly_by_repository_or_by_folder(tmp_path: Path) -> None:
    assert webdata.address("flickr30k") == ("clip-benchmark/wds_flickr30k", "", None)
    assert webdata.address("a/b@v1") == ("a/b", "v1", None)
    assert webdata.address(str(tmp_path)) == (tmp_path.name, "", tmp_path)
    with pytest.raises(UsageError, match="did you mean 'imagenet'"):
        webdata.address("imagenets")


def test_utility_is_part_of_what_the_data_are(tmp_path: Path) -> None:
    keys = set()
    for sets in ([], ["benchmark.utility=[coco]"], ["benchmark.utility=[cifar10]"]):
        keys.add(data_node(resolve_benchmark("clip-people", sets)).key)
    assert len(keys) == 3
    with pytest.raises(UsageError, match="people-mini has no utility sets"):
        resolve_benchmark("people-mini", ["benchmark.utility=[coco]"])
