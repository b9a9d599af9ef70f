"""Masks that know nothing of what is to be forgotten: what the others must beat."""

from __future__ import annotations

import torch
from torch import Tensor

from mubench.rng import integer

from . import selection
from .base import Mask


class Random(Mask):
    """Any weights, by the seed."""

    def scores(self) -> selection.Score:
        def score(name: str) -> Tensor:
            generator = torch.Generator().manual_seed(integer(self.context.seed, "mask", name))
            parameter = self.parameters[name]
            return torch.rand(parameter.shape, generator=generator).to(parameter.device)

        return score


class Magnitude(Mask):
    """The largest weights."""

    def scores(self) -> selection.Score:
        return lambda name: self.parameters[name]
