"""Work is spread over processes, each thing is done once, and an error is not lost."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mubench.errors import OutputError
from mubench.leaderboard import forks
from mubench.leaderboard.strict import Refusal


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)


def written(folder: Path, things: list[int]) -> list[str]:
    """Which process did each thing; ``things`` are known to it without being sent."""

    def do(thing: int) -> None:
        with (folder / str(thing)).open("x") as file:
            file.write(str(os.getpid()))

    forks.spread(do, things)
    return [(folder / str(thing)).read_text() for thing in things]


def test_many_things_are_done_by_other_processes_each_once(tmp_path: Path) -> None:
    done = written(tmp_path, list(range(2 * forks.MANY)))
    assert str(os.getpid()) not in done
    assert len(list(tmp_path.iterdir())) == len(done) == 2 * forks.MANY


def test_few_things_are_done_here(tmp_path: Path) -> None:
    assert set(written(tmp_path, list(range(2 * forks.MANY - 1)))) == {str(os.getpid())}


def test_all_is_done_where_there_is_no_fork(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("multiprocessing.get_all_start_methods", lambda: ["spawn"])
    assert set(written(tmp_path, list(range(2 * forks.MANY)))) == {str(os.getpid())}


def test_what_was_found_comes_back_in_order() -> None:
    things = list(range(3 * forks.MANY))
    assert forks.spread(lambda thing: thing * thing, things) == [one * one for one in things]


@pytest.mark.parametrize("error", [OutputError("no space left"), Refusal("a", "is bad", "mend it")])
def test_an_error_comes_back(error: Exception) -> None:
    def do(thing: int) -> None:
        if thing == 70:
            raise error

    with pytest.raises(type(error)) as caught:
        forks.spread(do, list(range(100)))
    assert str(caught.value) == str(error)
