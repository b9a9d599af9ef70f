"""NPO without a reference, normalised by length."""

from __future__ import annotations

from pydantic import Field

from mubench.types import MethodInfo

from .base import GradientConfig, GradientMethod


class SimNPO(GradientMethod):
    """As in the paper: the margin is not scaled by beta (the released code scales it)."""

    info = MethodInfo(
        name="simnpo",
        title="SimNPO",
        paper="arXiv:2410.07163",
        formula="L = -gamma (2/beta) mean log sigmoid(-(beta/|y|) log p(y_f) - margin)"
        " + alpha nll(D_r)",
        kind="gradient",
        notes="beta 4.5, gamma 0.125 (the paper's lambda), margin 0: the paper's TOFU forget10. "
        "|y| counts answer tokens only, so answers of one or two tokens are noisy.",
    )

    class Config(GradientConfig):
        beta: float = Field(default=4.5, gt=0)
        margin: float = 0.0
        gamma: float = Field(default=0.125, ge=0, json_schema_extra={"log": (0.125, 4)})
        alpha: float = Field(default=1.0, ge=0)

    def forget_loss(self, model, batch):
        from torch.nn.functional import logsigmoid

        beta, margin = self.config.beta, self.config.margin
        mean = model.logp(batch) / batch.lengths
        return -self.config.gamma * (2 / beta) * logsigmoid(-beta * mean - margin).mean()
