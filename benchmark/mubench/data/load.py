"""Read a stored benchmark under one split: questions by set, training examples, pictures."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from mubench.errors import DamagedError
from mubench.types import SETS, Candidate, Example, Fold, Scope

from .splits import forget_people
from .tables import Person


class BenchmarkData:
    """A folder written by ``mubench.data.tables.write``, with a forget ratio and fold applied.

    ``scope``: whether all that is known of the forget people is to go, or only who they are.
    Parts are read when they are needed; pictures stay on disk until they are asked for.
    """

    def __init__(
        self, folder: Path, forget_ratio: float, fold: Fold = "test", scope: Scope = "identity"
    ) -> None:
        self.folder = folder
        self.forget_ratio = forget_ratio
        self.fold = fold
        self.scope = scope

    def _table(self, name: str) -> list[dict[str, Any]]:
        path = self.folder / f"{name}.parquet"
        try:
            rows: list[dict[str, Any]] = _open(path).to_pylist()
        except UnicodeDecodeError as error:
            raise DamagedError(f"{path} holds text that is not UTF-8: {_line(error)}") from error
        return rows

    def _examples(self, name: str) -> list[Example]:
        rows = self._table(name)
        try:
            return [
                Example(
                    **{
                        **row,
                        "choices": tuple(row["choices"]),
                        "perturbed": tuple(row["perturbed"]),
                    }
                )
                for row in rows
            ]
        except (KeyError, TypeError) as error:
            path = self.folder / f"{name}.parquet"
            raise DamagedError(f"{path} does not hold examples: {_line(error)}") from error

    @cached_property
    def manifest(self) -> dict[str, Any]:
        path = self.folder / "manifest.json"
        try:
            value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DamagedError(f"{path} is not readable: {_line(error)}") from error
        return value

    @cached_property
    def people(self) -> list[Person]:
        """Everybody, in stored order."""
        rows = self._table("people")
        try:
            return [
                Person(
                    **{
                        **row,
                        "facts": json.loads(row["facts"]),
                        "description": tuple(row["description"]),
                    }
                )
                for row in rows
            ]
        except (KeyError, TypeError, ValueError) as error:
            path = self.folder / "people.parquet"
            raise DamagedError(f"{path} does not hold people: {_line(error)}") from error

    @cached_property
    def forget(self) -> frozenset[str]:
        """Ids of the people to forget. UsageError for a ratio that cannot be had."""
        known = [person.id for person in self.people if person.role == "fictitious"]
        return frozenset(
            forget_people(self.manifest["splits"], known, self.forget_ratio, self.fold)
        )

    @cached_property
    def stored(self) -> list[Example]:
        """All evaluation questions as stored, whatever the split."""
        return self._examples("examples")

    @cached_property
    def examples(self) -> list[Example]:
        """The questions of the evaluation sets, in set order, then as stored."""
        found: dict[str, list[Example]] = {set_: [] for set_ in SETS}
        for example in self.stored:
            if set_ := self._asked_as(example):
                found[set_].append(replace(example, set=set_))
        return [example for examples in found.values() for example in examples]

    def _asked_as(self, example: Example) -> str:
        """The evaluation set of a stored question; empty where nobody asks it: unseen questions
        about retained people, and people nobody was trained on."""
        if example.set in ("celebrity", "general"):
            return example.set
        of = self._learned_as(example)
        if of == "holdout_association":
            return of if example.set == "unseen" else ""
        known = {
            "seen": {"forget": "forget", "retain": "retain"},
            "unseen": {"forget": "test", "holdout_identity": "holdout_identity"},
            "member": {"forget": "forget"},
            "kept": {"retain": "retain"},
        }
        return known.get(example.set, {}).get(of, "")

    def _learned_as(self, example: Example) -> str:
        """Which set a trained person's example belongs to under this split."""
        if example.person in self.forget:
            kept = self.scope == "association" and example.fact != "name"
            return "holdout_association" if kept else "forget"
        return self._held_out.get(example.person, "retain")

    @cached_property
    def _held_out(self) -> dict[str, str]:
        """Whom a model is trained on and no method is ever shown, with their set: as listed, or
        because they are near somebody to forget (``near ID``)."""
        splits = self.manifest["splits"]
        near = (id_ for one in self.forget for id_ in splits.get(f"near {one}", ()))
        return {
            **dict.fromkeys(splits.get("holdout_association", ()), "holdout_association"),
            **dict.fromkeys([*splits.get("holdout_identity", ()), *near], "holdout_identity"),
        }

    @cached_property
    def _train(self) -> list[Example]:
        return [
            replace(example, set=self._learned_as(example)) if example.set == "people" else example
            for example in self._examples("train")
        ]

    @property
    def asks_pairs(self) -> bool:
        """Whether dual encoders are asked, which choose from galleries."""
        return (self.folder / "galleries.parquet").exists()

    @cached_property
    def galleries(self) -> dict[str, tuple[Candidate, ...]]:
        """The candidates of every gallery, as stored."""
        if not self.asks_pairs:
            return {}
        found: dict[str, list[Candidate]] = {}
        for row in self._table("galleries"):
            candidate = Candidate(row["label"], tuple(row["texts"]), tuple(row["images"]))
            found.setdefault(row["gallery"], []).append(candidate)
        return {name: tuple(candidates) for name, candidates in found.items()}

    def gallery(self, name: str) -> tuple[Candidate, ...]:
        """The candidates of a gallery, as stored."""
        if name not in self.galleries:
            raise DamagedError(f"{self.folder} has no gallery '{name}'")
        return self.galleries[name]

    def train(self, *sets: str) -> list[Example]:
        """Training examples of the given sets (``forget``, ``retain``, ``celebrity``, ...)."""
        return [example for example in self._train if example.set in sets]

    @cached_property
    def holdout(self) -> list[Example]:
        """Questions about people nobody was trained on, asked as those of the forget set are."""
        return [example for example in self.stored if example.set == "holdout"]

    @property
    def groups(self) -> dict[str, list[str]]:
        """Who stands in each group photo, from left to right, by the picture's id."""
        found: dict[str, list[str]] = self.manifest["groups"]
        return found

    @property
    def refusals(self) -> tuple[str, ...]:
        """Sentences that decline to answer."""
        return tuple(self.manifest["refusals"])

    @cached_property
    def _pictures(self) -> dict[str, tuple[Any, int]]:
        table = _open(self.folder / "images.parquet")
        column = table.column("image")
        places = ((chunk, row) for chunk in column.chunks for row in range(len(chunk)))
        return dict(zip(table.column("id").to_pylist(), places, strict=True))

    def image_ids(self) -> Iterable[str]:
        """Ids of all pictures, as stored."""
        return self._pictures.keys()

    def png(self, image: str) -> bytes:
        """The stored bytes of a picture."""
        if image not in self._pictures:
            raise DamagedError(f"{self.folder / 'images.parquet'} has no picture '{image}'")
        chunk, row = self._pictures[image]
        found = chunk[row].as_py()
        if not found or not found["bytes"]:
            raise DamagedError(f"picture '{image}' in {self.folder / 'images.parquet'} is empty")
        data: bytes = found["bytes"]
        return data

    def image(self, image: str) -> Any:
        """A picture as RGB. DamagedError if its bytes are not an image."""
        from PIL import Image

        try:
            with Image.open(io.BytesIO(self.png(image))) as picture:
                return picture.convert("RGB")
        except (OSError, Image.DecompressionBombError) as error:
            where = self.folder / "images.parquet"
            raise DamagedError(f"picture '{image}' in {where} is not an image") from error


def _open(path: Path) -> Any:
    """A parquet table, mapped from disk where it is not compressed."""
    import pyarrow.parquet

    try:
        return pyarrow.parquet.read_table(path, memory_map=True)
    except Exception as error:  # pyarrow raises many kinds; all mean the file is not readable
        raise DamagedError(f"{path} is not a readable parquet file: {_line(error)}") from error


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
