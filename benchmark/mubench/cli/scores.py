"""What can be said of finished runs without running them again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .commands import Cache, console, open_store

Run = Annotated[Path, typer.Argument(help="A run folder, as printed by 'mubench run'.")]
Runs = Annotated[list[Path], typer.Argument(help="Run folders of one benchmark and model.")]


def compare(
    runs: Runs,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, as JSON.")] = False,
) -> None:
    """Rank runs by their distance to gold; those that collapsed or lost utility are listed."""
    import json
    from dataclasses import asdict

    from mubench.metrics.ranking import Entry, standings
    from mubench.report.standings import render
    from mubench.runner.rescore import StoredRun

    stored = [StoredRun(run) for run in runs]
    entries = [
        Entry(run.folder.name, run.record, run.examples, run.stored_scores) for run in stored
    ]
    found = standings(entries)
    if as_json:
        print(json.dumps([asdict(one) for one in found], indent=2))
    else:
        render(found, console())


def rescore(run: Run, cache: Cache = None) -> None:
    """Score the stored answers of a run again: record, scores and page; loads no model."""
    from mubench.report.tables import render
    from mubench.runner.rescore import rescore as again

    render(again(run, _pictures(run, cache)), console())
    print(f"report: {run / 'report.html'}")


def _pictures(run: Path, cache: Path | None) -> Any:
    """Pictures of the run's benchmark where this machine still has them, else none."""
    from mubench.config.schema import RunSpec
    from mubench.data.load import BenchmarkData
    from mubench.runner.rescore import read_record

    record, store = read_record(run), open_store(cache)
    key = next((stage.key for stage in record.stages if stage.kind == "data"), "")
    if not store.has("data", key):
        return lambda _: None
    settings = RunSpec.model_validate(record.spec).benchmark
    folder = store.folder("data", key)
    return BenchmarkData(folder, settings.forget_ratio, settings.fold, settings.scope).png


def verify(
    run: Run,
    rerun_sample: Annotated[
        int, typer.Option(min=0, help="Ask the model again for so many answers.")
    ] = 0,
    cache: Cache = None,
) -> None:
    """Check a run folder: files as hashed, every number as its answers give it."""
    from mubench.errors import DamagedError
    from mubench.runner.rescore import verify as check

    problems = check(run)
    if rerun_sample and not problems:
        from mubench.runner.resample import ask_again

        problems = ask_again(run, rerun_sample, open_store(cache))
    for problem in problems[:20]:
        print(problem)
    if problems:
        raise DamagedError(
            f"{run} does not hold: {len(problems)} problems, the first: {problems[0]}"
        )
    asked = f"; {rerun_sample} answers were given again alike" if rerun_sample else ""
    print(f"{run}: files and numbers are as recorded{asked}")
