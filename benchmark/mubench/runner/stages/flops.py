"""Floating point operations of everything that runs in a block.

Counted from shapes at the modules whose matrix products make nearly all of a transformer's work:
linear and convolution layers and the projections of ``MultiheadAttention``. Attention scores,
norms and activations are left out. A counter of every operator (torch.utils.flop_counter) makes
small models two to three times slower, and changes results by splitting fused operators.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook


class Flops:
    """``total``: operations so far; a product and its sum are two."""

    def __init__(self) -> None:
        self.total = 0

    def count(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        """Forward work, and the backward work that autograd will do because of it: as much again
        for gradients of the input, and of the weights."""
        output = output[0] if isinstance(output, tuple) else output
        if isinstance(module, nn.Linear):
            weight, forward = module.weight, 2 * output.numel() * module.in_features
        elif isinstance(module, nn.Conv2d):
            weight, forward = module.weight, 2 * output.numel() * module.weight[0].numel()
        elif isinstance(module, nn.MultiheadAttention):  # query, key, value and output
            weight, forward = module.out_proj.weight, 8 * output.numel() * module.embed_dim
        else:
            return
        passes = 1
        if torch.is_grad_enabled():
            passes += any(torch.is_tensor(one) and one.requires_grad for one in inputs)
            passes += weight.requires_grad
        self.total += passes * forward


@contextmanager
def counting() -> Iterator[Flops]:
    """Count what every module does until the block ends."""
    counted = Flops()
    handle = register_module_forward_hook(counted.count)
    try:
        yield counted
    finally:
        handle.remove()
