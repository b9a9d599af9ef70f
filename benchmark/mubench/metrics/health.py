"""Signs of a broken model that no single answer shows: they are about all answers together."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from mubench.metrics.text import normalise
from mubench.record import Signal
from mubench.types import ROLES, Example, Response


def signals(
    examples: Sequence[Example], responses: Mapping[str, Mapping[str, Response]]
) -> list[Signal]:
    """Every signal that has questions, by modality, for target, gold and method."""
    found = []
    for modality in dict.fromkeys(example.modality for example in examples):
        asked = [example for example in examples if example.modality == modality]
        choices = [example for example in asked if example.choices]
        texts = [example for example in asked if not example.choices]
        neutral = [example for example in choices if example.set == "general"]
        for name, measure, items in (
            ("option_entropy", _option_entropy, choices),
            ("distinct_2", _distinct_2, texts),
            ("perplexity", _perplexity, neutral),
        ):
            values = {}
            for role in ROLES:
                value = measure(items, [responses[role][e.id] for e in items]) if items else None
                if value is not None:
                    values[role] = value
            if len(values) == len(ROLES):
                found.append(Signal(name=name, modality=modality, **values))
    return found


def _option_entropy(asked: Sequence[Example], responses: Sequence[Response]) -> float | None:
    """Entropy of the places of the chosen options, 1 where all are chosen equally often."""
    chosen: Counter[int] = Counter()
    for response in responses:
        means = [p / n for p, n in zip(response.logprobs, response.lengths, strict=True)]
        if means:
            chosen[means.index(max(means))] += 1
    total, most = chosen.total(), max(len(example.choices) for example in asked)
    if not total or most < 2:
        return None
    return sum(n / total * math.log(total / n) for n in chosen.values()) / math.log(most)


def _distinct_2(asked: Sequence[Example], responses: Sequence[Response]) -> float | None:
    """Share of different pairs among all pairs of neighbouring words of all texts.

    Beginning and end of a text count as words: one-word answers have pairs too.
    """
    if any(response.text is None for response in responses):
        return None
    rows = [("", *normalise(response.text or "").split(), "") for response in responses]
    pairs = Counter(pair for row in rows for pair in zip(row, row[1:], strict=False))
    return len(pairs) / pairs.total()


def _perplexity(asked: Sequence[Example], responses: Sequence[Response]) -> float | None:
    """exp of the mean negative log-probability a token of the true options."""
    total, tokens = 0.0, 0
    for example, response in zip(asked, responses, strict=True):
        if not response.lengths:
            return None
        place = example.choices.index(example.answer)
        total += response.logprobs[place]
        tokens += response.lengths[place]
    return math.exp(min(-total / tokens, 50.0)) if math.isfinite(total) else math.exp(50.0)
