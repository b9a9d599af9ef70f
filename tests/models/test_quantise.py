"""Rounding by hand, of the language model's linear weights and of nothing else."""

from __future__ import annotations

import pytest
import torch

from mubench.models.components import weights
from mubench.models.quantise import quantise
from tiny_models import FAMILIES


@pytest.mark.parametrize("family", FAMILIES)
def test_only_linear_weights_of_the_language_layers_are_rounded(family):
    model = FAMILIES[family]()
    before = {name: tensor.clone() for name, tensor in model.model.state_dict().items()}
    quantise(model, bits=4)
    changed = {
        name for name, tensor in model.model.state_dict().items() if not tensor.equal(before[name])
    }
    wanted = {
        name
        for name in weights(model)["language"]
        if ".layers." in name and name.endswith("proj.weight")
    }
    assert changed == wanted
    for name in changed:
        levels = {row.unique().numel() for row in model.model.state_dict()[name]}
        assert max(levels) <= 15  # -7 to 7


def test_rounding_by_hand():
    model = FAMILIES["llava"]()
    name = next(n for n in weights(model)["language"] if n.endswith("down_proj.weight"))
    weight = model.model.state_dict()[name]
    weight.zero_()
    weight[0, :4] = torch.tensor([0.7, -0.32, 0.05, 0.049])
    quantise(model, bits=4)
    torch.testing.assert_close(
        weight[0, :4], torch.tensor([0.7, -0.3, 0.0, 0.0]), atol=1e-6, rtol=0
    )
    assert not weight[1].any()


def test_more_bits_change_less():
    def change(bits: int) -> float:
        model = FAMILIES["llava"]()
        before = {n: t.clone() for n, t in weights(model)["language"].items()}
        quantise(model, bits)
        return sum(float((t - before[n]).norm()) for n, t in weights(model)["language"].items())

    assert change(8) < change(4) / 8
