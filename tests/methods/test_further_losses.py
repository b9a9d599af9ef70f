"""The losses beyond the first five, each against the closed form (see by_hand.py)."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from methods.by_hand import (
    logps,
    loss_and_gradient,
    made,
    moved,
    nll_by_hand,
    positions,
    sigmoid,
    slope_of_logp,
    softmax,
    table,
)
from methods.toy import FORGET, LENGTH, QUESTIONS, RETAIN, Toy, example, forget, retain
from mubench.errors import RunError
from mubench.methods import loops
from mubench.methods.altpo import AltPO
from mubench.methods.answers import alternates
from mubench.methods.base import Context, UnlearnData
from mubench.methods.ce_u import CEU
from mubench.methods.idk_dpo import IdkDPO
from mubench.methods.npo import NPO
from mubench.methods.pdu import PDU
from mubench.methods.rmu import RMU
from mubench.methods.satimp import SatImp
from mubench.methods.scrub import SCRUB
from mubench.methods.simnpo import SimNPO
from mubench.methods.undial import UNDIAL
from mubench.methods.wga import WGA

DATA = UnlearnData(forget(), retain(), ("12", "0", "44"))
TOKENS = len(positions(FORGET))
CLOSE = {"rel": 1e-12, "abs": 1e-12}


def kl_by_hand(before, now, answers):
    """Mean over answer tokens of KL(q || p), and its gradient (p - q) / N."""
    q, p = softmax(before), softmax(now)
    where = positions(answers)
    value, slope = 0.0, np.zeros_like(now)
    for row, place, _ in where:
        value += float((q[row, place] * np.log(q[row, place] / p[row, place])).sum())
        slope[row, place] = p[row, place] - q[row, place]
    return value / len(where), slope / len(where)


# -- sequences ------------------------------------------------------------------------------------


@pytest.mark.parametrize("margin", [0.0, 0.7])
def test_simnpo(margin):
    """L_i = -gamma (2/beta) log s_i, s_i = sigmoid(-(beta/n) log p_i - margin);
    dL_i / d log p_i = gamma (2/n) (1 - s_i)."""
    model, beta, gamma = Toy(), 2.5, 0.125
    method = made(SimNPO, beta=beta, margin=margin, gamma=gamma, alpha=2)
    terms, gradient = loss_and_gradient(method, model)
    z = table(model)
    value, slope = 0.0, np.zeros_like(z)
    for question, total in logps(z, FORGET).items():
        n = len(FORGET[question])
        s = sigmoid(-beta / n * total - margin)
        value -= gamma * 2 / beta * math.log(s) / len(FORGET)
        weight = gamma * 2 / n * (1 - s) / len(FORGET)
        slope += weight * slope_of_logp(z, question, FORGET[question])
    r, r_slope = nll_by_hand(z, RETAIN)
    assert terms == {"forget": pytest.approx(value, **CLOSE), "retain": pytest.approx(2 * r)}
    np.testing.assert_allclose(gradient, slope + 2 * r_slope, atol=1e-12)


def test_simnpo_scales_with_the_answer_s_own_length_alone():
    """An answer twice as long with the same mean log p costs the same: NPO's would not."""
    z = np.zeros((len(QUESTIONS), LENGTH, 5))
    model = Toy()
    model.model.logits.data = torch.from_numpy(z)
    one = made(SimNPO).forget_loss(model, model.encode([example("f0", "0")]))
    two = made(SimNPO).forget_loss(model, model.encode([example("f0", "00")]))
    assert one.item() == pytest.approx(two.item(), **CLOSE)


