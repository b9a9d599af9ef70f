"""Intervals over persons: values by hand, honesty at the edges, coverage by simulation."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mubench.rng import stream
from mubench.stats.bootstrap import (
    MIN_PERSONS,
    Resampling,
    clustered_difference,
    clustered_mean,
    clustered_ratio,
)

Row = tuple[str, float, float]
PEOPLE = [p for p in "abcdefgh" for _ in range(3)]


def rng() -> np.random.Generator:
    return stream(7, "bootstrap")


def values(seed: int, n: int = len(PEOPLE)) -> np.ndarray:
    return stream(seed, "values").random(n)


def test_the_mean_weighs_items_and_not_persons() -> None:
    people = ["a", "a", "a", "b", "c", "d", "e"]
    estimate = clustered_mean([1, 1, 1, 0, 0, 0, 0], people, rng())
    assert estimate.value == pytest.approx(3 / 7)
    assert estimate.low == 0.0  # samples without person a
    # Quantile 0.0010 of 2000 draws: samples of four or five times a, 12/13 or all right.
    assert estimate.high == pytest.approx(12 / 13, abs=0.08)


def test_resampling_takes_whole_persons() -> None:
    """Ten copies of each item add no information, so the interval must not shrink."""
    people = list("abcdefghij")
    right = np.array([1, 0] * 5, float)
    once = clustered_mean(right, people, rng())
    often = clustered_mean(np.repeat(right, 10), np.repeat(people, 10).tolist(), rng())
    assert (often.value, often.low, often.high) == pytest.approx((once.value, once.low, once.high))
    naive = clustered_mean(np.repeat(right, 10), [str(i) for i in range(100)], rng())
    assert naive.high - naive.low < 0.5 * (often.high - often.low)


@pytest.mark.parametrize("persons", range(1, MIN_PERSONS))
def test_few_persons_give_a_value_and_no_interval(persons: int) -> None:
    people = PEOPLE[: 3 * persons]
    a, b, c = values(1, len(people)), values(2, len(people)), values(3, len(people))
    sample = Resampling(people, rng())
    for estimate in (sample.mean(a), sample.difference(a, b), sample.ratio(a, b, c)):
        assert np.isfinite(estimate.value)
        assert estimate.low is None and estimate.high is None


@pytest.mark.parametrize("constant", [0.0, 0.25, 1.0])
def test_unanimous_persons_do_not_give_a_zero_width(constant: float) -> None:
    share = 1 - 0.05 ** (1 / 8)  # 0.312: most that can be unlike eight that are alike
    estimate = clustered_mean([constant] * 24, PEOPLE, rng())
    assert estimate.value == constant
    assert estimate.low == pytest.approx(constant * (1 - share))
    assert estimate.high == pytest.approx(constant + share * (1 - constant))


def test_an_identical_model_differs_by_zero_with_a_width() -> None:
    estimate = clustered_difference(values(1), values(1), PEOPLE, rng())
    assert estimate.value == 0.0
    assert estimate.high == pytest.approx(0.312, abs=0.001)
    assert estimate.low == pytest.approx(-0.312, abs=0.001)


def test_the_difference_is_paired() -> None:
    base = values(1) * 0.5
    noise = values(2) * 0.01
    estimate = clustered_difference(base + 0.3 + noise, base, PEOPLE, rng())
    assert estimate.value == pytest.approx(0.3 + noise.mean())
    assert estimate.high - estimate.low < 0.01  # unpaired it would be about 0.2


def test_the_ratio_is_resampled_jointly() -> None:
    gold = values(1) * 0.3
    target = gold + 0.4 + 0.2 * values(2)
    half = (gold + target) / 2
    estimate = clustered_ratio(half, gold, target, PEOPLE, rng())
    assert estimate.value == pytest.approx(0.5)
    # A constant quotient: independent resamples would spread it, a joint one cannot.
    assert estimate.low is None and estimate.high is None
    tilted = clustered_ratio(gold + 0.1 + 0.2 * values(3), gold, target, PEOPLE, rng())
    assert tilted.low < tilted.value < tilted.high


def test_the_ratio_needs_a_denominator() -> None:
    with pytest.raises(ValueError, match="undefined"):
        clustered_ratio(values(1), values(2), values(2), PEOPLE, rng())
    # Target and gold differ by +0.5 for half of the people and -0.4 for the others: unbounded.
    gold = np.full(24, 0.5)
    target = np.array(([1.0] * 3 + [0.1] * 3) * 4)
    estimate = clustered_ratio(values(1), gold, target, PEOPLE, rng())
    assert estimate.low is None and estimate.high is None


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -0.01, 1.01])
def test_values_outside_the_unit_interval_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        clustered_mean([*values(1)[:-1], bad], PEOPLE, rng())


def test_values_must_match_the_items() -> None:
    with pytest.raises(ValueError, match="1 values for 24 items"):
        clustered_mean([0.5], PEOPLE, rng())
    with pytest.raises(ValueError, match="no items"):
        clustered_mean([], [], rng())


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abcdefg"), st.floats(0, 1), st.floats(0, 1)), min_size=1),
    st.randoms(use_true_random=False),
)
def test_item_order_does_not_matter(rows: list[Row], random: Random) -> None:
    def estimates(rows: list[Row]) -> list[float]:
        people, a, b = zip(*rows, strict=True)
        sample = Resampling(people, rng(), draws=200)
        both = sample.mean(a), sample.difference(a, b)
        return [x for e in both for x in (e.value, e.low, e.high) if x is not None]

    shuffled = random.sample(rows, len(rows))
    first = estimates(rows)
    assert first == pytest.approx(estimates(shuffled), abs=1e-9)
    assert all(-1 - 1e-9 <= x <= 1 + 1e-9 for x in first)


@pytest.mark.parametrize(("persons", "shape"), [(8, (2, 2)), (20, (2, 2)), (20, (6, 2))])
def test_the_interval_covers_the_truth(persons: int, shape: tuple[int, int]) -> None:
    """400 simulated benchmarks with unequal item counts: nominal 95 %, standard error 1.1 %.

    The plain percentile interval covers 90 % for 8 persons and fails here.
    """
    random = stream(0, "coverage", str(persons))
    a, b = shape
    hits = 0
    for _ in range(400):
        items = random.integers(2, 6, size=persons)
        people = np.repeat(np.arange(persons), items).astype(str).tolist()
        right = random.random(len(people)) < np.repeat(random.beta(a, b, persons), items)
        estimate = Resampling(people, random, draws=1000).mean(right.astype(float))
        hits += estimate.low <= a / (a + b) <= estimate.high
    assert 0.92 <= hits / 400 <= 0.985
