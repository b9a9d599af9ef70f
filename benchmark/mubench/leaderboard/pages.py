"""The pages themselves: Jinja's templates, and tables of thousands of cells by hand."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import yaml
from markupsafe import Markup
from scipy import special  # type: ignore[import-untyped,unused-ignore]

from mubench import __version__
from mubench.metrics.ranking import Standing
from mubench.record import Value
from mubench.report import view
from mubench.types import ROLES

from . import export
from .bundle import RECORD
from .rows import Column, Row

#: Of every metric of a row, in the order of the table's columns.
PARTS = ("target", "gold", "method", "gap")


@dataclass
class Pages:
    """The HTML pages of a site, and what is downloaded from them."""

    folder: Path

    @cached_property
    def _environment(self) -> Any:
        from jinja2 import Environment, PackageLoader, StrictUndefined

        made = Environment(
            loader=PackageLoader("mubench.leaderboard", "web/templates"),
            autoescape=True,
            undefined=StrictUndefined,
            finalize=lambda value: view.clean(value) if type(value) is str else value,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        made.filters.update(
            number=view.number, interval=view.interval, flops=view.flops, yaml=_yaml, lines=_lines
        )
        return made

    def _write(self, name: str, template: str, **values: Any) -> None:
        page = self._environment.get_template(template).render(version=__version__, **values)
        (self.folder / name).write_text(page, encoding="utf-8")

    def index(self, boards: Sequence[Any]) -> None:
        """The one page of all boards."""
        # For comparisons in the page: t quantiles of 1, 2, ... degrees of freedom.
        quantiles = [round(float(special.stdtrit(df, 0.975)), 3) for df in range(1, 201)]
        self._write("index.html", "index.html.j2", up="", boards=boards, quantiles=quantiles)

    def row(
        self, row: Row, board: str, columns: Sequence[Column], standing: Standing, badges: list[str]
    ) -> None:
        """The page of a row, its records, and its numbers in other formats."""
        folder = self.folder / "runs" / row.id
        folder.mkdir(parents=True)
        for seed, bundle in zip(row.seeds, row.bundles, strict=True):
            shutil.copyfile(bundle.folder / RECORD, folder / f"seed{seed}.json")
        for name, made in (
            ("row.csv", export.csv(row.records)),
            ("row.tex", export.latex(row.records)),
            ("row.bib", export.bibtex(row.first)),
        ):
            (folder / name).write_text(made, encoding="utf-8")
        answers = [
            {role: bundle.predictions[role].sha256[:16] for role in ROLES} for bundle in row.bundles
        ]
        self._write(
            f"runs/{row.id}.html",
            "run.html.j2",
            up="../",
            board=board,
            row=row,
            record=row.first,
            standing=standing,
            badges=badges,
            columns=[column for column in columns if column.id in row.cells],
            answers=dict(zip(row.seeds, answers, strict=True)),
        )


def _yaml(value: Any) -> str:
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # ten times as fast where there is C
    return str(yaml.dump(value, Dumper=dumper, sort_keys=False, allow_unicode=True, width=88))


def _lines(row: Row, columns: Iterable[Column]) -> Markup:
    """Lines of a table: a metric, what target, gold and method reach with their intervals, and the
    gap. By hand, for a template takes several times as long for the thousands of cells."""
    return Markup("\n".join(_line(row, column) for column in columns))


def _line(row: Row, column: Column) -> str:
    cells = "".join(_cell(row.value(column.id, part)) for part in PARTS)
    return f"<tr>{_head(column)}{cells}</tr>"


@cache
def _head(column: Column) -> Markup:
    metric = column.title if column.headline else f"{column.task} · {column.title}"
    asked = view.MODALITY_TITLES.get(column.modality, column.modality)
    return Markup('<td>{}</td><td>{}</td><th scope="row">{}</th>').format(
        *map(view.clean, (column.set, asked, metric))
    )


def _cell(value: Value | None) -> str:
    if value is None:
        return '<td class="number none">n/a</td>'
    number, interval = view.number(value.value), view.interval(value)  # digits and signs
    return f'<td class="number">{number} <small>{interval}</small></td>'
