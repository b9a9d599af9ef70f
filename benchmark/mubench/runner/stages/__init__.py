"""What each stage does: every function fills a folder of the store and returns its details."""

from __future__ import annotations

from collections.abc import Callable

Report = Callable[[int, int, str], None]  # done, of how many, in words


def seed_libraries(seed: int) -> None:
    """Seed torch's generators; every other draw has its own named stream."""
    import torch

    torch.manual_seed(seed % 2**63)
