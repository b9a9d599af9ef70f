"""Named random streams from one seed, so that adding a draw in one place moves nothing else."""

from __future__ import annotations

import zlib

import numpy as np


def stream(seed: int, *names: str) -> np.random.Generator:
    """A generator for ``names`` under ``seed``; the same arguments give the same numbers."""
    keys = [zlib.crc32(name.encode()) for name in names]
    return np.random.default_rng(np.random.SeedSequence([seed, *keys]))


def integer(seed: int, *names: str) -> int:
    """A 63-bit seed for libraries that want an integer (torch, Faker)."""
    return int(stream(seed, *names).integers(2**63))
