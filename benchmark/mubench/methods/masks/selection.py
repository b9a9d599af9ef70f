"""The highest scores among billions, without sorting: two histograms give the exact threshold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor

from mubench.errors import RunError

from .packed import block, pack

Score = Callable[[str], Tensor]  # of a parameter's name: its weights' scores, none negative
CHUNK = 2**24
LARGEST = 0x7F800000  # bits of +inf; above are the NaNs


def top(
    score: Score, sizes: Mapping[str, int], density: float, *, per_block: bool = False
) -> dict[str, Tensor]:
    """Packed masks of the ``density`` share of weights with the highest scores.

    Over all weights, or within every block. Of equal scores the first ones are taken, so that the
    share is exact. Memory: one tensor's scores at a time.
    """
    groups: dict[str, list[str]] = {}
    for name in sizes:
        groups.setdefault(block(name) if per_block else "", []).append(name)
    packed = {}
    for names in groups.values():
        wanted = round(density * sum(sizes[name] for name in names))
        threshold, ties = threshold_of(score, names, wanted)
        for name in names:
            found = _bits(score(name))
            mask, equal = found > threshold, found == threshold
            rank = equal.cumsum(0)
            mask |= equal & (rank <= ties)
            ties -= min(ties, int(rank[-1]))
            packed[name] = pack(mask)
    return packed


def threshold_of(score: Score, names: Sequence[str], wanted: int) -> tuple[int, int]:
    """The bits of the ``wanted``-th largest score, and how many scores equal to it are among them.

    Non-negative floats are ordered as their bits are, read as integers. The first pass counts
    their upper halves, the second the lower halves of those that share the upper half sought.
    """
    if wanted == 0:
        return LARGEST, 0
    upper = _histogram(_bits(score(name)) >> 16 for name in names)
    high, above = _reach(upper, wanted)
    lower = _histogram(
        found[found >> 16 == high] & 0xFFFF for found in (_bits(score(name)) for name in names)
    )
    low, more = _reach(lower, wanted - above)
    return high << 16 | low, wanted - above - more


def median(score: Score, sizes: Mapping[str, int]) -> float:
    """The upper median of all scores."""
    threshold, _ = threshold_of(score, list(sizes), (sum(sizes.values()) + 1) // 2)
    return float(torch.tensor(threshold, dtype=torch.int32).view(torch.float32))


def _bits(scores: Tensor) -> Tensor:
    found = scores.detach().float().abs().flatten().contiguous().view(torch.int32)
    if len(found) and int(found.max()) > LARGEST:
        raise RunError("a score of the mask is not a number: the target's gradients are not finite")
    return found


def _histogram(values: Iterable[Tensor]) -> Tensor:
    counts = torch.zeros(2**16, dtype=torch.int64)
    for value in values:
        for part in value.split(CHUNK):
            counts += torch.bincount(part, minlength=2**16).cpu()
    return counts


def _reach(counts: Tensor, wanted: int) -> tuple[int, int]:
    """The bin in which the ``wanted``-th value from above lies, and how many lie above the bin."""
    reached = counts.flip(0).cumsum(0)
    place = int((reached < wanted).sum())
    return len(counts) - 1 - place, int(reached[place] - counts.flip(0)[place])
