"""Killed at any moment of any stage, the same command finishes and says the same."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mubench.config.resolve import resolve
from mubench.data.load import BenchmarkData
from mubench.errors import RunError
from mubench.models.packing import units
from mubench.runner.plan import plan
from mubench.runner.stages import prediction
from mubench.types import Response
from runner.quick import (
    FEW,
    QUICK,
    Quick,
    arguments,
    contents,
    copy_stages,
    environment,
    quick_run,
    results,
)

DRIVER = Path(__file__).with_name("killed_at.py")
ORDER = (
    ("data", None),
    ("train", "target"),
    ("predict", "target"),
    ("train", "gold"),
    ("predict", "gold"),
    ("unlearn", "method"),
    ("predict", "method"),
    ("score", None),
)


def before(stage: str, role: str | None) -> list[tuple[str, str | None]]:
    """The stages that are finished when this one begins."""
    return list(ORDER[: ORDER.index((stage, role))])


def finish_and_compare(quick: Quick, root: Path, done: int) -> None:
    """Run the same thing again in the damaged cache: equal to the uninterrupted run.

    The stages after the killed one (the first ``done`` came before it) need not be made again.
    """
    copy_stages(quick.store, root / "cache", quick.plan, ORDER[done + 1 :])
    again = quick_run(root, "manu")
    assert results(again.folder) == results(quick.folder)
    for kind, role in ORDER:
        assert contents(again.stage(kind, role)) == contents(quick.stage(kind, role)), kind
    assert {path.name for path in (root / "runs").iterdir()} == {again.folder.name}


def test_the_same_command_line_is_the_same_run(quick: Quick) -> None:
    """The kills below run the command line, their second half the function: one plan."""
    line = arguments("manu", Path("c"), Path("o"))
    given = [line[place + 1] for place, word in enumerate(line) if word == "--set"]
    assert given == [*QUICK, *FEW]
    assert plan(resolve("manu", "llava-tiny", sets=given)).run_id == quick.plan.run_id


@pytest.mark.parametrize(
    ("moment", "stage", "role"),
    [
        ("named", "data", None),
        ("halfway", "train", "gold"),
        ("built", "unlearn", "method"),
        ("halfway", "predict", "method"),
        ("built", "score", None),
        ("written", "report", None),
    ],
)
def test_killed_then_run_again(
    quick: Quick, tmp_path: Path, moment: str, stage: str, role: str | None
) -> None:
    cache, out = tmp_path / "cache", tmp_path / "runs"
    done = list(ORDER) if stage == "report" else before(stage, role)
    copy_stages(quick.store, cache, quick.plan, done)
    killed = subprocess.run(
        [sys.executable, str(DRIVER), moment, stage, *arguments("manu", cache, out)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not [
        path for path in out.iterdir() if (path / "record.json").exists() and path.name[0] != "."
    ]
    if stage != "report":
        key = quick.plan.node(stage, role).key
        assert list((cache / stage).glob(f".{key[:32]}.partial")), "not killed within the stage"
        assert not (cache / stage / key[:32]).exists()
    finish_and_compare(quick, tmp_path, len(done))


def test_killed_from_outside_when_the_stage_s_folder_appears(quick: Quick, tmp_path: Path) -> None:
    """No help from within: the moment is whatever the scheduler makes of it."""
    cache, (stage, role) = tmp_path / "cache", ("train", "target")
    copy_stages(quick.store, cache, quick.plan, before(stage, role))
    running = subprocess.Popen(
        [sys.executable, "-m", "mubench", *arguments("manu", cache, tmp_path / "runs")],
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    partial = cache / stage / f".{quick.plan.node(stage, role).key[:32]}.partial"
    deadline = time.monotonic() + 100
    while not partial.exists():
        assert running.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    running.kill()
    assert running.wait(30) == -signal.SIGKILL
    assert partial.exists()
    finish_and_compare(quick, tmp_path, len(before(stage, role)))


class Replays:
    """Answers from the finished run; only its order and number of questions matter here."""

    def __init__(self, quick: Quick, failing: str = "") -> None:
        self.found = prediction.read_responses(quick.stage("predict", "target"))
        self.failing = failing
        self.asked: list[str] = []
        self.notes: dict[str, object] = {}

    def answers(self, units, *, max_new_tokens, batch, start=0):
        for unit in units[start:]:
            self.asked += [example.id for example in unit]
            yield [
                Response(example.id, "error", error="out of luck")
                if example.id == self.failing
                else self.found[example.id]
                for example in unit
            ]


@pytest.mark.parametrize("tail", ["", '{"example_id": "torn', '{"example_id": "torn"}\n', "\xff\n"])
@pytest.mark.parametrize("some", [False, True])
def test_predictions_go_on_after_the_last_whole_unit(
    quick: Quick, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, some: bool, tail: str
) -> None:
    """What was answered is kept, a torn rest is cut off, the outcome is byte for byte the same."""
    data = BenchmarkData(quick.stage("data"), 0.25)
    planned = units(data.examples)
    whole = (quick.stage("predict", "target") / "responses.jsonl").read_bytes()
    lines = whole.splitlines(keepends=True)
    kept = next(at for at, unit in enumerate(planned) if len(unit) > 2) if some else 0
    count = sum(len(unit) for unit in planned[:kept])
    log = tmp_path / "responses.jsonl"
    # The rest is torn within the next unit, after its first two answers.
    log.write_bytes(b"".join(lines[: count + 2 * some]) + tail.encode("latin-1"))
    model = Replays(quick)
    monkeypatch.setattr("mubench.models.load.load_model", lambda *_: model)
    detail = prediction.predict(quick.plan.spec, data, [], tmp_path, lambda *_: None)
    assert log.read_bytes() == whole
    assert model.asked == [example.id for unit in planned[kept:] for example in unit]
    assert detail["questions"] == len(data.examples)


def test_a_failed_request_fails_the_run_and_keeps_its_predictions(
    quick: Quick, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = BenchmarkData(quick.stage("data"), 0.25)
    planned = units(data.examples)
    place = next(at for at, unit in enumerate(planned) if len(unit) > 2)
    bad = planned[place][1].id
    whole = (quick.stage("predict", "target") / "responses.jsonl").read_bytes()
    model = Replays(quick, failing=bad)
    monkeypatch.setattr("mubench.models.load.load_model", lambda *_: model)
    with pytest.raises(RunError, match=rf"1 of {len(data.examples)}.*{bad}.*out of luck"):
        prediction.predict(quick.plan.spec, data, [], tmp_path, lambda *_: None)
    log = tmp_path / "responses.jsonl"
    assert log.read_bytes().count(b"\n") == whole.count(b"\n")
    assert prediction.read_responses(tmp_path)[bad].status == "error"
    # Asked again, the run goes on from the unit that failed.
    again = Replays(quick)
    monkeypatch.setattr("mubench.models.load.load_model", lambda *_: again)
    prediction.predict(quick.plan.spec, data, [], tmp_path, lambda *_: None)
    assert again.asked[0] == planned[place][0].id
    assert log.read_bytes() == whole


def test_a_finished_log_needs_no_model(
    quick: Quick, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = (quick.stage("predict", "target") / "responses.jsonl").read_bytes()
    (tmp_path / "responses.jsonl").write_bytes(whole)

    def refuse(*_: object) -> None:
        raise AssertionError("loaded")

    monkeypatch.setattr("mubench.models.load.load_model", refuse)
    prediction.predict(
        quick.plan.spec, BenchmarkData(quick.stage("data"), 0.25), [], tmp_path, lambda *_: None
    )
    assert (tmp_path / "responses.jsonl").read_bytes() == whole
