"""What the ranks of the right candidates of a gallery say."""

from __future__ import annotations

from collections.abc import Mapping

from mubench.types import Response

#: The R@k that are reported.
TOP = (1, 5, 10)


def pair_auc(ranks: tuple[int, ...], among: int) -> float:
    """Share of (right, wrong) candidates in which the right one stands higher; ranks from 1."""
    wrong = among - len(ranks)
    above = [rank - place for place, rank in enumerate(sorted(ranks), start=1)]
    return 1.0 - sum(above) / (len(ranks) * wrong)


def matching(response: Response) -> Mapping[str, float]:
    """Every metric of one place in a gallery, by name, each in [0, 1]; ``chance`` is the R@1 of a
    guess.

    R@k counts one right candidate among the first k, however many there are (as CLIP_benchmark
    does); the reciprocal rank is that of the first.
    """
    first, others = min(response.ranks), response.among - len(response.ranks)
    cosine = min(max(response.cosine or 0.0, -1.0), 1.0)
    return {
        **{f"r{k}": float(first <= k) for k in TOP},
        "accuracy": float(first == 1),
        "class_recall": float(first == 1),
        "mrr": 1.0 / first,
        "auc": pair_auc(response.ranks, response.among),
        "tpr": float(first - 1 < 0.01 * others),
        "similarity": (1.0 + cosine) / 2.0,
        "chance": len(response.ranks) / response.among,
    }
