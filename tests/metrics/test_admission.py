"""Admission by hand: what tells models apart, and what stays forgotten."""

from __future__ import annotations

import numpy as np
import pytest

from mubench.metrics.admission import FAITHFUL, ROBUST, Admission, Pool, judge, kept, relearned
from mubench.types import Estimate


def pool(knowing=(0.9, 0.8), gold=(0.2, 0.3), **changes) -> Pool:
    still = {"method": gold, "gold_relearned": gold, "method_relearned": gold}
    return Pool(knowing, gold, **{**still, "method_quantised": gold, **changes})


def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize(
    ("knowing", "gold", "wanted"),
    [((0.9, 0.8), (0.2, 0.3), 1.0), ((0.9, 0.2), (0.3, 0.1), 0.75), ((0.5, 0.5), (0.5, 0.5), 0.5)],
)
def test_faithfulness_is_the_auc_between_the_pools(knowing, gold, wanted):
    assert judge("m", pool(knowing, gold), rng()).faithfulness.value == wanted


def test_a_metric_may_fall_with_knowledge():
    found = judge("truth ratio", pool((0.1, 0.2), (0.8, 0.9)), rng())
    assert found.lower
    assert found.faithfulness.value == 1.0


def test_four_models_have_no_interval_and_five_have():
    four = judge("m", pool((0.9,) * 4, (0.1,) * 4), rng()).faithfulness
    assert (four.low, four.high) == (None, None)
    five = judge("m", pool((0.9,) * 5, (0.1,) * 5), rng()).faithfulness
    assert five.low == pytest.approx(0.05**0.2)


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ((0.2, 0.4, 0.3, 0.5), 1.0),  # both gain 0.2
        ((0.2, 0.4, 0.3, 0.7), 0.5),  # twice the gain of gold: half of it was hidden
        ((0.2, 0.1, 0.3, 0.5), 0.0),  # gold learns nothing
        ((0.2, 0.4, 0.3, 0.2), 1.0),  # nothing came back
    ],
)
def test_relearning_is_relative_to_gold(values, wanted):
    assert relearned(*values) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("before", "after", "wanted"), [(0.2, 0.8, 0.25), (0.5, 0.5, 1.0), (0.5, 0.1, 1.0), (0, 0, 1.0)]
)
def test_quantisation_must_not_bring_anything_back(before, after, wanted):
    assert kept(before, after) == pytest.approx(wanted)


def test_admission_needs_both():
    def one(faithful: float, relearn: float, quant: float) -> bool:
        return Admission("m", False, Estimate(faithful), relearn, quant).admitted

    assert one(FAITHFUL, ROBUST, ROBUST)
    assert not one(FAITHFUL - 0.01, 1, 1)
    assert not one(1, 0.2, 1)  # harmonic mean 1/3
    assert not one(1, 0.0, 1)


def test_hidden_knowledge_is_seen_in_both():
    found = judge(
        "m", pool(gold_relearned=(0.3, 0.4), method_relearned=(0.9, 0.9), method_quantised=(0.8, 0.6)),
        rng(),
    )  # fmt: skip
    assert found.relearned == pytest.approx((0.1 / 0.7 + 0.1 / 0.6) / 2)
    assert found.quantised == pytest.approx((0.2 / 0.8 + 0.3 / 0.6) / 2)
