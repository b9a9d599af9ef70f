"""Masks: selection without sorting, storage by the bit, closed forms of every score, no leaks."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from methods.by_hand import nll_by_hand, table
from methods.toy import FORGET, LENGTH, QUESTIONS, RETAIN, WORDS, Toy, example, forget, retain
from mubench.errors import RunError
from mubench.methods import masks
from mubench.methods.base import Context, GradientConfig, UnlearnData
from mubench.methods.ga import GradientAscent
from mubench.methods.grad_diff import GradientDifference
from mubench.methods.idk import IDK
from mubench.methods.masks import selection
from mubench.methods.masks.packed import Packed, block, pack, unpack
from mubench.methods.mmunlearner import MMUnlearner
from mubench.methods.npo import NPO
from mubench.methods.salun import SalUn
from mubench.methods.wagle import WAGLE
from tiny_models import examples, of_modality, tiny_llava

DATA = UnlearnData(
    [*forget(), *forget("image_text")], [*retain(), *retain("image_text")], ("12", "0", "44")
)


# -- selection ------------------------------------------------------------------------------------


def scores_of(seed, sizes, spread=10.0):
    rng = np.random.default_rng(seed)
    made = {
        name: torch.from_numpy(np.exp(spread * rng.normal(size=size))).float()
        for name, size in sizes.items()
    }
    return made, made.__getitem__


@pytest.mark.parametrize("density", [0.0, 0.01, 0.5, 0.95, 1.0])
@pytest.mark.parametrize("spread", [0.001, 10.0])
def test_the_top_share_is_that_of_a_sort(density, spread):
    sizes = {"a.0.w": 1003, "a.1.w": 17, "b.w": 4096}
    made, score = scores_of(1, sizes, spread)
    found = selection.top(score, sizes, density)
    together = torch.cat([unpack(found[name], size) for name, size in sizes.items()])
    flat = torch.cat(list(made.values()))
    wanted = torch.zeros(len(flat), dtype=torch.bool)
    wanted[flat.argsort(descending=True)[: round(density * len(flat))]] = True
    assert together.equal(wanted)


def test_equal_scores_are_taken_in_order_until_the_share_is_reached():
    sizes = {"a": 10, "b": 10}
    score = {"a": torch.zeros(10), "b": torch.cat([torch.ones(2), torch.zeros(8)])}.__getitem__
    found = selection.top(score, sizes, 0.25)
    assert unpack(found["a"], 10).tolist() == [True] * 3 + [False] * 7
    assert unpack(found["b"], 10).tolist() == [True] * 2 + [False] * 8


def test_a_block_has_its_own_threshold_and_scores_of_other_scales_no_say():
    sizes = {"m.layers.0.q": 64, "m.layers.0.k": 64, "m.layers.1.q": 64, "m.head": 32}
    made, score = scores_of(2, sizes)
    for name in ("m.layers.1.q",):
        made[name] *= 1e12
    share = {
        per_block: {
            name: unpack(bits, sizes[name]).float().mean().item()
            for name, bits in selection.top(score, sizes, 0.5, per_block=per_block).items()
        }
        for per_block in (False, True)
    }
    assert share[False]["m.layers.1.q"] == 1
    assert share[True]["m.layers.1.q"] == share[True]["m.head"] == 0.5
    assert share[True]["m.layers.0.q"] + share[True]["m.layers.0.k"] == 1


def test_blocks_are_numbered_layers_or_the_module_around():
    assert (
        block("model.language_model.layers.11.mlp.up_proj.weight")
        == "model.language_model.layers.11"
    )
    assert block("model.projector.linear_1.bias") == "model.projector.linear_1"
    assert block("logits") == "logits"


def test_the_median_is_exact():
    made, score = scores_of(3, {"a": 51, "b": 50})
    wanted = torch.cat(list(made.values())).sort().values[50].item()
    assert selection.median(score, {"a": 51, "b": 50}) == wanted


def test_nothing_is_sorted(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("sorted")

    for name in ("sort", "argsort", "topk", "kthvalue", "quantile"):
        monkeypatch.setattr(torch, name, refuse)
        monkeypatch.setattr(torch.Tensor, name, refuse)
    sizes = {"a": 1000, "b": 500}
    _, score = scores_of(4, sizes)
    found = selection.top(score, sizes, 0.5)
    assert sum(int(unpack(bits, sizes[name]).sum()) for name, bits in found.items()) == 750


def test_scores_that_are_no_numbers_are_refused():
    with pytest.raises(RunError, match="not a number"):
        selection.top(lambda _: torch.tensor([1.0, math.nan]), {"a": 2}, 0.5)


# -- storage --------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 1000])
def test_packing_comes_back(count):
    mask = torch.from_numpy(np.random.default_rng(count).random(count) < 0.3)
    assert unpack(pack(mask), count).equal(mask)
    assert pack(mask).numel() == -(-count // 8)


def test_a_mask_of_a_real_model_takes_a_bit_a_weight():
    model = tiny_llava()
    parameters = dict(model.model.named_parameters())
    bits = {n: pack(torch.ones_like(p, dtype=torch.bool)) for n, p in parameters.items()}
    packed = Packed(parameters, bits)
    assert packed.bits_per_weight <= 1
    assert packed.density() == 1
    assert sum(b.element_size() * b.numel() for b in bits.values()) * 8 <= packed.count


def held_weights(optimizer_of, steps=3):
    torch.manual_seed(0)
    layer = nn.Linear(6, 5).double()
    names = dict(layer.named_parameters())
    masks_ = {n: torch.rand(p.shape) < 0.5 for n, p in names.items()}
    packed = Packed(names, {n: pack(m) for n, m in masks_.items()})
    before = {n: p.detach().clone() for n, p in names.items()}
    optimizer = optimizer_of(layer.parameters())
    for _ in range(2):  # momentum everywhere, from steps that are free
        layer(torch.randn(4, 6).double()).square().sum().backward()
        optimizer.step()
    middle = {n: p.detach().clone() for n, p in names.items()}
    for _ in range(steps):
        optimizer.zero_grad()
        layer(torch.randn(4, 6).double()).square().sum().backward()
        with packed.held():
            optimizer.step()
    return names, masks_, before, middle


@pytest.mark.parametrize(
    "optimizer_of",
    [
        lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.5),
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.5),
    ],
)
def test_neither_weight_decay_nor_momentum_leaks_into_held_weights(optimizer_of):
    names, masks_, before, middle = held_weights(optimizer_of)
    for name, parameter in names.items():
        free = masks_[name]
        assert parameter[~free].equal(middle[name][~free])
        assert (parameter[free] != middle[name][free]).all()
        assert (middle[name] != before[name]).all()


# -- scores ---------------------------------------------------------------------------------------


def chosen(cls, settings=None, model=None, data=DATA, seed=0):
    model = model or Toy()
    context = Context(seed=seed)
    method = cls(cls.Config(scope="full", **(settings or {})))
    method.prepare(model, data, context)
    model.train_scope("full")
    return masks.build(method, model, data, data, context), context


def example_slopes(z, answers):
    """Sum over questions of d (mean token nll) / dz: each question its own mean."""
    return sum(nll_by_hand(z, {q: a})[1] for q, a in answers.items())


def highest(score, density):
    count = round(density * score.size)
    mask = np.zeros(score.size, dtype=bool)
    mask[np.argsort(-score.ravel(), kind="stable")[:count]] = True
    return mask.reshape(score.shape)


class Mixed(Toy):
    """Every question's logits are a sum of shared and own ones: gradients meet in one weight."""

    def __init__(self, seed=0):
        super().__init__(seed)
        rng = np.random.default_rng(seed + 1)
        self.model.mix = torch.from_numpy(rng.normal(size=(len(QUESTIONS), len(QUESTIONS))))
        self.model.forward = lambda rows: torch.einsum(
            "bq,qlw->blw", self.model.mix[rows], self.model.logits
        )


