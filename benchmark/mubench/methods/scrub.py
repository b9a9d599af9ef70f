"""SCRUB: away from the target on forget, towards it on retain."""

from __future__ import annotations

from pydantic import Field

from mubench.types import MethodInfo

from .base import GradientConfig, GradientMethod
from .tokens import kl, kl_from_target, of_tokens, target_log_dist


class SCRUB(GradientMethod):
    """Forget and retain steps in turn: the KL's gradient is zero at the target, where whole
    epochs in turn, as in the paper's code, would begin with an idle one (``order=sequential``)."""

    info = MethodInfo(
        name="scrub",
        title="SCRUB",
        paper="arXiv:2302.09880",
        formula="forget: -min(KL(p_target || p), cap); retain: alpha KL(p_target || p) + gamma nll",
        kind="gradient",
        notes="alpha = gamma = 1 and the cap of 10 nats on the unbounded KL are mubench's; no "
        "closing retain-only epochs, no rewinding.",
    )
    reference = "distribution"
    order = "alternating"

    class Config(GradientConfig):
        alpha: float = Field(default=1.0, gt=0, json_schema_extra={"log": (0.5, 10)})
        gamma: float = Field(default=1.0, ge=0)
        cap: float = Field(default=10.0, gt=0)

    def forget_loss(self, model, batch):
        return -kl_from_target(model, batch).clamp(max=self.config.cap)

    def retain_loss(self, model, batch):
        wanted, now = target_log_dist(model, batch), model.log_dist(batch)
        nll = -of_tokens(now, batch).mean()
        return self.config.alpha * kl(wanted, now) + self.config.gamma * nll
