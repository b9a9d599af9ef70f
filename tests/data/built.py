"""A small benchmark of people as it is built, and all that one looks at of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mubench.data.load import BenchmarkData
from mubench.data.tables import Person, Tables, write
from mubench.types import Example
from mubench_data.build import PeopleOptions, build_people

SMALL = PeopleOptions(fictitious=6, celebrities=2, holdout=1, scenes=2, words=2, image_size=48)
RATIO = 0.25


@dataclass
class Built:
    """A benchmark in memory and as read back under the usual split."""

    tables: Tables
    data: BenchmarkData
    images: dict[str, bytes]

    @property
    def examples(self) -> list[Example]:
        return self.data.examples

    @property
    def train(self) -> list[Example]:
        return self.data.train("forget", "retain", "celebrity", "general")

    @property
    def people(self) -> list[Person]:
        return self.data.people


def make(options: PeopleOptions, folder: Path, ratio: float = RATIO, workers: int = 1) -> Built:
    tables = build_people(options, workers=workers)
    images = dict(tables.images)
    tables.images = images.items()
    write(tables, folder)
    return Built(tables, BenchmarkData(folder, ratio), images)
