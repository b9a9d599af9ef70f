"""The terminal report: width, missing values, what stands where."""

from __future__ import annotations

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from mubench.record import Cell, RunRecord, Value
from mubench.report import view
from mubench.report.tables import GAP_LEGEND, INTERVAL_LEGEND, render
from report.report_fixtures import cells, hostile_record, record


def printed(run: RunRecord, width: int = 100) -> list[str]:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    render(run, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 100, 140])
@pytest.mark.parametrize("make", [record, hostile_record])
def test_no_line_is_wider_than_the_console(make, width):
    lines = printed(make(), width)
    assert max(map(cell_len, lines)) <= width


def test_the_table_fills_100_columns_and_nothing_is_cut():
    lines = printed(record())
    assert max(map(cell_len, lines)) == 100
    assert "…" not in "\n".join(lines)
    assert len(GAP_LEGEND) <= 100 and len(INTERVAL_LEGEND) <= 100
    assert GAP_LEGEND in lines


def test_80_columns_lose_the_intervals_only():
    lines = printed(record(), 80)
    row = next(text for text in lines if text.startswith("forget    choice"))
    assert " ".join(row.split()) == ("forget choice │ 0.98 0.25 0.41 +0.22 │ 0.98 0.25 0.72 +0.64")
    assert "…" not in "\n".join(lines)


def test_rows_show_values_intervals_and_signed_gap():
    row = next(text for text in printed(record()) if text.startswith("forget    choice"))
    for text in ("0.98±.01", "0.25±.05", "0.41±.05", "+0.22±.07", "0.72±.05", "+0.64±.07"):
        assert text in row


def test_order_is_what_was_run_then_warnings_then_table_then_cost():
    lines = printed(record())
    text = "\n".join(lines)
    assert lines[0] == "manu on smolvlm-256m | people-mini | seed 0 | run 3f9c2a71be04"
    assert lines[1].startswith("warning: forget:")
    places = [text.index(word) for word in ("EFFICACY", "GENERALIZABILITY", "UTILITY", "→method")]
    assert places == sorted(places)
    assert lines[-1] == "1046.9 s in all, 939.2 s of it in earlier runs (cache)"


def test_what_is_no_headline_number_though_it_is_elsewhere_is_named():
    def without(cell: Cell) -> bool:
        return (
            cell.set in ("forget", "test") and cell.metric == "rouge_l" and cell.modality == "text"
        )

    known = record()
    changed = [
        c.model_copy(update={"headline": c.headline and not without(c)}) for c in known.cells
    ]
    before, after = (
        view.missing(known.model_copy(update={"cells": of})) for of in (known.cells, changed)
    )
    assert after[:-1] == before
    assert after[-1].what == "forget and test: text-only generation rouge_l"
    assert "meta-eval" in after[-1].reason
    assert "n/a: forget and test: text-only" in " ".join(
        printed(known.model_copy(update={"cells": changed}))
    )


def test_what_is_missing_is_na_and_never_zero():
    run = record()
    row = next(text for text in printed(run) if text.startswith("general"))
    assert row.split("│")[2].split() == ["n/a"] * 4
    retain = next(text for text in printed(run) if text.startswith("retain    choice"))
    assert "n/a Δ-0.08" in retain
    assert "gap n/a: target and gold do not differ (17 of 33 cells)" in printed(run)


def test_no_interval_is_not_a_zero_interval():
    assert view.half_width(Value(value=0.5)) == ""
    assert view.interval(Value(value=0.5)) == ""
    assert view.number(None) == "n/a"
    assert view.half_width(Value(value=0.5, low=0.5, high=0.5)) == "±.00"


def test_numbers():
    assert view.number(-0.001) == "0.00"
    assert view.number(-0.001, signed=True) == "+0.00"
    assert view.number(0.2249, signed=True) == "+0.22"
    assert view.number(123456.0) == "1.23e+05"
    assert view.half_width(Value(value=1, low=-1, high=2)) == "±1.50"


def test_a_failed_and_an_empty_run_say_so():
    text = "\n".join(printed(record(status="failed", cells=[], stages=[])))
    assert "FAILED" in text and "No headline metric was measured." in text
    assert "0.00" not in text


def test_two_headline_metrics_of_one_task_are_told_apart():
    first = cells()[0]
    second = first.model_copy(update={"metric": "truth_ratio"})
    labels = [row.label for row in view.rows(record(cells=[first, second]))]
    assert labels == ["accuracy", "truth_ratio"]


def test_unknown_sets_are_shown_under_other():
    cell = cells()[0].model_copy(update={"set": "forget_5"})
    text = "\n".join(printed(record(cells=[cell])))
    assert "OTHER" in text and "forget_5" in text


def test_rates_show_the_worst_task():
    rate = next(cell for cell in cells() if cell.metric == "parsed")
    worse = rate.model_copy(update={"task": "cloze", "method": Value(value=0.4)})
    found = view.rates(record(cells=[rate, worse]))
    assert [(r.metric, r.method) for r in found] == [("parsed", 0.4)]


def test_terminal_control_characters_and_markup_are_shown_as_text():
    text = "\n".join(printed(hostile_record()))
    assert not set(text) & {"\x1b", "\x00", "\u202e", "\u2066", "\u2028"}
    assert "<U+202E>evil<U+2066><U+001B>[31m" in text
    assert "[bold red]not markup[/]" in text


def test_clean_keeps_ordinary_writing():
    assert view.clean("نامه\u200cها 👩\u200d🔬 é\n") == "نامه\u200cها 👩\u200d🔬 é\n"
    assert view.clean("\ud800") == "<U+D800>"
