"""A whole evaluation pass: its time, its memory, and how both grow with the people."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from mubench.models.packing import units
from tiny_models import MODALITIES, PEOPLE, choice, examples, tiny_llava

pytestmark = pytest.mark.bars

CORES = 2
WHOLE = """
import json, resource, sys, time
from pathlib import Path
from mubench.config.resolve import resolve
from mubench.data.load import BenchmarkData
from mubench.runner.stages.prediction import predict

spec = resolve("none", "llava-tiny", "people")
data = BenchmarkData(Path(sys.argv[1]), spec.benchmark.forget_ratio)
start = time.process_time(), time.perf_counter()
predict(spec, data, [], Path(sys.argv[2]), lambda *_: None)
print(json.dumps({
    "questions": len(data.examples),
    "cpu": time.process_time() - start[0],
    "wall": time.perf_counter() - start[1],
    "gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
}))
"""


def test_the_whole_of_people_takes_minutes_and_little_memory(tmp_path):
    """The shipped checkpoint answers every question of `people`: 728 people, all sets and tasks.
    Processor time of all threads, so that a busy machine does not fail it."""
    build = [sys.executable, "-m", "mubench", "data", "build", "people", "--cache", str(tmp_path)]
    subprocess.run(build, check=True, capture_output=True)
    (folder,) = (path.parent for path in tmp_path.glob("data/*/examples.parquet"))
    out = tmp_path / "responses"
    out.mkdir()
    command = [sys.executable, "-c", WHOLE, str(folder), str(out)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    print(found)
    assert len((out / "responses.jsonl").read_text().splitlines()) == found["questions"] > 12_000
    assert found["cpu"] / CORES < 360
    assert found["gib"] < 4


def everybody(count):
    """Two questions a modality about each of so many people."""
    faces = list(PEOPLE)
    return [
        replace(one, id=f"{n}/{one.id}", person=str(n), image=one.image and f"{n}/{one.image}")
        for n in range(count)
        for m in MODALITIES
        for one in (choice(faces[n % 4], m), examples((faces[n % 4],))[MODALITIES.index(m)])
    ]


def test_time_and_memory_are_linear_in_people_up_to_ten_thousand():
    """Seconds a question stay, and answering holds on to nothing: what grows is the questions."""
    seconds, held = {}, {}
    for count in (100, 1_000, 10_000):
        model = tiny_llava()
        picture = model.encoder.images
        model.encoder.images = lambda name, picture=picture: picture(name.partition("/")[2])
        asked = units(everybody(count))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.process_time()
        answered = 0
        for unit in model.answers(asked, max_new_tokens=4, batch=64):
            answered += len(unit)
        seconds[count] = (time.process_time() - start) / answered
        held[count] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**10
        assert answered == 4 * count
    print(seconds, held)
    assert seconds[10_000] < 1.3 * seconds[1_000]
    assert held[10_000] < 600  # MiB, pictures that are kept among them
