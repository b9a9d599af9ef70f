"""WAGLE: closed-form weight attribution (arXiv:2410.17509)."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from . import selection
from .base import Mask


class WAGLE(Mask):
    """S = |(theta - g_r / gamma_H) g_f| with gradients summed over the forget set and as many
    retain examples, at the target. A method that teaches refusals is scored on those, as in the
    paper's code.

    gamma_H is one number for the diagonal of the Hessian (``mask_gamma``). Where it is huge, S is
    SNIP's score |theta g_f|; at the released 1e-6 it mostly is |g_r g_f|. ``regime`` in the log is
    log(median |g_r| / gamma_H) - log(median |theta|): above 0 the retain gradient rules.
    """

    def scores(self) -> selection.Score:
        rng = self.context.generator("mask pairs")
        forget, retain = self.data.forget, self.data.retain
        pools = {
            modality: [example for example in retain if example.modality == modality]
            for modality in {example.modality for example in forget}
        }
        paired = [pools[one.modality][rng.integers(len(pools[one.modality]))] for one in forget]
        answers = self.method.answers(forget, self.data, rng)
        taught = [replace(one, answer=a) for one, a in zip(forget, answers, strict=True)]
        away = self.summed_gradients(taught)
        stay = self.summed_gradients(paired)
        gamma = self.config.mask_gamma

        def weight(name: str) -> Tensor:
            return self.parameters[name].detach().float()

        def gradient(of: dict[str, Tensor], name: str) -> Tensor:
            return of[name].float() if name in of else torch.zeros_like(weight(name))

        pull = selection.median(lambda name: gradient(stay, name) / gamma, self.sizes)
        size = selection.median(weight, self.sizes)
        self.notes["regime"] = math.log(pull / size) if pull and size else None
        return lambda name: (
            (weight(name) - gradient(stay, name) / gamma) * gradient(away, name)
        ).abs()
