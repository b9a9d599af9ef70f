"""clip-people at full size: the target knows its people, gold does not know the forgotten ones."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from mubench.cli import main
from mubench.config.resolve import resolve
from mubench.data.load import BenchmarkData
from mubench.metrics.retrieval import matching
from mubench.models.load import load_model
from mubench.models.packing import units
from mubench.runner.folder import read_rows
from mubench.runner.plan import data_node
from mubench.runner.store import Store

pytestmark = pytest.mark.bars

WITHIN = 0.02


@pytest.fixture(scope="module")
def run(cache, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("clip-bars")
    with pytest.raises(SystemExit) as end:
        main(["run", "--method", "none", "--model", "clip-tiny", "--cache", str(cache),
              "--out", str(out)])  # fmt: skip
    assert end.value.code == 0
    (folder,) = out.iterdir()
    return folder


def _unseen(run: Path, role: str) -> list[float]:
    """R@1 of unseen photos over all names, in held-out wordings."""
    return [
        row["scores"]["r1"]
        for row in read_rows(run, role)
        if row["example"]["set"] == "test" and row["example"]["gallery"] == "names held out"
    ]


def test_unseen_photos_are_recognised_by_the_target_alone(run: Path) -> None:
    """Gold stays within three standard deviations of a guess."""
    found = _unseen(run, "target")
    assert sum(found) / len(found) >= 0.80
    found = _unseen(run, "gold")
    guess, people = 1 / 84, len(found) / 4  # four photos of a person are not independent
    assert sum(found) / len(found) <= guess + 3 * math.sqrt(guess * (1 - guess) / people)


def test_general_classes_stay_within_two_points_of_the_base(run: Path, cache) -> None:
    spec = resolve("none", "clip-tiny")
    folder = Store(Path(cache)).folder("data", data_node(spec.benchmark).key)
    data = BenchmarkData(folder, spec.benchmark.forget_ratio)
    asked = [example for example in data.examples if example.task == "zero_shot"]
    answers = load_model(spec.model, data.image, [], data.gallery).answers(
        units(asked), max_new_tokens=1, batch=256
    )
    base = [matching(response)["accuracy"] for unit in answers for response in unit]
    for role in ("target", "gold"):
        found = [
            row["scores"]["accuracy"]
            for row in read_rows(run, role)
            if row["example"]["task"] == "zero_shot"
        ]
        assert len(found) == len(base)
        assert sum(found) / len(found) >= sum(base) / len(base) - WITHIN
