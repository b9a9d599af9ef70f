"""What each command does: read arguments, call the layer that knows, print."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

Method = Annotated[str, typer.Option(help="A registered method, or path/to/file.py:Class.")]
Model = Annotated[str, typer.Option(help="A model preset (see: mubench list models).")]
Benchmark = Annotated[
    str | None, typer.Option(help="A benchmark preset; the model's own default if left out.")
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of training, unlearning and intervals.")]
Golds = Annotated[
    int, typer.Option(min=1, help="Gold models to compare with; at least 5 for published tables.")
]
Config = Annotated[Path | None, typer.Option(help="YAML file; beats presets, beaten by --set.")]
Sets = Annotated[
    list[str] | None, typer.Option("--set", help="section.key=value, e.g. method.lr=1e-4")
]
Probe = Annotated[
    list[str] | None,
    typer.Option(
        help="leakage (every path to a fact), privacy (membership, memorisation), or, of CLIP "
        "models, recovery (prototypes, relearning)."
    ),
]
DataDir = Annotated[
    Path | None, typer.Option(help="A local copy of a published benchmark's files.")
]
Cache = Annotated[
    Path | None, typer.Option(help="Cache folder; $MUBENCH_CACHE or the user's if left out.")
]


def _with(
    sets: list[str] | None, data_dir: Path | None, probe: list[str] | None = None
) -> list[str]:
    return [
        *(sets or ()),
        *([f"benchmark.data_dir={data_dir}"] if data_dir else ()),
        *(f"probe.{name}=true" for name in probe or ()),
    ]


def console(**options: Any) -> Any:
    """Where tables and bars are printed."""
    from rich.console import Console

    made = Console(**options)
    # In a pipe or a log there is no width to ask for: the tables are made for 100 columns.
    return made if made.is_terminal else Console(width=100, **options)


def open_store(cache: Path | None) -> Any:
    """The cache of this user, or the one asked for."""
    from mubench.runner.store import Store, default_root

    return Store((cache or default_root()).expanduser())


def run(
    method: Method,
    model: Model = "llava-tiny",
    benchmark: Benchmark = None,
    seed: Seed = 0,
    golds: Golds = 1,
    config: Config = None,
    sets: Sets = None,
    probe: Probe = None,
    data_dir: DataDir = None,
    out: Annotated[Path, typer.Option(help="Where run folders go.")] = Path("runs"),
    cache: Cache = None,
) -> None:
    """Train target and gold, unlearn, predict, score and report; cached stages are not redone."""
    from mubench.config.resolve import resolve
    from mubench.runner.plan import plan as make

    made = make(
        resolve(
            method,
            model,
            benchmark,
            seed=seed,
            golds=golds,
            file=config,
            sets=_with(sets, data_dir, probe),
        )
    )
    from mubench.report.tables import render
    from mubench.runner.execute import execute

    folder = execute(made, open_store(cache), out, console(stderr=True))
    render(read_record(folder), console())
    # Plain prints: a path must not be wrapped by the table's console.
    print(f"report: {folder / 'report.html'}")
    print(f"record: {folder / 'record.json'}")


def plan(
    method: Method,
    model: Model = "llava-tiny",
    benchmark: Benchmark = None,
    seed: Seed = 0,
    golds: Golds = 1,
    config: Config = None,
    sets: Sets = None,
    probe: Probe = None,
    data_dir: DataDir = None,
    cache: Cache = None,
) -> None:
    """Show what a run would do, what is cached, what does not apply; computes nothing."""
    from rich.table import Table

    from mubench.config.resolve import resolve
    from mubench.runner.plan import estimate
    from mubench.runner.plan import plan as make

    made = make(
        resolve(
            method,
            model,
            benchmark,
            seed=seed,
            golds=golds,
            file=config,
            sets=_with(sets, data_dir, probe),
        )
    )
    store = open_store(cache)
    expected = estimate(made.spec, store, made)
    table = Table(title=f"run {made.run_id}", title_justify="left")
    for column in ("stage", "key", "state", "time", "memory"):
        table.add_column(column)
    for node in made.nodes:
        guess = expected.get(node.key)
        state = "to do" if guess else "cached"
        seconds = "" if not guess else _duration(guess.seconds)
        memory = "" if not guess else f"{guess.memory_gb:.1f} GB"
        table.add_row(node.label, node.key[:12], state, seconds, memory)
    screen = console()
    screen.print(table)
    for what, reason in made.not_applicable:
        screen.print(f"n/a: {what}: {reason}", highlight=False)
    note = made.spec.model.speed_note
    screen.print(
        f"time: {note}" if note else "time: never measured for this model", highlight=False
    )
    screen.print("memory: weights and optimizer state, without activations", highlight=False)


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "not known"
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def list_(
    what: Annotated[str, typer.Argument(help="methods, models, benchmarks or metrics")],
) -> None:
    """List what there is."""
    from rich.table import Table

    from mubench.errors import unknown

    table = Table(show_header=True, box=None)
    if what == "methods":
        from mubench.registry import METHODS

        for column in ("method", "what it is", "origin"):
            table.add_column(column)
        for entry in METHODS.entries().values():
            table.add_row(entry.name, entry.summary, entry.origin)
    elif what in ("models", "benchmarks"):
        from mubench.config.resolve import presets

        for column in (what.removesuffix("s"), "what it is"):
            table.add_column(column)
        for name, preset in presets(what).items():
            table.add_row(name, preset["title"])
    elif what == "metrics":
        from mubench.metrics.catalogue import METRICS

        for column in ("task", "metric", "what it is", "better"):
            table.add_column(column)
        for task, infos in METRICS.items():
            for info in infos:
                star = " *" if info.headline else ""
                table.add_row(task, info.name + star, info.title, info.better)
        table.caption = "* headline"
    else:
        raise unknown("kind", what, ("methods", "models", "benchmarks", "metrics"))
    console().print(table)


def show(
    name: Annotated[str, typer.Argument(help="A method, model, benchmark or metric.")],
) -> None:
    """What a thing is: paper, formula, defaults."""
    import yaml

    from mubench.config.resolve import presets
    from mubench.errors import unknown
    from mubench.metrics.catalogue import METRICS
    from mubench.registry import METHODS

    metrics = [(task, info) for task, infos in METRICS.items() for info in infos]
    of_tasks = [(task, info) for task, info in metrics if info.name == name]
    lines: list[str] = []
    if name in METHODS.entries() or ".py:" in name:
        from mubench.report.method_page import method_page

        lines.append(method_page(name).rstrip())
    elif name in presets("models") or name in presets("benchmarks"):
        kind = "models" if name in presets("models") else "benchmarks"
        lines += [f"{name} ({kind.removesuffix('s')})", ""]
        lines.append(yaml.safe_dump(presets(kind)[name], sort_keys=False, width=96).rstrip())
    elif of_tasks:
        for task, metric in of_tasks:
            lines += [""] if lines else []
            lines += [f"{name}: {metric.title}", f"task:    {task}", f"formula: {metric.formula}"]
            lines += [f"unit:    {metric.unit}", f"better:  {metric.better}"]
    else:
        names = dict.fromkeys(info.name for _, info in metrics)
        known = (*METHODS.entries(), *presets("models"), *presets("benchmarks"), *names)
        raise unknown("name", name, known)
    print("\n".join(lines))


def report(
    run: Annotated[Path, typer.Argument(help="A run folder, as printed by 'mubench run'.")],
) -> None:
    """Print the table of a finished run again."""
    from mubench.report.tables import render

    render(read_record(run), console())
    print(f"report: {(run if run.is_dir() else run.parent) / 'report.html'}")


def transplant(
    clip_run: Annotated[Path, typer.Argument(help="The run folder of a dual encoder.")],
    into: Annotated[str, typer.Option(help="The preset of a multimodal model with its tower.")],
    benchmark: Benchmark = None,
    sets: Sets = None,
    out: Annotated[Path, typer.Option(help="Where run folders go.")] = Path("runs"),
    cache: Cache = None,
) -> None:
    """Put an unlearned image tower into the multimodal model that stands on it, and measure."""
    record = read_record(clip_run)
    from mubench.report.tables import render
    from mubench.runner.transplant import transplant as graft

    folder = graft(
        record,
        into,
        open_store(cache),
        out,
        console(stderr=True),
        benchmark=benchmark,
        sets=sets or (),
    )
    render(read_record(folder), console())
    print(f"report: {folder / 'report.html'}")
    print(f"record: {folder / 'record.json'}")


def read_record(folder: Path) -> Any:
    """The record of a run folder."""
    from mubench.runner import rescore

    return rescore.read_record(folder)


def doctor(cache: Cache = None) -> None:
    """Environment, GPU, cache and hub: what a bug report needs."""
    from mubench.runner.doctor import checks

    for name, value in checks(open_store(cache)):
        print(f"{name:<14}{value}")  # no table: it would wrap the paths


def cache_ls(cache: Cache = None) -> None:
    """List finished stages with their size."""
    from datetime import datetime

    from rich.table import Table

    store = open_store(cache)
    table = Table(title=str(store.root), title_justify="left")
    for column in ("stage", "size", "made"):
        table.add_column(column)
    total = 0
    for kind, key, size, made in store.entries():
        total += size
        when = datetime.fromtimestamp(made).isoformat(" ", "minutes")
        table.add_row(f"{kind}/{key}", f"{size / 2**20:.1f} MB", when)
    console().print(table)
    print(f"total: {total / 2**20:.1f} MB")


def cache_clear(
    what: Annotated[
        str | None, typer.Argument(help="KIND or KIND/KEY as listed; everything if left out.")
    ] = None,
    cache: Cache = None,
) -> None:
    """Remove stages from the cache."""
    from mubench.errors import UsageError

    kind, _, key = (what or "").partition("/")
    removed = open_store(cache).clear(kind or None, key or None)
    if what and not removed:
        raise UsageError(f"nothing in the cache is called '{what}' (see: mubench cache ls)")
    print(f"removed {removed} stage{'s' if removed != 1 else ''}")