def mixed_slopes(model, answers):
    mix = model.model.mix.numpy()
    z = np.einsum("bq,qlw->blw", mix, table(model))
    return np.einsum("bq,blw->qlw", mix, example_slopes(z, answers))


@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_wagle_is_the_closed_form_whatever_the_batch_size(batch_size):
    model = Mixed()
    gamma, density = 0.8, 0.35
    mask, context = chosen(
        NPO,
        {"mask": "wagle", "mask_gamma": gamma, "mask_density": density, "batch_size": batch_size},
        model,
    )
    rng = Context(seed=0).generator("mask pairs")
    pools = {m: [e for e in DATA.retain if e.modality == m] for m in ("text", "image_text")}
    paired = [pools[e.modality][rng.integers(2)] for e in DATA.forget]
    away = 2 * mixed_slopes(model, FORGET)  # both modalities read one table
    stay = sum(mixed_slopes(model, {e.question: e.answer}) for e in paired)
    score = np.abs((table(model) - stay / gamma) * away)
    assert np.array_equal(mask["logits"].numpy(), highest(score.astype(np.float32), density))
    told = context.log["mask"]
    assert told["density"] == pytest.approx(density, abs=0.01)
    ratio = np.median(np.abs(stay)) / gamma / np.median(np.abs(table(model)))
    assert told["regime"] == pytest.approx(math.log(ratio), abs=0.2)  # upper median
    json.dumps(told, allow_nan=False)


