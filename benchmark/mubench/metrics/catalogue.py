"""Every metric: its name, direction, unit and formula. Read by ``mubench list metrics`` at once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

from mubench.types import ASPECTS, Example

Better = Literal["up", "down", "to_gold"]


@dataclass(frozen=True, slots=True)
class MetricInfo:
    """``better``: "to_gold" marks knowledge, which is wanted ("up") outside forget and test.

    ``headline``: one of the few that a reader sees first, see ``headline_on``.
    ``chance`` is what a model without knowledge gets, where that is the same for every question.
    ``per_class``: the mean over classes of their means, not over items.
    """

    name: str
    better: Better
    unit: str
    headline: bool
    title: str
    formula: str
    chance: float | None = None
    per_class: bool = False

    def better_on(self, set_: str) -> Better:
        """Which way this metric should go on ``set_``."""
        return "up" if self.better == "to_gold" and set_ in ASPECTS["utility"] else self.better

    def headline_on(self, item: Example) -> bool:
        """Whether the cell of this question is a headline cell: about people who were to be
        forgotten, only what `mubench meta-eval` admits in this modality and task."""
        place = f"{item.modality} {item.task} {self.name}"
        return self.headline and (item.set in ASPECTS["utility"] or place not in _refused())


@cache
def _refused() -> frozenset[str]:
    """The metrics that were judged on pools of models (docs/meta-eval.md) and not admitted."""
    text = files("mubench.metrics").joinpath("admission.json").read_text(encoding="utf-8")
    return frozenset(one["metric"] for one in json.loads(text)["metrics"] if not one["admitted"])


_PROBABILITY = MetricInfo(
    "probability",
    "to_gold",
    "probability",
    False,
    "Probability of the true answer",
    "exp(log p(answer) / tokens), end token included",
)
_REFUSAL = MetricInfo(
    "refusal", "down", "fraction", False, "Refusal rate", "share of texts that open as a refusal"
)
_DEGENERATE = MetricInfo(
    "degenerate",
    "down",
    "fraction",
    False,
    "Degenerate rate",
    "share of texts that are empty, without letters and digits, or one repeated loop",
)
_PARSED = MetricInfo(
    "parsed",
    "up",
    "fraction",
    False,
    "Parse rate",
    "share of texts that ended by themselves and are neither refusal nor degenerate",
)

_TRUTH_RATIO = MetricInfo(
    "truth_ratio",
    "to_gold",
    "probability",
    False,
    "Truth ratio",
    "p(paraphrase) / (p(paraphrase) + p(wrong)) of exp(log p / tokens), p(wrong) the geometric "
    "mean over the wrong answers; the answer itself where it has no paraphrase",
)


def _recall(k: int, *, headline: bool = False) -> MetricInfo:
    return MetricInfo(
        f"r{k}",
        "to_gold",
        "fraction",
        headline,
        f"R@{k}",
        f"share of questions with a right candidate among the first {k} of the gallery",
    )


_MRR = MetricInfo(
    "mrr",
    "to_gold",
    "1 / rank",
    False,
    "Mean reciprocal rank",
    "1 / rank of the first right candidate",
)
_AUC = MetricInfo(
    "auc",
    "to_gold",
    "AUC",
    False,
    "Pair AUC",
    "share of (right, wrong) candidates in which the right one is more similar",
    chance=0.5,
)
_ASSOCIATION = MetricInfo(
    "similarity",
    "to_gold",
    "(1 + cosine) / 2",
    True,
    "Association strength",
    "(1 + cosine of query and right candidate) / 2, the mean over right candidates",
    chance=0.5,
)

#: What ``score`` gives per task, in the order in which it is shown.
METRICS: Mapping[str, tuple[MetricInfo, ...]] = {
    "choice": (
        MetricInfo(
            "accuracy",
            "to_gold",
            "fraction",
            True,
            "Choice accuracy",
            "share of questions whose true option has the highest log p(option) / tokens; "
            "a tie counts as wrong",
        ),
        MetricInfo(
            "probability",
            "to_gold",
            "probability",
            False,
            "Probability of the true option",
            "softmax over the options of log p(option) / tokens",
        ),
        MetricInfo(
            "parsed",
            "up",
            "fraction",
            False,
            "Parse rate",
            "share of questions whose options all have a finite log-probability",
        ),
    ),
    "generation": (
        MetricInfo(
            "rouge_l",
            "to_gold",
            "ROUGE-L F",
            True,
            "ROUGE-L",
            "F-measure of the longest common subsequence of stemmed words",
        ),
        MetricInfo(
            "keyword",
            "to_gold",
            "fraction",
            True,
            "Keyword accuracy",
            "share of texts that contain the fact as whole words",
        ),
        MetricInfo(
            "rouge_l_recall",
            "to_gold",
            "ROUGE-L recall",
            False,
            "ROUGE-L recall",
            "recall of the longest common subsequence of stemmed words",
        ),
        MetricInfo(
            "exact",
            "to_gold",
            "fraction",
            False,
            "Exact match",
            "share of texts equal to the true answer after normalisation",
        ),
        _PROBABILITY,
        _TRUTH_RATIO,
        _PARSED,
        _REFUSAL,
        _DEGENERATE,
    ),
    "cloze": (
        MetricInfo(
            "match",
            "to_gold",
            "fraction",
            True,
            "Cloze accuracy",
            "share of texts equal to the missing words after normalisation",
        ),
        _PROBABILITY,
        _TRUTH_RATIO,
        _PARSED,
        _REFUSAL,
        _DEGENERATE,
    ),
    "retrieval": (_recall(1, headline=True), _ASSOCIATION, _recall(5), _recall(10), _MRR, _AUC),
    "zero_shot": (
        MetricInfo(
            "accuracy",
            "to_gold",
            "fraction",
            True,
            "Zero-shot accuracy",
            "share of pictures whose class, the mean of its wordings, is the most similar",
        ),
        MetricInfo(
            "class_recall",
            "to_gold",
            "fraction",
            False,
            "Mean per-class recall",
            "zero-shot accuracy on the pictures of a class, the mean over classes",
            per_class=True,
        ),
        _recall(5),
        _MRR,
    ),
    "prototype": (
        MetricInfo(
            "accuracy",
            "to_gold",
            "fraction",
            True,
            "Prototype accuracy",
            "share of unseen photos whose person's mean of trained photos is the most similar",
        ),
        _recall(5),
        _AUC,
    ),
    "membership": (
        MetricInfo(
            "auc",
            "to_gold",
            "AUC",
            True,
            "Membership AUC",
            "share of (trained, never trained) pairs in which the trained one is more similar",
            chance=0.5,
        ),
        MetricInfo(
            "tpr",
            "to_gold",
            "fraction",
            False,
            "TPR at 1 % FPR",
            "share of trained pairs more similar than 99 % of those never trained",
        ),
    ),
}
