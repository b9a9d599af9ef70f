"""Ascent reweighted by saturation and importance."""

from __future__ import annotations

from pydantic import Field

from mubench.types import MethodInfo

from .base import GradientConfig, GradientMethod
from .tokens import token_logp


class SatImp(GradientMethod):
    """Tokens that are likely, but not yet certain, are pushed most."""

    info = MethodInfo(
        name="satimp",
        title="Saturation and importance reweighting (SatImp)",
        paper="arXiv:2505.11953",
        formula="L = gamma mean_t sg(p_t)^beta1 (1 - sg(p_t))^beta2 log p_t + alpha nll(D_r)",
        kind="gradient",
        notes="beta1 5, beta2 1, gamma 1, alpha 0.1: class defaults and README of open-unlearning, "
        "whose configuration file swaps gamma and alpha. Tokens known by heart start slowly.",
    )

    class Config(GradientConfig):
        beta1: float = Field(default=5.0, ge=0)
        beta2: float = Field(default=1.0, ge=0)
        gamma: float = Field(default=1.0, ge=0, json_schema_extra={"log": (1, 20)})
        alpha: float = Field(default=0.1, ge=0)

    def forget_loss(self, model, batch):
        logp = token_logp(model, batch)
        p = logp.detach().exp()
        weight = p**self.config.beta1 * (1 - p) ** self.config.beta2
        return self.config.gamma * (weight * logp).mean()
