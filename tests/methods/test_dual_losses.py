"""Losses for dual encoders against the closed form, value and gradient (see by_hand_dual.py)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from methods.by_hand_dual import (
    arrays,
    close,
    cosines,
    infonce,
    kl_of_rows,
    loss_and_gradient,
    made,
    moved,
    right,
    softmax,
    through_cosines,
    through_features,
)
from methods.toy_dual import FORGET, RETAIN, SCALE, ToyDual, vector
from mubench.errors import RunError
from mubench.methods.base import Context, UnlearnData
from mubench.methods.dual.cliperase import CLIPErase
from mubench.methods.dual.cliperase_floor import CLIPEraseFloor, mismatched_cosine
from mubench.methods.dual.delete import DELETE
from mubench.methods.dual.ft import FineTuning
from mubench.methods.dual.lipschitz import Lipschitz, response
from mubench.methods.dual.multidelete import MultiDelete
from mubench.methods.dual.munba import MUNBa, bargain
from mubench.methods.dual.shuffled import Shuffled
from mubench.methods.dual.sim_min import SimilarityMinimisation
from pairs import pair

TWICE = [*FORGET, pair("Ann", 1)]
DATA = UnlearnData(TWICE, RETAIN)
RNG = np.random.default_rng(0)


def scaled(factor, slopes):
    return {tower: factor * slope for tower, slope in slopes.items()}


def test_sim_min():
    """Mean of the diagonal: G = I / B."""
    model = ToyDual()
    terms, found, away, _ = loss_and_gradient(made(SimilarityMinimisation), model, TWICE)
    assert terms == {"forget": pytest.approx(np.trace(cosines(model, away)) / 4)}
    close(found, through_cosines(model, away, np.eye(4) / 4))


def test_ft():
    model = ToyDual()
    terms, found, _, kept = loss_and_gradient(made(FineTuning), model)
    value, slope = infonce(cosines(model, kept), right(kept))
    assert terms == {"retain": pytest.approx(value)}
    close(found, through_cosines(model, kept, slope))


def test_cliperase():
    """FM: the diagonal; RM: InfoNCE; CM: rows and columns, each a mean over the B pairs."""
    model = moved(ToyDual(), seed=2)
    terms, found, away, kept = loss_and_gradient(made(CLIPErase, rm=2, fm=3, cm=5), model)
    kl, kl_slope = kl_of_rows(cosines(model.frozen, kept), cosines(model, kept))
    value, slope = infonce(cosines(model, kept), right(kept))
    assert kl > 0.1
    assert terms == {
        "forgetting": pytest.approx(3 * np.trace(cosines(model, away)) / 3),
        "retention": pytest.approx(2 * value),
        "consistency": pytest.approx(5 * kl / 4),
    }
    close(
        found,
        through_cosines(model, away, 3 * np.eye(3) / 3),
        through_cosines(model, kept, 2 * slope + 5 * kl_slope / 4),
    )


def test_cliperase_defaults_are_the_papers():
    config = CLIPErase.Config()
    assert (config.rm, config.fm, config.cm) == (1, 3, 3)
    assert (config.lr, config.epochs, config.batch_size) == (1e-6, 20, 16)
    assert (config.scope, config.towers, config.cm_space) == ("full", "both", "logits")


def test_cliperase_over_the_dimensions_of_each_embedding():
    """KL(q || p) of softmax over D; d/dz = p - q, mean over the pairs, both towers apart."""
    model = moved(ToyDual(), seed=3)
    method = made(CLIPErase, rm=0, fm=0, cm=7, cm_space="feature")
    terms, found, _, kept = loss_and_gradient(method, model)
    kl, slopes = 0.0, {}
    for tower in ("image", "text"):
        q = softmax(arrays(model.frozen, kept)[tower][2])
        p = softmax(arrays(model, kept)[tower][2])
        kl += (q * np.log(q / p)).sum()
        slopes[tower] = 7 * (p - q) / 4
    assert kl > 0.1
    assert terms["consistency"] == pytest.approx(7 * kl / 4)
    close(found, through_features(model, kept, **slopes))


def test_cliperase_s_floor_is_the_cosine_of_strangers():
    """Ann's two pairs are no strangers. Over every two pairs of one encoded batch."""
    model = ToyDual()
    batch = model.encode([*TWICE, *RETAIN])
    s = cosines(model, batch)
    apart = batch.names[:, None].numpy() != batch.names.numpy()
    assert apart.sum() == 8 * 7 - 2
    assert mismatched_cosine(model, DATA, 8, RNG) == pytest.approx(s[apart].mean())
    # Bo's town is true of Bo, and no name: it says nothing of how far apart strangers are.
    town = replace(FORGET[1], id="t", fact="town", answer="a photo of a town", keyword="Oslo")
    more = UnlearnData(TWICE, [*RETAIN, town])
    assert mismatched_cosine(model, more, 8, RNG) == pytest.approx(s[apart].mean())
    both = UnlearnData([*TWICE, town], RETAIN)
    batch = model.encode([*TWICE, town, *RETAIN])
    s, people = cosines(model, batch), ["Ann", "Bo", "Cy", "Ann", "Bo", "Dee", "Eli", "Fay", "Gus"]
    apart = np.array([[one != other for other in people] for one in people])
    assert mismatched_cosine(model, both, 9, RNG) == pytest.approx(s[apart].mean())


