"""Other people's formats: their schemas accept what is written, and the numbers are the run's."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import jsonschema
import pytest
import yaml
from huggingface_hub import parse_eval_result_entries

from leaderboard import made
from leaderboard.test_submit import mubench
from mubench.leaderboard import export
from mubench.record import RunRecord

#: Every Eval Ever's own schema, version 0.3.0 (MIT licence, EvalEval Coalition).
SCHEMA = Path(__file__).with_name("every_eval_ever-0.3.0.schema.json")


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> list[Path]:
    root = tmp_path_factory.mktemp("runs")
    return [made.run_folder(root, "manu"), made.run_folder(root, "npo", forget=0.3)]


def record(run: Path) -> RunRecord:
    return RunRecord.model_validate_json((run / "record.json").read_text("utf-8"))


def headline(run: Path):
    return [cell for cell in record(run).cells if cell.headline]


def test_every_eval_ever(runs, tmp_path):
    out = tmp_path / "eee.jsonl"
    assert mubench("export", "eee", *map(str, runs), "--to", str(out)) == 0
    found = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    schema = json.loads(SCHEMA.read_text("utf-8"))
    for run, values in zip(runs, found, strict=True):
        jsonschema.Draft7Validator(schema).validate(values)
        for cell, result in zip(headline(run), values["evaluation_results"], strict=True):
            details = result["score_details"]
            assert details["score"] == cell.method.value
            interval = details["uncertainty"]["confidence_interval"]
            assert (interval["lower"], interval["upper"]) == (cell.method.low, cell.method.high)
            assert float(details["details"]["gold"].split()[0]) == pytest.approx(
                cell.gold.value, abs=1e-5
            )
    del found[0]["model_info"]
    assert not jsonschema.Draft7Validator(schema).is_valid(found[0])


def test_the_hub_s_evaluation_results(runs, tmp_path, capsys):
    out = tmp_path / "people.yaml"
    wanted = ("export", "hub-eval", str(runs[0]), "--to", str(out))
    assert mubench(*wanted) == 2
    assert "mubench data push" in capsys.readouterr().err
    assert mubench(*wanted, "--dataset", "somebody/people-mini") == 0
    entries = parse_eval_result_entries(yaml.safe_load(out.read_text("utf-8")))
    assert [e.value for e in entries] == [round(c.method.value, 6) for c in headline(runs[0])]
    assert {e.dataset_id for e in entries} == {"somebody/people-mini"}
    assert len({e.task_id for e in entries}) == len(entries)


def test_a_published_benchmark_is_known_to_the_hub(runs):
    source = {"repo": "MLLMMU/MLLMU-Bench", "revision": "a" * 40}
    published = record(runs[0]).model_copy(update={"data": {"source": source}})
    first = parse_eval_result_entries(export.hub_eval(published))[0]
    assert (first.dataset_id, first.dataset_revision) == ("MLLMMU/MLLMU-Bench", "a" * 40)


def test_csv_has_every_cell_with_its_intervals(runs, capsys):
    assert mubench("export", "csv", *map(str, runs)) == 0
    lines = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    cells = [cell for run in runs for cell in record(run).cells]
    assert len(lines) == len(cells)
    for line, cell in zip(lines, cells, strict=True):
        assert (float(line["score"]), float(line["score_high"])) == (
            cell.method.value,
            cell.method.high,
        )
        assert line["gap"] == ("" if cell.gap is None else str(cell.gap.value))


def test_no_cell_of_a_spreadsheet_is_a_formula(runs):
    values = record(runs[0]).model_dump()
    values["method"]["name"] = "=HYPERLINK(1)"
    line = next(csv.DictReader(export.csv([RunRecord.model_validate(values)]).splitlines()))
    assert line["method"] == "'=HYPERLINK(1)"


def test_latex(runs, capsys, tmp_path):
    assert mubench("export", "latex", *map(str, runs)) == 0
    text = capsys.readouterr().out
    assert text.count("&") == text.count(r"\\") * 3
    assert r"\begin{tabular}{llrr}" in text and "manu (seed 0)" in text
    gaps = {f"${c.gap.value:.2f}$" for run in runs for c in headline(run) if c.gap}
    assert all(gap in text for gap in gaps)
    assert export.tex(r"50% of a_b & \x{}#$~^") == (
        r"50\% of a\_b \& \textbackslash{}x\{\}\#\$\textasciitilde{}\textasciicircum{}"
    )


def test_bibtex(runs, capsys):
    assert mubench("export", "bibtex", str(runs[0])) == 0
    text = capsys.readouterr().out
    assert "eprint = {2502.15910}" in text and text.count("@misc{") == 2
    assert text.count("{") == text.count("}")


def test_an_unknown_format_is_one_line(runs, capsys):
    assert mubench("export", "xlsx", str(runs[0])) == 2
    assert "unknown format 'xlsx'" in capsys.readouterr().err
