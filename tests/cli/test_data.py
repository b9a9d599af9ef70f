"""``mubench data``: every command, on a benchmark of seconds."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from data.hub_server import TOKEN, Fault, serve
from runner.quick import error_line, mubench

SMALL = (
    "--fictitious",
    "20",
    "--celebrities",
    "2",
    *(
        part
        for item in ("holdout=2", "scenes=1", "words=1", "image_size=48")
        for part in ("--set", f"benchmark.{item}")
    ),
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A cache with a small benchmark, and the folder it was written to."""
    root = tmp_path_factory.mktemp("data")
    cache, out = root / "cache", root / "out"
    done = mubench("data", "build", "people", *SMALL, "--out", str(out), "--cache", str(cache))
    assert done.returncode == 0, done.stderr
    assert f"written: {out}" in done.stdout
    return cache, out


def test_a_built_folder_loads_with_datasets(made: tuple[Path, Path], tmp_path: Path) -> None:
    from datasets import load_dataset

    people = load_dataset(str(made[1]), "people", split="train", cache_dir=str(tmp_path))
    assert len(people) == 20 + 2 + 2
    assert "drawn" in (made[1] / "README.md").read_text("utf-8")


def test_the_same_command_finds_it_cached(made: tuple[Path, Path]) -> None:
    again = mubench("data", "build", "people", *SMALL, "--cache", str(made[0]))
    assert "data: cached" in again.stderr


def test_check_keeps_every_promise(made: tuple[Path, Path]) -> None:
    done = mubench("data", "check", str(made[1]))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "NO" not in done.stdout.split()


def test_check_names_a_broken_promise(made: tuple[Path, Path], tmp_path: Path) -> None:
    import shutil

    broken = tmp_path / "broken"
    shutil.copytree(made[1], broken)
    path = broken / "manifest.json"
    path.write_text(path.read_text("utf-8").replace('"content_sha": "', '"content_sha": "0'))
    line = error_line(mubench("data", "check", str(broken)), 5)
    assert str(broken) in line


def test_show_prints_numbers_and_draws_people(made: tuple[Path, Path], tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    done = mubench("data", "show", str(made[1]), "--sheet", str(sheet), "--people", "3")
    assert done.returncode == 0, done.stderr
    with Image.open(sheet) as picture:
        assert picture.width > 11 * 48


def test_show_refuses_a_sheet_that_cannot_be_written(made: tuple[Path, Path]) -> None:
    done = mubench("data", "show", str(made[1]), "--sheet", "/nowhere/at/all.png")
    assert "/nowhere/at/all.png" in error_line(done, 6)


def test_export_writes_the_ten_configs(made: tuple[Path, Path], tmp_path: Path) -> None:
    done = mubench("data", "export", str(made[1]), str(tmp_path / "mllmu"))
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "mllmu").glob("*/train-00000-of-00001.parquet"))) == 10


def test_ls_tells_what_is_there(made: tuple[Path, Path]) -> None:
    done = mubench("data", "ls", "--cache", str(made[0]))
    for name in ("people-mini", "people", "mllmu", "umu", "clear", "fiubench"):
        assert name in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("show", "peeple"), 2, "peeple"),
        (("check", "people"), 2, "mubench data build people"),
        (("build", "mllmu"), 2, "mubench data pull mllmu"),
        (("pull", "people"), 2, "mubench data build people"),
        (("pull", "mllmu", "--data-dir", "/nowhere"), 2, "/nowhere"),
        (("build", "people-mini", "--faces", "/nowhere"), 2, "/nowhere"),
        (("build", "people-mini", "--fictitious", "2"), 2, "fictitious"),
        (("export", "people", "out", "--format", "coco"), 2, "coco"),
    ],
)
def test_mistakes_are_one_line(
    tmp_path: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    line = error_line(mubench("data", *arguments, "--cache", str(tmp_path)), code)
    assert said in line


def test_a_folder_that_is_not_empty_is_left_alone(made: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    done = mubench(
        "data", "build", "people", *SMALL, "--cache", str(made[0]), "--out", str(tmp_path)
    )
    assert "not empty" in error_line(done, 6)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_push_uploads_a_folder_that_loads_back(made: tuple[Path, Path], tmp_path: Path) -> None:
    with serve() as server:
        hub = {
            "HF_ENDPOINT": server.endpoint,
            "HF_TOKEN": TOKEN,
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HOME": str(tmp_path),
        }
        done = mubench("data", "push", str(made[1]), "tester/people", env=hub)
        assert done.returncode == 0, done.stderr
        assert "tester/people" in done.stdout
        found = server.repos["tester/people"].at("main")
        assert found
        images = found[1]["images.parquet"]
        assert images == (made[1] / "images.parquet").read_bytes()
        assert b"# " in found[1]["README.md"]
        server.faults.append(Fault("repos/create", status=403))
        refused = mubench("data", "push", str(made[1]), "tester/other", env=hub)
        assert "tester/other" in error_line(refused, 3)


def test_push_offline_is_one_line(made: tuple[Path, Path]) -> None:
    done = mubench("data", "push", str(made[1]), "tester/people", env={"HF_HUB_OFFLINE": "1"})
    assert "HF_HUB_OFFLINE" in error_line(done, 3)


def test_celebrities_pictures_come_from_the_hub(tmp_path: Path) -> None:
    """Those it shows are given, the others drawn; a name of its own becomes no path."""
    from datasets import Dataset

    from data.published_fixtures import cell
    from mubench.data.load import BenchmarkData

    names = ["Marie Curie"] * 5 + ["../../escaped"] * 5
    published = tmp_path / "published"
    published.mkdir()
    rows = {"name": names, "image": [cell(number) for number in range(10)]}
    Dataset.from_dict(rows).to_parquet(published / "part.parquet")
    with serve() as server:
        server.put("somebody/stars", published)
        hub = {
            "HF_ENDPOINT": server.endpoint,
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HOME": str(tmp_path / "home"),
        }
        command = ("data", "build", "people", *SMALL, "--cache", str(tmp_path / "cache"))
        done = mubench(*command, "--celebrity-faces", "hub:somebody/stars", env=hub)
        assert done.returncode == 0, done.stderr
        folder = Path(done.stdout.splitlines()[0].removeprefix("data: "))
        shown = {person.name: person.portrait for person in BenchmarkData(folder, 0.15).people}
        assert (shown["Marie Curie"], shown["Albert Einstein"]) == ("given", "drawn")
        assert not list(tmp_path.rglob("escaped*"))
        absent = mubench(*command, "--celebrity-faces", "hub:somebody/nobody", env=hub)
        assert "somebody/nobody" in error_line(absent, 3)
