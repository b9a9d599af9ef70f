"""Operations counted from shapes, against a count of every operator."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mubench.runner.stages.flops import counting


def test_forward_and_backward_by_hand():
    """Two layers, 3 rows: 2*3*4*5 and 2*3*5*2 forward; the first layer's input has no gradient."""
    first, second = nn.Linear(4, 5), nn.Linear(5, 2)
    with counting() as flops:
        second(first(torch.ones(3, 4))).sum().backward()
    assert flops.total == 2 * (2 * 3 * 4 * 5) + 3 * (2 * 3 * 5 * 2)
    second.weight.requires_grad_(False)
    with counting() as flops, torch.no_grad():
        second(torch.ones(3, 5))
    assert flops.total == 2 * 3 * 5 * 2


@pytest.mark.parametrize(
    ("module", "given"),
    [
        (nn.Conv2d(3, 8, 4, stride=4), (torch.ones(2, 3, 16, 16),)),
        (nn.MultiheadAttention(8, 2, batch_first=True), (torch.ones(2, 5, 8),) * 3),
    ],
)
def test_other_layers_equal_a_count_of_every_operator(module, given):
    with FlopCounterMode(display=False) as every, torch.no_grad():
        module.train()(*given)
    with counting() as flops, torch.no_grad():
        module.train()(*given)
    attention = 4 * 2 * 5 * 5 * 8 if isinstance(module, nn.MultiheadAttention) else 0
    assert flops.total == every.get_total_flops() - attention


def test_nothing_is_counted_after_the_block():
    with counting() as flops:
        pass
    nn.Linear(2, 2)(torch.ones(1, 2))
    assert flops.total == 0
