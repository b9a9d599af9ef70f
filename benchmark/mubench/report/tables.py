"""A run on the terminal: what was run, warnings, the summary table, health rates and a legend."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from mubench.record import Cell, RunRecord, Value
from mubench.report import probes, view
from mubench.types import ROLES

#: From this width on every number carries half of its 95 % interval.
WIDE = 100
GAP_LEGEND = (
    "gap = (method - gold) / (target - gold): 1 nothing forgotten, 0 like gold, below 0 beyond it."
)
INTERVAL_LEGEND = "± is half of the 95 % interval; after n/a, Δ is method - gold as it is."
PAPER_LEGEND = (
    "paper track: the published evaluation's own questions and rules, for comparison with it."
)
FAILED = "FAILED: the run did not finish; what is missing below was not measured."
NARROW_LEGEND = f"From {WIDE} columns on, every number carries half of its 95 % interval."


def _line(*parts: str, style: str = "") -> Text:
    return Text(" ".join(parts), style=style)


def _value(value: Value | None, width: int, *, wide: bool, signed: bool = False) -> str:
    if value is None:
        return view.MISSING
    short = view.number(value.value, signed=signed)
    full = short + (view.half_width(value) if wide else "")
    return full if len(full) <= width else short


def _gap(cell: Cell, width: int, *, wide: bool) -> str:
    if cell.gap is not None:
        return _value(cell.gap, width, wide=wide, signed=True)
    full = f"{view.MISSING} Δ{view.number(cell.difference.value, signed=True)}"
    return full if wide and len(full) <= width else view.MISSING


@dataclass(frozen=True, slots=True)
class SummaryTable:
    """The headline metrics: rows are aspect, set and task, column groups are modalities."""

    record: RunRecord
    modalities: tuple[str, ...]

    def _rows(self) -> Iterator[view.Row | str]:
        """The rows that have a cell here, with the name of an aspect before its first."""
        return _with_aspects(
            [row for row in view.rows(self.record) if row.cells.keys() & set(self.modalities)]
        )

    def _group(self, modality: str, *, wide: bool) -> Table:
        """Target, gold, method and gap of one modality, one line per line of the labels."""
        widths = (8, 8, 8, 10) if wide else (6, 5, 6, 5)
        group = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
        for name, width in zip((*ROLES, "gap"), widths, strict=True):
            style = "bold" if name == "method" else ""
            group.add_column(name, justify="right", no_wrap=True, width=width, style=style)
        for row in self._rows():
            if isinstance(row, str):
                group.add_row("", "", "", "")
            elif (cell := row.cells.get(modality)) is None:
                group.add_row(*[Text(view.MISSING, style="dim")] * 4)
            else:
                values = [cell.target, cell.gold, cell.method]
                texts = [_value(v, w, wide=wide) for v, w in zip(values, widths, strict=False)]
                group.add_row(*texts, _gap(cell, widths[3], wide=wide))
        return group

    def _labels(self) -> Table:
        labels = Table(box=None, padding=0, pad_edge=False)
        labels.add_column("", no_wrap=True)
        for row in self._rows():
            if isinstance(row, str):
                labels.add_row(Text(view.ASPECT_TITLES[row].upper(), style="bold"))
            else:
                name = view.line(view.SET_TITLES.get(row.set, row.set), 9)
                labels.add_row(Text(f"{name:<9} {view.line(row.label, 10)}"))
        return labels

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide = options.max_width >= WIDE
        table = Table(box=box.MINIMAL, show_edge=False, pad_edge=False, expand=True)
        table.add_column("", ratio=1)
        for modality in self.modalities:
            title = Text(view.MODALITY_TITLES[modality])
            table.add_column(title, justify="center", width=37 if wide else 25)
        table.add_row(self._labels(), *[self._group(m, wide=wide) for m in self.modalities])
        yield table


def _with_aspects(rows: list[view.Row]) -> Iterator[view.Row | str]:
    """The rows, with the name of an aspect before its first row."""
    aspect = ""
    for row in rows:
        if row.aspect != aspect:
            aspect = row.aspect
            yield aspect
        yield row


def summary_tables(record: RunRecord) -> Iterator[SummaryTable]:
    """The headline numbers, two modalities a table, ready to be printed by rich; made for 100
    columns, usable at 80."""
    columns = view.modalities(record)
    for at in range(0, len(columns), 2):
        yield SummaryTable(record, columns[at : at + 2])


def _rates_table(rates: list[view.Rate]) -> Table:
    """Target and method of every rate that was measured, one row per set."""
    columns = view.rate_columns(rates)
    found = {(rate.set, rate.modality, rate.metric): rate for rate in rates}
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("target\n→method", no_wrap=True)
    for modality, metric in columns:
        kind = view.MODALITY_TITLES.get(modality, view.line(modality, 10))
        title = Text(f"{kind}\n{view.RATES[metric]}")
        table.add_column(title, justify="right", no_wrap=True)
    for name in dict.fromkeys(rate.set for rate in rates):
        cells = [found.get((name, modality, metric)) for modality, metric in columns]
        texts = [_rate(cell) for cell in cells]
        table.add_row(Text(view.line(view.SET_TITLES.get(name, name), 9)), *texts)
    return table


def _rate(rate: view.Rate | None) -> Text:
    if rate is None:
        return Text(view.MISSING, style="dim")
    text = f"{view.number(rate.target)}→{view.number(rate.method)}"
    return Text(text, style="yellow" if rate.moved else "")


def _verdicts(record: RunRecord) -> Table:
    """Equivalence to gold of every headline cell of the forget set."""
    golds = view.gold_count(record)
    against = f"{golds} gold models" if golds > 1 else "one gold model"
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column(f"against {against}", no_wrap=True)
    modalities = list(dict.fromkeys(m for row in view.judged(record) for m in row.cells))
    for modality in modalities:
        table.add_column(view.MODALITY_TITLES.get(modality, modality), no_wrap=True)
    for row in view.judged(record):
        cells = [row.cells.get(modality) for modality in modalities]
        texts = [view.MISSING if cell is None else view.verdict(cell) for cell in cells]
        table.add_row(
            f"{view.line(view.SET_TITLES.get(row.set, row.set), 9):<9} {view.line(row.label, 10)}",
            *texts,
        )
    return table


def _forget_quality(record: RunRecord) -> Table:
    """KS tests of the truth ratios, one row a set, modality and task."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("forget quality", no_wrap=True)
    for column in ("KS", "between golds", "p", "n"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("the method", no_wrap=True)
    for quality in record.forget_quality:
        modality = view.MODALITY_TITLES.get(quality.modality, quality.modality)
        table.add_row(
            f"{view.line(quality.set, 9):<9} {view.line(modality)} {view.line(quality.task)}",
            view.number(quality.statistic),
            view.number(quality.between_golds),
            f"{quality.p:.2g}",
            str(quality.n),
            quality.direction,
        )
    return table


def _paper_table(record: RunRecord) -> Table:
    """A published evaluation's own numbers, one row a set and metric, as its paper gives them."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("paper track", no_wrap=True)
    modalities = dict.fromkeys(cell.modality for cell in record.paper)
    for modality in modalities:
        for role in ROLES:
            title = Text(f"{view.MODALITY_TITLES[modality]}\n{role}")
            table.add_column(title, justify="right", no_wrap=True)
    found = {(cell.set, cell.metric, cell.modality): cell for cell in record.paper}
    for name, metric in dict.fromkeys((cell.set, cell.metric) for cell in record.paper):
        texts = []
        for modality in modalities:
            cell = found.get((name, metric, modality))
            for role in ROLES:
                texts.append(view.number(getattr(cell, role)) if cell else view.MISSING)
        table.add_row(Text(f"{view.line(name, 16)} {view.line(metric, 25)}"), *texts)
    return table


def render(record: RunRecord, console: Console) -> None:
    """Print a run: warnings first, then the table, health rates, a legend and what it cost."""
    who = view.identity(record)
    parts = [f"{view.line(who.method, 40)} on {view.line(who.model, 40)}"]
    parts += [view.line(who.benchmark, 40), f"seed {view.line(who.seed, 12)}"]
    parts += [f"run {view.line(record.run_id, 16)}"]
    say: Callable[[Text], None] = console.print
    say(_line(" | ".join(parts), style="bold"))
    if record.label is not None:
        about = view.LABELS[record.label.name] + (" Not ranked." if record.label.gated else "")
        say(_line(f"{record.label.name.upper()}:", about, style="bold"))
        for evidence in record.label.evidence:
            say(_line(" ", view.line(evidence, 200)))
    if record.status == "failed":
        say(_line(FAILED, style="bold red"))
    for warning in record.warnings:
        say(_line("warning:", view.line(warning, 400), style="yellow"))
    console.print()
    if view.rows(record):
        for table in summary_tables(record):
            console.print(table)
    else:
        say(_line("No headline metric was measured."))
    if view.judged(record):
        console.print()
        console.print(_verdicts(record))
    if record.forget_quality:
        console.print()
        console.print(_forget_quality(record))
    if rates := view.rates(record):
        console.print()
        console.print(_rates_table(rates))
    console.print()
    if record.paper:
        console.print(_paper_table(record))
        say(_line(PAPER_LEGEND, style="dim"))
        console.print()
    for words in (probes.leakage_words, probes.recovery_words, probes.privacy_words):
        for sentence in words(record):
            say(_line(sentence))
    if record.probes:
        console.print()
    if view.rows(record):
        say(_line(GAP_LEGEND, style="dim"))
        say(_line(INTERVAL_LEGEND if console.width >= WIDE else NARROW_LEGEND, style="dim"))
        say(_line("Metrics:", view.metric_words(record) + ".", style="dim"))
    for reason in view.gap_reasons(record):
        say(_line("gap n/a:", view.line(reason, 200), style="dim"))
    for missing in view.missing(record):
        reason = view.line(missing.reason, 200)
        say(_line("n/a:", f"{view.line(missing.what)} ({reason})", style="dim"))
    total, earlier = view.seconds(record)
    cached = f", {earlier:.1f} s of it in earlier runs (cache)" if earlier else ""
    say(_line(f"{total:.1f} s in all{cached}"))
