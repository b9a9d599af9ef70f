"""MMUnlearner: weights that the visual link needs more than all that is to stay
(arXiv:2502.11051)."""

from __future__ import annotations

import torch
from torch import Tensor

from mubench.errors import RunError

from .base import Mask
from .packed import Packed, pack

EPS = 1e-15


class MMUnlearner(Mask):
    """m = 1 where F_forget >= F_preserve, F the mean squared gradient of a batch.

    Forget: questions about a picture. Preserve: those about the other people's pictures, and
    everybody's facts in text, the forget people's too. Text passes do not reach the projector, so
    it is judged by pictures alone, as in the paper. Every weight has a mask here; the released code
    leaves all but linear layers unmasked, and under LoRA everything.
    """

    forget_only = True

    def mask(self) -> Packed:
        people = self.everything.forget
        shown = [example for example in people if example.modality == "image_text"]
        told = [example for example in people if example.modality == "text"]
        kept = [*told, *self.everything.retain]
        if not shown or not kept:
            raise RunError("mask=mmunlearner needs image+text forget examples and others to keep")
        forget, preserve = self.squared_gradients(shown), self.squared_gradients(kept)

        def ahead(name: str) -> Tensor:
            none = torch.zeros(1)
            return forget.get(name, none) + EPS >= preserve.get(name, none) + EPS

        bits = {
            name: pack(ahead(name).expand(parameter.shape))
            for name, parameter in self.parameters.items()
        }
        return Packed(self.parameters, bits, forget_only=self.forget_only)
