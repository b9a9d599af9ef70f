"""Methods for dual encoders that solve for the new weights: against their algebra."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from methods.by_hand_dual import arrays, cosines, infonce, made, right, through_cosines
from methods.toy_dual import FORGET, RETAIN, ToyDual, vector
from mubench.methods import loops
from mubench.methods.base import Context, UnlearnData
from mubench.methods.dual import slug
from mubench.methods.dual.common import images, names
from mubench.methods.dual.negmerge import NegMerge, consensus
from mubench.methods.dual.null_space import NullSpace, orthonormal
from mubench.methods.dual.ridge_projection import RidgeProjection, ridge
from mubench.methods.dual.slug import SLUG
from mubench.methods.dual.ssd import SSD, dampening
from pairs import pair

TWICE = [*FORGET, pair("Ann", 1)]
TWO = [pair(name) for name in ("Ann", "Bo")]  # fewer than the toy has dimensions
ONE_MORE = [pair("Dee", set="retain")]
DATA = UnlearnData(TWO, RETAIN)


def rows(seed, *shape):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


# -- names and images ---------------------------------------------------------------------------


def test_a_name_is_the_normalised_mean_over_its_captions():
    from dataclasses import replace

    model = ToyDual()
    other = replace(FORGET[0], id="o", answer="Ann at sea")
    features, known = names(model, [*FORGET, FORGET[0], other], 2)
    assert known == ["Ann", "Bo", "Cy"]
    two = model.text_features(model.encode([FORGET[0], other])).mean(0)
    torch.testing.assert_close(features[0], (two / two.norm()).detach())
    bo = model.text_features(model.encode(FORGET))[1]
    torch.testing.assert_close(features[1], bo.detach())
    assert not features.requires_grad


def test_an_image_with_several_captions_is_read_once():
    from dataclasses import replace

    model = ToyDual()
    features, whose = images(model, [*FORGET, replace(FORGET[0], answer="Ann at sea")], 2)
    assert features.shape == (3, 3) and whose == ["Ann", "Bo", "Cy"]


# -- projections --------------------------------------------------------------------------------


def test_orthonormal_basis():
    given = rows(0, 3, 6)
    basis = orthonormal(torch.cat([given, given[:1] * 2 - given[1:2]]))  # a row too many
    assert basis.shape == (6, 3)
    torch.testing.assert_close(basis.T @ basis, torch.eye(3, dtype=torch.float64))
    torch.testing.assert_close(given @ basis @ basis.T, given)


@pytest.mark.parametrize("strength", [1.0, 0.4])
def test_null_space(strength):
    """Before normalisation: <z P, t_f> = (1 - strength) <z, t_f>; what is orthogonal to all forget
    names stays as it is."""
    model = ToyDual()
    batch = model.encode([*TWO, *RETAIN])
    t = arrays(model, batch)["text"][2]
    before = arrays(model, batch)["image"][1]
    context = Context(seed=0)
    made(NullSpace, strength=strength).unlearn(model, DATA, context)
    after = arrays(model, batch)["image"][1]
    np.testing.assert_allclose(after @ t[:2].T, (1 - strength) * before @ t[:2].T, atol=1e-12)
    free = np.cross(t[0], t[1])  # in three dimensions: the one direction that is left
    np.testing.assert_allclose(after @ free, before @ free, atol=1e-12)
    assert np.abs(before @ t[:2].T).min() > 1e-2
    np.testing.assert_allclose(arrays(model, batch)["text"][2], t)
    assert context.log == {"names": 2, "rank": 2}
    if strength == 1:
        assert np.abs(cosines(model, batch)[:, :2]).max() < 1e-12


def test_ridge_solves_the_normal_equations():
    """(F + kR + m) P = kR + m, and P is where the quadratic objective has no slope."""
    away, kept, keep, strength = rows(1, 2, 6), rows(2, 3, 6), 0.7, 0.2
    found = ridge(away, kept, keep, strength).requires_grad_(True)
    objective = (
        (away @ found).square().sum()
        + keep * (kept @ found - kept).square().sum()
        + strength * (found - torch.eye(6, dtype=torch.float64)).square().sum()
    )
    objective.backward()
    assert found.grad.abs().max() < 1e-12
    held = keep * kept.T @ kept + strength * torch.eye(6, dtype=torch.float64)
    torch.testing.assert_close((away.T @ away + held) @ found.detach(), held)


def test_ridge_at_its_limits():
    away, kept = rows(1, 2, 6), rows(2, 3, 6)
    sharp = ridge(away, kept, 1e6, 1e-6)
    torch.testing.assert_close(kept @ sharp, kept, rtol=1e-4, atol=1e-4)
    assert (away @ sharp).norm() < 1e-3 * away.norm()  # five names fit into six dimensions
    none = ridge(away, kept[:0], 1.0, 1e-9)  # nobody to keep: the plain null space
    basis = orthonormal(away)
    plain = torch.eye(6, dtype=torch.float64) - basis @ basis.T
    torch.testing.assert_close(none, plain, rtol=0, atol=1e-6)
    # As many kept names as dimensions: they hold every direction, and the method does nothing.
    torch.testing.assert_close(
        ridge(away, rows(3, 6, 6), 1e9, 1e-6), torch.eye(6, dtype=torch.float64), atol=1e-4, rtol=0
    )


def test_ridge_acts_on_images_as_it_does_on_names():
    """<z P^T, t> = <z, t P>: raw image features meet the names as P leaves them."""
    model = ToyDual()
    batch = model.encode([*TWO, *ONE_MORE])
    found = arrays(model, batch)
    raw, t = found["image"][1], found["text"][2]
    p = ridge(*(torch.from_numpy(part) for part in (t[:2], t[2:])), 100.0, 1e-3).numpy()
    made(RidgeProjection, keep=100, ridge=1e-3).unlearn(
        model, UnlearnData(TWO, ONE_MORE), Context(seed=0)
    )
    after = arrays(model, batch)
    np.testing.assert_allclose(after["image"][1] @ t.T, raw @ (t @ p).T, atol=1e-12)
    np.testing.assert_allclose(after["text"][2], t)
    assert np.linalg.norm(t[:2] @ p, axis=1).max() < 0.1 < 0.9 < np.linalg.norm(t[2] @ p)


# -- ssd ----------------------------------------------------------------------------------------


def test_dampening():
    """Only where F_f > select F_D, by min(dampen F_D / F_f, 1)."""
    away = torch.tensor([0.0, 1.0, 9.0, 12.0, 30.0, 5.0])
    overall = torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0, 0.0])
    factor, chosen = dampening(away, overall, select=10, dampen=2)
    assert chosen.tolist() == [False, False, False, True, True, True]
    assert factor.tolist() == pytest.approx([1, 1, 1, 2 / 12, 2 / 30, 0])
    factor, _ = dampening(away, overall, select=10, dampen=20)
    assert factor.tolist() == pytest.approx([1, 1, 1, 1, 20 / 30, 0]), "never larger than before"
    assert not dampening(torch.zeros(2), torch.zeros(2), 10, 1)[1].any()


def test_ssd_s_importance_is_the_squared_gradient_of_batches():
    model, config = ToyDual(), SSD.Config(batch_size=4, select=1.2, dampen=0.5)
    before = {
        name: weight.detach().numpy().copy() for name, weight in model.model.named_parameters()
    }
    data = UnlearnData(TWICE, RETAIN)

    def squares(pairs):
        rng = Context(seed=3).generator("importance")
        total = []
        for one in loops.batches(pairs, 4, rng):
            batch = model.encode(one)
            slope = infonce(cosines(model, batch), right(batch))[1]
            total.append(through_cosines(model, batch, slope))
        return {tower: np.mean([found[tower] ** 2 for found in total], 0) for tower in before}

    away, overall = squares(TWICE), squares([*TWICE, *RETAIN])
    context = Context(seed=3)
    SSD(config).unlearn(model, data, context)
    count = 0
    for tower, old in before.items():
        chosen = away[tower] > 1.2 * overall[tower]
        factor = np.where(chosen, np.minimum(0.5 * overall[tower] / away[tower], 1), 1)
        np.testing.assert_allclose(getattr(model.model, tower).detach().numpy(), old * factor)
        count += chosen.sum()
    assert 0 < count < 24 and context.log["dampened"] == count / 24


def test_ssd_leaves_out_batches_of_one_name():
    """Ann has more pairs than all others together: the last of them stand in batches of her own."""
    many = [pair("Ann", number) for number in range(20)]
    rng = Context(seed=0).generator("importance")
    alone = [b for b in loops.batches([*FORGET, *many], 2, rng) if len({p.keyword for p in b}) == 1]
    assert alone
    model, context = ToyDual(), Context(seed=0)
    SSD(SSD.Config(batch_size=2, select=1)).unlearn(
        model, UnlearnData([*FORGET, *many], RETAIN), context
    )
    assert model.encoded and all(len({p.keyword for p in b}) > 1 for b in model.encoded)
    assert 0 < context.log["dampened"] < 1


# -- negmerge -----------------------------------------------------------------------------------


def test_consensus():
    vectors = torch.tensor([[1.0, 2, -3, 0, 5], [3.0, -2, -1, 0, 0], [2.0, 2, -2, 0, 4]])
    found = consensus(vectors.mean(0), vectors.sign().sum(0), 3)
    assert found.tolist() == [2, 0, -2, 0, 0], "a member that did not move does not agree"


def test_negmerge_subtracts_what_members_agree_on():
    data = UnlearnData(TWICE, RETAIN)
    config = NegMerge.Config(members=3, lr=1e-1, epochs=3, scale=0.5, batch_size=2)
    start = ToyDual().model.image.detach().clone()
    model, context = ToyDual(), Context(seed=2)
    NegMerge(config).unlearn(model, data, context)
    # Members, trained one by one by the same rule.
    taus = []
    for member, rate in enumerate((0.5e-1, 1e-1, 2e-1)):
        one = ToyDual()
        opened = one.train_scope("full", towers=("image",))
        epochs = loops.epochs(TWICE, 2, Context(seed=2).generator(f"member {member}"))
        settings = loops.LoopSettings.of(config.model_copy(update={"lr": rate}), TWICE)
        loops.train(
            lambda _, one=one, epochs=epochs: {"nll": one.nll(one.encode(next(epochs)))},
            one,
            opened,
            settings,
            lambda *_: None,
        )
        taus.append(one.model.image.detach() - start)
    agree = torch.stack(taus).sign().sum(0).abs() == 3
    assert 0 < agree.sum() < agree.numel()
    assert context.log["agreed"] == agree.double().mean().item()
    wanted = start - 0.5 * torch.stack(taus).mean(0) * agree
    torch.testing.assert_close(model.model.image.detach(), wanted)
    assert model.model.text.equal(ToyDual().model.text)


# -- slug ---------------------------------------------------------------------------------------


def test_pareto_front():
    """Larger importance, smaller alignment; (2, .5) is beaten by (3, .4), nobody beats the rest."""
    scores = {"a": (3, 0.4), "b": (2, 0.5), "c": (1, 0.1), "d": (4, 0.9), "e": (0, 0)}
    assert slug.pareto(scores) == ["a", "c", "d"]
    assert slug.pareto({"a": (1, 1), "b": (1, 1)}) == ["a", "b"]


def test_slug_s_slopes_are_those_of_the_mean_over_all_pairs():
    model = ToyDual()
    opened = dict(model.model.named_parameters())
    method = made(SLUG, batch_size=3)  # 4 pairs in batches of 3 and 1
    found = method.slopes(model, TWICE, opened, lambda b: 1 - slug.cosine(model, b))
    wanted = through_cosines(model, model.encode(TWICE), -np.eye(4) / 4)
    for tower, slope in wanted.items():
        np.testing.assert_allclose(found[tower].numpy(), slope, atol=1e-12)


def test_slug_s_search_finds_the_smallest_step_that_forgets():
    """Forgetting sets in at a step of 0.3; the first step is |theta| / (10 |g|) = 0.1."""
    weight = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    tried = []

    def probe():
        step = float((weight.detach()[0] - 3) / 3)
        tried.append(step)
        return float(step < 0.3), 1 - step

    left, kept, step = made(SLUG).search(
        probe, weight, weight.detach().clone(), torch.tensor([3.0, 4.0])
    )
    assert tried[:4] == pytest.approx([0.1, 0.2, 0.4, 0.3], abs=1e-6)
    assert left == 0 and step == pytest.approx(0.3, abs=0.01) and step >= 0.3 - 1e-6
    assert len(tried) == 10 and kept == pytest.approx(1 - step, abs=1e-6)


def test_slug_changes_one_tensor_and_forgets():
    model, context = ToyDual(seed=7), Context(seed=0)
    for one in [*TWO, *RETAIN]:
        model.shown[one.image] = vector(one.answer)
    model.model.image.data = model.model.text.data.clone()
    model.loaded = [weight.detach().clone() for weight in model.model.parameters()]
    probe = slug.Probe(model, DATA, "image", SLUG.Config(top=1))
    assert probe() == (1, 1), "everybody is known to begin with"
    made(SLUG, top=1).unlearn(model, DATA, context)
    moved = [
        name
        for (name, weight), old in zip(model.model.named_parameters(), model.loaded, strict=True)
        if not weight.equal(old)
    ]
    assert moved == context.log["trained"] and len(moved) == 1
    assert context.log["forget top"] == 0
    left, kept = slug.Probe(model, DATA, "image", SLUG.Config(top=1))()
    assert (left, kept) == (0, context.log["retain"])
