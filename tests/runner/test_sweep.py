"""A sweep goes on after every failure, and after it was killed; nothing finished is run again."""

from __future__ import annotations

import csv
import io
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from mubench.errors import UsageError
from mubench.report import comparison
from mubench.runner import cells, tune
from mubench.runner.cells import Outcome
from mubench.runner.store import Store
from mubench.runner.sweep import sweep
from runner.quick import QUICK, Quick, environment

FAILING = Path(__file__).with_name("failing.py")
METHODS = ["gold", f"{FAILING}:Raises", f"{FAILING}:Dies"]


@pytest.fixture
def store(quick: Quick, tmp_path: Path) -> Store:
    """The cache of the quick run: target and gold of seed 0 are there."""
    shutil.copytree(quick.store.root, tmp_path / "cache")
    return Store(tmp_path / "cache")


def swept(store: Store, out: Path, methods: list[str]) -> str:
    log = io.StringIO()
    console = Console(file=log, width=200)
    sweep(methods, ["llava-tiny"], [0], store, out, console, command="mubench sweep", sets=QUICK)
    return log.getvalue()


def records(out: Path) -> dict[str, int]:
    """When each method's record was written."""
    return {
        path.parent.name.split("-seed")[0].rpartition("mini-llava-tiny-")[
            2
        ]: path.stat().st_mtime_ns
        for path in out.glob("[!.]*/record.json")  # a hidden folder is not whole yet
    }


