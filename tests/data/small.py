"""A benchmark of seconds that is whole, and what is told where it is not."""

from __future__ import annotations

from mubench.data.tables import Tables
from mubench_data.build import PeopleOptions, build_people

FACTS = ("birthplace", "birth_date", "hobby", "food", "pet")
OPTIONS = PeopleOptions(
    fictitious=12, celebrities=2, holdout=6, scenes=2, words=2, image_size=32, facts=FACTS
)
RATIO = 0.15  # two of twelve


def build() -> Tables:
    tables = build_people(OPTIONS)
    tables.images = list(tables.images)
    return tables
