"""Fine-tuning on the retain set alone."""

from __future__ import annotations

from mubench.types import MethodInfo

from .common import DualMethod


class FineTuning(DualMethod):
    """As many steps and pairs as the others take: what they gain by retain data alone."""

    info = MethodInfo(
        name="ft",
        title="Fine-tuning on retain",
        paper="arXiv:1911.04933, the baseline of fine-tuning",
        formula="L = InfoNCE(D_r)",
        kind="gradient",
        needs=("retain",),
        models=("clip",),
        notes="Forgets, if at all, by catastrophe. Retain scores of methods with a retain term are"
        " to be read against it, not against the target.",
    )

    def terms(self, model, forget, retain):
        return {"retain": model.nll(retain)}
