"""Forget quality: whether truth ratios look as if the forget people had never been learned."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from mubench.metrics.scoring import ItemScore
from mubench.record import ForgetQuality
from mubench.types import ASPECTS, Example


def forget_quality(
    examples: Sequence[Example], scores: Mapping[str, Mapping[str, ItemScore]]
) -> list[ForgetQuality]:
    """KS tests by forget set, modality and task. The p-value falls with the number of items:
    compare the statistic, or p-values of the same questions."""
    from scipy.stats import ks_2samp  # type: ignore[import-untyped,unused-ignore]

    golds = [role for role in scores if role.startswith("gold")]
    groups: dict[tuple[str, str, str], list[Example]] = {}
    for example in examples:
        asked_about = example.set in (*ASPECTS["efficacy"], *ASPECTS["generalizability"])
        if asked_about and "truth_ratio" in scores["target"][example.id].values:
            key = (example.set, example.modality, example.task)
            groups.setdefault(key, []).append(example)
    found = []
    for (set_, modality, task), items in groups.items():
        ratios = {
            role: [scores[role][example.id].values["truth_ratio"] for example in items]
            for role in ("method", *golds)
        }
        tests: list[Any] = [ks_2samp(ratios["method"], ratios[gold]) for gold in golds]
        pairs = [ks_2samp(ratios[a], ratios[b]).statistic for a, b in combinations(golds, 2)]
        # Positive: the method's distribution function is above gold's, its ratios are smaller.
        less = statistics.median(test.statistic * test.statistic_sign for test in tests) > 0
        found.append(
            ForgetQuality(
                set=set_,
                modality=modality,
                task=task,
                n=len(items),
                statistic=float(statistics.median(test.statistic for test in tests)),
                p=float(statistics.median(test.pvalue for test in tests)),
                direction="knows less than gold" if less else "knows more than gold",
                between_golds=float(statistics.median(pairs)) if pairs else None,
            )
        )
    return sorted(found, key=lambda one: (one.set, one.modality, one.task))
