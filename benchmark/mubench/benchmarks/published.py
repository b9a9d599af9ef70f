"""The published benchmarks by name: where each lives, how much it holds, what reads it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mubench.data.hub import Files, Repository, fetch, repository
from mubench.data.tables import Tables
from mubench.errors import MissingError, unknown

from . import clear, fiubench, mllmu, salmubench, umu

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Published:
    """A benchmark that somebody published.

    ``rows``: how many rows each config must have. ``files``: glob patterns by part, the first of
    which that matches anything is taken; without any, the parts are the parquet configs of
    ``rows``.
    """

    name: str
    title: str
    paper: str
    repo: str
    read: Callable[[Files, Mapping[str, int]], Tables]
    rows: Mapping[str, int]
    ratios: Mapping[str, str]
    files: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def wanted(self, found: Repository) -> dict[str, tuple[str, ...]]:
        """The repository paths of each part. MissingError for a part that is not there."""
        if not self.files:
            return {config: found.config(config) for config in self.rows}
        parts = {}
        for part, patterns in self.files.items():
            matches = filter(None, (found.match(pattern) for pattern in patterns))
            parts[part] = found.whole(part, next(matches, ()))
            if not parts[part]:
                raise MissingError(f"{found} has no {' or '.join(patterns)}")
        return parts


PUBLISHED = {
    benchmark.name: benchmark
    for benchmark in (
        Published(
            name="mllmu",
            title="MLLMU-Bench",
            paper="arXiv:2410.22108",
            repo="MLLMMU/MLLMU-Bench",
            read=mllmu.read,
            rows=mllmu.ROWS,
            ratios=mllmu.RATIOS,
        ),
        Published(
            name="umu",
            title="UMU-Bench",
            paper="NeurIPS 2025 Datasets and Benchmarks",
            repo="linbojunzi/UMU-bench",
            read=umu.read,
            rows=umu.ROWS,
            ratios=umu.RATIOS,
        ),
        Published(
            name="clear",
            title="CLEAR",
            paper="arXiv:2410.18057",
            repo="therem/CLEAR",
            read=clear.read,
            rows=clear.ROWS,
            ratios=clear.RATIOS,
        ),
        Published(
            name="fiubench",
            title="FIUBench",
            paper="arXiv:2411.03554",
            repo="gray311/FIUBench",
            read=fiubench.read,
            rows=fiubench.ROWS,
            ratios=fiubench.RATIOS,
            files={
                "full.json": ("full.json",),
                "split.json": ("split.json",),
                "idontknow.json": ("idontknow.json",),
                "pictures": ("SFHQ/*.jpg", "SFHQ.zip"),
            },
        ),
        Published(
            name="salmubench",
            title="SALMUBench",
            paper="arXiv:2603.26316",
            repo="cvc-mmu/salmubench-512-redistributed",
            read=salmubench.read,
            rows={},
            ratios=salmubench.RATIOS,
            files=salmubench.FILES,
        ),
    )
}


def find(name: str) -> Published:
    """A published benchmark by name. UsageError with the closest name if there is none."""
    if name not in PUBLISHED:
        raise unknown("published benchmark", name, PUBLISHED)
    return PUBLISHED[name]


def pull(
    name: str,
    *,
    data_dir: Path | None = None,
    revision: str = "",
    endpoint: str | None = None,
    progress: Progress | None = None,
) -> Files:
    """Everything a benchmark needs on this machine, from the Hub or a local copy of it."""
    benchmark = find(name)
    found = repository(benchmark.repo, data_dir=data_dir, revision=revision, endpoint=endpoint)
    return fetch(found, benchmark.wanted(found), progress)


def load(
    name: str,
    *,
    data_dir: Path | None = None,
    revision: str = "",
    endpoint: str | None = None,
    progress: Progress | None = None,
    rows: Mapping[str, int] | None = None,
) -> Tables:
    """A published benchmark as tables; ``rows`` replaces the published counts (tests)."""
    benchmark = find(name)
    files = pull(name, data_dir=data_dir, revision=revision, endpoint=endpoint, progress=progress)
    return benchmark.read(files, benchmark.rows if rows is None else rows)