@pytest.mark.parametrize("beta", [0.1, 1.5])
def test_dpo_prefers_the_other_answer(beta):
    """L_i = -(2/beta) log sigmoid(beta d_i), d_i = (log p - log p_ref)(won) - same(lost);
    dL_i / dd_i = -2 (1 - sigmoid(beta d_i))."""
    model = Toy()
    method = made(IdkDPO, beta=beta, alpha=0.5)
    method.prepare(model, DATA, Context(seed=3))
    before, now = moved(model, 6), table(model)
    (batch,) = [method.forget_batch(model, forget(), DATA, np.random.default_rng(0))]
    loss = method.terms(model, batch, model.encode(retain()))
    torch.stack(list(loss.values())).sum().backward()
    won = {q: next(method._next[f"{q}/text"]).answer for q in FORGET}
    assert set(won.values()) <= set(DATA.refusals)

    def ratio(answers):
        a, b = logps(now, answers), logps(before, answers)
        return {question: a[question] - b[question] for question in answers}

    value, slope = 0.0, np.zeros_like(now)
    for question, lost in FORGET.items():
        s = sigmoid(beta * (ratio(won)[question] - ratio(FORGET)[question]))
        value -= 2 / beta * math.log(s) / len(FORGET)
        apart = slope_of_logp(now, question, won[question]) - slope_of_logp(now, question, lost)
        slope -= 2 * (1 - s) / len(FORGET) * apart
    r, r_slope = nll_by_hand(now, RETAIN)
    assert loss["forget"].item() == pytest.approx(value, rel=1e-6)  # reference: single precision
    assert loss["retain"].item() == pytest.approx(0.5 * r)
    gradient = model.model.logits.grad.numpy()
    np.testing.assert_allclose(gradient, slope + 0.5 * r_slope, atol=1e-6)


@pytest.mark.parametrize("cls", [IdkDPO, AltPO])
def test_dpo_starts_at_two_over_beta_log_two_whatever_is_preferred(cls):
    model = Toy()
    method = made(cls, beta=0.2)
    method.prepare(model, DATA, Context(seed=1))
    batch = method.forget_batch(model, forget(), DATA, np.random.default_rng(0))
    assert len(batch.labels) == 2 * len(FORGET)
    loss = method.forget_loss(model, batch)
    assert loss.item() == pytest.approx(2 / 0.2 * math.log(2), rel=1e-6)


def test_the_reference_of_a_preference_is_cached_for_every_answer_it_may_ask():
    model = Toy()
    method = made(AltPO, epochs=3)
    method.prepare(model, DATA, Context(seed=0))
    moved(model, 2)
    epochs = []
    for _ in range(3):
        batch = method.forget_batch(model, forget(), DATA, np.random.default_rng(0))
        method.reference_logp(batch)  # KeyError if one were missing
        epochs.append([example.answer for example in model.encoded[-1][0]])
    preferred = [answers[: len(FORGET)] for answers in epochs]
    assert preferred[0] != preferred[1], "they come in turn"
    assert {answer for answers in preferred for answer in answers} == {"03", "4", "12", "301"}


def test_no_more_alternates_are_asked_than_epochs_show():
    asked = {}
    for epochs in (1, 1.5, 4):
        method = made(AltPO, epochs=epochs, alternates=2)
        found = method.preferred(DATA, Context(seed=0))
        asked[epochs] = {len(some) for some in found.values()}
    assert asked == {1: {1}, 1.5: {2}, 4: {2}}


def test_alternates_are_the_same_fact_of_others_and_never_the_truth():
    given = [
        replace(example("f0", "03"), answer="so 03 it is", keyword="03"),
        replace(example("f1", "4"), fact="y"),
    ]
    others = [*retain(), replace(example("r0", "44"), fact="y")]
    found = alternates(UnlearnData(given, others), 5, np.random.default_rng(0))
    assert {e.answer for e in found["f0/text"]} == {"so 12 it is", "so 301 it is"}
    assert [e.answer for e in found["f1/text"]] == ["44"]
    assert all(e.question == "f0" for e in found["f0/text"])
    carried = replace(given[0], answer="03", choices=("03", "11", "22"))
    found = alternates(UnlearnData([carried], others), 5, np.random.default_rng(0))
    assert {e.answer for e in found["f0/text"]} == {"11", "22"}
    with pytest.raises(RunError, match="f1/text"):
        alternates(UnlearnData(given, retain()), 5, np.random.default_rng(0))


