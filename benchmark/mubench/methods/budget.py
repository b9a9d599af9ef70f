"""Stop a training cleanly when its steps, minutes or memory are spent."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .base import Budget


def watch(budget: Budget, log: dict[str, Any]) -> Callable[[int], bool]:
    """A test for "spent after this many steps?"; the clock runs from now, the reason is logged."""
    start = time.monotonic()
    _reset_peak()

    def spent(steps: int) -> bool:
        used = {
            "steps": steps,
            "minutes": (time.monotonic() - start) / 60,
            "peak_gb": memory_gb() if budget.peak_gb else 0.0,
        }
        for name, value in used.items():
            limit = getattr(budget, name)
            if limit is not None and value >= limit:
                log["stopped"] = f"budget.{name}={limit} spent after {steps} steps: {value:.4g}"
                return True
        return False

    return spent


def memory_gb() -> float:
    """The GPU's peak since ``watch``; without a GPU what the process holds now, in GiB."""
    import torch

    if torch.cuda.is_available():
        return float(torch.cuda.max_memory_allocated() / 2**30)
    import psutil

    return float(psutil.Process().memory_info().rss / 2**30)


def _reset_peak() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
