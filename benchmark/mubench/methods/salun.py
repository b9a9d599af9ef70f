"""SalUn by name: wrong answers, taught to the weights that matter for the forget set."""

from typing import Literal

from pydantic import Field

from mubench.types import MethodInfo

from .answers import alternates
from .base import GradientConfig, GradientMethod


class SalUn(GradientMethod):
    """Random labels become wrong answers of the same kind; ``mask=salun`` fits any other loss."""

    info = MethodInfo(
        name="salun",
        title="Saliency unlearning (SalUn)",
        paper="arXiv:2310.12508",
        formula="L = nll(wrong answer | x_f) + alpha nll(D_r) on the top half of |g_f|, rest held",
        kind="gradient",
        notes="Density 0.5: the median of |g_f| as threshold. lr 1e-5 is mubench's. Full weights.",
        models=("mllm", "clip"),
    )

    class Config(GradientConfig):
        alpha: float = Field(default=1.0, ge=0)
        scope: Literal["lora", "full"] = "full"
        lr: float = Field(default=1e-5, gt=0, json_schema_extra={"around": 3})
        mask: Literal["salun"] = "salun"

    def prepare(self, model, data, context):
        self._wrong = alternates(data, 5, context.generator("alternates"))

    def forget_batch(self, model, forget, data, rng):
        return model.encode([rng.choice(self._wrong[one.id]) for one in forget])

    def forget_loss(self, model, batch):
        return model.nll(batch)