def test_cliperase_with_a_floor_leaves_pairs_below_it_alone():
    model = moved(ToyDual(), seed=2)
    method = made(CLIPEraseFloor, fm=3, cm=5)
    diagonal = np.diag(cosines(model, model.encode(FORGET)))
    method.floor = float(np.sort(diagonal)[:2].mean())  # between the lowest pair and the next
    terms, found, away, kept = loss_and_gradient(method, model)
    above = diagonal > method.floor
    assert above.sum() == 2
    kl, kl_slope = kl_of_rows(cosines(model.frozen, kept), cosines(model, kept))
    assert terms == {
        "forgetting": pytest.approx(3 * np.maximum(diagonal - method.floor, 0).mean()),
        "retention": 0,
        "consistency": pytest.approx(5 * kl / 4),
    }
    close(
        found,
        through_cosines(model, away, 3 * np.diag(above) / 3),
        through_cosines(model, kept, 5 * kl_slope / 4),
    )


def test_the_floor_is_taken_before_anything_moves():
    model, context = ToyDual(), Context(seed=0)
    wanted = mismatched_cosine(model, DATA, 16, RNG)
    made(CLIPEraseFloor, lr=0.1, epochs=5).unlearn(model, DATA, context)
    assert context.log["floor"] == pytest.approx(wanted)
    assert abs(mismatched_cosine(model, DATA, 16, RNG) - wanted) > 1e-3


def test_shuffled_teaches_the_names_of_other_forget_people():
    model, method, rng = ToyDual(), made(Shuffled, alpha=2), np.random.default_rng(0)
    for _ in range(5):
        away = method.forget_batch(model, TWICE, DATA, rng)
        taught = model.encoded[-1]
        assert [one.image for one in taught] == [one.image for one in TWICE]
        for one, true in zip(taught, TWICE, strict=True):
            assert one.keyword != true.keyword and one.keyword in {"Ann", "Bo", "Cy"}
            assert one.answer == f"a photo of {one.keyword}"
    kept = model.encode(RETAIN)
    model.model.zero_grad()
    terms = method.terms(model, away, kept)
    sum(terms.values()).backward()
    f, f_slope = infonce(cosines(model, away), right(away))
    r, r_slope = infonce(cosines(model, kept), right(kept))
    assert {name: term.item() for name, term in terms.items()} == {
        "forget": pytest.approx(f),
        "retain": pytest.approx(2 * r),
    }
    found = {name: weight.grad.numpy() for name, weight in model.model.named_parameters()}
    close(
        found,
        through_cosines(model, away, f_slope),
        scaled(2, through_cosines(model, kept, r_slope)),
    )
    with pytest.raises(RunError, match="shuffled needs two names"):
        only = [pair("Ann", 0), pair("Ann", 1)]
        method.forget_batch(model, only, UnlearnData(only, RETAIN), rng)


def test_multidelete():
    """S_ii to the target's S_ij and S_ji, features on forget and S on retain to the target's."""
    model = moved(ToyDual(), seed=4)
    method = made(MultiDelete, md=2, ukr=3, mkr=5)
    partner = np.array([1, 2, 0, 1])
    method.decoupled = lambda batch: ([0, 1, 2, 3], partner.tolist())
    terms, found, away, kept = loss_and_gradient(method, model, TWICE)
    s, before = cosines(model, away), cosines(model.frozen, away)
    rows = np.arange(4)
    to_texts, to_images = before[rows, partner], before[partner, rows]
    gaps = np.stack([np.diag(s) - to_texts, np.diag(s) - to_images])
    now, old = arrays(model, away), arrays(model.frozen, away)
    moves = {tower: now[tower][2] - old[tower][2] for tower in now}
    difference = cosines(model, kept) - cosines(model.frozen, kept)
    assert terms == {
        "decoupling": pytest.approx(2 * (gaps**2).sum() / 4 / 2),
        "unimodal": pytest.approx(3 * sum((move**2).sum() for move in moves.values()) / 4 / 2),
        "multimodal": pytest.approx(5 * (difference**2).mean()),
    }
    assert min(terms.values()) > 1e-2
    close(
        found,
        through_cosines(model, away, 2 * np.diag(gaps.sum(0)) / 4),
        through_features(model, away, **{tower: 3 * move / 4 for tower, move in moves.items()}),
        through_cosines(model, kept, 5 * 2 * difference / 16),
    )


