"""NegMerge: several task vectors, of which only what they agree on is subtracted."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mubench.config.schema import Training
from mubench.types import MethodInfo

from ..base import UnlearnData
from .common import Edit, Towers, sides


class NegMerge(Edit):
    """Members differ in the order of the pairs and in the learning rate, which runs from half to
    twice ``lr``, where the paper's come from a sweep over several settings."""

    info = MethodInfo(
        name="negmerge",
        title="NegMerge: sign-consensual weight merging",
        paper="arXiv:2410.05583",
        formula="theta = theta_target - scale mean_k tau_k where all sign(tau_k) agree, tau_k ="
        " argmin_k InfoNCE(D_f) - theta_target",
        kind="editing",
        needs=("forget",),
        models=("clip",),
        notes="lr 1e-5, weight decay 0.1, the image tower alone: the released code, which takes 10"
        " to 30 members and the scale that forgets most at 0.95 of the control accuracy.",
    )

    class Config(Training):
        scope: Literal["full"] = "full"
        members: int = Field(default=10, ge=2)
        scale: float = Field(default=1.0, ge=0, json_schema_extra={"log": (0.1, 3)})
        towers: Towers = "image"
        epochs: float = Field(default=1.0, gt=0)
        batch_size: int = Field(default=16, gt=0)
        lr: float = Field(default=1e-5, gt=0, json_schema_extra={"around": 3})
        weight_decay: float = Field(default=0.1, ge=0)

    def unlearn(self, model, data: UnlearnData, context):
        import torch

        from .. import loops

        config = self.config
        opened = model.train_scope("full", towers=sides(config.towers))
        context.log["scope"], context.log["trained"] = (
            model.trained_pattern(),
            model.trained_modules(),
        )
        start = [weight.detach().clone() for weight in opened]
        total = [torch.zeros_like(weight) for weight in start]
        signs = [torch.zeros_like(weight) for weight in start]
        context.log["losses"] = []
        for member in range(config.members):
            rng = context.generator(f"member {member}")
            batches = loops.epochs(data.forget, config.batch_size, rng)
            rate = config.lr * 2 ** (2 * member / (config.members - 1) - 1)
            settings = loops.LoopSettings.of(config.model_copy(update={"lr": rate}), data.forget)
            loops.train(
                lambda _, batches=batches: {"forget": model.nll(model.encode(next(batches)))},
                model,
                opened,
                settings,
                context.report,
                log=context.log["losses"],
            )
            with torch.no_grad():
                for weight, old, mean, sign in zip(opened, start, total, signs, strict=True):
                    vector = weight - old
                    mean += vector / config.members
                    sign += vector.sign()
                    weight.copy_(old)
        with torch.no_grad():
            agreed = [consensus(m, s, config.members) for m, s in zip(total, signs, strict=True)]
            for weight, vector in zip(opened, agreed, strict=True):
                weight -= config.scale * vector
        left = sum(int((vector != 0).sum()) for vector in agreed)
        context.log["agreed"] = left / sum(vector.numel() for vector in agreed)


def consensus(mean, signs, members):
    """The mean vector where all members have one sign, 0 elsewhere."""
    return mean.where(signs.abs() == members, mean.new_zeros(()))
