"""The pages: static files that need no server and open from disk as well.

    index.html               the table, charts and comparison; loads one data file a benchmark
    runs/<row>.html          one row: numbers, commands, settings, provenance, answers
    data/<benchmark>.js      what the table shows (and .json, the same for others to use)
    data/<benchmark>/...     questions, answers and pictures, loaded when they are looked at
    static/...               scripts and styles

Nothing of a submission is ever code: pages are escaped by Jinja, data files are JSON, scripts write
text nodes, and the content policy of every page allows scripts of the site alone.
"""

from __future__ import annotations

import gc
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

from mubench.data.load import BenchmarkData
from mubench.errors import MubenchError, OutputError
from mubench.metrics.ranking import Standing
from mubench.probes.leakage import TITLES
from mubench.record import Probe, RunRecord, Value
from mubench.types import Estimate

from . import bundle as bundles
from .bundle import Bundle
from .details import Questions, write_data
from .forks import spread
from .pages import Pages
from .reported import Reported
from .rows import SEEDS, Column, Row, Scored, columns, group, standings
from .strict import Refusal
from .validate import check_record

#: Fields of a row in the table that hold one number a column.
NUMBERS = ("score", "gap", "delta")
#: ``find(spec)`` gives the benchmark of a run, or None where it is not on this machine.
Find = Callable[[Mapping[str, Any]], BenchmarkData | None]


@dataclass
class Site:
    """What was built, and what was left out and why."""

    folder: Path
    rows: int = 0
    runs: int = 0
    left_out: list[str] = field(default_factory=list)


