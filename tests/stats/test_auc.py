"""AUC and PrivLeak by hand, ties, direction, and intervals over people that hold the truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from mubench.stats.auc import Pools, TwoPools

MEMBERS = [f"m{i // 2}" for i in range(12)]
OTHERS = [f"o{i // 2}" for i in range(12)]


def pools(members=MEMBERS, others=OTHERS, seed=0, draws=500) -> TwoPools:
    return TwoPools(members, others, np.random.default_rng(seed), draws)


def test_auc_by_hand():
    # (3 > 2, 1), (2 = 2, > 1), (0 < both): 2 + 1.5 + 0 wins of 6.
    two = pools(["a", "b", "c"], ["d", "e"])
    assert two.auc(Pools([3, 2, 0], [2, 1])).value == pytest.approx(3.5 / 6)


def test_auc_of_a_dead_model_is_a_half():
    found = pools().auc(Pools([0.25] * 12, [0.25] * 12))
    assert found.value == 0.5
    assert found.low is not None and found.low < 0.5 < found.high


def test_below_a_half_stays_below():
    """Members that look too unlikely are as visible; nothing may fold this away."""
    found = pools().auc(Pools(range(12), range(20, 32)))
    assert found.value == 0.0
    assert found.low == 0.0 and 0 < found.high < 0.5


def test_infinite_scores_are_ranked_and_nan_is_an_error():
    two = pools(["a"], ["b"])
    assert two.auc(Pools([-np.inf], [-1.0])).value == 0.0
    assert two.auc(Pools([-np.inf], [-np.inf])).value == 0.5
    with pytest.raises(ValueError, match="not a number"):
        two.auc(Pools([np.nan], [0.0]))


def test_wrong_number_of_scores_is_an_error():
    with pytest.raises(ValueError, match="11 and 12 scores"):
        pools().auc(Pools(range(11), range(12)))


def test_few_people_give_no_interval():
    found = pools(["a"] * 12).auc(Pools(range(12), range(12)))
    assert (found.low, found.high) == (None, None)


def test_difference_of_a_score_and_itself_is_nothing():
    rng = np.random.default_rng(3)
    scores = Pools(rng.normal(size=12), rng.normal(size=12))
    found = pools().difference(scores, scores)
    assert found.value == 0.0
    assert found.low < 0 < found.high


def test_privleak_by_hand_and_by_sign():
    two = pools()
    gold = Pools([0, 1] * 6, [0, 1] * 6)  # AUC 0.5
    known, removed = Pools([2] * 12, [0, 1] * 6), Pools([-1] * 12, [0, 1] * 6)
    assert two.privleak(gold, gold).value == 0
    assert two.privleak(known, gold).value == pytest.approx(-100)  # under-unlearned
    assert two.privleak(removed, gold).value == pytest.approx(100)  # over-unlearned
    assert two.privleak(gold, known) is None  # gold gives members away: no scale
    half = two.privleak(Pools([0.5] * 12, [0, 1, 1, 1] * 3), gold)
    assert half.value == pytest.approx(100 * ((1 - 0.25) - 0.5) / 0.5)


def test_people_are_resampled_not_items():
    """Items said ten times by the same people are no more evidence."""
    rng = np.random.default_rng(5)
    a, b = rng.normal(1, 1, 12), rng.normal(0, 1, 12)
    once = pools().auc(Pools(a, b))
    often = pools(MEMBERS * 10, OTHERS * 10).auc(Pools(np.tile(a, 10), np.tile(b, 10)))
    assert often.value == pytest.approx(once.value)
    assert often.high - often.low == pytest.approx(once.high - once.low, abs=0.02)


@pytest.mark.parametrize("count", [15, 50])
def test_intervals_hold_the_true_auc(count):
    """Clustered and unbalanced: people differ, and have one to four items each."""
    rng, held, rounds, shift = np.random.default_rng(count), 0, 200, 1.0
    truth = norm.cdf(shift / np.sqrt(2 * (0.5 + 0.5)))
    for _ in range(rounds):
        names, scores = [], []
        for pool, mean in (("m", shift), ("o", 0.0)):
            people = np.repeat(np.arange(count), rng.integers(1, 5, count))
            names.append([f"{pool}{person}" for person in people])
            own = rng.normal(0, np.sqrt(0.5), count)
            scores.append(mean + own[people] + rng.normal(0, np.sqrt(0.5), len(people)))
        found = TwoPools(*names, rng, draws=400).auc(Pools(*scores))
        held += found.low <= truth <= found.high
    assert 0.90 <= held / rounds <= 0.985