def test_npo_as_mllmu_takes_the_mean_token_of_the_batch():
    """L = -(2/beta) log sigmoid(-beta r), r = sum of ratios / tokens; dL / d ratio_i = 2 s / N."""
    model, beta = Toy(), 0.4
    method = made(NPO, beta=beta, alpha=0, reproduction="mllmu")
    method.prepare(model, DATA, Context(seed=0))
    before, now = moved(model, 8), table(model)
    terms, gradient = loss_and_gradient(method, model)
    after, start = logps(now, FORGET), logps(before, FORGET)
    r = sum(after[q] - start[q] for q in FORGET) / TOKENS
    assert terms == {"forget": pytest.approx(-2 / beta * math.log(sigmoid(-beta * r)), rel=1e-6)}
    slope = sum(slope_of_logp(now, q, a) for q, a in FORGET.items())
    np.testing.assert_allclose(gradient, 2 * sigmoid(beta * r) / TOKENS * slope, atol=1e-6)


# -- tokens ---------------------------------------------------------------------------------------


def weighted_ascent(z, weight):
    """mean_t w(p_t) log p_t with w held constant, and its gradient."""
    p, slope, value = softmax(z), np.zeros_like(z), 0.0
    for row, place, word in positions(FORGET):
        at = p[row, place, word]
        value += weight(at) * math.log(at) / TOKENS
        slope[row, place] -= weight(at) * p[row, place] / TOKENS
        slope[row, place, word] += weight(at) / TOKENS
    return value, slope


@pytest.mark.parametrize(
    ("method", "weight", "alpha"),
    [
        (made(WGA, beta=1.5, alpha=2), lambda p: p**1.5, 2),
        (made(WGA, beta=0, alpha=1), lambda p: 1.0, 1),  # plain ascent
        (
            made(SatImp, beta1=3, beta2=0.5, gamma=0.4, alpha=3),
            lambda p: 0.4 * p**3 * (1 - p) ** 0.5,
            3,
        ),
        (made(SatImp, beta1=1.5, beta2=0), lambda p: p**1.5, 0.1),  # that of WGA
    ],
)
def test_weighted_ascent(method, weight, alpha):
    model = Toy()
    terms, gradient = loss_and_gradient(method, model)
    value, slope = weighted_ascent(table(model), weight)
    r, r_slope = nll_by_hand(table(model), RETAIN)
    assert terms == {
        "forget": pytest.approx(value, **CLOSE),
        "retain": pytest.approx(alpha * r),
    }
    np.testing.assert_allclose(gradient, slope + alpha * r_slope, atol=1e-12)


@pytest.mark.parametrize("skip", [0, 1])
def test_ce_u(skip):
    """CE(q, p) with q = p without the truth, rescaled: d/dz = p - q, which is p_y at the truth."""
    model = Toy()
    terms, gradient = loss_and_gradient(made(CEU, skip=skip), model)
    z = table(model)
    p, slope, value = softmax(z), np.zeros_like(z), 0.0
    used = [spot for spot in positions(FORGET) if spot[1] >= skip]
    for row, place, word in used:
        q = p[row, place].copy()
        q[word] = 0
        q /= q.sum()
        value -= float((q * np.log(p[row, place])).sum()) / len(used)
        slope[row, place] = (p[row, place] - q) / len(used)
        assert gradient[row, place, word] == pytest.approx(p[row, place, word] / len(used))
    assert terms == {"forget": pytest.approx(value, **CLOSE)}
    np.testing.assert_allclose(gradient, slope, atol=1e-12)


def test_ce_u_that_skips_everything_costs_nothing():
    model = Toy()
    loss = made(CEU, skip=3).forget_loss(model, model.encode(forget()))
    assert loss.item() == 0