def build(records: Path, reported: Sequence[Reported], out: Path, find: Find) -> Site:
    """Write the whole site to ``out``, which is replaced only once all of it is there."""
    with _no_collection():
        return _build(records, reported, out, find)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Records and answers hold no cycles: looking for some would take half of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _build(records: Path, reported: Sequence[Reported], out: Path, find: Find) -> Site:
    site = Site(out)
    folders = bundles.find(records) if records.is_dir() else []
    # Checked by all cores and then read again, which takes less than to send what was read.
    wrong = dict(zip(folders, spread(_wrong, folders), strict=True))
    found = [bundles.trusted(folder) for folder, line in wrong.items() if not line]
    site.left_out += [line for line in wrong.values() if line]
    boards = _boards(found, reported)
    partial = out.with_name(f".{out.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        _copy_static(partial)
        pages = Pages(partial)
        for board in boards:
            board.write(partial, pages, find)
        pages.index(boards)
        shutil.rmtree(out, ignore_errors=True)
        partial.replace(out)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise OutputError(f"cannot write {out}: {error.strerror}") from error
    site.rows, site.runs = sum(len(board.rows) for board in boards), len(found)
    return site


def _wrong(folder: Path) -> str:
    """A line that says what is wrong with a bundle; empty if it is in order."""
    try:
        check_record(bundles.read(folder).record)
    except Refusal as refusal:
        return f"{folder}: {refusal}"
    return ""


def _boards(found: Iterable[Bundle], reported: Sequence[Reported]) -> list[Board]:
    """One board a benchmark version; the one with most rows first."""
    by_name: dict[str, list[Bundle]] = {}
    for bundle in found:
        by_name.setdefault(bundle.place.split("/")[0], []).append(bundle)
    boards = [Board(name, group(of)) for name, of in by_name.items()]
    for row in reported:
        board = next((b for b in boards if b.benchmark == row.benchmark), None)
        if board is None:
            boards.append(board := Board(row.benchmark, []))
        board.reported.append(row)
    return sorted(boards, key=lambda board: (-len(board.rows), board.name))


def _copy_static(folder: Path) -> None:
    source = files("mubench.leaderboard") / "web" / "static"
    (folder / "static").mkdir(parents=True)
    for entry in source.iterdir():
        (folder / "static" / entry.name).write_bytes(entry.read_bytes())


@dataclass
class Board:
    """One benchmark: its rows, and what the page needs of them."""

    name: str  # benchmark@version
    rows: list[Row]
    reported: list[Reported] = field(default_factory=list)
    standings: Mapping[str, Standing] = field(default_factory=dict)  # in their order

    @property
    def benchmark(self) -> str:
        return self.name.split("@")[0]

    @cached_property
    def columns(self) -> list[Column]:
        """All columns, for the pages of the rows."""
        return columns(self.rows)

    @cached_property
    def shown(self) -> list[Column]:
        """Those of the table, which is read at once and has to be small."""
        return [column for column in self.columns if column.headline]

    @cached_property
    def _newest(self) -> str:
        """The content of the benchmark that the newest run was asked."""
        newest = max(self.rows, key=lambda row: row.first.created)
        return str(newest.first.data["content_sha"])

    @property
    def ordered(self) -> list[Row]:
        by_id = {row.id: row for row in self.rows}
        return [by_id[key] for key in self.standings]

    def badges(self, row: Row) -> list[str]:
        """How far a row can be relied upon."""
        found = ["rescored"]
        if len(row.seeds) < SEEDS:
            found.append("single-seed" if len(row.seeds) == 1 else f"{len(row.seeds)} seeds")
        if row.first.data["content_sha"] != self._newest:
            found.append("stale")
        return found

    def write(self, site: Path, pages: Pages, find: Find) -> None:
        """The data files of this benchmark and the pages of its rows."""
        folder = site / "data" / self.name
        scored = self._answers(folder, find)
        self.standings = standings(self.rows, scored)

        def write(row: Row) -> None:
            if heat := _leakage(row):
                write_data(folder / "leakage" / f"{row.id}.js", f"leakage/{row.id}", heat)
            standing, badges = self.standings[row.id], self.badges(row)
            pages.row(row, self.name, self.columns, standing, badges)

        spread(write, self.rows)
        values = self.values(set(scored))
        write_data(site / "data" / f"{self.name}.js", self.name, _compact(values))
        text = json.dumps(values, indent=1, ensure_ascii=False)
        (site / "data" / f"{self.name}.json").write_text(text + "\n", encoding="utf-8")

    def _answers(self, folder: Path, find: Find) -> dict[str, Scored]:
        """Write what was asked and answered, as far as the benchmark is at hand; returns by row
        what ranking needs of it."""
        asked: dict[str, Questions | None] = {}
        for row in self.rows:
            if row.split not in asked:
                data = find(row.first.spec)
                asked[row.split] = (
                    None if data is None else Questions(folder, row.split, data, self.shown)
                )
        pairs = [
            (row, questions)
            for row in self.rows
            if (questions := asked[row.split])
            and questions.content_sha == row.first.data["content_sha"]
        ]
        said = spread(lambda pair: pair[1].add(pair[0]), pairs)
        return {
            row.id: Scored(questions.forget, questions.scores(row, own))
            for (row, questions), own in zip(pairs, said, strict=True)
        }

    def values(self, answered: Set[str]) -> dict[str, Any]:
        """What the table shows; numbers in thousandths, as [value, low, high]."""
        return {
            "name": self.name,
            "benchmark": self.benchmark,
            "title": _title(self.rows, self.benchmark),
            "runs": sum(len(row.bundles) for row in self.rows),
            "columns": [asdict(column) for column in self.shown],
            "references": self._references(),
            "rows": [
                self._row(row, row.id in answered) for row in self.ordered if not row.is_reference
            ],
            "reported": [self._reported(row) for row in self.reported],
        }

    def _row(self, row: Row, answered: bool) -> dict[str, Any]:
        record, standing = row.first, self.standings[row.id]
        info = record.method
        model = record.spec["model"]
        return {
            "id": row.id,
            "method": record.spec["method"]["name"],
            "title": info.get("title", ""),
            "setting": _changed(record),
            "model": model["name"],
            "family": "CLIP" if model.get("kind") == "clip" else "MLLM",
            "kind": info.get("kind", ""),
            "retain": "retain" in info.get("needs", ()),
            "ratio": record.spec["benchmark"]["forget_ratio"],
            "scope": record.spec["benchmark"]["scope"],
            "seeds": len(row.seeds),
            "badges": self.badges(row),
            "gated": standing.reason,
            "label": standing.label,
            "front": standing.front,
            "warnings": len({line for one in row.records for line in one.warnings}),
            "rank": [standing.low, standing.high] if standing.low else None,
            "distance": _thousandths(standing.distance),
            "utility": None if standing.utility is None else round(1000 * standing.utility),
            "seconds": round(row.cost.seconds, 1),
            "flops": row.cost.flops,
            "mb": round(row.cost.peak_mb),
            "state": row.cost.state,
            "overhead": row.cost.overhead and round(row.cost.overhead, 2),
            "persons": answered,
            "probed": any(probe.probe == "leakage" for probe in record.probes),
            "score": [_thousandths(row.value(c.id, "method")) for c in self.shown],
            "gap": [_thousandths(row.value(c.id, "gap")) for c in self.shown],
            "delta": [
                None if row.value(c.id, "gap") else _thousandths(row.value(c.id, "difference"))
                for c in self.shown
            ],
        }

    def _references(self) -> list[dict[str, Any]]:
        """Target, gold and guessing of every model and split, averaged over the rows' runs."""
        groups: dict[tuple[str, str], list[Row]] = {}
        for row in self.rows:
            groups.setdefault((row.first.spec["model"]["name"], row.split), []).append(row)
        found = []
        for (model, _), rows in sorted(groups.items()):
            benchmark = rows[0].first.spec["benchmark"]
            row = max(rows, key=lambda row: len(row.seeds))
            for name, part in (("target", "target"), ("gold", "gold"), ("guess", "prior")):
                values = [_thousandths(row.value(c.id, part)) for c in self.shown]
                if any(values):
                    names = {"target": "none", "gold": "gold"}
                    page = (r.id for r in rows if r.first.spec["method"]["name"] == names.get(name))
                    found.append(
                        {"name": name, "model": model, "ratio": benchmark["forget_ratio"],
                         "scope": benchmark["scope"], "score": values, "id": next(page, None)}
                    )  # fmt: skip
        return found

    def _reported(self, row: Reported) -> dict[str, Any]:
        return {**row.model_dump(mode="json"), "id": row.id}


def _compact(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same with rows as lists, the names of their fields said once, and 0 for no number."""
    rows = values["rows"]
    fields = list(rows[0]) if rows else []
    short = [
        [[one or 0 for one in value] if key in NUMBERS else value for key, value in row.items()]
        for row in rows
    ]
    return {**values, "fields": fields, "rows": short}


def _title(rows: Sequence[Row], benchmark: str) -> str:
    from mubench.config.resolve import presets

    known = presets("benchmarks").get(benchmark, {})
    return str(known.get("title", benchmark))


def _changed(record: RunRecord) -> str:
    """The scope and mask of a method, where they are not the usual ones: what tells rows apart."""
    config = record.spec["method"]["config"]
    told = [str(config[key]) for key in ("scope", "mask") if config.get(key) not in (None, "none")]
    return ", ".join(told)


def _thousandths(value: Value | Estimate | None) -> list[int | None] | None:
    if value is None:
        return None
    parts = (value.value, value.low, value.high)
    return [None if part is None else round(1000 * part) for part in parts]


def _leakage(row: Row) -> list[list[Any]]:
    """The heat map of a row: path, form, recovery above gold over the seeds, and whether every seed
    leaks there."""
    found = []
    for id_, cells in row.cells.items():
        probes = [cell for cell in cells if isinstance(cell, Probe) and cell.probe == "leakage"]
        if probes:
            path, form = probes[0].axes["path"], probes[0].axes["form"]
            value = _thousandths(row.value(id_, "difference"))
            found.append([TITLES.get(path, path), form, value, all(one.leaks for one in probes)])
    return found


def finder(store: Any) -> Find:
    """The benchmark of a run if it is in the cache, or can be built here in minutes."""
    from rich.console import Console

    from mubench.config.schema import RunSpec
    from mubench.runner.datasets import asked
    from mubench.runner.plan import data_node

    def find(values: Mapping[str, Any]) -> BenchmarkData | None:
        try:
            settings = RunSpec.model_validate(values).benchmark
            node = data_node(settings)
            if settings.kind == "published" and not store.has(node.kind, node.key):
                return None
            return asked(settings, store, Console(stderr=True))
        except (MubenchError, ValueError):
            return None

    return find
