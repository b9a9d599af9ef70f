"""CLIP image towers between ``open_clip`` and ``transformers``: the same weights by other names.

Only what makes patch features: what a dual encoder puts behind them (pooling, final norm and
projection) has no counterpart in a multimodal language model, which reads the patches.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

#: open_clip's name (below ``visual.``): the one in transformers' ``CLIPVisionModel``.
_NAMES = {
    "class_embedding": "embeddings.class_embedding",
    "positional_embedding": "embeddings.position_embedding.weight",
    "conv1.weight": "embeddings.patch_embedding.weight",
    "ln_pre.weight": "pre_layrnorm.weight",
    "ln_pre.bias": "pre_layrnorm.bias",
}
_BLOCK = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}


def to_open_clip(tower: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights below ``visual.`` from those of a ``CLIPVisionModel`` of the same shape."""
    made = {ours: tower[theirs] for ours, theirs in _NAMES.items()}
    for layer in range(_layers(tower, "encoder.layers.")):
        theirs, ours = f"encoder.layers.{layer}", f"transformer.resblocks.{layer}"
        for part in ("weight", "bias"):
            for mine, other in _BLOCK.items():
                made[f"{ours}.{mine}.{part}"] = tower[f"{theirs}.{other}.{part}"]
            three = [tower[f"{theirs}.self_attn.{name}_proj.{part}"] for name in "qkv"]
            made[f"{ours}.attn.in_proj_{part}"] = torch.cat(three)
    return made


def to_transformers(visual: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The other way: names of a ``CLIPVisionModel`` for weights below ``visual.``."""
    made = {theirs: visual[ours] for ours, theirs in _NAMES.items()}
    for layer in range(_layers(visual, "transformer.resblocks.")):
        theirs, ours = f"encoder.layers.{layer}", f"transformer.resblocks.{layer}"
        for part in ("weight", "bias"):
            for mine, other in _BLOCK.items():
                made[f"{theirs}.{other}.{part}"] = visual[f"{ours}.{mine}.{part}"]
            three = visual[f"{ours}.attn.in_proj_{part}"].chunk(3)
            for name, third in zip("qkv", three, strict=True):
                made[f"{theirs}.self_attn.{name}_proj.{part}"] = third
    return made


def _layers(weights: Mapping[str, Tensor], prefix: str) -> int:
    numbers = {name.removeprefix(prefix).partition(".")[0] for name in weights if prefix in name}
    return len(numbers)
