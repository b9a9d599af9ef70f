"""A loss method in its own package: everything a plug-in needs."""

from __future__ import annotations

from pydantic import Field

from mubench.methods.base import GradientConfig, GradientMethod
from mubench.types import MethodInfo


class BoundedAscent(GradientMethod):
    """Ascent that stops pushing once an answer is as unlikely as ``floor`` nats."""

    info = MethodInfo(
        name="bounded-ascent",
        title="Bounded ascent (plug-in example)",
        paper="",
        formula="L = -mean min(nll(y_f), floor) + alpha nll(D_r)",
        kind="gradient",
    )

    class Config(GradientConfig):
        floor: float = Field(default=20.0, gt=0)
        alpha: float = Field(default=1.0, ge=0)

    def forget_loss(self, model, batch):
        return -(-model.logp(batch)).clamp(max=self.config.floor).mean()
