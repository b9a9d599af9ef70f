"""Token scores against a plain forward pass of each row alone, in every family."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from mubench.models.token_scores import gradient_norms, token_scores
from tiny_models import FAMILIES, examples, joint


@pytest.fixture(params=FAMILIES)
def model(request):
    return FAMILIES[request.param]()


@torch.no_grad()
def test_token_scores_are_those_of_a_plain_pass(model):
    asked = examples()
    found = list(token_scores(model, asked, batch_size=3))
    for example, one in zip(asked, found, strict=True):
        prompt = joint(model, example, answer=False)["input_ids"][0]
        whole = joint(model, example, answer=True)
        ids = whole["input_ids"][0][len(prompt) :]
        rows = model.model(**whole).logits[0].float()[len(prompt) - 1 : -1].log_softmax(-1)
        own = rows.gather(1, ids[:, None])[:, 0]
        p = rows.exp()
        mean = (p * rows).sum(1)
        variance = (p * rows**2).sum(1) - mean**2
        wanted = torch.stack([own, mean, variance.sqrt()], 1)
        values = torch.tensor([(token.logprob, token.mean, token.std) for token in one])
        torch.testing.assert_close(values, wanted, rtol=1e-3, atol=1e-3)
        likelier = [int((row > best).sum()) for row, best in zip(rows, own, strict=True)]
        assert [token.rank for token in one] == likelier


def test_equal_logits_are_no_memory():
    """A dead model likes all tokens alike: none is the likeliest."""
    model = FAMILIES["llava"]()
    with torch.no_grad():
        model.model.lm_head.weight.zero_()
    (found,) = token_scores(model, examples()[:1], 1)
    assert {token.rank for token in found} == {len(model.model.lm_head.weight) - 1}
    assert max(token.std for token in found) < 1e-3


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
    assert next(gradient_norms(model, [replace(one, id="again")])) < before / 2
