"""Read published rows as they are, and name the file, row and column of whatever is wrong."""

from __future__ import annotations

import ast
import io
import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from mubench.data.tables import Person
from mubench.errors import DamagedError

#: Rows that are in memory at a time: they carry pictures of a megabyte and more.
ROWS_AT_ONCE = 16


def damaged(line: str) -> DamagedError:
    """An error about published data, one line whatever was published."""
    return DamagedError("".join(char if char.isprintable() else " " for char in line))


@dataclass(frozen=True, slots=True)
class Cell:
    """A value of a published table, which knows where it stands; rows are cells too."""

    value: Any
    file: Path
    row: int
    column: str = ""

    def bad(self, problem: str) -> DamagedError:
        """The one line for a value that cannot be used."""
        column = f", column {self.column[:200]}" if self.column else ""
        return damaged(f"{self.file}, row {self.row}{column}: {problem[:300]}")

    def __getitem__(self, key: str | int) -> Cell:
        try:
            return self._inner(key, self.value[key])
        except (KeyError, IndexError, TypeError):
            raise self._inner(key, None).bad("is missing") from None

    def _inner(self, key: str | int, value: Any) -> Cell:
        place = f"[{key}]" if isinstance(key, int) else f".{key}" if self.column else key
        return Cell(value, self.file, self.row, self.column + place)

    def get(self, key: str) -> Cell:
        """A member that may be absent: its value is None then."""
        here = isinstance(self.value, Mapping) and key in self.value
        return self[key] if here else self._inner(key, None)

    def each(self) -> list[Cell]:
        """The elements of a list."""
        if not isinstance(self.value, list | tuple):
            raise self.bad(f"should be a list, is {_kind(self.value)}")
        return [self._inner(index, value) for index, value in enumerate(self.value)]

    def members(self) -> dict[str, Cell]:
        """The members of a mapping, by name."""
        if not isinstance(self.value, Mapping):
            raise self.bad(f"should be a mapping, is {_kind(self.value)}")
        names = {self._inner("a name", key).optional(): key for key in self.value}
        return {name: self._inner(name, self.value[key]) for name, key in names.items()}

    def text(self) -> str:
        """A text that is not blank, as published; numbers as they are written."""
        value = self.value
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not isinstance(value, str) and not (number and abs(value) < math.inf):
            raise self.bad(f"should be a text, is {_kind(value)}")
        try:
            text = str(value)
            text.encode()
        except ValueError as error:  # half a character, or a number of too many digits
            raise self.bad(f"is not a text that can be stored: {type(error).__name__}") from None
        if not text.strip():
            raise self.bad("is empty")
        return text

    def optional(self) -> str:
        """A text, or "" where there is none."""
        blank = self.value is None or (isinstance(self.value, str) and not self.value.strip())
        return "" if blank else self.text()

    def json(self) -> Cell:
        """The value written in a JSON text."""
        return self._parsed(json.loads, "JSON")

    def literal(self) -> Cell:
        """The value written in a text as a Python literal; nothing in it is run."""
        return self._parsed(ast.literal_eval, "a Python literal")

    def _parsed(self, parse: Callable[[str], Any], form: str) -> Cell:
        try:
            value = parse(self.text())
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0][:100]
            raise self.bad(f"is not {form}: {reason}") from error
        return Cell(value, self.file, self.row, self.column)

    def picture(self) -> bytes:
        """The encoded bytes of a picture."""
        data = self.value.get("bytes") if isinstance(self.value, Mapping) else None
        if not isinstance(data, bytes) or not data:
            raise self.bad("has no picture")
        return data


