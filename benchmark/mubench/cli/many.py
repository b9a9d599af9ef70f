"""Many runs for one table: over methods, settings, or pools of models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .commands import Benchmark, Cache, Method, Model, Seed, Sets, console, open_store

Jobs = Annotated[int, typer.Option(min=1, help="Runs at a time, each in a process of its own.")]


def sweep(
    methods: Annotated[str, typer.Option(help="Names separated by commas, or all.")] = "all",
    models: Annotated[str, typer.Option(help="Model presets separated by commas.")] = "llava-tiny",
    seeds: Annotated[str, typer.Option(help="Numbers separated by commas.")] = "0,1,2",
    benchmark: Benchmark = None,
    sets: Sets = None,
    jobs: Jobs = 1,
    out: Annotated[Path, typer.Option(help="Where run folders and tables go.")] = Path("sweep"),
    cache: Cache = None,
) -> None:
    """Run many methods over models and seeds; one table with intervals. What fails is listed."""
    from mubench.runner.sweep import sweep as run_all

    table = run_all(
        _names(methods, "--methods"),
        _names(models, "--models"),
        _numbers(seeds, "--seeds"),
        open_store(cache),
        out,
        console(stderr=True),
        command=_command(
            *("sweep", "--methods", methods, "--models", models, "--seeds", seeds, "--jobs", jobs),
            benchmark=benchmark,
            sets=sets,
        ),
        benchmark=benchmark,
        sets=sets or (),
        jobs=jobs,
    )
    print(table.read_text(encoding="utf-8"))
    print(f"table: {table}")


def tune(
    method: Method,
    model: Model = "llava-tiny",
    trials: Annotated[int, typer.Option(min=1, help="The present setting counts as one.")] = 8,
    benchmark: Benchmark = None,
    seed: Seed = 0,
    sets: Sets = None,
    jobs: Jobs = 1,
    out: Annotated[Path, typer.Option(help="Where trials and records go.")] = Path("tuning"),
    cache: Cache = None,
) -> None:
    """Search a method's settings at random, on people whose numbers are never reported."""
    import json

    from mubench.runner.tune import tune as search

    path = search(
        method,
        model,
        trials,
        open_store(cache),
        out,
        console(stderr=True),
        command=_command(
            *("tune", "--method", method, "--model", model, "--trials", trials, "--seed", seed),
            benchmark=benchmark,
            sets=sets,
        ),
        benchmark=benchmark,
        seed=seed,
        sets=sets or (),
        jobs=jobs,
    )
    record = json.loads(path.read_text(encoding="utf-8"))
    best = record["best"] or {}
    settings = " ".join(f"--set method.{key}={value}" for key, value in best.items())
    print(f"best:   {settings or 'none: no trial ran where target and gold differ'}")
    print(f"record: {path}")


def meta_eval(
    model: Model = "llava-tiny",
    benchmark: Benchmark = None,
    method: Method = "grad-diff",
    pool: Annotated[int, typer.Option(min=2, help="Models in each pool, one a seed.")] = 5,
    sets: Sets = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the table as markdown, and beside it as JSON.")
    ] = None,
    cache: Cache = None,
) -> None:
    """Which metrics tell models apart that learned the forget people and that never saw them."""
    import json

    from rich.table import Table

    from mubench.config.resolve import resolve
    from mubench.errors import OutputError
    from mubench.runner import meta_eval as runner

    wanted = [*(sets or ()), "probe.privacy=true"]
    specs = [resolve(method, model, benchmark, seed=seed, sets=wanted) for seed in range(pool)]
    found = runner.meta_eval(specs, open_store(cache), console(stderr=True))
    table = Table(title=f"{pool} models a pool", title_justify="left")
    for column in ("metric", "faithfulness", "R", "Q", "robustness", "admitted"):
        table.add_column(column)
    for one in found:
        figures = (one.faithfulness.value, one.relearned, one.quantised, one.robustness)
        shown = (f"{figure:.2f}" for figure in figures)
        table.add_row(one.metric, *shown, "yes" if one.admitted else "no")
    console().print(table)
    if out:
        command = _command(
            *("meta-eval", "--model", model, "--method", method, "--pool", pool),
            benchmark=benchmark,
            sets=sets,
        )
        text = runner.markdown(found, command, pool)
        values = json.dumps(runner.figures(found, command, pool), indent=1)
        try:
            out.write_text(text, encoding="utf-8")
            out.with_suffix(".json").write_text(values + "\n", encoding="utf-8")
        except OSError as error:
            raise OutputError(f"cannot write {out}: {error.strerror}") from error
        print(f"table: {out}")


def _names(text: str, option: str) -> list[str]:
    from mubench.errors import UsageError

    names = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not names:
        raise UsageError(f"{option} names nothing: separate names by commas")
    return names


def _numbers(text: str, option: str) -> list[int]:
    from mubench.errors import UsageError

    try:
        numbers = [int(part) for part in _names(text, option)]
    except ValueError:
        numbers = [-1]
    if min(numbers) < 0:
        raise UsageError(f"{option} {text}: write whole numbers separated by commas, e.g. 0,1,2")
    return numbers


def _command(*words: str | int, benchmark: str | None, sets: list[str] | None) -> str:
    """The command line, less where things lie on this machine."""
    import shlex

    more = ["--benchmark", benchmark] if benchmark else []
    more += [part for item in sets or () for part in ("--set", item)]
    return shlex.join(["mubench", *map(str, words), *more])
