"""SALMUBench's own metrics (CVPR 2026, arXiv:2603.26316), so that its numbers can be compared with.

All are computed from features of length 1, [N, D], row by row of published pairs. GenKnow is the
zero-shot accuracy on ImageNet, which mubench measures as utility. Where what is known of the paper
leaves a choice open, the docstring says which was made.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

Features = NDArray[np.float32]

#: Cosines that differ by less are equal but for rounding.
TIE = 1e-9
#: Rows that are compared with all distractors at a time.
BLOCK = 4096


def cosines(images: Features, texts: Features) -> NDArray[np.float64]:
    """[N] of every pair; their mean is AssocStr on forget, InterIdSim on holdout_identity,
    IntraIdSim on holdout_association, VisIdInt on retain_joint, FragSim on the fragile subset."""
    found: NDArray[np.float64] = (images.astype(np.float64) * texts).sum(1)
    return found


def ranks(
    images: Features,
    texts: Features,
    distractors: Features,
    said: Sequence[str],
    other: Sequence[str],
) -> NDArray[np.int64]:
    """[N] RetFail: the place, from 1, of every picture's own caption among the distractors.

    ``said`` and ``other`` are the captions themselves: a distractor that says the same is none.
    Ties count against the caption.
    """
    own, words = cosines(images, texts), np.array(other)
    found = []
    for at in range(0, len(images), BLOCK):
        part = slice(at, at + BLOCK)
        scores = images[part].astype(np.float64) @ distractors.T.astype(np.float64)
        ahead = scores >= own[part, None] - TIE
        ahead &= np.array(said[part])[:, None] != words
        found.append(1 + ahead.sum(1))
    return np.concatenate(found)


def coherence(images: Features, texts: Features, people: Sequence[str], seed: int) -> float:
    """ACS: accuracy of a logistic probe that tells matched from shuffled captions.

    It reads the products of the two features' dimensions, is fitted on the pairs of one half of the
    people and judged on the other half's: both are our reading.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(images))
    # A cycle: no caption stays with its picture.
    wrong = np.empty(len(order), dtype=np.int64)
    wrong[order] = np.roll(order, 1)
    rows = np.concatenate([images * texts, images * texts[wrong]]).astype(np.float64)
    rows *= np.sqrt(rows.shape[1])  # dimensions of about unit size
    labels = np.repeat([1.0, -1.0], len(images))
    names = sorted(set(people))
    fitted = {names[index] for index in rng.permutation(len(names))[: len(names) // 2]}
    fit = np.tile([person in fitted for person in people], 2)
    weights = _logistic(rows[fit], labels[fit])
    guessed = rows[~fit] @ weights[:-1] + weights[-1]
    return float((guessed * labels[~fit] > 0).mean())


def _logistic(rows: NDArray[np.float64], labels: NDArray[np.float64]) -> NDArray[np.float64]:
    """[D + 1] weights and bias that minimise the mean logistic loss with an L2 term of 1 / rows."""
    count = len(rows)

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        margin = labels * (rows @ weights[:-1] + weights[-1])
        pull = -labels / (1 + np.exp(margin)) / count
        slope = np.append(rows.T @ pull + weights[:-1] / count, pull.sum())
        value = np.logaddexp(0, -margin).mean() + (weights[:-1] ** 2).sum() / (2 * count)
        return float(value), slope

    found = minimize(loss, np.zeros(rows.shape[1] + 1), jac=True, method="L-BFGS-B")
    weights: NDArray[np.float64] = found.x
    return weights


def named(images: Features, names: Features, right: Sequence[int]) -> float:
    """IdZSC: share of pictures whose own name is the most similar; a tie counts as wrong."""
    scores = images @ names.T
    own = scores[np.arange(len(images)), right]
    return float(((scores >= own[:, None]).sum(1) == 1).mean())


def core(images: Features, forward: Features, backward: Features) -> NDArray[np.float64]:
    """[N] CoreAssoc: the larger cosine of "{name} {value}" and "{value} {name}"."""
    return np.maximum(cosines(images, forward), cosines(images, backward))
