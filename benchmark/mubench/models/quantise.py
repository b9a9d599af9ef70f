"""Round-to-nearest quantisation of the language model, simulated: what a cheap copy would say."""

from __future__ import annotations

from typing import Any

import torch


@torch.no_grad()
def quantise(model: Any, bits: int = 4) -> None:
    """Round the language model's linear weights to ``bits`` signed bits with one scale a row.

    In place and on merged weights: an adapter beside rounded weights would hide the effect.
    Embeddings, norms and the output head stay as they are, as in the usual 4-bit formats.
    """
    top = 2 ** (bits - 1) - 1
    layers = model.layout.language_layers.partition(r"\.layers")[0].replace("\\", "")
    for name, module in model.module("").named_modules():
        if name.startswith(f"{layers}.layers.") and isinstance(module, torch.nn.Linear):
            scale = module.weight.abs().amax(1, keepdim=True).clamp(min=1e-12) / top
            module.weight.copy_((module.weight / scale).round() * scale)
