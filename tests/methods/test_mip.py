"""MIP-Editor: attribution on a network worked out by hand, paths, and an edit of the path alone."""

from __future__ import annotations

import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from mubench.errors import UsageError
from mubench.methods import activations
from mubench.methods.base import Context, UnlearnData
from mubench.methods.mip_editor import MIPEditor
from tiny_models import FAMILIES, examples, of_modality, tiny_llava

DATA = UnlearnData(examples(("Anna Berg", "Bo Lindqvist")), examples(("Dov Amsel",), set="retain"))
SMALL = {"layer": 1, "batch_size": 4, "epochs": 4, "lr": 1e-2}


# -- a network of two layers by hand --------------------------------------------------------------

Z0 = torch.tensor([[1.0, -2.0, 0.5], [3.0, 1.0, 1.0]])  # [samples, units]
Z1 = torch.tensor([[2.0, 1.0, -1.0], [1.0, 4.0, 0.5]])
C = torch.tensor([0.3, 0.1, -0.2])
D = torch.tensor([0.2, 0.5, -0.1])


class Straight:
    """value = C . z0 + D . z1 per sample: every slope is a constant, so integrals are exact."""

    def __init__(self, *, of_logp: bool, power: int = 1) -> None:
        self.layers = {name: nn.Identity() for name in ("down0", "down1", "down2")}
        self.of_logp, self.power = of_logp, power

    def module(self, name):
        return self.layers[name]

    def patches(self, activations, batch):
        return [row[None] for row in activations[:, 0]]

    def logp(self, batch):
        z0 = self.layers["down0"](Z0[:, None])[:, 0]
        z1 = self.layers["down1"](Z1[:, None])[:, 0]
        self.layers["down2"](Z1[:, None])  # runs, and nobody reads it
        value = z0**self.power @ C + z1 @ D
        return value if self.of_logp else value.log()  # the other is p itself


def block(number, tower):
    return SimpleNamespace(name=f"block{number}", tower=tower, down=f"down{number}", count=3)


def batch():
    return SimpleNamespace(labels=torch.tensor([[-100, 7], [-100, 8]]))


def scores(model, tower, path, **settings):
    """Scores of block 1, given which unit of block 0 each sample's path has."""
    method = MIPEditor(MIPEditor.Config(**settings))
    everywhere = torch.ones(2, 1).bool()
    masks = {"block1": everywhere.expand(2, 3)}
    if path is not None:
        masks = {"block0": nn.functional.one_hot(torch.tensor(path), 3).bool(), **masks}
    modules = {f"block{n}": model.module(f"down{n}") for n in (0, 1)}
    return method.scores(
        model, block(1, tower), modules, {"block0": Z0, "block1": Z1}, masks, batch()
    )


def test_integrated_gradients_of_p_by_hand():
    """(z1_i + z0_k) (D_i + C_k), k the path's unit; without a path z1_i D_i."""
    model = Straight(of_logp=False)
    torch.testing.assert_close(scores(model, "language", None), Z1 * D)
    wanted = (Z1 + Z0[[0, 1], [0, 2], None]) * (D + C[[0, 2], None])
    torch.testing.assert_close(scores(model, "language", [0, 2]), wanted)


def test_integrated_fisher_of_log_p_by_hand():
    """(z1_i + z0_k) (D_i^2 + C_k^2)."""
    model = Straight(of_logp=True)
    wanted = (Z1 + Z0[[0, 1], [0, 2], None]) * (D**2 + C[[0, 2], None] ** 2)
    torch.testing.assert_close(scores(model, "vision", [0, 2]), wanted)


def test_the_riemann_sum_takes_the_given_steps():
    """d(C z^2)/dz = 2 C z at z, z/2 (two steps): the mean is 1.5 C z."""
    model = Straight(of_logp=True, power=2)
    method = MIPEditor(MIPEditor.Config(steps=2))
    found = method.scores(
        model,
        SimpleNamespace(name="block0", tower="vision", down="down0", count=3),
        {"block0": model.module("down0")},
        {"block0": Z0},
        {"block0": torch.ones(2, 1).bool()},
        batch(),
    )
    slopes = ((2 * C * Z0) ** 2 + (2 * C * Z0 / 2) ** 2) / 2
    torch.testing.assert_close(found, Z0 * slopes)


def test_a_path_is_chosen_layer_after_layer_for_every_sample():
    method = MIPEditor(MIPEditor.Config(top=1))
    model = Straight(of_logp=True)
    chosen = method.path(model, [block(n, "vision") for n in (0, 1, 2)], batch())
    first = (Z0 * C**2).argmax(1)
    joint = (Z1 + Z0.gather(1, first[:, None])) * (D**2 + C[first, None] ** 2)
    assert [on.nonzero()[:, 1].tolist() for on in chosen[:2]] == [
        first.tolist(),
        joint.argmax(1).tolist(),
    ]
    assert not chosen[2].any()  # a layer that nothing reads has no unit on a path


def test_top_units_a_layer():
    method = MIPEditor(MIPEditor.Config(top=2))
    chosen = method.path(Straight(of_logp=True), [block(0, "vision")], batch())
    wanted = (Z0 * C**2).topk(2, dim=1).indices.sort(1).values
    assert chosen[0].nonzero()[:, 1].view(2, 2).equal(wanted)


