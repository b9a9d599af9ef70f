"""Which metrics may be believed: how well each tells models apart, and how steady it is.

After open-unlearning's meta-evaluation (arXiv:2506.12618). Faithfulness: AUC between models that
were trained with and without the forget people. Robustness: harmonic mean of what is left of the
verdict after relearning (R) and after quantisation (Q), which must not bring back what a metric
called forgotten. A value here is oriented: higher means more knowledge of the forget people.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, harmonic_mean

import numpy as np

from mubench.stats.auc import Pools, TwoPools
from mubench.types import Estimate

#: Least faithfulness of an admitted metric: nine pairs of models in ten are told apart.
FAITHFUL = 0.9
#: Least robustness of an admitted metric.
ROBUST = 0.5


@dataclass(frozen=True, slots=True)
class Pool:
    """A metric on every model: ``knowing`` [seeds] trained on everybody, ``gold`` without the
    forget people, ``method`` unlearned; the others after relearning or quantisation. In [0, 1]."""

    knowing: Sequence[float]
    gold: Sequence[float]
    method: Sequence[float]
    gold_relearned: Sequence[float]
    method_relearned: Sequence[float]
    method_quantised: Sequence[float]


@dataclass(frozen=True, slots=True)
class Admission:
    """What the pools say of one metric. ``lower``: a lower value means more knowledge."""

    metric: str
    lower: bool
    faithfulness: Estimate
    relearned: float
    quantised: float

    @property
    def robustness(self) -> float:
        return harmonic_mean([self.relearned, self.quantised])

    @property
    def admitted(self) -> bool:
        return self.faithfulness.value >= FAITHFUL and self.robustness >= ROBUST


def judge(metric: str, pool: Pool, rng: np.random.Generator) -> Admission:
    """Faithfulness with its interval (from five models a pool on), R and Q of one metric."""
    lower = fmean(pool.knowing) < fmean(pool.gold)
    turned = [
        [1 - value for value in values] if lower else list(values)
        for values in (
            pool.knowing,
            pool.gold,
            pool.method,
            pool.gold_relearned,
            pool.method_relearned,
            pool.method_quantised,
        )
    ]
    knowing, gold, method, gold_after, method_after, quantised = turned
    models, others = ([str(n) for n in range(len(values))] for values in (knowing, gold))
    return Admission(
        metric,
        lower,
        TwoPools(models, others, rng).auc(Pools(knowing, gold)),
        fmean(map(relearned, gold, gold_after, method, method_after)),
        fmean(map(kept, method, quantised)),
    )


def relearned(gold: float, gold_after: float, method: float, method_after: float) -> float:
    """R = min(gain of gold / gain of the unlearned model, 1); 1 where nothing came back.

    Both learn from the same examples: what the unlearned model gains beyond gold was hidden.
    """
    gain = method_after - method
    return 1.0 if gain <= 0 else min(max(gold_after - gold, 0.0) / gain, 1.0)


def kept(before: float, after: float) -> float:
    """Q = min(before / after, 1); 1 where nothing came back."""
    return 1.0 if after <= before else before / after
