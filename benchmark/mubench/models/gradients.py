"""How strongly single answers still pull on the weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from mubench.types import Example

from .protocols import TrainableModel


def gradient_norms(model: TrainableModel, examples: Sequence[Example]) -> Iterator[float]:
    """2-norm of the gradient of each example's loss, averaged over the weights looked at.

    These are the language model's MLP output weights, the same for every model: all gradients of
    a large model would not fit, and a mean over other tensors could not be compared.
    """
    model.module("").requires_grad_(False)
    weights = [
        model.module(block.down).weight.requires_grad_(True)
        for block in model.neurons()
        if block.tower == "language"
    ]
    for example in examples:
        gradients = torch.autograd.grad(model.nll(model.encode([example])), weights)
        norms = [torch.linalg.vector_norm(gradient.float()) for gradient in gradients]
        yield float(torch.stack(norms).mean())
