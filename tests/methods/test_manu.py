"""MANU: importance against numbers worked out by hand, and planted units found and pruned."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch

from mubench.methods import activations, manu_official
from mubench.methods.base import Context, UnlearnData
from mubench.methods.manu import MANU
from mubench.methods.manu_official import MANUOfficial
from tiny_models import examples, of_modality, picture, tiny_llava, tiny_qwen

FORGET_PEOPLE = ("Anna Berg", "Bo Lindqvist")
RETAIN_PEOPLE = ("Carla Nunez", "Dov Amsel")


def data() -> UnlearnData:
    return UnlearnData(examples(FORGET_PEOPLE), examples(RETAIN_PEOPLE, set="retain"))


def snapshot(model) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.model.state_dict().items()}


# -- the formulas ---------------------------------------------------------------------------------

#: Two samples of three units, with a picture and without.
#: Unit 0 is alive in both forms, unit 1 sees pictures only, unit 2 says the same in both.
MULTI = torch.tensor([[1.0, 0.05, 2.0], [3.0, 0.2, 2.0]])
TEXT = torch.tensor([[-1.0, 0.0, 2.0], [1.0, 0.0, 2.0]])


def test_moments_by_hand():
    """mean |z|; count of |z| > 0.1; mean (z - mean |z|)^2; sum z^2."""
    method = MANU(MANU.Config(tau=0.1))
    multi = {key: value.tolist() for key, value in method.moments(MULTI).items()}
    assert multi["mean"] == pytest.approx([2, 0.125, 2])
    assert multi["active"] == [2, 1, 2]
    assert multi["variance"] == pytest.approx([1, 0.075**2, 0])
    assert multi["energy"] == pytest.approx([10, 0.0425, 8])
    text = {key: value.tolist() for key, value in method.moments(TEXT).items()}
    assert text["mean"] == pytest.approx([1, 0, 2])
    assert text["active"] == [2, 0, 2]
    # Around mean |z| = 1 the samples -1 and 1 lie at -2 and 0: the mean square is 2.
    assert text["variance"] == pytest.approx([2, 0, 0])
    assert text["energy"] == pytest.approx([2, 0, 8])


def importance(multi, text, **settings):
    method = MANU(MANU.Config(**settings))
    method._moments = lambda model, blocks, z: {"block": method.moments(z)}
    return method.importance(None, [SimpleNamespace(name="block")], multi, text)["block"].tolist()


def test_importance_by_hand():
    found = importance(MULTI, TEXT)
    alive = (2 - 1) / 3 + 0 + math.sqrt(1 + 2) + math.sqrt((10 - 2) / 12)
    seeing = 1 + 1 + 0.075 + 1
    assert found == pytest.approx([alive, seeing, 0], abs=1e-4)


@pytest.mark.parametrize(
    ("name", "multi", "text", "wanted"),
    [
        # every term alone: the other three are made equal, or zero, in both forms
        ("abs", [[3.0], [-1.0]], [[math.sqrt(5)], [math.sqrt(5)]], None),
        ("freq", [[1.0], [0.0]], [[0.05], [0.0]], None),
        ("rms", [[3.0], [1.0]], [[2.0], [2.0]], None),
        ("variance", [[2.0], [-2.0]], [[2.0], [-2.0]], math.sqrt(8 + 8)),
        ("nothing", [[2.0], [2.0]], [[2.0], [2.0]], 0.0),
        ("silent", [[0.0], [0.0]], [[0.0], [0.0]], 0.0),
    ],
)
def test_importance_term_by_term(name, multi, text, wanted):
    if name == "abs":
        # means 2 and sqrt 5, energies 10 and 10, counts 2 and 2, variances (1 + 9) / 2 and 0
        wanted = (math.sqrt(5) - 2) / (math.sqrt(5) + 2) + math.sqrt(5)
    if name == "rms":
        # means 2 and 2, counts 2 and 2, variances 1 and 0, energies 10 and 8
        wanted = 1 + math.sqrt(2 / 18)
    if name == "freq":
        # means .5 and .025, counts 1 and 0, variances .25 and .025^2, energies 1 and .0025
        wanted = 0.475 / 0.525 + 1 + math.sqrt(0.25 + 0.025**2) + math.sqrt(0.9975 / 1.0025)
    assert importance(torch.tensor(multi), torch.tensor(text))[0] == pytest.approx(wanted, abs=1e-4)


def test_activity_counts_above_tau_only():
    one, two = torch.tensor([[0.4], [0.6]]), torch.tensor([[0.4], [0.4]])
    for tau, counts in ((0.1, (2, 2)), (0.5, (1, 0)), (0.7, (0, 0))):
        method = MANU(MANU.Config(tau=tau))
        assert [method.moments(z)["active"].item() for z in (one, two)] == list(counts)


@torch.no_grad()
def test_activations_are_pooled_over_answer_positions_and_patches():
    """Against hooks of this test's own, one example at a time, so that no padding is there."""
    model = tiny_llava()
    blocks = model.neurons()
    method = MANU(MANU.Config(batch_size=3))
    for modality in ("image_text", "text"):
        chosen = of_modality(examples(), modality)
        rows = {block.name: [] for block in blocks}
        seen = {}
        handles = [
            model.module(block.down).register_forward_pre_hook(
                lambda _, args, name=block.name, seen=seen: seen.update({name: args[0][0]})
            )
            for block in blocks
        ]
        for example in chosen:
            seen.clear()
            batch = model.encode([example])
            model.logp(batch)
            predicts = (batch.labels[0] != -100).nonzero().flatten() - 1
            for block in blocks:
                if block.tower == "language":
                    rows[block.name].append(seen[block.name][predicts].mean(0))
                elif modality == "image_text":
                    rows[block.name].append(seen[block.name].mean(0))
                else:
                    assert block.name not in seen
                    rows[block.name].append(torch.zeros(block.count))
        for handle in handles:
            handle.remove()
        found = method._moments(model, blocks, chosen)
        for block in blocks:
            wanted = method.moments(torch.stack(rows[block.name]))
            for key, value in wanted.items():
                torch.testing.assert_close(found[block.name][key], value, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_pictures_of_different_sizes_are_pooled_apart():
    """A family with grids lays the patches of all pictures of a batch in one row."""
    sizes = {"Anna Berg": (112, 56), "Bo Lindqvist": (56, 56)}
    model = tiny_qwen(images=lambda name: picture(name, sizes[name]))
    chosen = of_modality(examples(tuple(sizes)), "image_text")[::2]
    blocks = [block for block in model.neurons() if block.tower == "vision"]
    together = MANU(MANU.Config(batch_size=2))._moments(model, blocks, chosen)
    alone = MANU(MANU.Config(batch_size=1))._moments(model, blocks, chosen)
    for block in blocks:
        for key, value in alone[block.name].items():
            torch.testing.assert_close(together[block.name][key], value, rtol=1e-4, atol=1e-5)


# -- pairs and samples ----------------------------------------------------------------------------


def test_pairs_are_the_two_forms_of_one_question():
    made = examples()
    shown, told = activations.paired([*made[::-1], *of_modality(examples(set="other"), "text")])
    assert len(shown) == len(told) == len(made) // 2
    for one, other in zip(shown, told, strict=True):
        assert (one.modality, other.modality) == ("image_text", "text")
        assert (one.person, one.fact) == (other.person, other.fact)


def test_both_sets_are_seen_through_equally_many_questions_in_both_forms():
    model = tiny_llava()
    asked = {"forget": set(), "retain": set()}
    encode = model.encode

    def counting(batch, answers=None):
        for one in batch:
            asked[one.set].add((one.person, one.fact, one.modality))
        return encode(batch, answers)

    model.encode = counting
    MANU(MANU.Config(samples=3)).unlearn(model, data(), Context(seed=0))
    assert [len(found) for found in asked.values()] == [6, 6]


# -- planted units --------------------------------------------------------------------------------

PLANTED = {
    "model.language_model.layers.0.mlp": [5, 17],
    "model.language_model.layers.1.mlp": [0, 40, 41, 95],
    "model.vision_tower.encoder.layers.0.mlp": [63],
    "model.vision_tower.encoder.layers.1.mlp": [1, 2, 30],
}


def plant(model, forms=("image_text",)):
    """Make the planted units fire strongly, unevenly, for forget people in these forms alone."""
    strength = {"now": None}
    encode = model.encode

    def watched(batch, answers=None):
        fires = [one.set == "forget" and one.modality in forms for one in batch]
        strength["now"] = torch.tensor(
            [(600.0 if row % 2 else 200.0) if fire else 0.0 for row, fire in enumerate(fires)]
        )
        return encode(batch, answers)

    def fire(units):
        def hook(_, args):
            z = args[0].clone()
            z[..., units] += strength["now"].view(-1, 1, 1)
            return (z,)

        return hook

    model.encode = watched
    blocks = {block.name: block for block in model.neurons()}
    return [
        model.module(blocks[name].down).register_forward_pre_hook(fire(units))
        for name, units in PLANTED.items()
    ]


def test_planted_units_are_pruned_and_nothing_else_changes():
    model = tiny_llava()
    blocks = model.neurons()
    for block in blocks:  # faint outputs, so that what is planted here excites no unit further up
        model.module(block.down).weight.data[:, PLANTED[block.name]] *= 1e-6
    assert [sum(b.count for b in blocks if b.tower == t) for t in ("language", "vision")] == [
        192,
        128,
    ]
    expected = snapshot(model)
    for block in blocks:
        units = PLANTED[block.name]
        for up in block.up:
            expected[f"{up}.weight"][units] = 0
            if f"{up}.bias" in expected:
                expected[f"{up}.bias"][units] = 0
        expected[f"{block.down}.weight"][:, units] = 0
    handles = plant(model)
    context = Context(seed=0)
    # 1 in 32: 6 of 192 units of the language model and 4 of 128 of the vision tower
    MANU(MANU.Config(alpha=1 / 32, batch_size=4)).unlearn(model, data(), context)
    for handle in handles:
        handle.remove()
    found = model.model.state_dict()
    assert set(found) == set(expected)
    changed = [name for name, value in expected.items() if not found[name].equal(value)]
    assert changed == []
    assert context.log == {f"pruned {name}": len(units) for name, units in PLANTED.items()}


@pytest.mark.parametrize("forms", [("image_text",), ("text",), ("image_text", "text")])
def test_language_units_are_found_whatever_form_they_carry_a_fact_in(forms):
    """A unit that fires alike in both forms shows by its variance alone: the other terms are 0."""
    model = tiny_llava()
    planted = {name: units for name, units in PLANTED.items() if "language" in name}
    for block in model.neurons():
        model.module(block.down).weight.data[:, PLANTED[block.name]] *= 1e-6
    handles = plant(model, forms)
    MANU(MANU.Config(alpha=1 / 32, batch_size=4)).unlearn(model, data(), Context(seed=0))
    for handle in handles:
        handle.remove()
    assert {
        name: sorted(model.changes.zeroed["rows"][f"{name}.up_proj"]) for name in planted
    } == planted


def test_scoring_is_forward_only():
    model = tiny_llava()
    forward, seen = model.model.forward, []

    def counting(*args, **inputs):
        seen.append((torch.is_grad_enabled(), torch.is_inference_mode_enabled()))
        return forward(*args, **inputs)

    model.model.forward = counting
    MANU(MANU.Config(samples=4, batch_size=2)).unlearn(model, data(), Context(seed=0))
    # two sets of four questions in two forms, two at a time, each once
    assert seen == [(False, True)] * 8


@pytest.mark.parametrize("alpha", [0.001, 0.05, 0.3])
def test_the_budget_holds_in_each_tower(alpha):
    model = tiny_llava()
    before = snapshot(model)
    MANU(MANU.Config(alpha=alpha)).unlearn(model, data(), Context(seed=0))
    for tower in ("language", "vision"):
        blocks = [block for block in model.neurons() if block.tower == tower]
        silent = sum(
            int((~model.module(block.down).weight.any(0)).sum())
            - int((~before[f"{block.down}.weight"].any(0)).sum())
            for block in blocks
        )
        assert silent == max(1, round(alpha * sum(block.count for block in blocks)))


def test_no_hook_and_no_gradient_stays_behind():
    def hooks():
        return {name: len(module._forward_hooks) for name, module in model.model.named_modules()}

    model = tiny_llava()
    model.logp(model.encode(examples()[:1]))  # transformers sets up hooks of its own
    before = hooks()
    MANU(MANU.Config()).unlearn(model, data(), Context(seed=0))
    MANUOfficial(MANUOfficial.Config()).unlearn(model, data(), Context(seed=0))
    assert hooks() == before
    assert all(parameter.grad is None for parameter in model.model.parameters())


# -- as released ----------------------------------------------------------------------------------


@torch.no_grad()
def official_by_hand(model, tower, chosen, size, chunk):
    """Per matrix name: (mean |z|, std, rms) per output row, with plain loops over layers."""
    members = [block for block in model.neurons() if block.tower == tower]
    names = [name for block in members for name in (*block.up, block.down)]
    per_batch = {name: [] for name in names}
    for start in range(0, len(chosen), size):
        batch = model.encode(chosen[start : start + size])
        seen = {}
        handles = [
            model.module(name).register_forward_hook(
                lambda _, __, output, name=name, seen=seen: seen.update({name: output})
            )
            for name in names
        ]
        model.logp(batch)
        for handle in handles:
            handle.remove()
        for name in names:
            z = seen[name].clamp(-1e3, 1e3)  # [samples, tokens, rows]
            count = len(z)
            mean = z.sum(0) / count
            std = ((z - mean) ** 2).sum(0).div(max(count - 1, 1)).sqrt()
            per_batch[name].append((z.abs().sum(0) / count, std, ((z**2).sum(0) / count).sqrt()))
    statistics = {}
    for part in {name.split(".")[-1] for name in names}:
        layers = []
        for name in (name for name in names if name.endswith(f".{part}")):
            groups = [
                per_batch[name][at : at + chunk] for at in range(0, len(per_batch[name]), chunk)
            ]
            layers.append(
                [
                    torch.stack(
                        [torch.cat([b[k] for b in group]).mean(0) for group in groups]
                    ).mean(0)
                    for k in range(3)
                ]
            )
        statistics[part] = [torch.stack([layer[k] for layer in layers]).mean(0) for k in range(3)]
    return statistics


@pytest.mark.parametrize(("tower", "modality"), [("language", "text"), ("vision", "image_text")])
def test_official_statistics_equal_a_plain_recomputation(tower, modality, monkeypatch):
    monkeypatch.setattr(manu_official, "CHUNK", 2)
    model = tiny_llava(layers=4)
    chosen = of_modality(examples(), modality)[:7]  # batches 2 2 2 1: two chunks, one row left over
    blocks = [block for block in model.neurons() if block.tower == tower]
    found = MANUOfficial(MANUOfficial.Config(batch_size=2))._statistics(model, blocks, chosen)
    wanted = official_by_hand(model, tower, chosen, size=2, chunk=2)
    assert set(found) == set(wanted)
    for part, three in wanted.items():
        for one, other in zip(found[part], three, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_official_prunes_the_same_top_rows_in_the_last_three_layers():
    model = tiny_llava(layers=5)
    before = snapshot(model)
    given = data()
    context = Context(seed=0)
    wanted = {}
    for tower, modality in (("vision", "image_text"), ("language", "text")):
        # all examples in one batch: the order in which they are drawn cannot matter
        f, r = (
            official_by_hand(model, tower, of_modality(list(part), modality), 8, 10)
            for part in (given.forget, given.retain)
        )
        score = {
            part: sum(2 * (f[part][k] / (r[part][k] + 1e-5) - 1) for k in range(3)) for part in f
        }
        ranked = torch.cat(list(score.values())).repeat(3).sort(descending=True).values
        threshold = ranked[max(1, round(0.1 * len(ranked))) - 1].item()
        wanted[tower] = {part: values >= threshold - 1e-4 for part, values in score.items()}
        near = [(values - threshold).abs() for values in score.values()]
        assert sum(int((distance < 2e-4).sum()) for distance in near) == 1  # no row is in doubt
    MANUOfficial(MANUOfficial.Config(alpha=0.1, batch_size=8)).unlearn(model, given, context)
    expected = before
    for block in model.neurons():
        if block.layer < 2:
            continue
        for name in (*block.up, block.down):
            rows = wanted[block.tower][name.split(".")[-1]]
            expected[f"{name}.weight"][rows] = 0
            if f"{name}.bias" in expected:
                expected[f"{name}.bias"][rows] = 0
            assert context.log[f"pruned {name}"] == int(rows.sum())
    found = model.model.state_dict()
    assert [name for name, value in expected.items() if not found[name].equal(value)] == []
    assert len(context.log) == 3 * (3 + 2)


def test_official_sees_pictures_in_the_vision_tower_and_text_in_the_language_model():
    model = tiny_llava()
    watched = []
    original = MANUOfficial._statistics

    def spy(self, model, blocks, chosen):
        watched.append(({block.tower for block in blocks}, {one.modality for one in chosen}))
        return original(self, model, blocks, chosen)

    method = MANUOfficial(MANUOfficial.Config())
    method._statistics = spy.__get__(method)
    method.unlearn(model, data(), Context(seed=0))
    assert watched == [({"vision"}, {"image_text"})] * 2 + [({"language"}, {"text"})] * 2