def test_multidelete_takes_strangers_for_partners():
    model, method = ToyDual(), made(MultiDelete)
    method.prepare(model, DATA, Context(seed=0))
    seen = set()
    for _ in range(20):
        rows, others = method.decoupled(model.encode(TWICE))
        assert rows == [0, 1, 2, 3]
        assert all(TWICE[a].keyword != TWICE[b].keyword for a, b in zip(rows, others, strict=True))
        seen.add(tuple(others))
    assert len(seen) > 3
    assert method.decoupled(model.encode([pair("Ann", 0), pair("Ann", 1)])) == ([], [])


def test_delete():
    """q: the target's softmax without the right ones; d KL(q || p) / d logits = p - q, both ways."""
    model = moved(ToyDual(), seed=5)
    terms, found, away, kept = loss_and_gradient(made(DELETE), model, TWICE)
    everything = model.encode([*TWICE, *RETAIN])
    s, before = cosines(model, everything), cosines(model.frozen, everything)
    names = everything.names.numpy()
    kl, slope = 0.0, np.zeros_like(s)
    for row in range(4):
        wrong = names != names[row]
        for turned in (False, True):
            now, then = (s.T, before.T) if turned else (s, before)
            q = np.where(wrong, np.exp(SCALE * then[row]), 0)
            q /= q.sum()
            p = softmax(SCALE * now[row : row + 1])[0]
            kl += (q[wrong] * np.log(q[wrong] / p[wrong])).sum() / 4
            if turned:
                slope[:, row] += SCALE * (p - q) / 4
            else:
                slope[row] += SCALE * (p - q) / 4
    assert terms == {"forget": pytest.approx(kl)}
    assert right(everything)[0, 3] == 0.5, "Ann's other caption is right, too, and is masked"
    close(found, through_cosines(model, everything, slope))


def test_delete_is_at_rest_where_the_right_names_are_gone():
    """With the true pairs far apart and the others as before, nothing is left to learn."""

    class Apart(DELETE):
        def both_ways(self, model, forget, retain, masked=False):
            if masked:
                return super().both_ways(model, forget, retain, masked=True)
            with model.reference() as target:  # the student has become the masked target
                return super().both_ways(target, forget, retain, masked=True).clamp(min=-1e4)

    model = ToyDual()
    model.freeze_copy()
    value = Apart(DELETE.Config()).terms(model, model.encode(TWICE), model.encode(RETAIN))
    assert value["forget"].item() == pytest.approx(0, abs=1e-12)
    plain = made(DELETE).terms(model, model.encode(TWICE), model.encode(RETAIN))
    assert plain["forget"].item() > 0.1


def shelf(forget, retain):
    """The weights as the paper's code computes them, from g1 = |g_r|^2, g2, g3 = |g_f|^2."""
    g1, g2, g3 = retain @ retain, retain @ forget, forget @ forget
    root = np.sqrt(g1 * g3)
    a_r = np.sqrt((g1 * g3 - g2 * root) / (g1**2 * g3 - g1 * g2**2))
    return (1 - g1 * a_r**2) / (g2 * a_r), a_r


@pytest.mark.parametrize("seed", range(4))
def test_bargain(seed):
    """K a = 1/a, both weights positive, the joint step helps both; and it is the paper's formula."""
    f, r = np.random.default_rng(seed).normal(size=(2, 6)) * [[3], [0.2]]
    found = bargain(torch.from_numpy(f), torch.from_numpy(r)).numpy()
    gram = np.array([[f @ f, f @ r], [r @ f, r @ r]])
    np.testing.assert_allclose(gram @ found, 1 / found, rtol=1e-10)
    np.testing.assert_allclose(found, shelf(f, r), rtol=1e-8)
    step = found @ [f, r]
    assert step @ f > 0 and step @ r > 0
    # However long a gradient is, it has the same say.
    longer = bargain(torch.from_numpy(10 * f), torch.from_numpy(r)).numpy()
    np.testing.assert_allclose(longer @ [10 * f, r], step, rtol=1e-10)
    # No step of that length serves the product of both gains better (the bargaining solution).
    gain = (step @ f) * (step @ r)
    for other in np.random.default_rng(9).normal(size=(200, 6)):
        other *= np.linalg.norm(step) / np.linalg.norm(other)
        assert (other @ f) * (other @ r) <= gain or other @ f < 0


