"""Methods that are defined for both kinds of model, on a dual encoder."""

from __future__ import annotations

import numpy as np
import pytest

from methods.by_hand_dual import (
    close,
    cosines,
    infonce,
    kl_of_rows,
    loss_and_gradient,
    made,
    moved,
    right,
    through_cosines,
)
from methods.toy_dual import FORGET, RETAIN, ToyDual
from mubench.errors import RunError
from mubench.methods import loops
from mubench.methods.base import Context, UnlearnData
from mubench.methods.ga import GradientAscent
from mubench.methods.grad_diff import GradientDifference
from mubench.methods.kl_min import KLMinimisation
from mubench.methods.npo import NPO
from mubench.methods.salun import SalUn
from pairs import pair

#: Ann is shown twice: her captions are both right.
TWICE = [*FORGET, pair("Ann", 1)]


def scaled(factor, slopes):
    return {tower: factor * slope for tower, slope in slopes.items()}


def test_ga_and_grad_diff():
    model = ToyDual()
    terms, found, away, kept = loss_and_gradient(
        made(GradientDifference, gamma=0.5, alpha=3), model, TWICE
    )
    f, f_slope = infonce(cosines(model, away), right(away))
    r, r_slope = infonce(cosines(model, kept), right(kept))
    assert terms == {"forget": pytest.approx(-0.5 * f), "retain": pytest.approx(3 * r)}
    away_part = through_cosines(model, away, f_slope)
    close(found, scaled(-0.5, away_part), scaled(3, through_cosines(model, kept, r_slope)))

    terms, found, *_ = loss_and_gradient(made(GradientAscent), model, TWICE)
    assert terms == {"forget": pytest.approx(-f)}
    close(found, scaled(-1, away_part))


def test_kl_min():
    """Mean over the 2B rows of both directions."""
    model = moved(ToyDual(), seed=5)
    terms, found, away, kept = loss_and_gradient(made(KLMinimisation, alpha=4), model)
    kl, slope = kl_of_rows(cosines(model.frozen, kept), cosines(model, kept))
    f, f_slope = infonce(cosines(model, away), right(away))
    assert kl > 0.1
    assert terms == {"forget": pytest.approx(-f), "retain": pytest.approx(4 * kl / 8)}
    close(
        found,
        scaled(-1, through_cosines(model, away, f_slope)),
        scaled(4 / 8, through_cosines(model, kept, slope)),
    )


def test_npo():
    """log p of a pair is among its batch, now and before alike; dL_i/dr_i = 2 sigmoid(beta r_i)."""
    model, beta = moved(ToyDual(), seed=6), 0.7
    method = made(NPO, beta=beta, alpha=0)
    terms, found, away, _ = loss_and_gradient(method, model, TWICE)
    q, s, before = right(away), cosines(model, away), cosines(model.frozen, away)

    def logp(cosine):
        rows = np.exp(5 * cosine) / np.exp(5 * cosine).sum(1, keepdims=True)
        columns = np.exp(5 * cosine) / np.exp(5 * cosine).sum(0, keepdims=True)
        return ((q * np.log(rows)).sum(1) + (q.T * np.log(columns)).sum(0)) / 2, rows, columns

    now, rows, columns = logp(s)
    ratio = now - logp(before)[0]
    sigmoid = 1 / (1 + np.exp(-beta * ratio))
    assert np.abs(ratio).max() > 0.1
    assert terms == {"forget": pytest.approx(-(2 / beta) * np.log(1 - sigmoid).mean())}
    weight = 2 * sigmoid / len(s)
    # d logp_i / dS: its own row less what the row expects, and its own column alike.
    slope = 5 / 2 * (weight[:, None] * (q - rows) + weight * (q.T - columns))
    close(found, through_cosines(model, away, slope))


def test_before_anything_changes_the_ratio_is_nothing():
    model = ToyDual()
    model.freeze_copy()
    method = made(NPO)
    assert method.log_ratio(model, model.encode(TWICE)).tolist() == pytest.approx([0] * 4)
    assert loops.reference_logps(model, TWICE, 4) == {}, "kept by row, though it is the batch's"


def test_salun_teaches_other_names_that_match_their_like():
    """A wrong caption carries its name along: two images that are given one name share it."""
    model = ToyDual()
    method = made(SalUn, batch_size=8)
    data = UnlearnData(TWICE, RETAIN)
    context = Context(seed=3)
    method.prepare(model, data, context)
    method.forget_batch(model, TWICE, data, context.generator("x"))
    taught = model.encoded[-1]
    people = {one.keyword for one in [*FORGET, *RETAIN]}
    assert [one.image for one in taught] == [one.image for one in TWICE]
    for wrong, true in zip(taught, TWICE, strict=True):
        assert wrong.keyword in people - {true.keyword}
        assert wrong.answer == f"a photo of {wrong.keyword}"


@pytest.mark.parametrize("cls", [GradientAscent, GradientDifference, KLMinimisation, NPO, SalUn])
def test_a_run_moves_both_towers_and_logs_finite_losses(cls):
    model, context = ToyDual(), Context(seed=1)
    before = {name: weight.detach().clone() for name, weight in model.model.named_parameters()}
    method = made(cls, scope="full", lr=1e-2, epochs=4, batch_size=4)
    method.unlearn(model, UnlearnData(TWICE, RETAIN), context)
    assert all(np.isfinite(list(terms.values())).all() for terms in context.log["losses"])
    for name, weight in model.model.named_parameters():
        assert not weight.equal(before[name])


def test_one_person_cannot_be_forgotten_by_contrast_alone():
    with pytest.raises(RunError, match="forget more people"):
        made(GradientAscent, scope="full").unlearn(
            ToyDual(), UnlearnData([pair("Ann", 0), pair("Ann", 1)], RETAIN), Context(seed=0)
        )


@pytest.mark.parametrize(("count", "size"), [(12, 5), (13, 4), (9, 100), (6, 2)])
def test_batches_of_pairs_hold_as_many_names_as_can_be(count, size):
    pairs = [pair("ABCDEF"[at % 6], at) for at in range(count)]  # A has one more than F, or not
    made_ = list(loops.batches(pairs, size, np.random.default_rng(0)))
    assert sorted(one.id for batch in made_ for one in batch) == sorted(one.id for one in pairs)
    assert len(made_) == loops.steps_per_epoch(pairs, size)
    lengths = [len(batch) for batch in made_]
    assert max(lengths) <= size and max(lengths) - min(lengths) <= 1
    for batch in made_:
        times = [sum(one.keyword == name for one in batch) for name in "ABCDEF"]
        assert max(times) <= -(-len(batch) // 6)
        assert sum(time > 0 for time in times) == min(len(batch), 6)
    again = list(loops.batches(pairs, size, np.random.default_rng(1)))
    assert made_ != again
