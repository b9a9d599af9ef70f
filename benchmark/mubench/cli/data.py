"""``mubench data``: build, pull, look at, check, export and publish benchmarks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .commands import Cache, Sets, console, open_store

if TYPE_CHECKING:
    from mubench.config.schema import AnyBenchmark

What = Annotated[str, typer.Argument(help="A benchmark preset, or a folder with a manifest.json.")]
Out = Annotated[Path | None, typer.Option(help="Also write a folder with a dataset card.")]


def ls(cache: Cache = None) -> None:
    """List benchmarks, and which of them are on this machine."""
    from rich.table import Table

    from mubench.config.resolve import presets, resolve_benchmark
    from mubench.runner.plan import data_node

    store = open_store(cache)
    table = Table(box=None)
    for column in ("benchmark", "what it is", "on this machine"):
        table.add_column(column)
    for name, preset in presets("benchmarks").items():
        node = data_node(resolve_benchmark(name))
        there = str(store.folder(node.kind, node.key)) if store.has(node.kind, node.key) else "no"
        table.add_row(name, preset["title"], there)
    console().print(table)


def build(
    name: Annotated[
        str, typer.Argument(help="people, people-mini, clip-people or clip-concepts.")
    ] = "people",
    fictitious: Annotated[int | None, typer.Option(help="Number of invented people.")] = None,
    celebrities: Annotated[int | None, typer.Option(help="Number of celebrities.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of people and questions.")] = None,
    faces: Annotated[
        Path | None, typer.Option(help="Your own pictures: one folder a person.")
    ] = None,
    celebrity_faces: Annotated[
        str | None,
        typer.Option(help="Celebrities' pictures: a folder a person, or hub:owner/name."),
    ] = None,
    out: Out = None,
    sets: Sets = None,
    cache: Cache = None,
) -> None:
    """Build a benchmark on this machine."""
    from mubench.config.resolve import resolve_benchmark
    from mubench.errors import UsageError

    given = {
        "fictitious": fictitious,
        "celebrities": celebrities,
        "seed": seed,
        "faces": faces,
        "celebrity_faces": celebrity_faces,
    }
    options = [f"benchmark.{key}={value}" for key, value in given.items() if value is not None]
    settings = resolve_benchmark(name, [*options, *(sets or ())])
    if settings.is_published:
        raise UsageError(f"'{name}' is published, not built: mubench data pull {name}")
    _make(settings, out, cache)


def pull(
    name: Annotated[str, typer.Argument(help="A published benchmark (mubench data ls).")],
    revision: Annotated[str | None, typer.Option(help="Commit or tag on the Hub.")] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="A local copy of the repository, instead of the Hub.")
    ] = None,
    out: Out = None,
    sets: Sets = None,
    cache: Cache = None,
) -> None:
    """Fetch a published benchmark from the Hugging Face Hub, and check it."""
    from mubench.config.resolve import resolve_benchmark
    from mubench.errors import UsageError

    given = {"revision": revision, "data_dir": data_dir}
    options = [f"benchmark.{key}={value}" for key, value in given.items() if value is not None]
    settings = resolve_benchmark(name, [*options, *(sets or ())])
    if not settings.is_published:
        raise UsageError(f"'{name}' is built, not published: mubench data build {name}")
    _make(settings, out, cache)


def _make(settings: AnyBenchmark, out: Path | None, cache: Path | None) -> None:
    from mubench.runner import datasets

    data = datasets.make(settings, open_store(cache), console(stderr=True))
    print(f"data: {data.folder}")
    print(f"content: {data.manifest['content_sha']}")
    if out is not None:
        datasets.share(data, out)
        print(f"written: {out}")


def check(what: What, cache: Cache = None) -> None:
    """Prove every promise of a benchmark; exit 5 if one is broken."""
    from rich.table import Table
    from rich.text import Text

    from mubench.data.check import check as prove
    from mubench.errors import DamagedError
    from mubench.runner import datasets
    from mubench.runner.progress import bar

    data = datasets.find(what, open_store(cache))
    with bar(console(stderr=True), "data check") as report:
        findings = prove(data, report)
    table = Table(title=str(data.folder), title_justify="left")
    for column in ("promise", "holds", "found"):
        table.add_column(column)
    for finding in findings:
        holds = {True: "yes", False: "NO", None: "n/a"}[finding.ok]
        # Text: what is found may hold brackets of the data's own.
        table.add_row(Text(finding.promise), holds, Text(finding.detail))
    console().print(table)
    broken = [finding.promise for finding in findings if finding.ok is False]
    if broken:
        raise DamagedError(f"{data.folder}: {len(broken)} promises are broken: {'; '.join(broken)}")


def show(
    what: What,
    sheet: Annotated[Path | None, typer.Option(help="Write a contact sheet (PNG) here.")] = None,
    people: Annotated[int, typer.Option(min=1, help="People on the sheet.")] = 8,
    cache: Cache = None,
) -> None:
    """Statistics of a benchmark, and its people as pictures."""
    from mubench.data.card import tables
    from mubench.errors import OutputError
    from mubench.runner import datasets

    data = datasets.find(what, open_store(cache))
    screen = console()
    for table in tables(data):
        screen.print(table)
    if sheet is not None:
        try:
            datasets.sheet(data, people).save(sheet)
        except (OSError, ValueError) as error:
            raise OutputError(f"cannot write the sheet to {sheet}: {error}") from error
        print(f"sheet: {sheet}")


def export(
    what: What,
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    format: Annotated[str, typer.Option(help="mllmu: the layout of MLLMU-Bench.")] = "mllmu",
    cache: Cache = None,
) -> None:
    """Write a benchmark in another project's layout, so that its scripts run on it."""
    from mubench.errors import UsageError, unknown
    from mubench.runner import datasets
    from mubench.runner.progress import bar
    from mubench_data.export import export_mllmu

    if format != "mllmu":
        raise unknown("format", format, ("mllmu",))
    data = datasets.find(what, open_store(cache))
    if data.asks_pairs:
        raise UsageError(
            f"'{what}' holds pairs of picture and caption, which the layout of MLLMU-Bench has no "
            "place for: export people or people-mini"
        )
    with bar(console(stderr=True), "export") as report:
        export_mllmu(data, folder, report)
    print(f"written: {folder}")


def push(
    what: What,
    repo: Annotated[str, typer.Argument(help="owner/name of a data set on the Hub.")],
    private: Annotated[bool, typer.Option(help="Only for you.")] = False,
    cache: Cache = None,
) -> None:
    """Upload a benchmark with its card to the Hugging Face Hub."""
    from tempfile import TemporaryDirectory

    from mubench.data.hub import upload
    from mubench.runner import datasets

    data = datasets.find(what, open_store(cache))
    with TemporaryDirectory() as temporary:
        folder = Path(temporary) / "data"
        datasets.share(data, folder)
        print(f"pushed: {upload(folder, repo, private=private)}")
