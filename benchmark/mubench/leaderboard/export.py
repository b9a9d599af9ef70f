"""A run in other people's formats."""

from __future__ import annotations

import csv as csv_module
import io
import re
from collections.abc import Sequence

from mubench.record import Cell, RunRecord, Value
from mubench.report import view

_PARTS = ("target", "gold", "method", "difference", "gap")


def csv(records: Sequence[RunRecord]) -> str:
    """One line a cell, with every interval."""
    out = io.StringIO()
    writer = csv_module.writer(out, lineterminator="\n")
    names = [f"{part}{end}" for part in _PARTS for end in ("", "_low", "_high")]
    head = ("benchmark", "version", "model", "method", "seed", "set", "modality", "task", "metric")
    writer.writerow([*head, "unit", "better", "n", "persons", *names])
    for record in records:
        who = view.identity(record)
        start = (who.benchmark, record.data.get("version"), who.model, who.method, who.seed)
        for cell in record.cells:
            place = (cell.set, cell.modality, cell.task, cell.metric, cell.unit, cell.better)
            values = [x for part in _PARTS for x in _three(getattr(cell, part))]
            row = [*start, *place, cell.n, cell.persons, *values]
            writer.writerow([_inert(part) for part in row])
    return out.getvalue()


def _three(value: Value | None) -> tuple[float | None, float | None, float | None]:
    return (None, None, None) if value is None else (value.value, value.low, value.high)


def _inert(value: object) -> object:
    """Text that a spreadsheet would take for a formula is quoted."""
    return f"'{value}" if isinstance(value, str) and value[:1] in "=+-@\t" else value


_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
}  # fmt: skip


def tex(text: str) -> str:
    """Text that LaTeX prints as it is."""
    return "".join(_LATEX.get(char, char) for char in view.clean(text))


def latex(records: Sequence[RunRecord]) -> str:
    """A booktabs table: one row a run, the gap to gold of each headline cell with its interval."""
    rows: dict[tuple[str, str, str, str], None] = {}
    for record in records:
        for cell in record.cells:
            if cell.headline and cell.gap is not None:
                rows[cell.set, cell.modality, cell.task, cell.metric] = None
    names = [f"{view.identity(r).method} (seed {view.identity(r).seed})" for r in records]
    lines = [
        r"\begin{tabular}{ll" + "r" * len(records) + "}",
        r"\toprule",
        " & ".join(["set", "metric", *map(tex, names)]) + r" \\",
        r"\midrule",
    ]
    for set_, modality, task, metric in rows:
        title = f"{view.MODALITY_TITLES.get(modality, modality)} {task} {metric}"
        found = [_find(record, (set_, modality, task, metric)) for record in records]
        lines.append(" & ".join([tex(set_), tex(title), *map(_gap, found)]) + r" \\")
    who = view.identity(records[0])
    what = f"gap to gold (0: like gold, 1: nothing forgotten), 95 % interval; {who.benchmark}"
    return "\n".join([f"% {tex(what)}", *lines, r"\bottomrule", r"\end{tabular}", ""])


def _find(record: RunRecord, key: tuple[str, str, str, str]) -> Cell | None:
    cells = (c for c in record.cells if (c.set, c.modality, c.task, c.metric) == key)
    return next(cells, None)


def _gap(cell: Cell | None) -> str:
    if cell is None or cell.gap is None:
        return "--"
    value = f"${view.number(cell.gap.value)}$"
    return (
        f"{value} {{\\scriptsize {view.interval(cell.gap)}}}" if view.interval(cell.gap) else value
    )


def bibtex(record: RunRecord) -> str:
    """The method's paper and this run."""
    who = view.identity(record)
    entries = []
    paper = re.search(r"arXiv:(\d{4}\.\d{4,5})", str(record.method.get("paper", "")))
    if paper:
        title = tex(str(record.method.get("title", who.method)))
        entries.append(
            f"@misc{{{paper[1]},\n  title = {{{title}}},\n  eprint = {{{paper[1]}}},\n"
            "  archiveprefix = {arXiv}\n}\n"
        )
    year = record.created[:4]
    entries.append(
        f"@misc{{mubench-{record.run_id},\n"
        f"  title = {{{tex(f'{who.method} on {who.model}, {who.benchmark}: a mubench run')}}},\n"
        f"  year = {{{tex(year)}}},\n  note = {{run {tex(record.run_id)}}}\n}}\n"
    )
    return "\n".join(entries)
