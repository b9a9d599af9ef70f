"""Primal-dual unlearning: flat logits on forget under a bound on the retain loss."""

from pydantic import Field

from mubench.types import MethodInfo

from .base import GradientConfig, GradientMethod


class PDU(GradientMethod):
    """alpha <- max(0, alpha + dual_step (nll(D_r) - eps)), from retain batch dual_warmup on."""

    info = MethodInfo(
        name="pdu",
        title="Primal-dual unlearning (PDU)",
        paper="arXiv:2506.05314",
        formula="L = mean_t (max_v z - mean_v z)^2 + alpha (nll(D_r) - eps)",
        kind="gradient",
        notes="alpha 100, dual_step 5: open-unlearning. eps = (1 + slack) nll(D_r) of the target.",
    )

    class Config(GradientConfig):
        alpha: float = Field(default=100.0, gt=0, json_schema_extra={"log": (1, 100)})
        dual_step: float = Field(default=5.0, ge=0)
        dual_warmup: int = Field(default=0, ge=0)  # retain batches
        slack: float = Field(default=0.1, ge=0)

    def prepare(self, model, data, context):
        self._eps = (1 + self.config.slack) * self.mean_nll(model, data.retain)
        self._dual, self._idle = self.config.alpha, self.config.dual_warmup

    def forget_loss(self, model, batch):
        spread = (logp := model.log_dist(batch)).amax(-1) - logp.mean(-1)  # that of the logits
        return spread.square().mean()

    def retain_loss(self, model, batch):
        excess, dual, self._idle = model.nll(batch) - self._eps, self._dual, self._idle - 1
        if self._idle < 0:
            self._dual = max(0.0, dual + self.config.dual_step * excess.item())
        return dual * excess