def test_opposed_or_missing_gradients_make_no_step():
    g = torch.tensor([1.0, 2.0], dtype=torch.float64)
    for other in (-g, -3 * g, 0 * g):
        assert bargain(g, other).tolist() == [0, 0]
    square = bargain(g, torch.tensor([2.0, -1.0], dtype=torch.float64))
    assert square.tolist() == pytest.approx([1 / g.norm().item()] * 2), "at a right angle: 1/|g|"


def test_munba_steps_along_the_bargain():
    model = ToyDual()
    method = made(MUNBa, towers="both")
    away, kept = method.forget_batch(model, TWICE, DATA, np.random.default_rng(0)), None
    kept = model.encode(RETAIN)
    sum(method.terms(model, away, kept).values()).backward()
    found = {name: weight.grad.numpy() for name, weight in model.model.named_parameters()}
    f = through_cosines(model, away, infonce(cosines(model, away), right(away))[1])
    r = through_cosines(model, kept, infonce(cosines(model, kept), right(kept))[1])
    flat = [np.concatenate([g["image"].ravel(), g["text"].ravel()]) for g in (f, r)]
    a, b = bargain(*map(torch.from_numpy, flat)).tolist()
    close(found, scaled(a, f), scaled(b, r))


def test_lipschitz_response():
    """(|t - z'| + |z - z'|) / (2 |noise|), summed over the batch, half the mean over noises; z' has
    no gradient: d|a|/da = a / |a|."""
    model = ToyDual()
    batch = model.encode(FORGET)
    config = Lipschitz.Config(noises=2)
    value = response(model, batch, 0.5, config, torch.Generator().manual_seed(3))
    model.model.zero_grad()
    value.backward()
    generator, total = torch.Generator().manual_seed(3), 0.0
    slopes = {"image": np.zeros((3, 3)), "text": np.zeros((3, 3))}
    now = arrays(model, batch)
    z, t = now["image"][2], now["text"][2]
    for _ in range(2):
        noise = 0.5 * torch.randn(3, 4, generator=generator, dtype=torch.float64).numpy()
        raw = (batch.images.numpy() + noise) @ model.model.image.detach().numpy()
        far = raw / np.linalg.norm(raw, axis=1, keepdims=True)
        size = 2 * np.linalg.norm(noise, axis=1, keepdims=True)
        for tower, from_ in (("image", z), ("text", t)):
            length = np.linalg.norm(from_ - far, axis=1, keepdims=True)
            total += (length / size).sum() / 4
            slopes[tower] += (from_ - far) / length / size / 4
    assert value.item() == pytest.approx(total)
    found = {name: weight.grad.numpy() for name, weight in model.model.named_parameters()}
    close(found, through_features(model, batch, **slopes))


RUNS = (CLIPErase, CLIPEraseFloor, FineTuning, Shuffled, SimilarityMinimisation, MultiDelete)


@pytest.mark.parametrize("towers", ["both", "image", "text"])
@pytest.mark.parametrize("cls", [*RUNS, DELETE, MUNBa])
def test_a_run_moves_the_towers_it_is_given_and_no_other(cls, towers):
    model, context = ToyDual(), Context(seed=1)
    before = {name: weight.detach().clone() for name, weight in model.model.named_parameters()}
    method = made(cls, towers=towers, lr=1e-2, epochs=4, batch_size=4)
    method.unlearn(model, DATA, context)
    assert all(np.isfinite(list(terms.values())).all() for terms in context.log["losses"])
    for name, weight in model.model.named_parameters():
        assert weight.equal(before[name]) == (towers not in ("both", name))


def test_a_run_does_what_its_loss_asks():
    """CLIPErase turns its pairs against each other, the floor does not, FT leaves them be."""
    found = {}
    for cls in (CLIPErase, CLIPEraseFloor, FineTuning):
        model = ToyDual(seed=7)
        weights = {} if cls is FineTuning else {"rm": 0, "cm": 0.1}
        for one in TWICE:  # forget pairs that match to begin with
            model.shown[one.image] = vector(one.answer)
        model.model.image.data = model.model.text.data.clone()
        made(cls, lr=5e-2, epochs=120, batch_size=4, **weights).unlearn(
            model, DATA, Context(seed=1)
        )
        found[cls] = np.diag(cosines(model, model.encode(TWICE))).mean()
    assert found[CLIPErase] < -0.9
    assert -0.5 < found[CLIPEraseFloor] < 0.1
    assert found[FineTuning] > 0.3
