"""The table of public figures, ``celebrities.csv``, and what must hold for it.

One row a person: name, facts by kind, and the source in which the facts can be looked up.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any

from .facts import CELEBRITY_FACTS

COLUMNS = ("name", *CELEBRITY_FACTS, "source")
#: Nobody else may share them: a distractor would be right as well.
UNIQUE = ("name", "work")
#: Earlier birth years are guesses; younger people have not been documented for long.
BIRTH_YEARS = range(1000, 2001)


def load_table() -> list[dict[str, str]]:
    """The rows in the order of the file. Raises csv.Error on broken quoting."""
    text = files("mubench_data").joinpath("celebrities.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines(), strict=True))


def check_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is wrong with ``rows``, as `csv.DictReader` gives them: a line a fault, none if good."""
    faults = []
    for number, row in enumerate(rows, start=1):
        where = f"row {number} ({row.get('name')})"
        if tuple(row) != COLUMNS:
            faults.append(f"{where}: its cells are not the columns {', '.join(COLUMNS)}")
            continue
        for column, value in row.items():
            faults += [f"{where}: {column} {value!r} {fault}" for fault in _faults(column, value)]
    for column in UNIQUE:
        times = Counter(str(row.get(column)).casefold() for row in rows)
        faults += [f"{column} {value!r} comes {n} times" for value, n in times.items() if n > 1]
    return faults


def _faults(column: str, value: str | None) -> Iterator[str]:
    if not value or value.isspace():  # csv gives None for cells that are left out
        yield "is blank"
        return
    if value != " ".join(value.split()):
        yield "has stray whitespace"
    # No quotation marks and commas: nothing in the file needs quoting. No accents, as in all names.
    if not re.fullmatch(r"[A-Za-z0-9\s.:'-]+", value):
        yield "has a quotation mark, comma, accent or other sign"
    if column == "birth_year" and not (value.isdecimal() and int(value) in BIRTH_YEARS):
        yield "is no plausible year"
    if column == "source" and not re.fullmatch(r"\S.*: \S.*", value):
        yield "is not 'reference: entry'"