def test_wagle_without_curvature_is_snip_and_with_little_the_two_gradients_product():
    model = Mixed()
    away = 2 * mixed_slopes(model, FORGET)
    snip, _ = chosen(NPO, {"mask": "wagle", "mask_gamma": 1e30, "mask_density": 0.3}, model)
    wanted = highest(np.abs(table(model) * away).astype(np.float32), 0.3)
    assert np.array_equal(snip["logits"].numpy(), wanted)
    released, context = chosen(NPO, {"mask": "wagle", "mask_density": 0.3}, model)
    assert context.log["mask"]["regime"] > 5
    assert not np.array_equal(released["logits"].numpy(), wanted)


def test_wagle_scores_a_method_that_teaches_refusals_on_the_refusals():
    data = UnlearnData(DATA.forget, DATA.retain, ("20",))
    settings = {"mask": "wagle", "mask_gamma": 1e30, "mask_density": 0.3}
    model = Mixed()
    mask, _ = chosen(IDK, settings, model, data)
    away = 2 * mixed_slopes(model, dict.fromkeys(FORGET, "20"))
    score = np.abs(table(model) * away).astype(np.float32)
    assert np.array_equal(mask["logits"].numpy(), highest(score, 0.3))


def test_salun_takes_the_larger_half_of_the_forget_gradient():
    model = Mixed()
    mask, _ = chosen(GradientAscent, {"mask": "salun"}, model)
    score = np.abs(2 * mixed_slopes(model, FORGET)).astype(np.float32)
    assert np.array_equal(mask["logits"].numpy(), highest(score, 0.5))


def test_mmunlearner_compares_pictures_to_forget_with_all_that_stays():
    """Batches of one: F is the mean over questions of the squared slope. What is told of the
    forget people in text stays too."""
    model = Mixed()
    told = {"f0": "211", "f1": "02"}
    data = UnlearnData(
        [*forget("image_text"), *(example(q, a) for q, a in told.items())], DATA.retain
    )
    mask, _ = chosen(GradientDifference, {"mask": "mmunlearner", "batch_size": 1}, model, data)

    def fisher(answers):
        return np.mean([mixed_slopes(model, {q: a}) ** 2 for q, a in answers], axis=0)

    shown = fisher(FORGET.items())
    kept = fisher([*told.items(), *RETAIN.items(), *RETAIN.items()])
    assert np.array_equal(mask["logits"].numpy(), shown + 1e-15 >= kept + 1e-15)
    others = fisher(RETAIN.items())
    assert not np.array_equal(mask["logits"].numpy(), shown >= others)
    assert mask.forget_only
    assert 0 < mask.density() < 1


def test_mmunlearner_needs_pictures_to_forget():
    data = UnlearnData(forget(), retain())
    with pytest.raises(RunError, match=r"mmunlearner needs image\+text"):
        chosen(GradientAscent, {"mask": "mmunlearner"}, data=data)


def test_controls():
    model = Toy()
    mask, _ = chosen(GradientAscent, {"mask": "magnitude", "mask_density": 0.2}, model)
    assert np.array_equal(
        mask["logits"].numpy(), highest(np.abs(table(model)).astype(np.float32), 0.2)
    )
    drawn = [
        chosen(GradientAscent, {"mask": "random", "mask_density": 0.2}, seed=seed)[0]["logits"]
        for seed in (0, 0, 1)
    ]
    assert drawn[0].equal(drawn[1])
    assert not drawn[0].equal(drawn[2])
    assert drawn[0].sum() == round(0.2 * drawn[0].numel())