def test_undial():
    """CE(softmax(z_0 - beta onehot), softmax(z)); d/dz = (p - wanted) / N at answers alone."""
    model, beta = Toy(), 3.0
    model.freeze_copy()
    before, now = moved(model, 4), table(model)
    terms, gradient = loss_and_gradient(made(UNDIAL, beta=beta), model)
    p, slope, value = softmax(now), np.zeros_like(now), 0.0
    for row, place, word in positions(FORGET):
        shifted = before[row, place].copy()
        shifted[word] -= beta
        wanted = softmax(shifted)
        value -= float((wanted * np.log(p[row, place])).sum()) / TOKENS
        slope[row, place] = (p[row, place] - wanted) / TOKENS
    assert terms == {"forget": pytest.approx(value, **CLOSE)}  # alpha is 0: no retain pass
    np.testing.assert_allclose(gradient, slope, atol=1e-12)


def test_scrub():
    model = Toy()
    model.freeze_copy()
    before, now = moved(model, 5), table(model)
    method = made(SCRUB, alpha=0.7, gamma=0.3, cap=50)
    terms, gradient = loss_and_gradient(method, model)
    away, f_slope = kl_by_hand(before, now, FORGET)
    near, r_slope = kl_by_hand(before, now, RETAIN)
    nll, n_slope = nll_by_hand(now, RETAIN)
    assert terms == {
        "forget": pytest.approx(-away, **CLOSE),
        "retain": pytest.approx(0.7 * near + 0.3 * nll, **CLOSE),
    }
    np.testing.assert_allclose(gradient, -f_slope + 0.7 * r_slope + 0.3 * n_slope, atol=1e-12)


def test_scrub_stops_pushing_at_the_cap():
    model = Toy()
    model.freeze_copy()
    moved(model, 5)
    batch = model.encode(forget())
    loss = made(SCRUB, cap=0.01).forget_loss(model, batch)
    loss.backward()
    assert loss.item() == -0.01
    assert not model.model.logits.grad.any()


def test_pdu():
    """(max z - mean z)^2; d/dz_v = 2 s (1[v is the largest] - 1/V) / N; alpha follows nll_r."""
    model = Toy()
    method = made(PDU, alpha=10, dual_step=5, slack=0.5)
    method.prepare(model, DATA, Context(seed=0))
    r0, _ = nll_by_hand(table(model), RETAIN)
    assert method._eps == pytest.approx(1.5 * r0, rel=1e-6)
    moved(model, 7)
    z = table(model)
    terms, gradient = loss_and_gradient(method, model)
    value, slope = 0.0, np.zeros_like(z)
    for row, place, _ in positions(FORGET):
        spread = z[row, place].max() - z[row, place].mean()
        value += spread**2 / TOKENS
        slope[row, place] -= 2 * spread / 5 / TOKENS
        slope[row, place, z[row, place].argmax()] += 2 * spread / TOKENS
    r, r_slope = nll_by_hand(z, RETAIN)
    assert terms["forget"] == pytest.approx(value, **CLOSE)
    assert terms["retain"] == pytest.approx(10 * (r - 1.5 * r0), rel=1e-6)
    np.testing.assert_allclose(gradient, slope + 10 * r_slope, atol=1e-9)
    assert method._dual == pytest.approx(max(0, 10 + 5 * (r - 1.5 * r0)), rel=1e-6)


def test_pdu_s_dual_waits_for_the_warm_up_and_is_never_negative():
    model = Toy()
    method = made(PDU, alpha=1, dual_step=1e6, dual_warmup=2)
    method.prepare(model, DATA, Context(seed=0))
    batch = model.encode(retain())
    duals = []
    for _ in range(4):
        method.retain_loss(model, batch)
        duals.append(method._dual)
    assert duals == [1, 1, 0, 0]  # the target is within its own bound


