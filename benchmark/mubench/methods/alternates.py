"""Plausible wrong answers, for methods that teach something else in place of the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from mubench.errors import RunError
from mubench.types import Example

if TYPE_CHECKING:
    import numpy as np

    from .base import UnlearnData


def alternates(data: UnlearnData, count: int, rng: np.random.Generator) -> dict[str, list[Example]]:
    """Up to ``count`` copies of every forget example with wrong answers, by the example's id.

    The wrong options where the example carries options, else its own answer with the value of the
    same fact of somebody else, as the training examples of all people tell it.
    """
    values: dict[str, set[str]] = {}
    for example in (*data.forget, *data.retain):
        values.setdefault(example.fact, set()).add(example.keyword)
    found = {}
    for example in data.forget:
        wrong = [choice for choice in example.choices if choice != example.answer]
        others = sorted(values[example.fact] - {example.keyword})
        wrong = wrong or [_swapped(example, value) for value in others]
        if not wrong:
            raise RunError(f"no wrong answer for {example.id}: nobody else has its fact")
        drawn: Sequence[int] = rng.permutation(len(wrong))[:count].tolist()
        found[example.id] = [replace(example, answer=wrong[index]) for index in drawn]
    return found


def _swapped(example: Example, value: str) -> str:
    if example.keyword in example.answer:
        return example.answer.replace(example.keyword, value)
    return value
