"""clip-people at full size: the target knows its people, gold does not know the forgotten ones."""

from __future__ import annotations

import json
import math
import subprocess
import sys
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
GIB = 2**30
#: Finds 20 pictures among 100,000 captions; prints what was found and the peak of its memory.
LARGE = """
import json, resource
from PIL import Image
from mubench.config.resolve import resolve
from mubench.models.load import load_model
from mubench.models.packing import units
from mubench.types import Candidate, Example

captions = [f"a photo of person number {i}." for i in range(100_000)]
gallery = [Candidate(str(i), (caption,)) for i, caption in enumerate(captions)]
asked = [
    Example(id=str(i), set="forget", task="retrieval", modality="image_to_text", person=str(i),
            fact="name", question="", answer=str(i), keyword="", image=str(i), gallery="all")
    for i in range(0, 100_000, 5_000)
]
picture = lambda id_: Image.new("RGB", (48, 48), (int(id_) % 256, 90, 90))
model = load_model(resolve("none", "clip-tiny").model, picture, gallery=lambda _: gallery)
found = [one for unit in model.answers(units(asked), max_new_tokens=1, batch=1024) for one in unit]
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"among": [one.among for one in found], "peak": peak}))
"""


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


def test_a_gallery_of_100_000_texts_fits_into_2_gib() -> None:
    ran = subprocess.run([sys.executable, "-c", LARGE], capture_output=True, text=True, check=True)
    found = json.loads(ran.stdout)
    assert found["among"] == [100_000] * 20
    assert found["peak"] < 2 * GIB
