"""clip-concepts at full size: the target knows its classes, gold does not know the forgotten ones."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from mubench.cli import main
from mubench.record import RunRecord

pytestmark = pytest.mark.bars


@pytest.fixture(scope="module")
def record(cache, tmp_path_factory) -> RunRecord:
    out = tmp_path_factory.mktemp("concept-bars")
    with pytest.raises(SystemExit) as end:
        main(["run", "--method", "none", "--model", "clip-tiny", "--benchmark", "clip-concepts",
              "--cache", str(cache), "--out", str(out)])  # fmt: skip
    assert end.value.code == 0
    (folder,) = out.iterdir()
    return RunRecord.model_validate_json((Path(folder) / "record.json").read_text("utf-8"))


def _cell(record: RunRecord, set_: str, task: str, metric: str):
    found = [c for c in record.cells if (c.set, c.task, c.metric) == (set_, task, metric)]
    assert len(found) == 1
    return found[0]


def test_the_target_knows_new_pictures_and_gold_does_not(record: RunRecord) -> None:
    cell = _cell(record, "test", "zero_shot", "accuracy")
    assert cell.target.value >= 0.6
    guess = 1 / 32
    assert cell.gold.value <= guess + 3 * math.sqrt(guess * (1 - guess) / cell.persons)


def test_gold_knows_the_others_as_well_as_the_target(record: RunRecord) -> None:
    for set_ in ("retain", "holdout_identity"):
        cell = _cell(record, set_, "zero_shot", "accuracy")
        assert cell.target.value >= 0.7
        assert abs(cell.gold.value - cell.target.value) <= 0.1


def test_members_are_told_from_new_pictures_by_the_target_alone(record: RunRecord) -> None:
    cell = _cell(record, "forget", "membership", "auc")
    assert cell.target.value >= 0.8
    assert abs(cell.gold.value - 0.5) <= 0.1
