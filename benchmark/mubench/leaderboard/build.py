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

import io
import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from scipy import special  # type: ignore[import-untyped,unused-ignore]

from mubench import __version__
from mubench.data.load import BenchmarkData
from mubench.errors import MubenchError, OutputError
from mubench.record import RunRecord, Value
from mubench.report import view
from mubench.types import ROLES

from . import bundle as bundles
from . import export
from .bundle import Bundle
from .reported import Reported
from .rows import SEEDS, Column, Row, Standing, columns, group, standings
from .strict import Refusal
from .validate import check_record

#: Pixels of the pictures beside the questions.
THUMBNAIL = 112
#: ``find(spec)`` gives the benchmark of a run, or None where it is not on this machine.
Find = Callable[[Mapping[str, Any]], BenchmarkData | None]


@dataclass
class Site:
    """What was built, and what was left out and why."""

    folder: Path
    rows: int = 0
    runs: int = 0
    left_out: list[str] = field(default_factory=list)


def build(
    records: Path, reported: Sequence[Reported], out: Path, find: Find,
    progress: Callable[[int, int, str], None] = lambda *_: None,
) -> Site:  # fmt: skip
    """Write the whole site to ``out``, which is replaced only once all of it is there."""
    site = Site(out)
    found = []
    folders = bundles.find(records) if records.is_dir() else []
    for folder in folders:
        try:
            bundle = bundles.read(folder)
            check_record(bundle.record)
            found.append(bundle)
        except Refusal as refusal:
            site.left_out.append(f"{folder}: {refusal}")
    boards = _boards(found, reported)
    partial = out.with_name(f".{out.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        _copy_static(partial)
        pages = _Pages(partial, boards)
        for number, board in enumerate(boards):
            progress(number, len(boards), board.name)
            board.write(partial / "data", find)
            for row in board.rows:
                pages.row(board, row)
        pages.index()
        shutil.rmtree(out, ignore_errors=True)
        partial.replace(out)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise OutputError(f"cannot write {out}: {error.strerror}") from error
    site.rows, site.runs = sum(len(board.rows) for board in boards), len(found)
    return site


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

    @property
    def benchmark(self) -> str:
        return self.name.split("@")[0]

    @cached_property
    def columns(self) -> list[Column]:
        return columns(self.rows)

    @cached_property
    def standings(self) -> Mapping[str, Standing]:
        return standings(self.rows)

    @property
    def ordered(self) -> list[Row]:
        by_id = {row.id: row for row in self.rows}
        return [by_id[key] for key in self.standings]

    def badges(self, row: Row) -> list[str]:
        """How far a row can be relied upon."""
        found = ["rescored"]
        if len(row.seeds) < SEEDS:
            found.append("single-seed" if len(row.seeds) == 1 else f"{len(row.seeds)} seeds")
        newest = max(self.rows, key=lambda row: row.first.created)
        if row.first.data["content_sha"] != newest.first.data["content_sha"]:
            found.append("stale")
        return found

    def write(self, folder: Path, find: Find) -> None:
        """The data files of this benchmark."""
        folder.mkdir(exist_ok=True)
        details = _Details(folder / self.name, self.name, find)
        for row in self.rows:
            details.add(row, self.columns)
        details.finish()
        values = self.values(details)
        _write_data(folder / f"{self.name}.js", self.name, values)
        text = json.dumps(values, indent=1, ensure_ascii=False)
        (folder / f"{self.name}.json").write_text(text + "\n", encoding="utf-8")

    def values(self, details: _Details) -> dict[str, Any]:
        """What the table shows; numbers in thousandths, as [value, low, high]."""
        return {
            "name": self.name,
            "benchmark": self.benchmark,
            "title": _title(self.rows, self.benchmark),
            "runs": sum(len(row.bundles) for row in self.rows),
            "columns": [asdict(column) for column in self.columns],
            "references": self._references(),
            "rows": [self._row(row, details) for row in self.ordered if not row.is_reference],
            "reported": [self._reported(row) for row in self.reported],
            "probes": _probes([row for row in self.ordered if not row.is_reference]),
        }

    def _row(self, row: Row, details: _Details) -> dict[str, Any]:
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
            "seeds": len(row.seeds),
            "badges": self.badges(row),
            "gated": standing.gated,
            "warnings": len({line for one in row.records for line in one.warnings}),
            "rank": [standing.low, standing.high] if standing.low else None,
            "distance": _thousandths(standing.distance),
            "utility": round(1000 * row.utility) if row.utility == row.utility else None,
            "seconds": round(row.seconds, 1),
            "mb": round(row.peak_mb),
            "persons": row.id in details.persons,
            "score": [_thousandths(row.value(c.id, "method")) for c in self.columns],
            "gap": [_thousandths(row.value(c.id, "gap")) for c in self.columns],
            "delta": [_thousandths(row.value(c.id, "difference")) for c in self.columns],
        }

    def _references(self) -> list[dict[str, Any]]:
        """Target, gold and guessing of every model and ratio, averaged over the rows' runs."""
        groups: dict[tuple[str, float], list[Row]] = {}
        for row in self.rows:
            spec = row.first.spec
            key = spec["model"]["name"], spec["benchmark"]["forget_ratio"]
            groups.setdefault(key, []).append(row)
        found = []
        for (model, ratio), rows in sorted(groups.items()):
            row = max(rows, key=lambda row: len(row.seeds))
            for name, part in (("target", "target"), ("gold", "gold"), ("guess", "prior")):
                values = [_thousandths(row.value(c.id, part)) for c in self.columns]
                if any(values):
                    names = {"target": "none", "gold": "gold"}
                    page = (r.id for r in rows if r.first.spec["method"]["name"] == names.get(name))
                    found.append(
                        {"name": name, "model": model, "ratio": ratio, "score": values,
                         "id": next(page, None)}
                    )  # fmt: skip
        return found

    def _reported(self, row: Reported) -> dict[str, Any]:
        return {**row.model_dump(mode="json"), "id": row.id}


