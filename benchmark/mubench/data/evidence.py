"""A stored benchmark, read strictly: whatever has not the stored form is named and refused."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from mubench.errors import DamagedError
from mubench.types import SETS, Example

from .load import BenchmarkData
from .tables import Person, pixels_sha

Progress = Callable[[int, int, str], None]
#: Pictures that are in memory at a time.
PICTURES_AT_ONCE = 64


class Manifest(BaseModel):
    """``manifest.json``, as far as it is looked at."""

    name: str
    version: str
    source: dict[str, Any]
    content_sha: str
    rows: dict[str, int]
    splits: dict[str, list[str]]
    refusals: list[str]
    groups: dict[str, list[str]]


class _Bytes(TypedDict):
    bytes: bytes
    path: str | None


class _Row(TypedDict):
    id: str
    image: _Bytes
    pixels_sha: str


class Choosable(TypedDict):
    """A candidate of a gallery, as it is stored."""

    gallery: str
    label: str
    texts: list[str]
    images: list[str]


class Picture(TypedDict):
    """A picture that was decoded; ``wrong`` is empty if it is what was stored."""

    id: str
    pixels_sha: str
    wrong: str


class Evidence:
    """What is looked at. Everything is read at once: DamagedError names file, row and column."""

    def __init__(self, data: BenchmarkData, progress: Progress) -> None:
        folder = data.folder
        _check(TypeAdapter(Manifest), data.manifest, folder / "manifest.json")
        self.manifest = Manifest(**data.manifest)
        #: Rows as they are stored, by table.
        self.rows = {
            name: _rows(folder / f"{name}.parquet", adapter) for name, adapter in _TABLES.items()
        }
        #: What questions of a dual encoder choose from; nothing where none are asked.
        self.galleries: list[Choosable] = []
        if data.asks_pairs:
            self.galleries = _rows(folder / "galleries.parquet", _GALLERIES)
            self.rows["galleries"] = self.galleries
        self.people = {person.id: person for person in data.people}
        for number, person in enumerate(data.people):
            _check(_FACTS, {number: {"facts": person.facts}}, folder / "people.parquet")
        total = self.manifest.rows.get("images", 0)
        self.pictures = list(_pictures(folder / "images.parquet", total, progress))
        #: Built here, and not published by others.
        self.built = "options" in self.manifest.source
        self.stored = data.stored
        self.train = data.train(*SETS)
        #: Every question of the split, those about holdout people as well.
        self.asked = [*data.examples, *(e for e in self.stored if e.set == "holdout")]
        #: Everybody whom a split of this benchmark may forget.
        self.forgettable = frozenset(self.manifest.splits.get("order", data.forget))

    @property
    def tables(self) -> dict[str, Sequence[Mapping[str, Any]]]:
        """The rows of all tables, by name."""
        return {**self.rows, "images": self.pictures}

    @cached_property
    def pixels(self) -> dict[str, str]:
        """The hash of each picture's pixels as they are now, by id."""
        return {picture["id"]: picture["pixels_sha"] for picture in self.pictures}

    @cached_property
    def all(self) -> list[Example]:
        """Every stored question and training example."""
        return [*self.stored, *self.train]

    @cached_property
    def by_gallery(self) -> dict[str, list[Choosable]]:
        """The candidates of each gallery."""
        found: defaultdict[str, list[Choosable]] = defaultdict(list)
        for row in self.galleries:
            found[row["gallery"]].append(row)
        return dict(found)

    @cached_property
    def choices(self) -> list[Example]:
        """Choice questions that have a right option, which is a text."""
        return [
            example
            for example in self.asked
            if example.task == "choice"
            and example.answer in example.choices
            and example.modality != "text_to_image"
        ]

    @cached_property
    def pictures_of(self) -> defaultdict[str, set[str]]:
        """Ids of a person's pictures: those asked about, and those whose id says so."""
        found: defaultdict[str, set[str]] = defaultdict(set)
        for id_ in self.pixels:
            found[id_.split("/")[0]].add(id_)
        for example in self.all:
            if example.image in self.pixels:
                found[example.person].add(example.image)
        return found

    @cached_property
    def held_out(self) -> frozenset[str]:
        """Wordings of the questions that are kept for the test set, of nobody in particular."""
        return frozenset(self.anonymous(e, e.question) for e in self.stored if e.set == "unseen")

    def anonymous(self, example: Example, text: str) -> str:
        """A text of either modality in the words of the one with the picture, case-folded."""
        person = self.people.get(example.person)
        return (text.replace(person.name, "this person") if person else text).casefold()


def _adapter(record: type) -> TypeAdapter[Any]:
    """What a table of such records holds: sequences are lists there, and facts are JSON."""
    pair = Annotated[list[str], Field(min_length=2, max_length=2)]
    stored: dict[Any, Any] = {
        tuple[str, ...]: list[str],
        tuple[str, str]: pair,
        dict[str, str]: str,
    }
    kinds = {name: stored.get(kind, kind) for name, kind in get_type_hints(record).items()}
    row: Any = TypedDict(record.__name__, kinds)  # type: ignore[misc]
    return TypeAdapter(list[row])


_EXAMPLES = _adapter(Example)
_TABLES = {"people": _adapter(Person), "examples": _EXAMPLES, "train": _EXAMPLES}
_GALLERIES = TypeAdapter(list[Choosable])
_FACTS = TypeAdapter(dict[int, dict[str, dict[str, str]]])
_PICTURES = TypeAdapter(list[_Row])


def _batches(path: Path, size: int) -> Iterator[list[dict[str, Any]]]:
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path) as file:
            for batch in file.iter_batches(size):
                batch.validate(full=True)
                yield batch.to_pylist()
    except Exception as error:  # pyarrow raises many kinds; all mean the file is not readable
        raise DamagedError(f"{path} is not a readable parquet file: {_line(error)}") from error


def _rows(path: Path, adapter: TypeAdapter[Any]) -> list[Any]:
    rows = [row for batch in _batches(path, 10_000) for row in batch]
    _check(adapter, rows, path)
    return rows


def _pictures(path: Path, total: int, progress: Progress) -> Iterator[Picture]:
    done = 0
    for rows in _batches(path, PICTURES_AT_ONCE):
        _check(_PICTURES, rows, path, done)
        for row in rows:
            try:
                pixels, wrong = pixels_sha(row["image"]["bytes"]), ""
            except Exception as error:  # Pillow's decoders raise many kinds
                pixels, wrong = "", _line(error)
            if not wrong and pixels != row["pixels_sha"]:
                wrong = "its pixels are not those of pixels_sha"
            yield Picture(id=row["id"], pixels_sha=pixels, wrong=wrong)
        done += len(rows)
        progress(done, max(done, total), "pictures")


def _check(adapter: TypeAdapter[Any], value: Any, path: Path, start: int = 0) -> None:
    """DamagedError that names the place, unless a value has the stored form."""
    try:
        adapter.validate_python(value, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        row, *columns = first["loc"] or ("",)
        place = f"row {row + start}" if isinstance(row, int) else str(row)
        column = f", column {'.'.join(map(str, columns))}" if columns else ""
        raise DamagedError(f"{path}, {place}{column}: {first['msg']}") from error


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