def content(path: Path) -> str:
    """A text file. DamagedError if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise DamagedError(f"{path} cannot be read: {error}") from error


def json_file(path: Path) -> Cell:
    """What a JSON file holds."""
    return Cell(content(path), path, 0).json()


def table(files: Iterable[Path], columns: Sequence[str] | None = None) -> Iterator[Cell]:
    """The rows of a table in several parquet files, a few in memory at a time.

    ``columns``: those to read, dotted where nested; all without. DamagedError for a file that is
    not parquet, is cut short, or lacks a column.
    """
    import pyarrow.parquet  # type: ignore[import-untyped,unused-ignore]

    for file in files:
        try:
            parquet = pyarrow.parquet.ParquetFile(file, memory_map=True, pre_buffer=False)
            names = parquet.schema_arrow.names
        except Exception as error:  # pyarrow raises many kinds; all mean the file is not readable
            raise _unreadable(file, error) from error
        for column in columns or ():
            if column.split(".")[0] not in names:
                raise damaged(f"{file} has no column '{column}': it has {', '.join(names)}")
        batches = parquet.iter_batches(ROWS_AT_ONCE, columns=columns and list(columns))
        number = 0
        while True:
            try:
                batch = next(batches, None)
                rows = batch.to_pylist() if batch is not None else []
            except Exception as error:
                raise _unreadable(file, error, number) from error
            if batch is None:
                break
            for row in rows:
                yield Cell(row, file, number)
                number += 1


def _unreadable(file: Path, error: Exception, row: int | None = None) -> DamagedError:
    reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
    place = "" if row is None else f" from row {row} on"
    return damaged(
        f"{file} is not a readable parquet file{place}: {reason}; delete it and download it again"
    )


def keyed(
    rows: Iterable[Cell], column: str, config: str, expected: Mapping[str, int]
) -> Iterator[tuple[str, Cell]]:
    """Rows by their id, which must be unique, as many as were published."""
    seen: set[str] = set()
    for row in rows:
        key = row[column].text().strip()
        if key in seen:
            raise row[column].bad(f"id '{key}' comes twice")
        seen.add(key)
        yield key, row
    check_count(config, "rows", expected[config], len(seen))


def members(
    rows: Iterable[Cell], config: str, expected: Mapping[str, int], known: set[str]
) -> list[str]:
    """Ids in a config that repeats some of the known people."""
    ids = []
    for id_, row in keyed(rows, "ID", config, expected):
        if id_ not in known:
            raise row["ID"].bad(f"'{id_}' is not in Full_Set")
        ids.append(id_)
    return ids


def check_count(config: str, what: str, expected: int, found: int) -> None:
    """DamagedError if a config has not what was published."""
    if found != expected:
        raise DamagedError(
            f"config '{config}': {expected} {what} were published, but {found} are there; "
            "complete the copy, or pin an earlier revision if the data set has changed"
        )


def check_apart(people: Iterable[Person]) -> None:
    """DamagedError if a celebrity bears the id of a fictitious person."""
    roles: dict[str, str] = {}
    for person in people:
        if roles.setdefault(person.id, person.role) != person.role:
            raise damaged(
                f"'{person.id}' is the id of a {roles[person.id]} person and of a {person.role}: "
                "the answers about one would count for the other"
            )


def options(choices: Cell, letter: str) -> tuple[tuple[str, ...], str]:
    """The option texts of a choice question in letter order, and the right one.

    An option that was published empty is left out. DamagedError if the letter is none of them.
    """
    texts = {key: cell.optional() for key, cell in sorted(choices.members().items())}
    if not texts.get(letter):
        raise choices.bad(f"the right answer is '{letter}', but the options are {_names(texts)}")
    return tuple(filter(None, texts.values())), texts[letter]


def letter(cell: Cell) -> str:
    """The letter of a right answer, written "B" or "B. its text"."""
    return cell.text().split(".")[0].strip().upper()


def plain_facts(biography: Cell) -> dict[str, str]:
    """The members of a biography that are plain texts; {} if it is prose."""
    for parse in (Cell.json, Cell.literal):
        try:
            members = parse(biography).members()
        except DamagedError:
            continue
        return {
            key.strip(" :"): cell.value
            for key, cell in members.items()
            if isinstance(cell.value, str) and cell.optional()
        }
    return {}


class Pictures:
    """Published pictures by id, read again when they are wanted: never all in memory.

    Pictures of equal bytes are one.
    """

    def __init__(self) -> None:
        self._ids: dict[str, str] = {}
        self._places: dict[Path, dict[int, list[tuple[str, str]]]] = defaultdict(
            lambda: defaultdict(list)
        )

    def add(self, id_: str, cell: Cell) -> str:
        """Register a picture; returns its id, which is an earlier one's if that is the same."""
        key = sha256(cell.picture()).hexdigest()
        if key not in self._ids:
            self._ids[key] = id_
            self._places[cell.file][cell.row].append((cell.column, id_))
        return self._ids[key]

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        """(id, encoded bytes). DamagedError for a picture that cannot be decoded."""
        for file, rows in self._places.items():
            columns = sorted(
                {column.split("[")[0] for places in rows.values() for column, _ in places}
            )
            for row in table([file], columns):
                for column, id_ in rows.get(row.row, ()):
                    name, _, index = column.partition("[")
                    cell = row[name][int(index[:-1])] if index else row[name]
                    data = cell.picture()
                    check_picture(cell, data)
                    yield id_, data


def check_picture(cell: Cell, data: bytes) -> None:
    """DamagedError if bytes cannot be decoded to the end."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as image:
            image.draft("RGB", (1, 1))  # where a format can, decode a small version: it is quicker
            image.load()
    except Exception as error:  # decoders raise many kinds; all mean the same
        raise cell.bad(f"is not a picture that can be decoded: {type(error).__name__}") from error


def _names(texts: Mapping[str, str]) -> str:
    return ", ".join(key for key, text in texts.items() if text) or "all empty"


def _kind(value: Any) -> str:
    if value is None:
        return "empty"
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    return f"a {type(value).__name__}"
