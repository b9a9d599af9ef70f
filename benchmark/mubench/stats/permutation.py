"""Paired sign-flip test over persons."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mubench.stats.bootstrap import Values

#: Up to this many persons that differ, all 2**k sign patterns are tried (16 384 at most).
MAX_EXACT = 14


def paired_permutation_p(
    a: Values,
    b: Values,
    clusters: Sequence[str],
    rng: np.random.Generator,
    draws: int = 10_000,
) -> float:
    """Two-sided p that ``a`` and ``b``, shape (items,), have the same mean, paired by item.

    Under that hypothesis a person's summed difference is as likely with either sign. Up to
    ``MAX_EXACT`` persons the p-value is exact and ``rng`` is not used; beyond, it is the Monte
    Carlo estimate (1 + hits) / (1 + draws), which is never 0 (Phipson and Smyth 2010).
    """
    _, person = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)
    sums = np.bincount(person, weights=np.asarray(a, np.float64) - np.asarray(b, np.float64))
    # The smallest difference that counts as one: equal sums must tie despite rounding.
    slack = 1e-9 * float(np.abs(sums).sum())
    sums = sums[np.abs(sums) > slack]  # a zero has no sign to flip
    k = len(sums)
    if k <= MAX_EXACT:
        bits = (np.arange(2**k)[:, None] >> np.arange(k)) & 1
    else:
        bits = rng.integers(2, size=(draws, k), dtype=np.int8)
    flipped = np.abs((1.0 - 2.0 * bits) @ sums)
    hits = int(np.count_nonzero(flipped >= abs(float(sums.sum())) - slack))
    return hits / len(bits) if k <= MAX_EXACT else (1 + hits) / (1 + draws)
