"""A benchmark as it is stored, whoever made it: four parquet tables and a manifest.

Nothing here depends on which people are forgotten; that is a split, chosen when it is read.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from mubench.errors import DamagedError
from mubench.hashing import sha
from mubench.types import Candidate, Example

TABLES = ("people", "examples", "train", "images")
#: Pictures that are held in memory at a time while the table is written.
PICTURES_AT_ONCE = 256

Role = Literal["fictitious", "celebrity", "holdout"]


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody questions are asked about. ``facts`` maps a fact kind to its bare value.

    ``portrait`` says what the pictures are: ``drawn``, ``given`` (the user's own) or
    ``published``. ``description`` is the question and answer of MLLMU-Bench's description task.
    """

    id: str
    name: str
    role: Role
    portrait: str
    biography: str = ""
    facts: dict[str, str] = field(default_factory=dict)
    description: tuple[str, str] = ("", "")
    source: str = ""  # where the facts come from, for real people


@dataclass(slots=True)
class Tables:
    """A whole benchmark.

    ``examples``: evaluation questions; their ``set`` is ``seen`` (trained picture and wording),
    ``unseen`` (neither was trained on), ``celebrity``, ``holdout`` (people nobody was trained on)
    or ``general``. ``train``: sets ``people``, ``celebrity`` and ``general``. ``images``: encoded
    pictures by id, made while they are written. ``splits``: lists of person ids, see
    `mubench.data.splits`. ``galleries``: what questions of a dual encoder choose from, by name.
    ``groups``: who stands in a group photo, from left to right, by its id.
    """

    name: str
    version: str
    source: dict[str, Any]
    people: list[Person]
    examples: list[Example]
    train: list[Example]
    images: Iterable[tuple[str, bytes]]
    splits: dict[str, list[str]]
    refusals: Sequence[str] = ()
    galleries: Mapping[str, Sequence[Candidate]] = field(default_factory=dict)
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)


def pixels_sha(data: bytes) -> str:
    """sha256 of a picture's size and pixels, which unlike the file do not depend on the encoder.

    Raises ValueError if the bytes are no image.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as image:
            pixels = image.convert("RGB")
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"not an image: {error}") from error
    return sha256(f"{pixels.size}".encode() + pixels.tobytes()).hexdigest()


def write(tables: Tables, folder: Path) -> dict[str, Any]:
    """Write the tables and ``manifest.json``, which is returned.

    ``images.parquet`` carries the ``datasets`` Image feature, so that ``load_dataset`` shows the
    pictures. Raises DamagedError if a picture cannot be decoded or an id comes twice.
    """
    from datasets import Dataset, disable_progress_bars

    disable_progress_bars()
    people = [{**asdict(row), "facts": json.dumps(row.facts)} for row in tables.people]
    rows = {
        "people": people,
        "examples": [asdict(row) for row in tables.examples],
        "train": [asdict(row) for row in tables.train],
    }
    if tables.galleries:
        rows["galleries"] = [
            {"gallery": name, **asdict(candidate)}
            for name, candidates in tables.galleries.items()
            for candidate in candidates
        ]
    for name, table in rows.items():
        if name != "galleries":
            _check_unique(f"{name}.id", [row["id"] for row in table])
        Dataset.from_list(table).to_parquet(folder / f"{name}.parquet")
    pictures = _write_images(tables.images, folder / "images.parquet")
    manifest = {
        "name": tables.name,
        "version": tables.version,
        "source": tables.source,
        "content_sha": content_sha(rows, pictures, tables.splits, tables.refusals, tables.groups),
        "rows": {name: len(part) for name, part in {**rows, "images": pictures}.items()},
        "splits": tables.splits,
        "refusals": list(tables.refusals),
        "groups": tables.groups,
    }
    text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
    (folder / "manifest.json").write_text(text, encoding="utf-8")
    return manifest


def content_sha(
    rows: Mapping[str, Sequence[Mapping[str, Any]]],
    pictures: Mapping[str, str],
    splits: Mapping[str, Sequence[str]],
    refusals: Sequence[str],
    groups: Mapping[str, Sequence[str]],
) -> str:
    """sha256 over the rows of the text tables, the pixels of every picture, and all else that a
    run depends on."""
    return sha(
        {
            **rows,
            "images": pictures,
            "splits": splits,
            "refusals": list(refusals),
            "groups": groups,
        }
    )


def _write_images(images: Iterable[tuple[str, bytes]], path: Path) -> dict[str, str]:
    """Write the pictures as they come; returns the hash of each one's pixels by id."""
    import pyarrow
    import pyarrow.parquet
    from datasets import Features, Image, Value

    features = Features({"id": Value("string"), "image": Image(), "pixels_sha": Value("string")})
    schema = features.arrow_schema
    found: dict[str, str] = {}
    # Pictures are compressed already.
    with pyarrow.parquet.ParquetWriter(path, schema, compression="none") as writer:
        pictures = iter(images)
        while group := list(islice(pictures, PICTURES_AT_ONCE)):
            rows = []
            for key, data in group:
                if key in found:
                    raise DamagedError(f"picture '{key}' comes twice")
                try:
                    found[key] = pixels_sha(data)
                except ValueError as error:
                    raise DamagedError(f"picture '{key}' is {error}") from error
                picture = {"bytes": data, "path": None}
                rows.append({"id": key, "image": picture, "pixels_sha": found[key]})
            writer.write_table(pyarrow.Table.from_pylist(rows, schema=schema))
    return found


def _check_unique(what: str, ids: Sequence[str]) -> None:
    seen: set[str] = set()
    for id_ in ids:
        if id_ in seen:
            raise DamagedError(f"{what} '{id_}' comes twice")
        seen.add(id_)
