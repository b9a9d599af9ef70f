"""The numbers that make the experiment mean something: the demo at full size (minutes long)."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from mubench.cli import main
from mubench.config.resolve import presets
from mubench.record import RunRecord
from mubench.report import comparison

pytestmark = pytest.mark.bars

#: Methods whose settings for this small model were chosen.
UNLEARNING = list(presets("models")["llava-tiny"]["methods"])


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        (["--help"], 1.0),
        (["list", "methods"], 1.0),
        (["show", "npo"], 1.0),
        (["cache", "ls"], 1.0),
        (["plan", "--method", "npo", "--model", "llava"], 2.0),
    ],
)
def test_commands_without_a_model_answer_at_once(words, seconds):
    """Processor time of the quicker of two starts: the first may still write bytecode."""
    used = []
    for _ in range(2):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "mubench", *words], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(used) < seconds


@pytest.fixture(scope="session")
def run(cache, tmp_path_factory):
    """Run a method at its documented default; target and gold are shared through the cache."""
    out = tmp_path_factory.mktemp("bars-runs")

    def one(method: str) -> RunRecord:
        with pytest.raises(SystemExit) as end:
            main(["run", "--method", method, "--cache", str(cache), "--out", str(out)])
        assert end.value.code == 0
        (folder,) = out.glob(f"*-{method}-seed0-*")
        return RunRecord.model_validate(json.loads((folder / "record.json").read_text()))

    return one


def cells(record, set_, metric=None, *, headline=True):
    return [
        cell
        for cell in record.cells
        if cell.set == set_ and (cell.headline or not headline) and metric in (None, cell.metric)
    ]


@pytest.fixture(scope="session")
def none(run):
    return run("none")


@pytest.mark.parametrize(("set_", "floor"), [("forget", 0.90), ("retain", 0.90), ("test", 0.75)])
def test_target_knows_its_people(none, set_, floor):
    for cell in cells(none, set_, "accuracy"):
        assert cell.target.value >= floor, (set_, cell.modality)


def test_gold_guesses_on_forget_and_knows_retain(none):
    for set_ in ("forget", "test"):
        for cell in cells(none, set_, "accuracy"):
            assert cell.gold.low <= cell.prior.value <= cell.gold.high, (set_, cell.modality)
    for cell in cells(none, "retain", "accuracy"):
        assert abs(cell.gold.value - cell.target.value) <= 0.03, cell.modality


def test_target_and_gold_differ_on_every_headline_cell(none):
    for set_ in ("forget", "test"):
        for cell in cells(none, set_):
            assert cell.p_target_gold < 0.01, (set_, cell.modality, cell.metric)


SWEEP = Path(__file__).parents[2] / "docs" / "sweep"


def closes(share: float) -> set[str]:
    """Methods of which a committed table says, by its interval over seeds, that they close this
    share of a forget gap."""
    return {
        row["method"]
        for table in (SWEEP / "table.json", SWEEP / "five-seeds" / "table.json")
        for row in json.loads(table.read_text("utf-8"))["rows"]
        for place, gap in row["gaps"].items()
        if place.startswith("forget") and gap["high"] is not None and gap["high"] < 1 - share
    }


@pytest.mark.parametrize("method", [name for name in UNLEARNING if name in closes(0)])
def test_every_method_moves_forget_toward_gold(run, method):
    """What closes a tenth shows it in some number by its interval; less than that one seed does
    not resolve, but its mean shows it."""
    record = run(method)
    found = cells(record, "forget")
    moved = any(cell.gap.high < 1 for cell in found if cell.gap and cell.gap.high)
    if method not in closes(0.1):
        gaps = comparison.summary(record).gaps
        moved = min(gap for (set_, _), gap in gaps.items() if set_ == "forget") < 1
    assert moved, [(cell.modality, cell.metric, cell.gap) for cell in found]
