"""`mubench bench data`: how fast people are drawn and written, by one process and by all."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mubench.data.tables import write
from mubench.errors import RunError

from .subject import Side


@dataclass(frozen=True, slots=True)
class Result:
    """Seconds a person with one worker, and with one for every core."""

    people: int
    questions: int
    workers: int
    sides: tuple[Side, Side]


def bench_data(people: int, repeats: int, report: Callable[[str], None] = lambda _: None) -> Result:
    """Build ``people`` people of the `people` benchmark; RunError where contents differ."""
    workers = os.cpu_count() or 1
    sides = (Side("one worker", []), Side(f"{workers} workers", []))
    made: list[dict[str, Any]] = []
    for number in range(repeats):
        report(f"repeat {number + 1} of {repeats}")
        for side, count in zip(sides, (1, workers), strict=True):
            start = time.perf_counter()
            made.append(_build(people, count))
            side.seconds.append((time.perf_counter() - start) / people)
    if len({manifest["content_sha"] for manifest in made}) > 1:
        raise RunError("bench: the same people came out differently")
    return Result(people, made[0]["rows"]["examples"], workers, sides)


def _build(people: int, workers: int) -> dict[str, Any]:
    from mubench_data.build import PeopleOptions, build_people

    options = PeopleOptions(
        fictitious=people, celebrities=0, holdout=0, scenes=1, words=1, image_size=224
    )
    with TemporaryDirectory() as folder:
        return write(build_people(options, workers=workers), Path(folder))


def lines(result: Result) -> Iterator[str]:
    """What `mubench bench data` prints."""
    yield ""
    yield f"{result.people} people with {result.questions} questions; the same content every time"
    for side in result.sides:
        yield f"  {side.name:<12}{side.median:8.3f} s a person{1 / side.median:10.1f} people/s"