def test_pdu_looks_at_the_positions_that_predict_answers():
    """Not one further on: what stands after the answer does not matter."""
    model = Toy()
    method = made(PDU)
    wanted = method.forget_loss(model, model.encode(forget())).item()
    with torch.no_grad():
        model.model.logits[QUESTIONS.index("f1"), 1] += torch.arange(5) * 9.0
    assert method.forget_loss(model, model.encode(forget())).item() == wanted
    with torch.no_grad():
        model.model.logits[QUESTIONS.index("f1"), 0] += torch.arange(5) * 9.0
    assert method.forget_loss(model, model.encode(forget())).item() > wanted + 1


def test_rmu():
    """The toy's hidden states are its logits: d/dh = 2 (h - goal) / (N d), as for any square."""
    model = Toy()
    method = made(RMU, steer=3, alpha=0.5)
    method.prepare(model, DATA, Context(seed=2))
    assert (method._at, list(method.layers)) == (2, [0, 1, 2])  # a quarter of 12 layers
    goal = method._goal.numpy()
    assert (goal > 0).all()
    z = table(model)
    length = np.mean(
        [
            np.mean([np.linalg.norm(z[QUESTIONS.index(q), place]) for place in range(len(a))])
            for q, a in FORGET.items()
        ]
    )
    assert np.linalg.norm(goal) == pytest.approx(3 * length, rel=1e-12)
    model.freeze_copy()
    before, now = moved(model, 9), table(model)
    terms, gradient = loss_and_gradient(method, model)
    slope, away, near = np.zeros_like(now), 0.0, 0.0
    for row, place, _ in positions(FORGET):
        away += float(((now[row, place] - goal) ** 2).mean()) / TOKENS
        slope[row, place] = 2 * (now[row, place] - goal) / 5 / TOKENS
    count = len(positions(RETAIN))
    for row, place, _ in positions(RETAIN):
        shift = now[row, place] - before[row, place]
        near += 0.5 * float((shift**2).mean()) / count
        slope[row, place] = 0.5 * 2 * shift / 5 / count
    assert terms == {"forget": pytest.approx(away, **CLOSE), "retain": pytest.approx(near, **CLOSE)}
    np.testing.assert_allclose(gradient, slope, atol=1e-12)


# -- invariances ----------------------------------------------------------------------------------

EVERY = [SimNPO, IdkDPO, AltPO, UNDIAL, WGA, SatImp, CEU, PDU, SCRUB, RMU]


@pytest.mark.parametrize("cls", EVERY)
def test_order_and_padding_do_not_matter(cls):
    """The same batch backwards; and noise wherever no answer token is predicted."""
    model = Toy()
    method = made(cls)
    method.prepare(model, DATA, Context(seed=1))
    model.freeze_copy()
    moved(model, 3)
    rng = np.random.default_rng

    def values():
        found = [
            method.forget_loss(model, method.forget_batch(model, order, DATA, rng(0))).item()
            for order in (forget(), forget()[::-1])
        ]
        kept = [model.encode(order) for order in (retain(), retain()[::-1])]
        return found, [
            made(cls).retain_loss(model, one).item() if cls not in (CEU, PDU, RMU) else 0.0
            for one in kept
        ]

    first, second = values()
    assert first[0] == pytest.approx(first[1], rel=1e-6)
    assert second[0] == pytest.approx(second[1])
    everything = {**FORGET, **RETAIN}
    asked = {
        q: 3 if cls in (IdkDPO, AltPO) and q in FORGET else len(a) for q, a in everything.items()
    }
    with torch.no_grad():
        for question, count in asked.items():
            model.model.logits[QUESTIONS.index(question), count:] += 50
            model.model.logits[QUESTIONS.index(question), count:, 1] -= 99
    again, second_again = values()
    assert again == pytest.approx(first)
    assert second_again == pytest.approx(second)


def test_the_target_s_mean_loss_counts_tokens_whatever_the_batches():
    model = Toy()
    wanted, _ = nll_by_hand(table(model), {**FORGET, **RETAIN})
    for size in (1, 2, 4):
        assert loops.mean_nll(model, [*forget(), *retain()], size) == pytest.approx(wanted)
