"""MUNBa: forgetting and retaining bargain over every step."""

from __future__ import annotations

from mubench.types import MethodInfo

from .common import DualConfig, Towers
from .shuffled import Shuffled

OPPOSED = 1e-6  # of 1 + cos: then no step serves both


class MUNBa(Shuffled):
    """Nash's bargaining solution for two gradients is their bisector: K a = 1/a with K their Gram
    matrix gives a_i = 1 / (|g_i| sqrt(1 + cos(g_f, g_r)))."""

    info = MethodInfo(
        name="munba",
        title="MUNBa: machine unlearning via Nash bargaining",
        paper="arXiv:2411.15537",
        formula="g = a_r g_r + a_f g_f with K (a_r, a_f) = (1/a_r, 1/a_f), g_r of InfoNCE(D_r), g_f"
        " of InfoNCE(x_f, y_f'), y': the caption of another forget name",
        kind="gradient",
        models=("clip",),
        notes="The text tower alone by default, as in the paper's CLIP experiments, there by SGD"
        " and on attention weights only. Steps on which the gradients are opposed are given up.",
    )

    class Config(DualConfig):
        towers: Towers = "text"

    def terms(self, model, forget, retain):
        import torch

        losses = {"forget": model.nll(forget), "retain": model.nll(retain)}
        opened = [p for p in model.model.parameters() if p.requires_grad]
        gradients = []
        for loss in losses.values():
            parts = torch.autograd.grad(
                loss, opened, retain_graph=True, allow_unused=True, materialize_grads=True
            )
            gradients.append(torch.cat([part.flatten() for part in parts]))
        weights = bargain(*gradients)
        return {name: weights[at] * loss for at, (name, loss) in enumerate(losses.items())}


def bargain(first, second):
    """The weights (a_1, a_2) of two gradients; zeros where they are opposed or one is nothing."""
    import torch

    lengths = torch.stack([first.norm(), second.norm()])
    agreement = 1 + first @ second / lengths.prod()
    if not agreement > OPPOSED:  # NaN where a gradient is zero
        return torch.zeros_like(lengths)
    return 1 / (lengths * agreement.sqrt())
