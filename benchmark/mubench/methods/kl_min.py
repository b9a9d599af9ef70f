"""KL minimisation: ascent on forget, distributions on retain held to the target's."""

from __future__ import annotations

from pydantic import Field

from mubench.types import MethodInfo

from .base import GradientConfig, GradientMethod
from .tokens import kl_from_target


class KLMinimisation(GradientMethod):
    """KL(target || model) per answer token; ``order=sequential`` goes epoch by epoch, as MLLMU."""

    info = MethodInfo(
        name="kl-min",
        title="KL minimisation",
        paper="arXiv:2401.06121",
        formula="L = -nll(D_f) + alpha mean_t KL(p_target(.|x_r, y_<t) || p(.|x_r, y_<t))",
        kind="gradient",
        notes="MLLMU-Bench's released code adds a retain cross-entropy, and its KL counts prompt, "
        "picture and padding and is divided by the batch size alone; none of that is done here.",
        models=("mllm", "clip"),
    )
    reference = "distribution"

    class Config(GradientConfig):
        alpha: float = Field(default=1.0, ge=0, json_schema_extra={"log": (0.5, 20)})

    def forget_loss(self, model, batch):
        return -model.nll(batch)

    def retain_loss(self, model, batch):
        return self.config.alpha * kl_from_target(model, batch)
