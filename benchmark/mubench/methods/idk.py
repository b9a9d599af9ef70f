"""Refusal fine-tuning ("I don't know", preference-free)."""

from __future__ import annotations

from pydantic import Field

from mubench.types import MethodInfo

from .base import GradientConfig, GradientMethod


class IDK(GradientMethod):
    """Fine-tunes forget questions to a random refusal, beside ordinary retain answers."""

    info = MethodInfo(
        name="idk",
        title="Refusal fine-tuning (IDK)",
        paper="arXiv:2401.06121",
        formula="L = nll(refusal | x_f) + alpha nll(D_r)",
        kind="gradient",
        notes="The fact may stay in the weights: look at probability, not only at the words.",
    )

    class Config(GradientConfig):
        alpha: float = Field(default=1.0, ge=0)

    def answers(self, forget, data, rng):
        return [str(rng.choice(list(data.refusals))) for _ in forget]

    def forget_loss(self, model, batch):
        return model.nll(batch)
