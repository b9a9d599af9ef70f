"""SalUn: weights that matter for the forget set (arXiv:2310.12508)."""

from __future__ import annotations

import torch

from . import selection
from .base import Mask


class SalUn(Mask):
    """The half of the weights with the largest |g_f|, the gradient of the true answers' loss."""

    density = 0.5

    def scores(self) -> selection.Score:
        away = self.summed_gradients(self.data.forget)
        return lambda name: away.get(name, torch.zeros_like(self.parameters[name])).abs()
