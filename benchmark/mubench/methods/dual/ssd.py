"""Selective synaptic dampening: weights that matter more for forget than for all shrink."""

from __future__ import annotations

from pydantic import Field

from mubench.config.schema import Settings
from mubench.types import MethodInfo

from ..base import UnlearnData
from .common import Edit, Towers, sides


class SSD(Edit):
    """Importance is the squared gradient of a batch's loss: alone, a pair has no contrast."""

    info = MethodInfo(
        name="ssd",
        title="Selective synaptic dampening (SSD)",
        paper="arXiv:2308.07707, eq. 3-5",
        formula="theta_i <- min(dampen F_D / F_f, 1) theta_i where F_f > select F_D, F: mean"
        " squared gradient of InfoNCE on forget (f) and on forget and retain (D)",
        kind="editing",
        models=("clip",),
        notes="select 10 (the paper's alpha), dampen 1 (its lambda).",
    )

    class Config(Settings):
        select: float = Field(default=10.0, gt=0, json_schema_extra={"log": (1, 30)})
        dampen: float = Field(default=1.0, gt=0)
        towers: Towers = "both"
        batch_size: int = Field(default=16, gt=0)

    def unlearn(self, model, data: UnlearnData, context):
        import torch

        config = self.config
        opened = model.train_scope("full", towers=sides(config.towers))
        context.log["trained"] = model.trained_modules()
        away = self.importance(model, opened, data.forget, context)
        overall = self.importance(model, opened, [*data.forget, *data.retain], context)
        count = 0
        with torch.no_grad():
            for weight, f, d in zip(opened, away, overall, strict=True):
                factor, chosen = dampening(f, d, config.select, config.dampen)
                weight.mul_(factor)
                count += int(chosen.sum())
        context.log["dampened"] = count / sum(weight.numel() for weight in opened)

    def importance(self, model, opened, pairs, context):
        """Mean over batches of the squared gradient, one tensor a parameter. A batch of one name,
        as the last ones of somebody with more pairs than all others are, has nothing to tell
        apart and is left out."""
        import torch

        from .. import loops

        rng = context.generator("importance")
        batches = [
            batch
            for batch in loops.batches(pairs, self.config.batch_size, rng)
            if len({one.keyword for one in batch}) > 1
        ]
        total = [torch.zeros_like(weight) for weight in opened]
        for number, batch in enumerate(batches, start=1):
            loss = model.nll(model.encode(batch))
            gradients = torch.autograd.grad(loss, opened, allow_unused=True, materialize_grads=True)
            for so_far, gradient in zip(total, gradients, strict=True):
                so_far += gradient**2 / len(batches)
            context.report(number, len(batches), "importance")
        return total


def dampening(away, overall, select, dampen):
    """The factor of every weight, and which weights are chosen."""
    chosen = away > select * overall
    factor = (dampen * overall / away).clamp(max=1)
    return factor.where(chosen, factor.new_ones(())), chosen
