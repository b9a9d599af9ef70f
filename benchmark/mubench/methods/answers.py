"""Answers that are not the true one, for methods that teach or show them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from mubench.types import Example

Values = Mapping[str, Sequence[str]]  # fact: everything that is true of anybody


def values(people: Iterable[Example]) -> Values:
    """What there is to confuse a fact with."""
    found: dict[str, set[str]] = {}
    for example in people:
        found.setdefault(example.fact, set()).add(example.keyword)
    return {fact: sorted(words) for fact, words in found.items()}


def perturbed(example: Example, known: Values, rng: np.random.Generator) -> str:
    """The true answer with another value of its fact; itself where ``known`` holds no other."""
    others = [word for word in known[example.fact] if word != example.keyword]
    if not others:
        return example.answer
    return example.answer.replace(example.keyword, others[rng.integers(len(others))])


def mismatched(example: Example, people: Sequence[Example], rng: np.random.Generator) -> str:
    """What is answered to another question about somebody else; the truth where there is none."""
    start = int(rng.integers(len(people)))
    for one in (*people[start:], *people[:start]):
        if one.person != example.person and one.answer != example.answer:
            return one.answer
    return example.answer
