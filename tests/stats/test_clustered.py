"""Means over people: the error by hand, what it leads to, and how often the interval is right."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from mubench.rng import stream
from mubench.stats.clustered import Clusters, Contrast, adjusted

PEOPLE = ["a", "a", "b", "c", "c", "c", "d", "e"]
VALUES = [1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0]


def test_the_error_is_the_jackknife_over_people() -> None:
    found = Clusters(PEOPLE).difference(VALUES, [[0.0] * 8])
    without = [
        np.mean([v for v, p in zip(VALUES, PEOPLE, strict=True) if p != left]) for left in "abcde"
    ]
    error = math.sqrt(4 / 5 * np.square(without - np.mean(without)).sum())
    assert found.value == 0.5
    assert found.items == pytest.approx(error)
    assert found.df == pytest.approx(8**2 / (4 + 1 + 9 + 1 + 1) - 1)
    half = stats.t.ppf(0.975, found.df) * error
    assert found.estimate().low == pytest.approx(0.5 - half)
    assert found.p() == pytest.approx(2 * stats.t.sf(0.5 / error, found.df))


def test_the_spread_of_gold_models_widens_a_difference() -> None:
    people = [f"{i}" for i in range(40)]
    method = [float(i % 2) for i in range(40)]
    golds = [[float(i % 2 and i > k) for i in range(40)] for k in (4, 8, 12)]
    clusters = Clusters(people)
    alone = clusters.difference(method, [np.mean(golds, axis=0)])
    found = clusters.difference(method, golds)
    spread = float(np.var([np.mean(gold) for gold in golds], ddof=1))
    assert alone.seeds == 0 and alone.value == found.value
    assert found.seeds == pytest.approx(math.sqrt(spread * (1 + 1 / 3)))
    assert found.error == pytest.approx(math.hypot(alone.items, found.seeds))
    assert 2 < found.freedom < found.df  # between those of three golds and of forty people
    mean, each = clusters.means(golds)
    assert each == pytest.approx([np.mean(gold) for gold in golds])
    assert mean.value == pytest.approx(np.mean(each))


def test_the_quotient_is_that_of_the_means() -> None:
    people = [f"{i}" for i in range(30)]
    target, gold = [1.0] * 30, [float(i % 3 == 0) for i in range(30)]
    method = [float(i % 3 == 0 or i % 2) for i in range(30)]
    clusters = Clusters(people)
    found = clusters.ratio(method, [gold], target)
    assert found.value == pytest.approx((np.mean(method) - 1 / 3) / (2 / 3))
    assert clusters.ratio(target, [gold], target).value == 1.0
    assert clusters.ratio(gold, [gold], target).value == 0.0
    low, high = found.estimate().low, found.estimate().high
    assert low is not None and low < found.value < high
    with pytest.raises(ValueError, match="same mean"):
        clusters.ratio(method, [target], target)


def test_equivalence_needs_items_and_a_small_difference() -> None:
    sure = Contrast(0.01, n=1000, items=0.01, df=200)
    assert sure.within(0.05) and not sure.within(0.02)
    assert not Contrast(0.2, n=1000, items=0.01, df=200).within(0.05)
    assert not Contrast(0.0, n=40, items=0.08, df=9).within(0.05)
    assert not Contrast(0.0, n=40).within(0.05)  # too few people for any interval


def test_a_resolvable_difference_is_found_in_four_of_five_runs() -> None:
    contrast = Contrast(0.0, n=300, items=0.03, df=60)
    rng = stream(0, "power")
    drawn = contrast.resolvable() + 0.03 * rng.standard_t(60, 20_000)
    assert np.mean(np.abs(drawn) > stats.t.ppf(0.975, 60) * 0.03) == pytest.approx(0.8, abs=0.02)
    more = contrast.items_needed(0.05)
    assert more > 300
    again = Contrast(0.0, n=more, items=0.03 * math.sqrt(300 / more), df=60)
    assert again.resolvable() == pytest.approx(0.05, rel=1e-2)
    # No number of items helps against golds that differ more than the margin.
    assert (
        Contrast(0.0, n=300, items=0.03, df=60, seeds=0.05, seeds_df=4).items_needed(0.05) is None
    )


def test_people_who_all_agree_leave_room_for_those_who_were_not_asked() -> None:
    same = [1.0] * 20
    people = [f"{i}" for i in range(20)]
    found = Clusters(people).difference(same, [same])
    share = 1 - 0.05 ** (1 / 20)
    assert found.value == 0.0
    assert found.estimate().high == pytest.approx(share)
    mean = Clusters(people).mean(same)
    assert mean.high == 1.0 and 0.7 < mean.low < 0.95
    assert Clusters(["a", "b", "c", "d"]).mean([1.0] * 4).low is None


@pytest.mark.parametrize("bad", [[0.5, math.nan], [0.5, 1.5], [0.5]])
def test_values_outside_their_range_are_refused(bad: list[float]) -> None:
    with pytest.raises(ValueError):
        Clusters(["a", "b"]).mean(bad)


def test_adjusted_keeps_what_is_not_known() -> None:
    assert adjusted([0.01, None, 0.04]) == [pytest.approx(0.02), None, pytest.approx(0.04)]
    assert adjusted([None]) == [None]


def coverage(n: int, k: int, p: float, rho: float, kind: str, runs: int) -> float:
    """Share of simulated benchmarks whose interval holds the truth: k people with unequal numbers
    of questions, n in all; people differ by an intraclass correlation rho."""
    rng = stream(0, "coverage", f"{n} {k} {p} {rho} {kind}")
    a, b = p * (1 - rho) / rho, (1 - p) * (1 - rho) / rho
    held = 0
    for _ in range(runs):
        sizes = 1 + rng.multinomial(n - k, rng.dirichlet(np.full(k, 2.0)))
        people = np.repeat(np.arange(k), sizes)
        able = rng.beta(a, b, k)
        values = (rng.random(n) < able[people]).astype(float)
        clusters = Clusters([str(person) for person in people])
        if kind == "mean":
            found, truth = clusters.mean(values), p
        else:
            other = np.where(rng.random(k) < 0.5, able, rng.beta(a, b, k))
            rivals = (rng.random(n) < other[people]).astype(float)
            found, truth = clusters.difference(values, [rivals]).estimate(), 0.0
        assert found.low is not None and found.high is not None
        held += found.low <= truth <= found.high
    return held / runs


@pytest.mark.parametrize("kind", ["mean", "difference"])
@pytest.mark.parametrize(("n", "k"), [(120, 30), (300, 60)])
def test_intervals_hold_the_truth(n: int, k: int, kind: str) -> None:
    """Few runs: within 3 standard errors of the range that test_coverage checks with many."""
    assert 0.91 <= coverage(n, k, 0.5, 0.2, kind, 500) <= 0.985
