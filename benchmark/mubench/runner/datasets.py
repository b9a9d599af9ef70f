"""Benchmarks by themselves: made, found, and written as folders that others can use."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from rich.console import Console

from mubench.config.resolve import presets, resolve_benchmark
from mubench.config.schema import AnyBenchmark
from mubench.data.load import BenchmarkData
from mubench.data.tables import TABLES
from mubench.errors import OutputError, UsageError

from .execute import data_builder, stage
from .plan import data_node
from .sources import source
from .store import Store

#: Forget ratio under which a folder is looked at, where nothing else says which.
USUAL_RATIO = 0.15


def make(settings: AnyBenchmark, store: Store, console: Console) -> BenchmarkData:
    """Make the benchmark, or read it if the store has it."""
    source(settings).check()
    return _open(stage(store, data_node(settings), data_builder(settings), console).folder)


def asked(settings: AnyBenchmark, store: Store, console: Console) -> BenchmarkData:
    """The benchmark under its own split, as runs see it; made if the store has it not."""
    folder = make(settings, store, console).folder
    return BenchmarkData(folder, settings.forget_ratio, settings.fold, settings.scope)


def find(what: str, store: Store) -> BenchmarkData:
    """A benchmark by folder, or by preset name if it was made before. Else UsageError."""
    folder = Path(what)
    if (folder / "manifest.json").is_file():
        return _open(folder)
    if what not in presets("benchmarks"):
        known = ", ".join(presets("benchmarks"))
        raise UsageError(f"'{what}' is no folder with a manifest.json, and no benchmark: {known}")
    settings = resolve_benchmark(what)
    node = data_node(settings)
    if not store.has(node.kind, node.key):
        verb = "pull" if settings.is_published else "build"
        raise UsageError(f"'{what}' is not on this machine yet: mubench data {verb} {what}")
    return _open(store.read(node.kind, node.key).folder)


def _open(folder: Path) -> BenchmarkData:
    """A stored benchmark under a ratio that it has."""
    data = BenchmarkData(folder, USUAL_RATIO)
    splits = data.manifest["splits"]
    return data if "order" in splits else BenchmarkData(folder, float(next(iter(splits))))


def share(data: BenchmarkData, out: Path) -> None:
    """Copy the tables into ``out`` with a dataset card; nothing half-written is left behind."""
    from mubench.data.card import write_card

    if out.exists() and any(out.iterdir()):
        raise OutputError(f"{out} is not empty: give another folder, or remove it")
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        for name in (*TABLES, *(("galleries",) if data.asks_pairs else ())):
            shutil.copyfile(data.folder / f"{name}.parquet", partial / f"{name}.parquet")
        shutil.copyfile(data.folder / "manifest.json", partial / "manifest.json")
        write_card(data, partial, _pictures(data))
        if out.exists():
            out.rmdir()
        partial.replace(out)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise OutputError(f"cannot write {out}: {error.strerror}") from error


def _pictures(data: BenchmarkData) -> dict[str, Any]:
    """What the card shows: a contact sheet, and of somebody the card and the group photo."""
    found: dict[str, Any] = {"sheet": sheet(data, people=8)}
    for kind in ("card", "group"):
        ids = (id_ for id_ in data.image_ids() if id_.endswith(f"/{kind}"))
        if id_ := next(ids, None):
            found[kind] = data.png(id_)
    return found


def sheet(data: BenchmarkData, people: int, tile: int = 160) -> Any:
    """A contact sheet: the first people who are forgotten, then others; their pictures beside."""
    from mubench_data.sheet import contact_sheet

    pictures: dict[str, dict[str, str]] = {}
    for id_ in data.image_ids():
        person, _, kind = id_.partition("/")
        pictures.setdefault(person, {})[kind] = id_
    shown = sorted(
        (person for person in data.people if person.id in pictures),
        key=lambda person: person.id not in data.forget,
    )[:people]
    columns = list(dict.fromkeys(kind for person in shown for kind in pictures[person.id]))
    rows = [
        (
            person.name,
            [
                data.image(pictures[person.id][kind]) if kind in pictures[person.id] else None
                for kind in columns
            ],
        )
        for person in shown
    ]
    return contact_sheet(rows, columns, tile)
