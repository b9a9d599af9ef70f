"""What was written is read back; what was damaged is refused in one line that names the file."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from mubench.data.load import BenchmarkData
from mubench.data.tables import Tables, write
from mubench.errors import DamagedError
from mubench_data.build import PeopleOptions, build_people

OPTIONS = PeopleOptions(fictitious=4, celebrities=1, holdout=1, scenes=1, words=1, image_size=48)
RATIO = 0.25


@pytest.fixture(scope="module")
def built() -> Tables:
    tables = build_people(OPTIONS)
    tables.images = list(tables.images)
    return tables


@pytest.fixture
def folder(built: Tables, tmp_path: Path) -> Path:
    write(built, tmp_path)
    return tmp_path


def refused(folder: Path, file: str) -> pytest.RaisesExc[DamagedError]:
    """A DamagedError of one line that names ``file`` of ``folder``."""

    def checks(error: DamagedError) -> bool:
        return str(folder / file) in str(error) and "\n" not in str(error)

    return pytest.raises(DamagedError, check=checks)


def test_round_trip_gives_equal_examples(built: Tables, folder: Path) -> None:
    data = BenchmarkData(folder, RATIO)
    assert data.stored == built.examples
    assert data.people == built.people
    trained = data.train("forget", "retain", "celebrity", "general")
    assert [replace(e, set="") for e in trained] == [replace(e, set="") for e in built.train]
    assert dict(built.images) == {name: data.png(name) for name in data.image_ids()}
    assert data.image(next(iter(data.image_ids()))).size == (48, 48)
    assert data.refusals == tuple(built.refusals)


def test_a_split_gives_every_question_its_set(built: Tables, folder: Path) -> None:
    data = BenchmarkData(folder, RATIO)
    assert data.forget == {built.splits["order"][0]}
    sets = {example.id: example.set for example in data.examples}
    for example in built.examples:
        forgotten = example.person in data.forget
        expected = {
            "seen": "forget" if forgotten else "retain",
            "unseen": "test" if forgotten else None,
            "holdout": None,
        }.get(example.set, example.set)
        assert sets.get(example.id) == expected, example.id
    for example in data.train("forget", "retain"):
        assert (example.set == "forget") == (example.person in data.forget)


def test_manifest_tells_what_is_there(built: Tables, folder: Path) -> None:
    manifest = BenchmarkData(folder, RATIO).manifest
    assert manifest["rows"]["examples"] == len(built.examples)
    assert manifest["rows"]["images"] == len(list(built.images))
    assert manifest["source"]["options"]["fictitious"] == 4


def test_datasets_shows_pictures(built: Tables, folder: Path, tmp_path: Path) -> None:
    from datasets import Image as ImageFeature
    from datasets import load_dataset

    loaded = load_dataset(
        "parquet",
        data_files=str(folder / "images.parquet"),
        split="train",
        cache_dir=str(tmp_path / "hf"),
    )
    assert isinstance(loaded.features["image"], ImageFeature)
    assert loaded[0]["image"].size == (48, 48)
    with Image.open(io.BytesIO(dict(built.images)[loaded[0]["id"]])) as expected:
        assert loaded[0]["image"].tobytes() == expected.tobytes()


@pytest.mark.parametrize("file", ["examples", "train", "images"])
def test_truncated_parquet(folder: Path, file: str) -> None:
    path = folder / f"{file}.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    data = BenchmarkData(folder, RATIO)
    read = {
        "examples": lambda: data.examples,
        "train": lambda: data.train("forget"),
        "images": lambda: data.png("person-000/view-0"),
    }[file]
    with refused(folder, f"{file}.parquet"):
        read()


def test_missing_parquet(folder: Path) -> None:
    (folder / "examples.parquet").unlink()
    with refused(folder, "examples.parquet"):
        _ = BenchmarkData(folder, RATIO).examples


def test_manifest_that_is_not_json(folder: Path) -> None:
    (folder / "manifest.json").write_text("{", encoding="utf-8")
    with refused(folder, "manifest.json"):
        _ = BenchmarkData(folder, RATIO).manifest


def test_unknown_picture(folder: Path) -> None:
    with refused(folder, "images.parquet"):
        BenchmarkData(folder, RATIO).image("nobody/view-0")


@pytest.mark.parametrize("damage", ["text", "cut"])
def test_bytes_that_are_no_image(built: Tables, tmp_path: Path, damage: str) -> None:
    """They are refused when the table is written, by name."""
    (name, png), *others = built.images
    bad = b"this is not a picture" if damage == "text" else png[: len(png) // 2]
    broken = replace(built, images=[(name, bad), *others])
    with pytest.raises(DamagedError, match=f"picture '{name}' is not an image"):
        write(broken, tmp_path)


@pytest.mark.parametrize("table", ["examples", "train", "people", "images"])
def test_an_id_that_comes_twice(built: Tables, tmp_path: Path, table: str) -> None:
    rows = list(getattr(built, table))
    twice = replace(built, **{table: [*rows, rows[0]]})
    with pytest.raises(DamagedError, match="comes twice"):
        write(twice, tmp_path)


def test_parquet_of_another_shape(folder: Path) -> None:
    """A readable table without the right columns is as damaged as an unreadable one."""
    (folder / "examples.parquet").write_bytes((folder / "people.parquet").read_bytes())
    with refused(folder, "examples.parquet"):
        _ = BenchmarkData(folder, RATIO).examples
