"""A run of seconds, and ways to look at what runs leave behind."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from mubench.config.resolve import resolve
from mubench.record import Assessment, RunRecord
from mubench.runner.execute import execute, run_folder
from mubench.runner.plan import Plan, plan
from mubench.runner.store import META, Store

#: Seconds instead of minutes. The model learns next to nothing, so the gate is switched off.
QUICK = (
    "benchmark.fictitious=8",
    "benchmark.celebrities=2",
    "benchmark.scenes=2",
    "benchmark.words=2",
    "benchmark.facts=[birthplace, occupation, hobby, food, pet]",
    "benchmark.image_size=48",
    "target.epochs=0.2",
    "target.warmup=0",
    "predict.max_new_tokens=6",
    "gate.margin=-1",
)
#: MANU's own: fewer questions to look at.
FEW = ("method.samples=32",)


@dataclass(frozen=True)
class Quick:
    """A finished run: its plan, cache and run folder."""

    plan: Plan
    store: Store
    folder: Path
    log: str

    @property
    def record(self) -> RunRecord:
        return RunRecord.model_validate_json((self.folder / "record.json").read_text("utf-8"))

    def stage(self, kind: str, role: str | None = None) -> Path:
        return self.store.folder(kind, self.plan.node(kind, role).key)


def quick_run(
    root: Path, method: str, *sets: str, seed: int = 0, cache: Path | None = None
) -> Quick:
    """Run in this process; cache, run folder and log lie under ``root`` unless a cache is given."""
    made = _plan(method, sets, seed)
    store = Store(cache or root / "cache")
    log = io.StringIO()
    folder = execute(made, store, root / "runs", Console(file=log, width=200))
    (root / "log").write_text(log.getvalue(), encoding="utf-8")
    return Quick(made, store, folder, log.getvalue())


def quick_found(root: Path, method: str) -> Quick:
    """What another process's ``quick_run`` left under ``root``."""
    made = _plan(method, (), 0)
    log = (root / "log").read_text(encoding="utf-8")
    return Quick(made, Store(root / "cache"), run_folder(made, root / "runs"), log)


def _plan(method: str, sets: Sequence[str], seed: int) -> Plan:
    own = FEW if method.startswith("manu") else ()
    return plan(resolve(method, "llava-tiny", seed=seed, sets=(*QUICK, *own, *sets)))


def arguments(method: str, cache: Path, out: Path, *sets: str) -> list[str]:
    """The command line of the same run."""
    own = FEW if method.startswith("manu") else ()
    options = [part for item in (*QUICK, *own, *sets) for part in ("--set", item)]
    return ["run", "--method", method, "--cache", str(cache), "--out", str(out), *options]


def mubench(
    *arguments: str,
    env: dict[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float = 120,
) -> subprocess.CompletedProcess[str]:
    """``python -m mubench`` in a process of its own, with this one's import paths."""
    return subprocess.run(
        [sys.executable, "-m", "mubench", *arguments],
        env=environment(env),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def environment(extra: dict[str, str] | None = None) -> dict[str, str]:
    """This process's environment and import paths for a subprocess; ``extra`` goes on top."""
    paths = [path for path in (os.environ.get("PYTHONPATH", ""), *sys.path) if path]
    base = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "COLUMNS": "200", **(extra or {})}
    if extra and "PYTHONPATH" in extra:  # added in front, not instead
        base["PYTHONPATH"] = os.pathsep.join([extra["PYTHONPATH"], *paths])
    return base


def error_line(done: subprocess.CompletedProcess[str], code: int) -> str:
    """The one line of a failed command: exit code, no traceback, nothing after it, nothing else.

    Plain progress lines of the run (they start with a stage's name) may stand before it.
    """
    assert done.returncode == code, f"exit {done.returncode}: {done.stderr}"
    assert "Traceback" not in done.stderr
    *before, last = done.stderr.splitlines()
    assert last.startswith("mubench: error: "), done.stderr
    stages = ("mubench run: ", "data", "train ", "predict ", "unlearn ", "score")
    strays = [line for line in before if not line.startswith(stages)]
    assert not strays, strays
    return last.removeprefix("mubench: error: ")


def copy_stages(
    source: Store, target: Path, made: Plan, wanted: Sequence[tuple[str, str | None]]
) -> None:
    """Copy finished stages of a plan from one cache into another."""
    for kind, role in wanted:
        key = made.node(kind, role).key
        shutil.copytree(source.folder(kind, key), Store(target).folder(kind, key))


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a finished stage but its timings."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != META
    }


def results(folder: Path) -> dict[str, bytes]:
    """What a run says, byte for byte: its cells, warnings and every prediction; no times."""
    record = json.loads((folder / "record.json").read_text("utf-8"))
    names = ("run_id", "data", "not_applicable", *Assessment.model_fields)
    said = {name: record[name] for name in names}
    return {"record": json.dumps(said).encode(), **contents(folder / "predictions")}
