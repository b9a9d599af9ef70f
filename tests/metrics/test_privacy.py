"""Membership scores and memorisation against values worked out by hand, and known pitfalls."""

from __future__ import annotations

import math
import zlib

import pytest

from mubench.metrics import privacy
from mubench.metrics.privacy import ATTACKS, Item
from mubench.types import Token

END = -7.0  # an end token so unlikely that nobody can count it unnoticed
#: Four answer tokens and the end.
ANSWER = (
    Token(-0.5, 0, mean=-1.0, std=0.5),
    Token(-4.0, 3, mean=-2.0, std=2.0),
    Token(-0.1, 0, mean=-0.1, std=0.0),
    Token(-1.4, 0, mean=-1.0, std=0.4),
    Token(END, 9, mean=-3.0, std=1.0),
)


def tokens(*logprobs: float) -> tuple[Token, ...]:
    return tuple(Token(logprob, 0, mean=0.0, std=1.0) for logprob in logprobs)


def ranked(*ranks: int) -> tuple[Token, ...]:
    return tuple(Token(-1.0, rank, mean=0.0, std=1.0) for rank in ranks)


def test_loss_is_the_mean_over_all_tokens_end_included():
    assert privacy.loss(ANSWER) == pytest.approx((-0.5 - 4.0 - 0.1 - 1.4 - 7.0) / 5)


def test_zlib_divides_by_compressed_bytes():
    text = "It is a bakery, a bakery, a bakery."
    size = len(zlib.compress(text.encode()))
    assert size < len(text)
    assert privacy.zlib_ratio(text, ANSWER) == pytest.approx(-2.6 / size)


@pytest.mark.parametrize(
    ("k", "wanted"),
    [(0.25, -4.0), (0.4, -4.0), (0.5, -2.7), (0.75, -5.9 / 3), (1.0, -1.5)],
)
def test_min_k_takes_the_lowest_without_the_end(k, wanted):
    assert privacy.min_k(ANSWER, k) == pytest.approx(wanted)


def test_min_k_of_a_short_answer_looks_at_one_token():
    # int(0.4 * 2) is 0, and the mean of nothing is not a number.
    assert privacy.min_k(tokens(-2.0, -1.0, END)) == -2.0
    assert privacy.min_k(tokens(-2.0, END)) == -2.0


def test_min_k_of_no_answer_is_an_error():
    with pytest.raises(ValueError, match="without tokens"):
        privacy.min_k(tokens(END))


def test_min_k_plus_standardises_and_survives_certainty():
    # (0.5/0.5, -2/2, 0/0.001, -0.4/0.4): the two lowest are both -1.
    assert privacy.min_k_plus(ANSWER, 0.5) == pytest.approx(-1.0)
    # Where the model is certain of another token, the variance is clamped and does not divide by 0.
    certain = (Token(-3.0, 1, mean=0.0, std=0.0), Token(END, 0, mean=0.0, std=0.0))
    assert privacy.min_k_plus(certain) == pytest.approx(-3.0 / math.sqrt(1e-6))


def test_exact_memorisation_counts_likeliest_tokens_without_the_end():
    assert privacy.exact_memorisation(ANSWER) == 3 / 4
    assert privacy.exact_memorisation(ranked(0, 3, 0, 0, 0)) == 3 / 4


@pytest.mark.parametrize(
    ("ranks", "wanted"),
    [
        ((0, 0, 0, 0, 9), 1.0),
        ((0, 3, 0, 0, 9), 0.5),
        ((0, 0, 0, 2, 0), 0.0),  # public code leaves 1 / 4 here: the last token counts as found
        ((1, 1, 1, 1, 0), 0.0),
        ((1, 0, 0, 0, 1), 0.75),
    ],
)
def test_extraction_strength(ranks, wanted):
    assert privacy.extraction_strength(ranked(*ranks)) == wanted


def test_attacks_are_higher_for_what_was_trained_on():
    """All in one orientation, so that AUC 1 is always "members are known"."""
    base = tokens(-3.0, -3.0, END)
    known = Item("ab", tokens(-0.1, -0.2, -0.1), base, gradient=0.01)
    new = Item("ab", tokens(-4.0, -3.0, -1.0), base, gradient=5.0)
    for name, attack in ATTACKS.items():
        assert attack(known) > attack(new), name


def test_the_reference_attack_is_the_gain_over_the_base_model():
    item = Item("ab", tokens(-1.0, -1.0), tokens(-2.0, -4.0))
    assert ATTACKS["reference"](item) == pytest.approx(2.0)


def test_a_gradient_that_was_not_computed_is_no_zero():
    with pytest.raises(ValueError, match="no gradient"):
        ATTACKS["grad_norm"](Item("ab", ANSWER, ANSWER))
