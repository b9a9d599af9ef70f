"""Gradient difference: ascent on forget, descent on retain."""

from __future__ import annotations

from pydantic import Field

from mubench.types import MethodInfo

from .base import GradientConfig, GradientMethod


class GradientDifference(GradientMethod):
    """Both terms in every step; ``order=sequential`` is MLLMU-Bench's variant, epoch by epoch."""

    info = MethodInfo(
        name="grad-diff",
        title="Gradient difference",
        paper="arXiv:2203.12817",
        formula="L = -gamma nll(D_f) + alpha nll(D_r)",
        kind="gradient",
        notes="gamma = alpha = 1 as in open-unlearning. The forget term is unbounded.",
        models=("mllm", "clip"),
    )

    class Config(GradientConfig):
        gamma: float = Field(default=1.0, ge=0, json_schema_extra={"log": (0.1, 2)})
        alpha: float = Field(default=1.0, ge=0)

    def forget_loss(self, model, batch):
        return -self.config.gamma * model.nll(batch)
