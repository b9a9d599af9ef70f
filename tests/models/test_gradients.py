"""Gradient norms against an ordinary backward pass, in every family."""

from __future__ import annotations

import pytest
import torch

from mubench.models.gradients import gradient_norms
from tiny_models import FAMILIES, examples


@pytest.fixture(params=FAMILIES)
def model(request):
    return FAMILIES[request.param]()


def test_gradient_norms_by_hand(model):
    asked = examples()[:2]
    found = list(gradient_norms(model, asked))
    weights = {
        name: parameter
        for name, parameter in model.model.named_parameters()
        if name.endswith(("down_proj.weight", "fc2.weight")) and "vis" not in name
    }
    for example, norm in zip(asked, found, strict=True):
        model.model.requires_grad_(True)
        model.model.zero_grad()
        model.nll(model.encode([example])).backward()
        wanted = torch.stack([weight.grad.norm() for weight in weights.values()]).mean()
        assert norm == pytest.approx(float(wanted), rel=1e-4)
    assert found[0] != found[1]


def test_a_better_fit_has_a_smaller_gradient():
    model = FAMILIES["llava"]()
    one = examples()[1]
    before = next(gradient_norms(model, [one]))
    model.model.requires_grad_(True)
    optimizer = torch.optim.Adam(model.model.parameters(), 1e-2)
    for _ in range(30):
        optimizer.zero_grad()
        model.nll(model.encode([one])).backward()
        optimizer.step()
    assert next(gradient_norms(model, [one])) < before / 2
