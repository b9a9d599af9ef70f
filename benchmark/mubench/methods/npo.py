"""Negative preference optimisation."""

from __future__ import annotations

from pydantic import Field

from mubench.types import MethodInfo

from .base import GradientConfig, GradientMethod


class NPO(GradientMethod):
    """Sequence sums and the target as reference, as in the paper (MLLMU-Bench's code differs)."""

    info = MethodInfo(
        name="npo",
        title="Negative preference optimisation",
        paper="arXiv:2404.05868",
        formula="L = -(2/beta) mean log sigmoid(-beta (log p(y_f) - log p_target(y_f)))"
        " + alpha nll(D_r)",
        kind="gradient",
    )
    reference = "scalar"

    class Config(GradientConfig):
        beta: float = Field(default=0.1, gt=0)
        alpha: float = Field(default=1.0, ge=0)

    def terms(self, model, forget, retain):
        from torch.nn.functional import logsigmoid

        beta = self.config.beta
        ratio = model.logp(forget) - self.reference_logp(forget)
        return {
            "forget": -(2 / beta) * logsigmoid(-beta * ratio).mean(),
            "retain": self.config.alpha * model.nll(retain),
        }
