"""Every method on every model and seed, then one table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from mubench.config.resolve import resolve
from mubench.errors import OutputError, UsageError
from mubench.registry import METHODS
from mubench.report import comparison
from mubench.report.comparison import Failure

from .cells import run_cells
from .plan import Plan, plan
from .store import Store

TABLES = ("table.md", "table.csv", "table.json")


def sweep(
    methods: Sequence[str],
    models: Sequence[str],
    seeds: Sequence[int],
    store: Store,
    out: Path,
    console: Console,
    *,
    command: str,
    benchmark: str | None = None,
    sets: Sequence[str] = (),
    jobs: int = 1,
) -> Path:
    """Run folders and the tables under ``out``; returns the Markdown table.

    ``methods``: names, or ``all``. What cannot run, or fails, stands below the table with its
    reason. UsageError for names and settings that are not known.
    """
    names = list(METHODS.entries()) if list(methods) == ["all"] else methods
    plans: list[Plan] = []
    failures: list[Failure] = []
    for model in models:
        for name in names:
            for seed in seeds:
                spec = resolve(name, model, benchmark, seed=seed, sets=sets)
                try:
                    plans.append(plan(spec))
                except UsageError as error:  # the method is not defined for this model
                    failures.append(Failure(model, spec.method.name, seed, str(error)))
    outcomes = run_cells(plans, store, out, console, jobs)
    failures += [
        Failure(one.plan.spec.model.name, one.plan.spec.method.name, one.plan.spec.seed, one.reason)
        for one in outcomes
        if one.reason
    ]
    summaries = [comparison.summary(one.record()) for one in outcomes if not one.reason]
    found = comparison.rows(summaries)
    texts = (
        comparison.markdown(command, found, failures),
        comparison.as_csv(found),
        comparison.as_json(command, found, summaries, failures),
    )
    try:
        for name, text in zip(TABLES, texts, strict=True):
            (out / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write the tables to {out}: {error.strerror}") from error
    return out / TABLES[0]
