"""Answers that are not the true one, for methods that teach, prefer or show them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mubench.errors import RunError
from mubench.types import Example

if TYPE_CHECKING:
    from .base import UnlearnData


@dataclass(frozen=True, slots=True)
class Known:
    """What there is to confuse an answer with: values by fact, answers by fact and modality."""

    values: Mapping[str, Sequence[str]]
    answers: Mapping[tuple[str, str], Sequence[str]]


def known(people: Iterable[Example]) -> Known:
    """Everything that is true of anybody."""
    values: dict[str, set[str]] = {}
    answers: dict[tuple[str, str], set[str]] = {}
    for example in people:
        values.setdefault(example.fact, set()).add(example.keyword)
        answers.setdefault((example.fact, example.modality), set()).add(example.answer)
    return Known(
        {fact: sorted(words - {""}) for fact, words in values.items()},
        {place: sorted(texts) for place, texts in answers.items()},
    )


def wrong_answers(example: Example, of: Known) -> list[str]:
    """The wrong options where an example has options. Else its own answer with another value of
    its fact; where the true one is not known or not told, what is answered about others."""
    if example.choices:
        return [choice for choice in example.choices if choice != example.answer]
    if example.keyword and example.keyword in example.answer:
        others = (word for word in of.values[example.fact] if word != example.keyword)
        return [example.answer.replace(example.keyword, word) for word in others]
    answers = of.answers[example.fact, example.modality]
    return [answer for answer in answers if answer != example.answer]


def perturbed(example: Example, of: Known, rng: np.random.Generator) -> str:
    """One wrong answer; the true one where there is no other."""
    wrong = wrong_answers(example, of)
    return wrong[rng.integers(len(wrong))] if wrong else example.answer


def alternates(data: UnlearnData, count: int, rng: np.random.Generator) -> dict[str, list[Example]]:
    """Up to ``count`` copies of every forget example with wrong answers, by the example's id.

    RunError if there is none for one of them.
    """
    people = [*data.forget, *data.retain]
    of, found = known(people), {}
    says = {example.answer: example.keyword for example in people}
    for example in data.forget:
        wrong = wrong_answers(example, of)
        if not wrong:
            raise RunError(f"no wrong answer for {example.id}: nobody else has its fact")
        drawn: Sequence[int] = rng.permutation(len(wrong))[:count].tolist()
        found[example.id] = [
            replace(example, answer=wrong[i], keyword=says.get(wrong[i], wrong[i])) for i in drawn
        ]
    return found


def mismatched(example: Example, people: Sequence[Example], rng: np.random.Generator) -> str:
    """What is answered to another question about somebody else; the truth where there is none."""
    start = int(rng.integers(len(people)))
    for step in range(len(people)):
        one = people[(start + step) % len(people)]
        if one.person != example.person and one.answer != example.answer:
            return one.answer
    return example.answer
