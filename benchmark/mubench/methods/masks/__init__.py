"""Masks: which weights a gradient method may change. They plug into any of them.

A mask is chosen once, at the target's weights, before training. It gates base weights: a LoRA
update is a product over a whole matrix and cannot leave single weights alone, so masks need
``scope=full``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mubench.models.protocols import TrainableModel

    from ..base import Context, GradientMethod, UnlearnData
    from .packed import Packed

MASKS = {
    "wagle": "wagle:WAGLE",
    "salun": "salun:SalUn",
    "mmunlearner": "mmunlearner:MMUnlearner",
    "random": "controls:Random",
    "magnitude": "controls:Magnitude",
}


def build(
    method: GradientMethod,
    model: TrainableModel,
    data: UnlearnData,
    everything: UnlearnData,
    context: Context,
) -> Packed:
    """The mask that the method's configuration names, over all parameters opened for training.

    ``data`` holds what is trained on, ``everything`` also what its modality leaves out.
    """
    module, _, name = MASKS[method.config.mask].partition(":")
    maker = getattr(import_module(f".{module}", __name__), name)
    mask: Packed = maker(method, model, data, everything, context).mask()
    context.log["mask"] = {
        "name": method.config.mask,
        "weights": mask.count,
        "density": mask.density(),
        "blocks": mask.densities(),
        "bits_per_weight": mask.bits_per_weight,
        **mask.notes,
    }
    return mask
