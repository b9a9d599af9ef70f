"""MMUnlearner by name: ascent on pictures alone, on the weights only they need."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mubench.types import MethodInfo

from .grad_diff import GradientDifference


class MMUnlearner(GradientDifference):
    """Forget steps under ``mask=mmunlearner``, each followed by free retain steps.

    Its goal is to forget faces and to keep what is known of the same people in text: its text-only
    score on forget is meant to stay high.
    """

    info = MethodInfo(
        name="mmunlearner",
        title="MMUnlearner",
        paper="arXiv:2502.11051",
        formula="forget: -gamma nll(D_f with picture) on weights with F_forget >= F_preserve; "
        "retain: alpha nll(D_r) on all; F = mean over batches of the squared gradient",
        kind="gradient",
        notes="lr 1e-5 as released, whose mask does nothing under LoRA and leaks through AdamW's "
        "momentum; here masked weights are held exactly. Full weights.",
    )

    class Config(GradientDifference.Config):
        scope: Literal["lora", "full"] = "full"
        lr: float = Field(default=1e-5, gt=0, json_schema_extra={"around": 3})
        modality: Literal["both", "image_text", "text"] = "image_text"
        mask: Literal["mmunlearner"] = "mmunlearner"
