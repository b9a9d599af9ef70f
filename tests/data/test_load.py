"""What was written is read back; what was damaged is refused in one line that names the file."""

from __future__ import annotations

import io
import json
from dataclasses import asdict
from pathlib import Path

import pytest
from PIL import Image

from mubench.data.load import BenchmarkData
from mubench.errors import DamagedError
from mubench_data.build import Benchmark, PeopleOptions, build_people, write

OPTIONS = PeopleOptions(
    fictitious=4, celebrities=1, forget_ratio=0.25, scenes=1, words=1, image_size=32
)


@pytest.fixture(scope="module")
def built() -> Benchmark:
    return build_people(OPTIONS)


@pytest.fixture
def folder(built: Benchmark, tmp_path: Path) -> Path:
    write(built, tmp_path, "people-mini", asdict(OPTIONS))
    return tmp_path


def refused(folder: Path, file: str) -> pytest.RaisesExc[DamagedError]:
    """A DamagedError of one line that names ``file`` of ``folder``."""

    def checks(error: DamagedError) -> bool:
        return str(folder / file) in str(error) and "\n" not in str(error)

    return pytest.raises(DamagedError, check=checks)


def test_round_trip_gives_equal_examples(built: Benchmark, folder: Path) -> None:
    data = BenchmarkData(folder)
    assert data.examples == built.examples
    assert data.train("forget", "retain", "celebrity", "general") == built.train
    assert data.train("forget") == [e for e in built.train if e.set == "forget"]
    assert all(data.png(name) == png for name, png in built.images.items())
    assert data.image(next(iter(built.images))).size == (32, 32)


def test_manifest_tells_what_is_there(built: Benchmark, folder: Path) -> None:
    manifest = BenchmarkData(folder).manifest
    assert manifest["content_sha"] == built.content_sha()
    assert manifest["examples"] == len(built.examples)
    assert manifest["options"]["fictitious"] == 4


def test_datasets_shows_pictures(built: Benchmark, folder: Path, tmp_path: Path) -> None:
    from datasets import Image as ImageFeature
    from datasets import load_dataset

    loaded = load_dataset(
        "parquet",
        data_files=str(folder / "images.parquet"),
        split="train",
        cache_dir=str(tmp_path / "hf"),
    )
    assert isinstance(loaded.features["image"], ImageFeature)
    assert loaded[0]["image"].size == (32, 32)
    with Image.open(io.BytesIO(built.images[loaded[0]["id"]])) as expected:
        assert loaded[0]["image"].tobytes() == expected.tobytes()


@pytest.mark.parametrize("file", ["examples", "train", "images"])
def test_truncated_parquet(folder: Path, file: str) -> None:
    path = folder / f"{file}.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    data = BenchmarkData(folder)
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
        _ = BenchmarkData(folder).examples


def test_manifest_that_is_not_json(folder: Path) -> None:
    (folder / "manifest.json").write_text("{", encoding="utf-8")
    with refused(folder, "manifest.json"):
        _ = BenchmarkData(folder).manifest


def test_unknown_picture(folder: Path) -> None:
    with refused(folder, "images.parquet"):
        BenchmarkData(folder).image("nobody/view-0")


@pytest.mark.parametrize("damage", ["text", "cut"])
def test_bytes_that_are_no_image(built: Benchmark, tmp_path: Path, damage: str) -> None:
    name, png = next(iter(built.images.items()))
    bad = b"this is not a picture" if damage == "text" else png[: len(png) // 2]
    broken = Benchmark(built.examples, built.train, {**built.images, name: bad}, built.people)
    write(broken, tmp_path, "people-mini", asdict(OPTIONS))
    with refused(tmp_path, "images.parquet") as raised:
        BenchmarkData(tmp_path).image(name)
    assert f"'{name}'" in str(raised.value)
    assert json.loads((tmp_path / "manifest.json").read_text("utf-8"))["images"]


def test_parquet_of_another_shape(folder: Path) -> None:
    """A readable table without the right columns is as damaged as an unreadable one."""
    (folder / "examples.parquet").write_bytes((folder / "people.parquet").read_bytes())
    with refused(folder, "examples.parquet"):
        _ = BenchmarkData(folder).examples
