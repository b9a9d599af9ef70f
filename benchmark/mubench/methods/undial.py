"""Self-distillation towards the target's own distribution, less the true token."""

from __future__ import annotations

from pydantic import Field

from mubench.types import MethodInfo

from .base import GradientConfig, GradientMethod
from .tokens import target_log_dist, tokens


class UNDIAL(GradientMethod):
    """Answer positions only (open-unlearning's code also distils on prompt and padding)."""

    info = MethodInfo(
        name="undial",
        title="Unlearning by self-distillation on adjusted logits",
        paper="arXiv:2402.10052",
        formula="L = mean_t CE(softmax(z_target - beta onehot(y_t)), softmax(z)) + alpha nll(D_r)",
        kind="gradient",
        notes="beta 10, alpha 0, lr 1e-4, LoRA r 8 alpha 16: open-unlearning's, after the paper.",
    )
    reference = "distribution"

    class Config(GradientConfig):
        beta: float = Field(default=10.0, gt=0, json_schema_extra={"log": (3, 30)})
        alpha: float = Field(default=0.0, ge=0, json_schema_extra={"among": (0.0, 0.3, 1.0)})
        lora_r: int = Field(default=8, gt=0)

    def forget_loss(self, model, batch):
        import torch

        logits = target_log_dist(model, batch)  # logits up to a constant a position
        truth = torch.nn.functional.one_hot(tokens(batch), logits.shape[1])
        wanted = (logits - self.config.beta * truth).softmax(-1)
        return -(wanted * model.log_dist(batch)).sum(-1).mean()
