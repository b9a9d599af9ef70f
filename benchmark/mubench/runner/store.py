"""The cache: one folder per finished stage, named by its content key.

A stage is built in a ``.partial`` folder and renamed when it is complete, so that a folder that
is there is whole, whatever was killed. What is read is checked against the hashes written then.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from mubench.errors import DamagedError, OutputError
from mubench.hashing import file_sha

META = "stage.json"


@dataclass(frozen=True, slots=True)
class StageResult:
    """A finished stage: its folder, its costs, and whether it was there before."""

    kind: str
    key: str
    folder: Path
    seconds: float
    peak_mb: float
    detail: dict[str, Any]
    cached: bool


def default_root() -> Path:
    """``$MUBENCH_CACHE``, or ``mubench`` in the user's cache folder."""
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("MUBENCH_CACHE") or f"{caches}/mubench").expanduser()


class Store:
    """Finished stages under ``root/kind/key``."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, kind: str, key: str) -> Path:
        return self.root / kind / key[:32]

    def has(self, kind: str, key: str) -> bool:
        return (self.folder(kind, key) / META).is_file()

    def read(self, kind: str, key: str, *, cached: bool = True) -> StageResult:
        """A finished stage. DamagedError if a file of it is not what was written."""
        folder = self.folder(kind, key)
        advice = f"remove it with 'mubench cache clear {kind}/{folder.name}' and run again"
        try:
            meta = json.loads((folder / META).read_text(encoding="utf-8"))
            files = meta["files"]
            costs = (meta["seconds"], meta["peak_mb"], meta["detail"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DamagedError(f"{folder / META} is damaged: {advice}") from error
        for name, expected in files.items():
            path = folder / name
            if not path.is_file() or file_sha(path) != expected:
                raise DamagedError(f"{path} is not what was written: {advice}")
        return StageResult(kind, key, folder, *costs, cached)

    def get(
        self, kind: str, key: str, build: Callable[[Path], dict[str, Any]], *, resume: bool = False
    ) -> StageResult:
        """The stage, built by ``build(folder)`` if it is not there yet.

        ``build`` fills the folder and returns details for the record. With ``resume`` it finds
        what an interrupted attempt left. A second process waits for the first.
        """
        folder = self.folder(kind, key)
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(folder.parent / f".{folder.name}.lock")
            lock.acquire()
        except OSError as error:
            raise OutputError(
                f"cannot write to the cache {self.root}: {error.strerror}; "
                "set MUBENCH_CACHE or --cache to another folder"
            ) from error
        with lock:
            if self.has(kind, key):
                return self.read(kind, key)
            partial = folder.parent / f".{folder.name}.partial"
            if partial.exists() and not resume:
                shutil.rmtree(partial)
            partial.mkdir(exist_ok=True)
            start = time.perf_counter()
            try:
                detail = build(partial)
                seconds = time.perf_counter() - start
                _finish(partial, folder, seconds, detail)
            except OSError as error:
                raise OutputError(f"cannot write {partial}: {error.strerror or error}") from error
        return self.read(kind, key, cached=False)

    def entries(self) -> Iterator[tuple[str, str, int, float]]:
        """(kind, key, bytes, modification time) of every finished stage."""
        for meta in sorted(self.root.glob(f"*/*/{META}")):
            size = sum(path.stat().st_size for path in meta.parent.rglob("*") if path.is_file())
            yield meta.parent.parent.name, meta.parent.name, size, meta.stat().st_mtime

    def clear(self, kind: str | None = None, key: str | None = None) -> int:
        """Remove stages (all, of a kind, or one) and leftovers; returns how many went."""
        removed = 0
        for folder in self.root.glob(f"{kind or '*'}/{key or '*'}"):
            if (folder / META).is_file() or folder.name.endswith((".partial", ".failed")):
                shutil.rmtree(folder)
                removed += 1
        return removed


def _finish(partial: Path, folder: Path, seconds: float, detail: dict[str, Any]) -> None:
    files = {
        path.relative_to(partial).as_posix(): file_sha(path)
        for path in sorted(partial.rglob("*"))
        if path.is_file() and path.name != META
    }
    meta = {"seconds": seconds, "peak_mb": peak_memory_mb(), "detail": detail, "files": files}
    path = partial / META
    with open(path, "w", encoding="utf-8") as handle:
        json.dump(meta, handle)
        handle.flush()
        os.fsync(handle.fileno())
    if folder.exists():  # a folder without meta: not one of ours, or half removed
        shutil.rmtree(folder)
    os.replace(partial, folder)


def peak_memory_mb() -> float:
    """Largest resident memory of this process so far, in MB (GPU memory not included)."""
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak / 2**20 if sys.platform == "darwin" else peak / 2**10)
