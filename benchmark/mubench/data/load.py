"""Read a built benchmark: examples by set, training examples by set, pictures by id."""

from __future__ import annotations

import io
import json
from functools import cached_property
from pathlib import Path
from typing import Any

from mubench.errors import DamagedError
from mubench.types import Example


class BenchmarkData:
    """A benchmark folder written by ``mubench_data.build.write``; parts are read when needed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _table(self, name: str) -> list[dict[str, Any]]:
        import pyarrow.parquet

        path = self.folder / f"{name}.parquet"
        try:
            rows: list[dict[str, Any]] = pyarrow.parquet.read_table(path).to_pylist()
        except Exception as error:  # pyarrow raises many kinds; all mean the file is not readable
            raise DamagedError(f"{path} is not a readable parquet file: {_line(error)}") from error
        return rows

    def _examples(self, name: str) -> list[Example]:
        rows = self._table(name)
        try:
            return [Example(**{**row, "choices": tuple(row["choices"])}) for row in rows]
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
    def examples(self) -> list[Example]:
        """All evaluation questions, in the order they were built."""
        return self._examples("examples")

    @cached_property
    def _train(self) -> list[Example]:
        return self._examples("train")

    def train(self, *sets: str) -> list[Example]:
        """Training examples of the given sets (``forget``, ``retain``, ``celebrity``)."""
        return [example for example in self._train if example.set in sets]

    @cached_property
    def _pictures(self) -> dict[str, bytes]:
        return {row["id"]: row["image"]["bytes"] for row in self._table("images")}

    def png(self, image: str) -> bytes:
        """The stored bytes of a picture."""
        if image not in self._pictures:
            raise DamagedError(f"{self.folder / 'images.parquet'} has no picture '{image}'")
        return self._pictures[image]

    def image(self, image: str) -> Any:
        """A picture as RGB. DamagedError if its bytes are not an image."""
        from PIL import Image

        try:
            with Image.open(io.BytesIO(self.png(image))) as picture:
                return picture.convert("RGB")
        except (OSError, Image.DecompressionBombError) as error:
            where = self.folder / "images.parquet"
            raise DamagedError(f"picture '{image}' in {where} is not an image") from error


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