def test_killed_then_run_again_with_methods_that_fail(store: Store, tmp_path: Path) -> None:
    out = tmp_path / "out"
    sets = [word for item in QUICK for word in ("--set", item)]
    line = ["sweep", "--methods", ",".join(METHODS), "--seeds", "0", "--out", str(out)]
    running = subprocess.Popen(
        [sys.executable, "-m", "mubench", *line, "--cache", str(store.root), *sets],
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 200
    while not records(out):
        assert running.poll() is None, "the sweep ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    workers = psutil.Process(running.pid).children(recursive=True)
    running.send_signal(signal.SIGKILL)
    running.wait(30)
    psutil.wait_procs(workers, timeout=60)
    assert not [one for one in workers if one.is_running() and one.status() != "zombie"]
    before = records(out)
    assert set(before) < {"none", "gold"}

    log = swept(store, out, METHODS)
    after = records(out)
    assert set(after) == {"none", "gold"}
    assert {name: after[name] for name in before} == before, "a finished cell was run again"
    assert "Raises on llava-tiny, people-mini, seed 0: failed: ValueError: planted failure" in log
    table = (out / "table.md").read_text("utf-8")
    assert "- `Raises` on llava-tiny, seed 0: ValueError: planted failure" in table
    assert "- `Dies` on llava-tiny, seed 0: its process died" in table
    value = json.loads((out / "table.json").read_text("utf-8"))
    assert [row["method"] for row in value["rows"]] == ["gold"]
    assert [one["method"] for one in value["failures"]] == ["Raises", "Dies"]
    lines = csv.DictReader(io.StringIO((out / "table.csv").read_text("utf-8")))
    assert {line["method"] for line in lines} == {"gold"}


def test_a_finished_sweep_starts_no_process(
    quick: Quick, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = quick.folder.parent

    def refuse(*_: object) -> None:
        raise AssertionError("a cell was run")

    monkeypatch.setattr(cells._Lanes, "run", refuse)
    found = cells.run_cells([quick.plan], store, out, Console(file=io.StringIO()), 1)
    assert [(one.folder, one.reason) for one in found] == [(quick.folder, None)]
    assert found[0].record().run_id == quick.plan.run_id


def test_a_cell_that_is_asked_for_twice_runs_once(
    quick: Quick, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def run(_: object, made: cells.Plan, *__: object) -> str:
        asked.append(made.run_id)
        return "seen"

    monkeypatch.setattr(cells._Lanes, "run", run)
    monkeypatch.setattr(cells, "_reference", lambda made: made)
    console = Console(file=io.StringIO())
    found = cells.run_cells([quick.plan] * 2, store, tmp_path, console, 2)
    assert asked == [quick.plan.run_id]
    assert [one.reason for one in found] == ["seen", "seen"]


def test_cells_fail_with_their_target(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where ``none`` fails, nothing that needs its stages is tried."""
    asked = []

    def fail(_: object, made: cells.Plan, *__: object) -> str:
        asked.append(made.spec.method.name)
        return "the target never learned"

    monkeypatch.setattr(cells._Lanes, "run", fail)
    log = swept(store, tmp_path, ["ga", "npo"])
    assert asked == ["none"]
    assert log.count("failed: the target never learned") == 3
    assert "Not in the table" in (tmp_path / "table.md").read_text("utf-8")


def test_a_method_that_is_not_defined_for_the_model_is_listed(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cells._Lanes, "run", lambda *_: "not tried")
    from mubench.methods.ga import GradientAscent

    info = GradientAscent.info
    monkeypatch.setattr(
        GradientAscent, "info", type(info)(**{**_fields(info), "models": ("clip",)})
    )
    swept(store, tmp_path, ["ga"])
    assert "n/a for llava-tiny" in (tmp_path / "table.md").read_text("utf-8")


def _fields(info: object) -> dict[str, object]:
    return {name: getattr(info, name) for name in type(info).__dataclass_fields__}  # type: ignore[attr-defined]


# -- tuning ---------------------------------------------------------------------------------------


def tuned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, trials: int, *sets: str
) -> tuple[list[cells.Plan], dict[str, object]]:
    """The plans of a search, none of which is run, and its record."""
    plans: list[cells.Plan] = []

    def pretend(given: list[cells.Plan], *_: object) -> list[Outcome]:
        plans.extend(given)
        return [Outcome(one, tmp_path, "not tried") for one in given]

    monkeypatch.setattr(tune, "run_cells", pretend)
    path = tune.tune(
        *(method, "llava-tiny", trials, Store(tmp_path), tmp_path, Console(file=io.StringIO())),
        command="mubench tune",
        sets=[*QUICK, *sets],
    )
    return plans, json.loads(path.read_text("utf-8"))


def test_tuning_never_touches_the_people_who_are_reported(
    quick: Quick, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mubench.data.load import BenchmarkData

    plans, record = tuned(tmp_path, monkeypatch, "simnpo", 5)
    assert len(plans) == 5
    assert {one.spec.benchmark.fold for one in plans} == {"dev"}
    assert record["fold"] == "dev"
    ratio = plans[0].spec.benchmark.forget_ratio
    data = quick.stage("data")
    assert quick.plan.node("data").key == plans[0].node("data").key
    reported, others = (BenchmarkData(data, ratio, fold).forget for fold in ("test", "dev"))
    assert reported and others and not reported & others
    assert plans[0].node("predict", "gold").key != quick.plan.node("predict", "gold").key
    with pytest.raises(UsageError, match="fold"):
        tuned(tmp_path, monkeypatch, "simnpo", 1, "benchmark.fold=test")


def test_a_longer_search_begins_with_the_shorter_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short, _ = tuned(tmp_path, monkeypatch, "simnpo", 3)
    long, record = tuned(tmp_path, monkeypatch, "simnpo", 6)
    assert [one.run_id for one in long[:3]] == [one.run_id for one in short]
    assert len({one.run_id for one in long}) == 6
    trials = record["trials"]
    assert isinstance(trials, list)
    assert [trial["failed"] for trial in trials] == ["not tried"] * 6
    assert record["best"] is None
    own = long[0].spec.method.config
    assert trials[0]["settings"] == {key: own[key] for key in ("epochs", "lr", "gamma")}


def test_no_setting_is_tried_twice() -> None:
    """Of two settings there are two trials, however many are asked for."""
    found = tune.candidates({"top": ("among", (1, 5))}, {"top": 5}, 6, 0)
    assert found == [{"top": 5}, {"top": 1}]


def test_a_trial_is_what_its_run_says(quick: Quick) -> None:
    of = comparison.summary(quick.record)
    trial = tune._measured({"alpha": 0.1}, of)
    assert (trial.distance, trial.retained) == (of.distance, of.retained)
    label = quick.record.label
    assert label is not None
    assert (trial.label, trial.gated) == (label.name, label.gated)
    assert trial.gaps is not None and set(trial.gaps) >= {"forget.image_text", "test.text"}


def test_a_record_of_a_search_is_made_from_its_runs(
    quick: Quick, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def finished(given: list[cells.Plan], *_: object) -> list[Outcome]:
        return [Outcome(one, quick.folder) for one in given]

    monkeypatch.setattr(tune, "run_cells", finished)
    console = Console(file=io.StringIO())
    path = tune.tune(
        *("manu", "llava-tiny", 2, quick.store, tmp_path, console), command="x", sets=QUICK
    )
    record = json.loads(path.read_text("utf-8"))
    assert [trial["label"] for trial in record["trials"]] == [quick.record.label.name] * 2
    assert [trial["failed"] for trial in record["trials"]] == [None] * 2
    assert record["best"] is None  # its target knows nobody, so that there is no distance


def test_a_method_without_settings_cannot_be_tuned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="guard"):
        tuned(tmp_path, monkeypatch, "guard", 2)


def test_the_nearest_to_gold_of_those_that_keep_retain_and_are_whole_wins() -> None:
    def trial(distance: float | None, retained: float | None, gated: bool = False) -> tune.Trial:
        failed = None if retained else "broken"
        return tune.Trial({}, distance, retained, gated=gated, failed=failed)

    order = [
        trial(0.2, 0.9),
        trial(0.5, 0.99),
        trial(0.0, 0.89),
        trial(0.1, 0.3),
        trial(0.0, 0.99, gated=True),
        trial(0.1, 0.95, gated=True),
        trial(None, None),
    ]
    mixed = [order[place] for place in (3, 0, 5, 4, 2, 6, 1)]
    assert sorted(mixed, key=lambda one: one.rank) == order
