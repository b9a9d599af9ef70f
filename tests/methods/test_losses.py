"""Every loss and its gradient against the closed form, worked out beside it (see by_hand.py)."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from methods.by_hand import loss_and_gradient, made, nll_by_hand, positions, softmax, table
from methods.toy import FORGET, LENGTH, QUESTIONS, RETAIN, WORDS, Toy, example, forget, retain
from mubench.errors import RunError
from mubench.methods import loops
from mubench.methods.base import Context, UnlearnData
from mubench.methods.ga import GradientAscent
from mubench.methods.grad_diff import GradientDifference
from mubench.methods.idk import IDK
from mubench.methods.kl_min import KLMinimisation
from mubench.methods.npo import NPO

LOSSES = (GradientAscent, GradientDifference, KLMinimisation, NPO, IDK)


def test_gradient_ascent():
    model = Toy()
    terms, gradient = loss_and_gradient(made(GradientAscent), model)
    value, slope = nll_by_hand(table(model), FORGET)
    assert terms == {"forget": pytest.approx(-value)}
    np.testing.assert_allclose(gradient, -slope, atol=1e-12)
    assert not gradient[[QUESTIONS.index(question) for question in RETAIN]].any()


def test_gradient_difference():
    model = Toy()
    terms, gradient = loss_and_gradient(made(GradientDifference, gamma=0.5, alpha=3), model)
    f, f_slope = nll_by_hand(table(model), FORGET)
    r, r_slope = nll_by_hand(table(model), RETAIN)
    assert terms == {"forget": pytest.approx(-0.5 * f), "retain": pytest.approx(3 * r)}
    np.testing.assert_allclose(gradient, -0.5 * f_slope + 3 * r_slope, atol=1e-12)


def test_idk():
    model = Toy()
    terms, gradient = loss_and_gradient(made(IDK, alpha=2), model, ["20", "1"])
    f, f_slope = nll_by_hand(table(model), {"f0": "20", "f1": "1"})
    r, r_slope = nll_by_hand(table(model), RETAIN)
    assert terms == {"forget": pytest.approx(f), "retain": pytest.approx(2 * r)}
    np.testing.assert_allclose(gradient, f_slope + 2 * r_slope, atol=1e-12)


def test_kl_min():
    """KL(q || p) = sum q (log q - log p), mean over answer tokens; d/dz = (p - q) / N."""
    model = Toy()
    before = table(model)
    model.freeze_copy()
    model.model.logits.data += torch.from_numpy(np.random.default_rng(5).normal(size=before.shape))
    now = table(model)
    terms, gradient = loss_and_gradient(made(KLMinimisation, alpha=4), model)
    q, p = softmax(before), softmax(now)
    where = positions(RETAIN)
    kl, slope = 0.0, np.zeros_like(now)
    for row, place, _ in where:
        kl += float((q[row, place] * np.log(q[row, place] / p[row, place])).sum()) / len(where)
        slope[row, place] = (p[row, place] - q[row, place]) / len(where)
    f, f_slope = nll_by_hand(now, FORGET)
    assert terms == {"forget": pytest.approx(-f), "retain": pytest.approx(4 * kl)}
    assert kl > 0.1
    np.testing.assert_allclose(gradient, -f_slope + 4 * slope, atol=1e-12)


def test_kl_is_zero_before_training_and_blind_outside_the_answer():
    model = Toy()
    model.freeze_copy()
    method = made(KLMinimisation)
    terms, gradient = loss_and_gradient(method, model)
    assert terms["retain"] == pytest.approx(0, abs=1e-15)
    np.testing.assert_allclose(
        gradient[[QUESTIONS.index(question) for question in RETAIN]], 0, atol=1e-15
    )
    # "12" has two tokens: the third position of its table is no answer position.
    with torch.no_grad():
        model.model.logits[QUESTIONS.index("r0"), 2] += torch.tensor([9.0, 0, 0, 0, -9])
    terms, _ = loss_and_gradient(method, model)
    assert terms["retain"] == pytest.approx(0, abs=1e-15)
    with torch.no_grad():
        model.model.logits[QUESTIONS.index("r0"), 1, 0] += 1
    terms, _ = loss_and_gradient(method, model)
    assert terms["retain"] > 1e-3


@pytest.mark.parametrize("beta", [0.1, 0.5])
def test_npo(beta):
    """L_i = -(2/beta) log sigmoid(-beta r_i), r = log p - log p_ref; dL_i/dr_i = 2 sigmoid(beta r_i)."""
    model = Toy()
    method = made(NPO, beta=beta, alpha=1.5)
    method._reference_logp = loops.reference_logps(model, forget(), 2)
    reference = table(model)
    model.model.logits.data += torch.from_numpy(
        np.random.default_rng(6).normal(size=reference.shape)
    )
    now = table(model)
    terms, gradient = loss_and_gradient(method, model)

    def logps(z):
        p = softmax(z)
        return [
            sum(math.log(p[QUESTIONS.index(q), t, int(w)]) for t, w in enumerate(answer))
            for q, answer in FORGET.items()
        ]

    ratios = [a - b for a, b in zip(logps(now), logps(reference), strict=True)]
    sigmoid = [1 / (1 + math.exp(-beta * ratio)) for ratio in ratios]
    value = sum(-(2 / beta) * math.log(1 - s) for s in sigmoid) / len(sigmoid)
    p, slope = softmax(now), np.zeros_like(now)
    for s, (question, answer) in zip(sigmoid, FORGET.items(), strict=True):
        row = QUESTIONS.index(question)
        for place, word in enumerate(answer):
            slope[row, place] = -2 * s * p[row, place] / len(FORGET)
            slope[row, place, int(word)] += 2 * s / len(FORGET)
    r, r_slope = nll_by_hand(now, RETAIN)
    assert terms == {
        "forget": pytest.approx(value, rel=1e-6),  # the reference is kept in single precision
        "retain": pytest.approx(1.5 * r),
    }
    np.testing.assert_allclose(gradient, slope + 1.5 * r_slope, atol=1e-6)


# -- whole runs on the toy ------------------------------------------------------------------------


def run(cls, model, seed=0, refusals=("12", "0", "44"), **settings):
    method = made(cls, **({"scope": "full", "lr": 0.05, "epochs": 4, "batch_size": 2} | settings))
    context = Context(seed=seed)
    forgets = [*forget(), *forget("image_text")]
    retains = [*retain(), *retain("image_text")]
    method.unlearn(model, UnlearnData(forgets, retains, refusals), context)
    return method, context.log


@pytest.mark.parametrize("cls", LOSSES)
def test_a_run_moves_the_tables_and_logs_finite_losses(cls):
    model = Toy()
    before = table(model)
    _, log = run(cls, model)
    assert log["trained"] == ["logits"]
    assert len(log["losses"]) == 8  # two batches an epoch, one a modality
    assert all(math.isfinite(value) for step in log["losses"] for value in step.values())
    assert not np.allclose(table(model), before)
    nll_before, _ = nll_by_hand(before, FORGET)
    nll_after, _ = nll_by_hand(table(model), FORGET)
    if cls is not IDK:  # a refusal may share tokens with an answer here
        assert nll_after > nll_before
    assert not model.model.training


def test_npo_starts_at_two_over_beta_log_two():
    _, log = run(NPO, Toy(), beta=0.2, alpha=0)
    assert log["losses"][0]["forget"] == pytest.approx(2 / 0.2 * math.log(2), rel=1e-6)
    assert log["losses"][-1]["forget"] < log["losses"][0]["forget"] - 0.1


def test_npo_reference_is_of_the_weights_before_training():
    model = Toy()
    everything = [*forget(), *forget("image_text")]
    batch = model.encode(everything)
    wanted = model.logp(batch).detach()
    method, _ = run(NPO, model)
    assert (model.logp(batch) - wanted).abs().min() > 0.01
    torch.testing.assert_close(method.reference_logp(batch).double(), wanted, rtol=1e-6, atol=0)
    # keyed by the exact inputs: order does not matter, another answer is unknown
    backwards = method.reference_logp(model.encode(everything[::-1]))
    torch.testing.assert_close(backwards.double(), wanted.flip(0), rtol=1e-6, atol=0)
    with pytest.raises(KeyError):
        method.reference_logp(model.encode([example("f0", "04")]))


def test_kl_reference_is_of_the_weights_before_training():
    model = Toy()
    before = table(model)
    _, log = run(KLMinimisation, model)
    assert np.array_equal(model.frozen.model.logits.numpy(), before)
    assert log["losses"][0]["retain"] == pytest.approx(0, abs=1e-12)


def forget_answers(model):
    """Answers that forget batches were encoded with, in order."""
    return [
        answer
        for examples, answers in model.encoded
        for one, answer in zip(examples, answers, strict=True)
        if one.set == "forget"
    ]


def test_idk_trains_on_refusals_drawn_from_the_seed():
    refusals = ("12", "0", "44")
    drawn = []
    for seed in (1, 1, 2):
        model = Toy()
        run(IDK, model, seed=seed, refusals=refusals, epochs=8)
        drawn.append(forget_answers(model))
    assert drawn[0] == drawn[1] != drawn[2]
    assert set(drawn[0]) == set(refusals)


@pytest.mark.parametrize("cls", [c for c in LOSSES if c is not IDK])
def test_other_losses_train_on_the_true_answers(cls):
    model = Toy()
    run(cls, model)
    assert set(forget_answers(model)) == set(FORGET.values())


def test_every_step_pairs_as_many_retain_examples_of_the_same_modality():
    model = Toy()
    run(GradientDifference, model)
    batches = model.encoded
    assert len(batches) == 16
    for (forgets, _), (retains, _) in zip(batches[::2], batches[1::2], strict=True):
        assert {one.set for one in forgets} == {"forget"}
        assert {one.set for one in retains} == {"retain"}
        assert len(forgets) == len(retains)
        assert len({one.modality for one in (*forgets, *retains)}) == 1


@pytest.mark.parametrize("modality", ["image_text", "text"])
def test_one_modality_alone_can_be_unlearned(modality):
    model = Toy()
    run(GradientDifference, model, modality=modality)
    assert {one.modality for examples, _ in model.encoded for one in examples} == {modality}


def test_retain_examples_of_a_modality_must_be_there():
    method = made(GradientDifference, scope="full")
    data = UnlearnData([*forget(), *forget("image_text")], retain())
    with pytest.raises(RunError, match="grad-diff"):
        method.unlearn(Toy(), data, Context(seed=0))


def test_lora_settings_reach_the_model():
    model = Toy()
    run(GradientAscent, model, scope="lora", lora_r=3, lora_alpha=7)
    assert (model.scope, model.options) == ("lora", {"r": 3, "lora_alpha": 7})


def test_a_loss_that_is_not_a_number_stops_the_run_and_names_the_step():
    with pytest.raises(RunError, match=r"step 3 of 8"):
        run(GradientAscent, Toy(broken_from=3))


def test_shapes_of_the_toy():
    assert table(Toy()).shape == (4, LENGTH, WORDS)
