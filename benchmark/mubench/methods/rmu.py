"""Representation misdirection: forget activations of one layer are steered to a random vector."""

from pydantic import Field

from mubench.types import MethodInfo

from .activations import random_vector, target_hidden
from .base import GradientConfig, GradientMethod


class RMU(GradientMethod):
    """Layers past the steered one do not run; it and two before it are trained."""

    info = MethodInfo(
        name="rmu",
        title="Representation misdirection for unlearning (RMU)",
        paper="arXiv:2403.03218",
        formula="L = mean (h(x_f) - steer |h| u)^2 + alpha mean (h(x_r) - h_target(x_r))^2",
        kind="gradient",
        notes="alpha 1, steer 2, layer 7 of 32: open-unlearning, where |h|, a mean, is left out.",
    )
    reference = "hidden"

    class Config(GradientConfig):
        layer: int | None = Field(default=None, ge=0)  # None: a quarter up
        steer: float = Field(default=2.0, gt=0, json_schema_extra={"log": (1, 30)})
        alpha: float = Field(default=1.0, ge=0, json_schema_extra={"log": (0.1, 10)})

    def prepare(self, model, data, context):
        at = (model.depth() - 1) // 4 if self.config.layer is None else self.config.layer
        self.layers = range(max(0, at - 2), at + 1)
        aim = random_vector(model, data.forget, at, context.generator("direction"))
        self._at, self._goal = at, self.config.steer * aim

    def forget_loss(self, model, batch):
        return (model.hidden(batch, self._at) - self._goal).square().mean()

    def retain_loss(self, model, batch):
        shift = model.hidden(batch, self._at) - target_hidden(model, batch, self._at)
        return self.config.alpha * shift.square().mean()
