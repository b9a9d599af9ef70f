"""The cache: whole stages or none, whatever happens; what is read is what was written."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from mubench.errors import DamagedError, OutputError, RunError
from mubench.runner.store import META, Store, default_root
from runner.quick import environment

KEY = "0123456789abcdef" * 4


def build(folder: Path) -> dict[str, Any]:
    (folder / "inner").mkdir()
    (folder / "inner" / "data.txt").write_text("forty-two", encoding="utf-8")
    return {"answer": 42}


def never(folder: Path) -> dict[str, Any]:
    raise AssertionError("built again")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")


@pytest.fixture
def stage(store: Store) -> Path:
    return store.get("data", KEY, build).folder


def test_a_stage_is_built_once(store: Store) -> None:
    assert not store.has("data", KEY)
    first = store.get("data", KEY, build)
    again = store.get("data", KEY, never)
    assert (first.cached, again.cached) == (False, True)
    assert again.detail == {"answer": 42}
    assert again.seconds == first.seconds
    assert (again.folder / "inner" / "data.txt").read_text("utf-8") == "forty-two"


def test_keys_do_not_share_a_folder(store: Store, stage: Path) -> None:
    assert store.get("data", "f" + KEY[1:], build).folder != stage
    assert store.get("train", KEY, build).folder != stage


def test_a_build_that_raises_leaves_nothing_readable(store: Store) -> None:
    def fails(folder: Path) -> dict[str, Any]:
        build(folder)
        raise RunError("loss is not finite")

    with pytest.raises(RunError, match="loss is not finite"):
        store.get("train", KEY, fails)
    assert not store.has("train", KEY)
    assert list(store.entries()) == []
    with pytest.raises(DamagedError):
        store.read("train", KEY)
    assert store.get("train", KEY, build).detail == {"answer": 42}


def _fails_after(text: str) -> Any:
    def fails(folder: Path) -> dict[str, Any]:
        (folder / "log").write_text(text, encoding="utf-8")
        raise RunError("stopped")

    return fails


@pytest.mark.parametrize("resume", [True, False])
def test_only_a_resuming_stage_sees_what_an_earlier_attempt_left(
    store: Store, resume: bool
) -> None:
    with pytest.raises(RunError):
        store.get("predict", KEY, _fails_after("half"))
    seen: list[bool] = []

    def looks(folder: Path) -> dict[str, Any]:
        seen.append((folder / "log").exists())
        return {}

    store.get("predict", KEY, looks, resume=resume)
    assert seen == [resume]


@pytest.mark.parametrize("damage", ["cut", "altered", "missing"])
def test_damage_names_the_file_and_the_way_out(store: Store, stage: Path, damage: str) -> None:
    path = stage / "inner" / "data.txt"
    if damage == "missing":
        path.unlink()
    else:
        path.write_text({"cut": "forty", "altered": "forty-one"}[damage], encoding="utf-8")
    with pytest.raises(DamagedError) as raised:
        store.get("data", KEY, never)
    message = str(raised.value)
    assert str(path) in message
    assert f"mubench cache clear data/{stage.name}" in message
    assert "\n" not in message


def test_the_advice_of_a_damaged_stage_works(store: Store, stage: Path) -> None:
    (stage / "inner" / "data.txt").write_text("x", encoding="utf-8")
    assert store.clear("data", stage.name) == 1
    assert not store.get("data", KEY, build).cached


@pytest.mark.parametrize("text", ["", '{"seconds": 1', "{}", "[]", '{"files": {}}'])
def test_damaged_meta(store: Store, stage: Path, text: str) -> None:
    (stage / META).write_text(text, encoding="utf-8")
    with pytest.raises(DamagedError, match="cache clear") as raised:
        store.get("data", KEY, never)
    assert str(stage / META) in str(raised.value)


def test_a_folder_without_meta_is_not_a_stage(store: Store, stage: Path) -> None:
    (stage / META).unlink()
    (stage / "stray").write_text("x", encoding="utf-8")
    assert not store.has("data", KEY)
    made = store.get("data", KEY, build)
    assert not made.cached
    assert not (made.folder / "stray").exists()


def test_root_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(OutputError) as raised:
        Store(tmp_path / "file" / "cache").get("data", KEY, build)
    assert str(tmp_path / "file" / "cache") in str(raised.value)
    assert "MUBENCH_CACHE" in str(raised.value)


SLOW = """
import sys, time
from pathlib import Path
from mubench.runner.store import Store

def build(folder):
    (folder / "who").write_text("first")
    Path(sys.argv[2]).touch()
    time.sleep(1.0)
    return {"who": "first"}

Store(Path(sys.argv[1])).get("data", sys.argv[3], build)
"""


def test_a_second_process_waits_and_gets_the_first_one_s_result(
    store: Store, tmp_path: Path
) -> None:
    begun = tmp_path / "begun"
    first = subprocess.Popen(
        [sys.executable, "-c", SLOW, str(store.root), str(begun), KEY], env=environment()
    )
    try:
        deadline = time.monotonic() + 60
        while not begun.exists():
            assert first.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert not store.has("data", KEY)
        result = store.get("data", KEY, never)
    finally:
        assert first.wait(60) == 0
    assert result.cached
    assert result.detail == {"who": "first"}


def test_entries_and_clear(store: Store, stage: Path) -> None:
    store.get("train", KEY, build)
    found = {(kind, key) for kind, key, size, _ in store.entries() if size > 0}
    assert found == {("data", KEY[:32]), ("train", KEY[:32])}
    assert store.clear("train") == 1
    assert not store.has("train", KEY)
    assert store.has("data", KEY)
    assert store.clear() == 1
    assert list(store.entries()) == []


def test_clear_removes_what_a_failed_build_left(store: Store) -> None:
    with pytest.raises(RunError):
        store.get("predict", KEY, _fails_after("half"))
    assert list(store.root.glob("predict/.*.partial"))
    store.clear()
    assert not list(store.root.glob("predict/.*.partial"))


def test_clear_leaves_what_is_not_ours(store: Store, stage: Path) -> None:
    """``--cache`` may point to a folder with other things in it, e.g. the home folder."""
    foreign = store.root / "documents" / "thesis"
    foreign.mkdir(parents=True)
    outside = store.root.parent / "elsewhere"
    outside.mkdir()
    store.clear()
    store.clear("..", "elsewhere")
    assert foreign.is_dir()
    assert outside.is_dir()
    assert not stage.exists()


def test_default_root_follows_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MUBENCH_CACHE", str(tmp_path / "a"))
    assert default_root() == tmp_path / "a"
    monkeypatch.delenv("MUBENCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "b"))
    assert default_root() == tmp_path / "b" / "mubench"


def test_meta_lists_every_file(stage: Path) -> None:
    assert list(json.loads((stage / META).read_text("utf-8"))["files"]) == ["inner/data.txt"]
