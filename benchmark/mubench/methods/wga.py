"""Weighted gradient ascent."""

from __future__ import annotations

from pydantic import Field

from mubench.types import MethodInfo

from .base import GradientConfig, GradientMethod
from .tokens import token_logp


class WGA(GradientMethod):
    """Ascent that weights every token by the probability it still has, so that it stops itself."""

    info = MethodInfo(
        name="wga",
        title="Weighted gradient ascent",
        paper="arXiv:2502.19301",
        formula="L = mean_t sg(p_t)^beta log p_t + alpha nll(D_r)",
        kind="gradient",
        notes="beta 1, alpha 1 as in open-unlearning; no reference model is needed or kept.",
    )

    class Config(GradientConfig):
        beta: float = Field(default=1.0, ge=0, json_schema_extra={"log": (0.1, 2)})
        alpha: float = Field(default=1.0, ge=0)

    def forget_loss(self, model, batch):
        logp = token_logp(model, batch)
        return (logp.detach().exp() ** self.config.beta * logp).mean()