def _title(rows: Sequence[Row], benchmark: str) -> str:
    from mubench.config.resolve import presets

    known = presets("benchmarks").get(benchmark, {})
    return str(known.get("title", benchmark))


def _changed(record: RunRecord) -> str:
    """The scope and mask of a method, where they are not the usual ones: what tells rows apart."""
    config = record.spec["method"]["config"]
    told = [str(config[key]) for key in ("scope", "mask") if config.get(key) not in (None, "none")]
    return ", ".join(told)


def _thousandths(value: Value | None) -> list[int | None] | None:
    if value is None:
        return None
    parts = (value.value, value.low, value.high)
    return [None if part is None else round(1000 * part) for part in parts]


def _probes(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """What probes found, of rows that were probed: recovery above gold by the probe's axes."""
    found = []
    for row in rows:
        for probe in getattr(row.first, "probes", []):
            found.append(
                {
                    "row": row.id,
                    "probe": probe.probe,
                    "axes": list(probe.axes.items()),
                    "metric": probe.metric,
                    "difference": _thousandths(probe.difference),
                    "leaks": probe.leaks,
                }
            )
    return found


def _write_data(path: Path, name: str, values: Any) -> None:
    """A script that hands JSON to the page: a script, because pages from disk may not fetch."""
    text = json.dumps(values, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"mubench.take({json.dumps(name)},{text});\n", encoding="ascii")


class _Details:
    """Questions, answers, pictures and the people's sums: what is loaded when it is looked at."""

    def __init__(self, folder: Path, name: str, find: Find) -> None:
        self.folder = folder
        self.name = name
        self.persons: set[str] = set()
        self._find = find
        self._data: dict[str, BenchmarkData | None] = {}
        self._written: set[str] = set()
        self._pictures: dict[str, tuple[int, bytes]] = {}  # number and content by name

    def add(self, row: Row, shown: Sequence[Column]) -> None:
        record = row.first
        split = f"{record.spec['benchmark']['forget_ratio']:g}"
        if split not in self._data:
            self._data[split] = self._find(record.spec)
            self._questions(split)
        data = self._data[split]
        if data is None or data.manifest["content_sha"] != record.data["content_sha"]:
            return
        sums = []
        for bundle in row.bundles:
            for role in ROLES:
                sha = bundle.predictions[role].sha256
                if role == "method" or sha not in self._written:
                    rows = {str(one["id"]): one for one in bundle.rows(role)}
                    self._answers(sha, data, rows)
                    if role == "method":
                        sums.append(_sums(data, rows, shown))
        mean = {
            key: [counts, [round(float(x), 3) for x in np.mean([s[key][1] for s in sums], axis=0)]]
            for key, (counts, _) in sums[0].items()
        }
        _write_data(self.folder / "persons" / f"{row.id}.js", f"persons/{row.id}", mean)
        self.persons.add(row.id)

    def _questions(self, split: str) -> None:
        data = self._data[split]
        if data is None:
            return
        items = []
        for example in data.examples:
            picture = None
            if example.image:
                if example.image not in self._pictures:
                    small = _thumbnail(data.image(example.image))
                    self._pictures[example.image] = len(self._pictures), small
                picture = self._pictures[example.image][0]
            items.append(
                [example.set, example.modality, example.task, example.person, example.question,
                 list(example.choices), example.answer, picture]
            )  # fmt: skip
        _write_data(self.folder / f"items-{split}.js", f"items/{split}", items)

    def _answers(self, sha: str, data: BenchmarkData, rows: Mapping[str, Any]) -> None:
        """What a model said to each question, in their order, and whether that was right."""
        if sha in self._written:
            return
        self._written.add(sha)
        said = []
        for example in data.examples:
            row = rows[example.id]
            response, scores = row["response"], row["scores"]
            if example.choices:
                pairs = zip(response["logprobs"], response["lengths"], strict=True)
                means = [total / length for total, length in pairs]
                text: Any = means.index(max(means))
            else:
                text = response["text"]
            right = next((scores[m] for m in ("accuracy", "keyword", "match") if m in scores), None)
            said.append([text, None if right is None else int(right == 1.0)])
        _write_data(self.folder / "answers" / f"{sha[:16]}.js", f"answers/{sha[:16]}", said)

    def finish(self) -> None:
        for number, data in self._pictures.values():
            path = self.folder / "pictures" / f"{number}.webp"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


def _thumbnail(picture: Any) -> bytes:
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    out = io.BytesIO()
    picture.save(out, "webp", quality=80)
    return out.getvalue()


def _sums(
    data: BenchmarkData, rows: Mapping[str, Any], shown: Sequence[Column]
) -> dict[str, tuple[list[int], list[float]]]:
    """By headline column: how many items each person has, and the sum of their scores."""
    wanted = {(c.set, c.modality, c.task, c.metric): c.id for c in shown if c.headline}
    found: dict[str, dict[str, list[float]]] = {}
    for example in data.examples:
        for metric, value in rows[example.id]["scores"].items():
            key = wanted.get((example.set, example.modality, example.task, metric))
            if key is not None:
                person = found.setdefault(key, {}).setdefault(example.person, [0, 0.0])
                person[0] += 1
                person[1] += value
    return {
        key: ([int(n) for n, _ in people.values()], [total for _, total in people.values()])
        for key, people in found.items()
    }


class _Pages:
    """The HTML pages."""

    def __init__(self, folder: Path, boards: Sequence[Board]) -> None:
        from jinja2 import Environment, PackageLoader, StrictUndefined

        self.folder = folder
        self.boards = boards
        self._environment = Environment(
            loader=PackageLoader("mubench.leaderboard", "web/templates"),
            autoescape=True,
            undefined=StrictUndefined,
            finalize=lambda value: view.clean(value) if type(value) is str else value,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters.update(
            number=view.number, interval=view.interval, yaml=_yaml, bar=_bar
        )
        (folder / "runs").mkdir()

    def _write(self, name: str, template: str, **values: Any) -> None:
        page = self._environment.get_template(template).render(version=__version__, **values)
        (self.folder / name).write_text(page, encoding="utf-8")

    def index(self) -> None:
        # For comparisons in the page: t quantiles of 1, 2, ... degrees of freedom.
        quantiles = [round(float(special.stdtrit(df, 0.975)), 3) for df in range(1, 201)]
        self._write("index.html", "index.html.j2", up="", boards=self.boards, quantiles=quantiles)

    def row(self, board: Board, row: Row) -> None:
        files = f"runs/{row.id}"
        (self.folder / files).mkdir()
        for record in row.records:
            text = record.model_dump_json(indent=1) + "\n"
            (self.folder / files / f"seed{record.spec['seed']}.json").write_text(text, "utf-8")
        for name, made in (
            ("row.csv", export.csv(row.records)),
            ("row.tex", export.latex(row.records)),
            ("row.bib", export.bibtex(row.first)),
        ):
            (self.folder / files / name).write_text(made, encoding="utf-8")
        split = f"{row.first.spec['benchmark']['forget_ratio']:g}"
        answers = [
            {role: bundle.predictions[role].sha256[:16] for role in ROLES} for bundle in row.bundles
        ]
        self._write(
            f"{files}.html",
            "run.html.j2",
            up="../",
            board=board,
            row=row,
            record=row.first,
            standing=board.standings[row.id],
            badges=board.badges(row),
            columns=[column for column in board.columns if column.id in row.cells],
            answers=dict(zip(row.seeds, answers, strict=True)),
            split=split,
            titles=view.MODALITY_TITLES,
        )


def _yaml(value: Any) -> str:
    return str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=88))


def _bar(value: Value | None, low: float = -0.25, high: float = 1.25) -> dict[str, float] | None:
    """Where a value and its interval lie on an axis, in per cent of its length."""
    if value is None:
        return None

    def place(x: float) -> float:
        return round(100 * min(max((x - low) / (high - low), 0.0), 1.0), 1)

    start = value.value if value.low is None else value.low
    end = value.value if value.high is None else value.high
    return {"at": place(value.value), "from": place(start), "to": place(end)}


def finder(store: Any) -> Find:
    """The benchmark of a run if it is in the cache, or can be built here in minutes."""
    from rich.console import Console

    from mubench.config.schema import PeopleSettings, RunSpec
    from mubench.runner.datasets import make
    from mubench.runner.plan import data_node

    def find(values: Mapping[str, Any]) -> BenchmarkData | None:
        try:
            settings = RunSpec.model_validate(values).benchmark
            node = data_node(settings)
            if not isinstance(settings, PeopleSettings) and not store.has(node.kind, node.key):
                return None
            folder = make(settings, store, Console(stderr=True)).folder
        except (MubenchError, ValueError):
            return None
        return BenchmarkData(folder, settings.forget_ratio, settings.fold)

    return find
