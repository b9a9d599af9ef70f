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
from mubench.runner import stages
from mubench.runner.plan import plan
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


def finish_and_compare(quick: Quick, root: Path) -> None:
    """Run the same thing again in the damaged cache: equal to the uninterrupted run."""
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
    finish_and_compare(quick, tmp_path)


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
    finish_and_compare(quick, tmp_path)


@pytest.mark.parametrize("tail", ["", '{"example_id": "torn', '{"example_id": "torn"}\n', "\xff\n"])
@pytest.mark.parametrize("batches", [0, 2])
def test_predictions_go_on_after_the_last_whole_batch(
    quick: Quick, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batches: int, tail: str
) -> None:
    """What was answered is kept, a torn rest is cut off, the outcome is byte for byte the same."""
    data = BenchmarkData(quick.stage("data"), 0.25)
    spec = quick.plan.spec
    planned = stages.fixed_batches(data.examples, spec.predict.batch_size)
    whole = (quick.stage("predict", "target") / "responses.jsonl").read_bytes()
    lines = whole.splitlines(keepends=True)
    kept = sum(len(batch) for batch in planned[:batches])
    log = tmp_path / "responses.jsonl"
    log.write_bytes(b"".join(lines[:kept]) + tail.encode("latin-1"))

    class Replays:
        """Answers from the finished run; only its order and number of questions matter here."""

        asked: list[str] = []

        def respond(self, batch, *, max_new_tokens):
            found = stages.read_responses(quick.stage("predict", "target"))
            self.asked += [example.id for example in batch]
            return [found[example.id] for example in batch]

    model = Replays()
    monkeypatch.setattr("mubench.models.load.load_model", lambda *_: model)
    model.asked = []
    detail = stages.predict(spec, data, [], tmp_path, lambda *_: None)
    assert log.read_bytes() == whole
    assert model.asked == [example.id for batch in planned[batches:] for example in batch]
    assert detail["questions"] == len(data.examples)


def test_a_finished_log_needs_no_model(
    quick: Quick, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = (quick.stage("predict", "target") / "responses.jsonl").read_bytes()
    (tmp_path / "responses.jsonl").write_bytes(whole)

    def refuse(*_: object) -> None:
        raise AssertionError("loaded")

    monkeypatch.setattr("mubench.models.load.load_model", refuse)
    stages.predict(
        quick.plan.spec, BenchmarkData(quick.stage("data"), 0.25), [], tmp_path, lambda *_: None
    )
    assert (tmp_path / "responses.jsonl").read_bytes() == whole


def test_batches_hold_every_question_once_and_do_not_mix_modalities(quick: Quick) -> None:
    examples = BenchmarkData(quick.stage("data"), 0.25).examples
    forth = stages.fixed_batches(examples, 8)
    assert sorted(example.id for batch in forth for example in batch) == sorted(
        example.id for example in examples
    )
    for batch in forth:
        assert len({(e.modality, bool(e.choices)) for e in batch}) == 1
        assert len(batch) <= 8
