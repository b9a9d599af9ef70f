"""The metrics of mubench as ``evaluate.Metric`` objects. Works offline; ``evaluate`` loads late.

>>> from mubench.metrics import hf
>>> hf.load("keyword_match").compute(predictions=["Born in Paris."], references=["Paris"])
{'keyword_match': 1.0}
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mubench.errors import unknown
from mubench.metrics import scoring, text


@dataclass(frozen=True, slots=True)
class _Kind:
    """``item(prediction[, reference])`` gives the values named in ``outputs`` for one item."""

    outputs: tuple[str, ...]
    item: Callable[..., tuple[float, ...]]
    inputs: str
    prediction: str = "string"
    reference: str | None = "string"
    per_option: bool = False  # a prediction is a list with one entry per option


_KINDS = {
    "choice_accuracy": _Kind(
        ("choice_accuracy",),
        lambda scores, true: scoring.choose(scores, true)[:1],
        "predictions: per item, log p(option) / tokens of every option; "
        "references: index of the true option. A tie counts as wrong.",
        "float64",
        "int64",
        per_option=True,
    ),
    "answer_probability": _Kind(
        ("answer_probability",),
        lambda logprob, tokens: (scoring.answer_probability(logprob, tokens),),
        "predictions: summed log-probability of the true answer; references: its tokens.",
        "float64",
        "int64",
    ),
    "rouge_l": _Kind(
        ("rouge_l", "rouge_l_recall"), text.rouge_l, "predictions, references: texts."
    ),
    "exact_match": _Kind(
        ("exact_match",),
        lambda given, true: (float(text.exact_match(given, true)),),
        "predictions, references: texts.",
    ),
    "keyword_match": _Kind(
        ("keyword_match",),
        lambda given, keyword: (float(text.keyword_match(given, keyword)),),
        "predictions: texts; references: the words that each must contain.",
    ),
    "cloze_match": _Kind(
        ("cloze_match",),
        lambda given, keyword: (float(text.exact_match(given, keyword)),),
        "predictions: texts; references: the missing words.",
    ),
    "refusal_rate": _Kind(
        ("refusal_rate",),
        lambda given: (float(text.is_refusal(given)),),
        "predictions: texts.",
        reference=None,
    ),
    "degenerate_rate": _Kind(
        ("degenerate_rate",),
        lambda given: (float(text.is_degenerate(given)),),
        "predictions: texts.",
        reference=None,
    ),
}

NAMES = tuple(_KINDS)


def load(name: str) -> Any:
    """The ``evaluate.Metric`` called ``name``, one of ``NAMES``; ``compute`` gives item means."""
    if name not in _KINDS:
        raise unknown("metric", name, NAMES)
    kind = _KINDS[name]

    import datasets  # type: ignore[import-untyped,unused-ignore]
    import evaluate  # type: ignore[import-untyped,unused-ignore]

    def info(self: Any) -> Any:
        column: Any = datasets.Value(kind.prediction)
        features = {"predictions": datasets.Sequence(column) if kind.per_option else column}
        if kind.reference:
            features["references"] = datasets.Value(kind.reference)
        return evaluate.MetricInfo(
            description=f"mubench {name}",
            citation="",
            inputs_description=kind.inputs,
            features=datasets.Features(features),
        )

    def compute(
        self: Any, predictions: Sequence[Any], references: Sequence[Any] | None = None
    ) -> dict[str, float]:
        if not predictions:
            raise ValueError(f"{name} of no predictions is undefined")
        columns = [predictions] if references is None else [predictions, references]
        rows = [kind.item(*row) for row in zip(*columns, strict=True)]
        means = (math.fsum(values) / len(rows) for values in zip(*rows, strict=True))
        return dict(zip(kind.outputs, means, strict=True))

    # ``evaluate`` names a metric after its class.
    title = "".join(part.capitalize() for part in name.split("_"))
    cls = type(title, (evaluate.Metric,), {"_info": info, "_compute": compute})
    return cls(keep_in_memory=True)
