"""ULD: unlearning from logit difference."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from pydantic import Field

from mubench.types import MethodInfo

from .activations import subsample
from .answers import known, perturbed
from .base import GradientMethod, LearningConfig


class ULD(GradientMethod):
    """An assistant, the target's first layers with LoRA, learns forget and nothing of retain; its
    logits are subtracted from the target's, whose weights never change.

    The wordings of a question stand for the paper's paraphrases of it.
    """

    info = MethodInfo(
        name="uld",
        title="ULD: unlearning from logit difference",
        paper="arXiv:2406.08607",
        formula="l(y|x) = l_target(y|x) - weight l_a(y|x) (eq. 2); assistant: L = nll(D_f')"
        " + uniform KL(U || p_a) on D_r' = |D_f| of D_r and D_f with wrong facts",
        kind="inference",
        notes="layers, r, alpha, uniform, weight, filter, lr, epochs, batch_size: the paper's for"
        " TOFU (the released configs differ: r 16, uniform 5, weight 0.8). The uniform loss covers"
        " answer tokens; the released code's, prompt and padding as well. The assistant's logits"
        " are centred, so that a uniform assistant is a no-op. Whoever has the weights drops the"
        " assistant.",
        weight_access="n/a",
    )

    class Config(LearningConfig):
        scope: Literal["lora"] = "lora"
        lora_r: int = Field(default=32, gt=0)
        lora_alpha: int = Field(default=32, gt=0)
        lr: float = Field(default=1e-3, gt=0, json_schema_extra={"around": 3})
        epochs: float = Field(default=10, gt=0, json_schema_extra={"among": (3, 10)})
        batch_size: int = Field(default=32, gt=0)
        layers: int = Field(default=8, gt=0)  # of the language model, in the assistant
        uniform: float = Field(default=6.5, ge=0, json_schema_extra={"log": (1, 10)})
        perturbed: int = Field(default=2, ge=0)  # wrong answers a forget question
        weight: float = Field(default=0.75, gt=0, json_schema_extra={"log": (0.4, 2)})
        filter: float = Field(default=0.01, gt=0, le=1)

    def unlearn(self, model, data, context):
        from mubench.models.behaviours import LogitDifference

        config = self.config
        rng = context.generator("assistant")
        people = known([*data.forget, *data.retain])
        unknown = subsample(data.retain, len(data.forget), rng)
        for example in data.forget:
            wrong = [perturbed(example, people, rng) for _ in range(config.perturbed)]
            unknown += [replace(example, answer=a) for a in wrong if a != example.answer]
        assistant = model.first_layers(config.layers)
        super().unlearn(assistant, replace(data, retain=unknown), context)
        model.add(LogitDifference(assistant, config.layers, config.weight, config.filter))

    def terms(self, model, forget, retain):
        import math

        dist = model.log_dist(retain)
        divergence = -dist.mean() - math.log(dist.shape[-1])
        return {"forget": model.nll(forget), "retain": self.config.uniform * divergence}
