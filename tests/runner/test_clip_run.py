"""A whole run of a dual encoder: the same stages, record and page as any other."""

from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console

from mubench.config.resolve import resolve
from mubench.models.dual_encoder import OpenClipModel
from mubench.record import RunRecord
from mubench.report.tables import render
from mubench.runner.execute import execute
from mubench.runner.plan import plan
from mubench.runner.store import Store
from mubench.types import DIRECTIONS

from .quick import QUICK

SETS = (*QUICK[:-3], "target.epochs=0.3", "gate.margin=-1", "benchmark.holdout=2")


@pytest.fixture(scope="module")
def embedded() -> Counter[str]:
    """How often each picture and each text was embedded in the run."""
    return Counter()


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, embedded: Counter[str]) -> tuple[Path, RunRecord]:
    root = tmp_path_factory.mktemp("clip-run")
    made = plan(resolve("ga", "clip-tiny", sets=SETS))
    embed = OpenClipModel._embed

    def counted(self, tower, items, batch):
        embedded.update(items)
        return embed(self, tower, items, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OpenClipModel, "_embed", counted)
        folder = execute(made, Store(root / "cache"), root, Console(file=io.StringIO()))
    record = RunRecord.model_validate_json((folder / "record.json").read_text("utf-8"))
    return folder, record


def test_every_direction_has_its_headline_cells(ran: tuple[Path, RunRecord]) -> None:
    found = {(cell.set, cell.task, cell.modality) for cell in ran[1].cells if cell.headline}
    for direction in DIRECTIONS[:2]:
        assert ("forget", "retrieval", direction) in found
        assert ("test", "retrieval", direction) in found
        assert ("holdout_identity", "retrieval", direction) in found
        assert ("holdout_association", "choice", direction) in found
    assert ("forget", "prototype", "image_to_image") in found
    assert ("retain", "retrieval", "text_to_text") in found
    assert ("forget", "membership", "image_to_text") in found
    assert ("general", "zero_shot", "image_to_text") in found


def test_everything_is_embedded_once_a_checkpoint(ran, embedded: Counter[str]) -> None:
    """Target, gold and method: three times, whatever is asked about a picture or a text."""
    assert set(embedded.values()) == {3}
    rows = (ran[0] / "predictions" / "method.jsonl").read_text("utf-8").splitlines()
    asked = [json.loads(row)["example"] for row in rows]
    assert {one["image"] for one in asked if one["image"]} <= set(embedded)
    assert {one["question"] for one in asked if one["question"]} <= set(embedded)
    often = Counter(one["image"] or one["question"] for one in asked)
    assert max(often.values()) > 1, "else nothing could have been embedded twice"


def test_gold_takes_as_many_steps_as_the_target(ran: tuple[Path, RunRecord]) -> None:
    details = {stage.role: stage.detail for stage in ran[1].stages if stage.kind == "train"}
    assert details["gold"]["steps"] == details["target"]["steps"]
    assert details["gold"]["examples"] < details["target"]["examples"]


def test_the_page_and_the_terminal_show_all_four_columns(ran: tuple[Path, RunRecord]) -> None:
    folder, record = ran
    page = (folder / "report.html").read_text("utf-8")
    log = io.StringIO()
    render(record, Console(file=log, width=100))
    for title in ("image to text", "text to image", "image tower", "text tower"):
        assert title in page
        assert title in log.getvalue()


def test_what_is_written_names_the_first_candidate(ran: tuple[Path, RunRecord]) -> None:
    folder, _ = ran
    lines = (folder / "predictions" / "method.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    asked = [row for row in rows if row["example"]["task"] == "retrieval"]
    for row in asked:
        right = row["response"]["text"] == row["example"]["answer"]
        assert (row["scores"]["r1"] == 1.0) == right, row["example"]["id"]