def test_scoring_leaves_no_gradient_and_no_change_behind():
    model = Mixed()
    before = table(model)
    for name in masks.MASKS:
        chosen(GradientAscent, {"mask": name}, model)
        assert model.model.logits.grad is None
    assert np.array_equal(table(model), before)


def test_text_passes_do_not_count_where_they_do_not_reach():
    """The projector is judged by pictures alone: its mean is over the batches it takes part in."""
    model = tiny_llava()
    made = SimpleNamespace(config=GradientConfig(scope="full", batch_size=2))
    model.train_scope("full")
    people = examples()
    data = UnlearnData(people, people)
    mask = masks.import_module("mubench.methods.masks.base").Mask(
        made, model, data, data, Context(seed=0)
    )
    everything = mask.squared_gradients(people)
    pictures = mask.squared_gradients(of_modality(people, "image_text"))
    name = next(name for name in pictures if "projector" in name)
    torch.testing.assert_close(everything[name], pictures[name], rtol=1e-3, atol=1e-12)
    layer = next(name for name in pictures if "layers.0" in name)
    assert not torch.allclose(everything[layer], pictures[layer], rtol=1e-2)


# -- runs -----------------------------------------------------------------------------------------


def run(cls, model, **settings):
    context = Context(seed=0)
    config = cls.Config(
        **(
            {"scope": "full", "lr": 0.05, "epochs": 4, "batch_size": 2, "weight_decay": 0.3}
            | settings
        )
    )
    cls(config).unlearn(model, DATA, context)
    return context.log


@pytest.mark.parametrize("name", ["wagle", "salun", "random", "magnitude"])
@pytest.mark.parametrize("cls", [GradientAscent, GradientDifference, NPO, IDK])
def test_held_weights_end_where_they_began_and_free_ones_do_not(cls, name):
    model, twin = Mixed(), Mixed()
    before = table(model)
    log = run(cls, model, mask=name, mask_density=0.4, mask_gamma=1.0)
    free = table(model) != before
    assert 0 < free.mean() <= log["mask"]["density"] == pytest.approx(0.4, abs=0.01)
    assert free.mean() > 0.35
    run(cls, twin)
    assert (table(twin) != before).all()  # without a mask every weight moves


def test_mmunlearner_holds_on_forget_steps_and_lets_retain_steps_go():
    model = Mixed()
    snapshots = [table(model)]
    context = Context(
        seed=0, report=lambda done, total, note: "loss" in note and snapshots.append(table(model))
    )
    settings = {"lr": 0.05, "epochs": 2, "batch_size": 2, "weight_decay": 0.3, "warmup": 0}
    method = MMUnlearner(MMUnlearner.Config(**settings))
    method.unlearn(model, DATA, context)
    log = context.log
    assert log["order"] == "alternating"
    kinds = [set(step) for step in log["losses"]]
    assert kinds == [{"forget"}, {"retain"}] * 2
    assert 0.1 < log["mask"]["density"] < 0.9
    for before, after, kind in zip(snapshots, snapshots[1:], kinds, strict=False):
        wanted = log["mask"]["density"] if kind == {"forget"} else 1
        assert (before != after).mean() == pytest.approx(wanted)
    assert {e.modality for made, _ in model.encoded[-4:] for e in made} == {"image_text"}


@pytest.mark.parametrize(
    ("cls", "mask"), [(WAGLE, "wagle"), (SalUn, "salun"), (MMUnlearner, "mmunlearner")]
)
def test_named_methods_are_a_loss_and_a_mask(cls, mask):
    config = cls.Config()
    assert (config.mask, config.scope) == (mask, "full")
    assert run(cls, Mixed())["mask"]["name"] == mask


def test_a_mask_refuses_lora_in_one_line():
    with pytest.raises(ValueError, match=r"mask=wagle .* add --set method.scope=full"):
        GradientConfig(mask="wagle")


def test_shapes():
    assert table(Mixed()).shape == (len(QUESTIONS), LENGTH, WORDS)
