"""The sign-flip test against enumeration, by hand and in its limits."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mubench.rng import stream
from mubench.stats.permutation import paired_permutation_p


def rng() -> np.random.Generator:
    return stream(7, "permutation")


def by_enumeration(a: list[float], b: list[float], people: list[str]) -> float:
    sums: dict[str, float] = {}
    for x, y, person in zip(a, b, people, strict=True):
        sums[person] = sums.get(person, 0.0) + x - y
    seen = abs(math.fsum(sums.values()))
    flips = list(itertools.product((1, -1), repeat=len(sums)))
    hits = sum(
        abs(math.fsum(s * d for s, d in zip(flip, sums.values(), strict=True))) >= seen - 1e-9
        for flip in flips
    )
    return hits / len(flips)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 4), st.integers(0, 4)), min_size=1
    )
)
def test_exact_p_equals_enumeration(rows: list[tuple[str, int, int]]) -> None:
    people = [r[0] for r in rows]
    a, b = [r[1] / 4 for r in rows], [r[2] / 4 for r in rows]
    p = paired_permutation_p(a, b, people, rng())
    assert p == pytest.approx(by_enumeration(a, b, people))
    assert p == pytest.approx(paired_permutation_p(b, a, people, rng()))  # two-sided
    order = np.argsort(stream(1, str(len(rows))).random(len(rows)))
    shuffled = [people[i] for i in order]
    again = paired_permutation_p([a[i] for i in order], [b[i] for i in order], shuffled, rng())
    assert p == pytest.approx(again)


def test_by_hand() -> None:
    # Differences 1, 1, 1: two of the eight sign patterns reach a sum of 3 in size.
    assert paired_permutation_p([1, 1, 1], [0, 0, 0], list("abc"), rng()) == 2 / 8
    # Differences 3, 1 per person (four items): all patterns with |sum| >= 4: two of four.
    assert paired_permutation_p([1, 1, 1, 1], [0, 0, 0, 0], list("aaab"), rng()) == 2 / 4


def test_persons_without_a_difference_do_not_make_p_inexact() -> None:
    people = [str(i) for i in range(30)]
    assert paired_permutation_p([1.0] * 3 + [0.5] * 27, [0.5] * 30, people, rng()) == 2 / 8


def test_no_difference_is_p_one() -> None:
    assert paired_permutation_p([0.3] * 30, [0.3] * 30, [str(i) for i in range(30)], rng()) == 1.0
    assert paired_permutation_p([1.0], [0.0], ["a"], rng()) == 1.0


def test_items_of_one_person_are_not_independent() -> None:
    """Sixty items in agreement, but of three persons: no better than 2/8."""
    people = [p for p in "abc" for _ in range(20)]
    assert paired_permutation_p([1.0] * 60, [0.0] * 60, people, rng()) == 2 / 8


def test_monte_carlo_agrees_with_the_exact_value_and_is_never_zero() -> None:
    # 16 persons, k of them up and the rest down by one: a binomial tail, P(|sum| >= 8).
    a = [1.0] * 12 + [0.0] * 4
    b = [1 - x for x in a]
    people = [str(i) for i in range(16)]
    exact = 2 * sum(math.comb(16, i) for i in range(12, 17)) / 2**16
    assert paired_permutation_p(a, b, people, rng()) == pytest.approx(exact, abs=0.01)
    people = [str(i) for i in range(40)]
    assert paired_permutation_p([1.0] * 40, [0.0] * 40, people, rng()) == 1 / 10_001


def test_the_level_is_kept() -> None:
    """Under no effect, p < 0.05 in at most about 5 % of 400 runs."""
    random = stream(3, "level")
    people = [str(i // 3) for i in range(30)]
    low = 0
    for _ in range(400):
        level = np.repeat(random.random(10), 3) * 0.5
        a, b = level + 0.5 * random.random(30), level + 0.5 * random.random(30)
        low += paired_permutation_p(a, b, people, random) < 0.05
    assert 0.02 <= low / 400 <= 0.08