# -- on real models -------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_the_scores_of_a_layer_add_up_to_what_it_does(family):
    """Completeness of integrated gradients: sum over units = p(answer) - p(answer, layer at 0)."""
    model = FAMILIES[family]()
    for weight in model.model.parameters():  # gentle slopes, so that few steps integrate them
        weight.data.mul_(0.4)
    language = [one for one in model.neurons() if one.tower == "language"]
    encoded = model.encode(of_modality(DATA.forget, "text")[:1])
    down = model.module(language[-1].down)
    where = activations.answer_positions(encoded)
    with torch.no_grad():
        with activations.watching({"z": down}, inputs=True) as seen:
            whole = model.logp(encoded).exp()
        handle = down.register_forward_pre_hook(
            lambda _, args: (args[0].masked_fill(where[..., None], 0),)
        )
        without = model.logp(encoded).exp()
        handle.remove()
    name = language[-1].name
    found = MIPEditor(MIPEditor.Config(steps=60)).scores(
        model,
        language[-1],
        {name: down},
        {name: seen["z"].reshape(-1, language[-1].count)},
        {name: where.reshape(-1, 1)},
        encoded,
    )
    difference = (whole - without).item()
    assert abs(difference) > 1e-3 * whole.item()
    assert found.sum().item() == pytest.approx(difference, rel=0.03)


def edited(tmp_path=None, **settings):
    torch.manual_seed(0)
    model = tiny_llava()
    context = Context(seed=0)
    MIPEditor(MIPEditor.Config(**{**SMALL, **settings})).unlearn(model, DATA, context)
    return model, context.log


def test_the_edit_starts_from_silent_units_and_moves_rows_of_the_path_alone(tmp_path):
    before = tiny_llava().model.state_dict()
    model, log = edited()
    model.save_delta(tmp_path)
    saved = load_file(tmp_path / "rows.safetensors")
    for name, value in model.model.state_dict().items():
        module, _, part = name.rpartition(".")
        rows = saved.get(f"{module}.index", torch.tensor([], dtype=torch.long))
        kept = torch.ones(len(value), dtype=torch.bool) if value.dim() else None
        if kept is not None:
            kept[rows] = False
            assert value[kept].equal(before[name][kept]), name
            assert (value[rows] != before[name][rows]).any() == bool(len(rows)), name
    for key, count in log.items():
        if match := re.fullmatch(r"path (.*)", key):
            ups = [name for name in saved if name.startswith(match[1]) and name.endswith("index")]
            assert {len(saved[name]) for name in ups} == {count}


def test_a_cleared_unit_gives_nothing_until_it_is_trained(monkeypatch):
    monkeypatch.setattr("mubench.methods.loops.train", lambda *_: [])
    model, _ = edited()
    units = {name: rows for name, rows in model.changes.zeroed["rows"].items() if rows}
    assert units
    blocks = {one.up[-1]: one for one in model.neurons()}
    watch = {up: model.module(blocks[up].down) for up in units}
    with torch.no_grad(), activations.watching(watch, inputs=True) as seen:
        model.logp(model.encode(of_modality(DATA.forget, "image_text")))
    for up, rows in units.items():
        assert not seen[up][..., rows].any()
        assert seen[up].any()


def test_the_reference_is_the_model_before_units_were_cleared():
    model, _ = edited()
    encoded = model.encode(of_modality(DATA.forget, "image_text"))
    after, wanted = model.logp(encoded), tiny_llava().logp(encoded)
    assert not after.allclose(wanted, atol=1e-3)
    with torch.no_grad(), model.reference() as target:
        assert target.logp(encoded).equal(wanted)
    assert model.logp(encoded).equal(after)


def test_misdirection_by_hand():
    """mean (h - s |h_0| u)^2 on forget, gamma mean (h - h_0)^2 and alpha nll on retain."""
    model, before = tiny_llava(), tiny_llava()
    blocks = model.neurons()
    model.train_scope("rows", units={up: [3, 4] for one in blocks for up in one.up})
    model.zero(rows={one.up[-1]: [3, 4] for one in blocks}, columns={})
    u = np.random.default_rng(0).normal(size=32)
    method = MIPEditor(MIPEditor.Config(layer=1, strength=2, gamma=3, alpha=0.5))
    f = model.encode(of_modality(DATA.forget, "image_text"))
    r = model.encode(of_modality(DATA.retain, "image_text"))
    layer = "model.language_model.layers.1"
    terms = method.terms(model, u, f, r)

    def hidden(one, encoded):
        states = []
        handle = one.module(layer).register_forward_hook(lambda *a: states.append(a[-1]))
        one.logp(encoded)
        handle.remove()
        rows, places = (encoded.labels != -100).nonzero(as_tuple=True)
        return states[0][rows, places - 1]

    with torch.no_grad():
        wanted = 2 * hidden(before, f).norm(dim=1)[:, None] * torch.tensor(u).float()
        away = (hidden(model, f) - wanted).square().mean()
        held = (hidden(model, r) - hidden(before, r)).square().mean()
        assert held > 1e-6
        nll = model.nll(r)
    found = {name: term.item() for name, term in terms.items()}
    assert found == {
        "misdirection": pytest.approx(away.item(), rel=1e-4),
        "retention": pytest.approx(3 * held.item(), rel=1e-4),
        "retain": pytest.approx(0.5 * nll.item(), rel=1e-4),
    }


def test_weight_decay_is_refused_and_a_layer_too_deep_named():
    with pytest.raises(ValueError, match="weight_decay"):
        MIPEditor.Config(weight_decay=0.1)
    with pytest.raises(UsageError, match=r"method\.layer=7: .*layers 0 to 1"):
        edited(layer=7)
