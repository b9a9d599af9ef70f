"""Gradient difference: ascent on forget, descent on retain, jointly."""

from __future__ import annotations

from pydantic import Field

from mubench.types import MethodInfo

from .base import GradientConfig, GradientMethod


class GradientDifference(GradientMethod):
    """Both terms in every step (not epoch by epoch as in MLLMU-Bench's released code)."""

    info = MethodInfo(
        name="grad-diff",
        title="Gradient difference",
        paper="arXiv:2203.12817",
        formula="L = -gamma nll(D_f) + alpha nll(D_r)",
        kind="gradient",
    )

    class Config(GradientConfig):
        gamma: float = Field(default=1.0, ge=0)
        alpha: float = Field(default=1.0, ge=0)

    def terms(self, model, forget, retain):
        return {
            "forget": -self.config.gamma * model.nll(forget),
            "retain": self.config.alpha * model.nll(retain),
        }
