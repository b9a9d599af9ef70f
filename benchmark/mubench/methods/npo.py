"""Negative preference optimisation."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mubench.types import MethodInfo

from .base import GradientConfig, GradientMethod


class NPO(GradientMethod):
    """Sequence sums and the target as reference. ``reproduction=mllmu``: means over the batch."""

    info = MethodInfo(
        name="npo",
        title="Negative preference optimisation",
        paper="arXiv:2404.05868, eq. 3",
        formula="L = -(2/beta) mean log sigmoid(-beta log(p(y_f)/p_target(y_f))) + alpha nll(D_r)",
        kind="gradient",
        notes="beta 0.1, alpha 1: open-unlearning. reproduction=mllmu takes the batch's mean token "
        "as MLLMU-Bench does (beta 0.4), but not the gold as its reference: that leaks the goal.",
        models=("mllm", "clip"),
    )
    reference = "scalar"

    class Config(GradientConfig):
        beta: float = Field(default=0.1, gt=0, json_schema_extra={"log": (0.05, 2)})
        alpha: float = Field(default=1.0, ge=0)
        reproduction: Literal["mllmu"] | None = None

    def forget_loss(self, model, batch):
        from torch.nn.functional import logsigmoid

        ratio = self.log_ratio(model, batch)
        if self.config.reproduction:
            ratio = ratio.sum() / batch.lengths.sum()
        return -(2 / self.config.beta) * logsigmoid(-self.config.beta * ratio).mean()
