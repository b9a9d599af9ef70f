"""Gradient ascent on the forget set."""

from __future__ import annotations

from mubench.types import MethodInfo

from .base import GradientMethod


class GradientAscent(GradientMethod):
    """Maximises the answer tokens' cross-entropy on forget; unbounded, collapses if pushed."""

    info = MethodInfo(
        name="ga",
        title="Gradient ascent",
        paper="arXiv:2310.10683",
        formula="L = -nll(D_f)",
        kind="gradient",
        needs=("forget",),
        notes="No retain term and no bound: long runs break the model, and the report says so.",
        models=("mllm", "clip"),
    )

    def forget_loss(self, model, batch):
        return -model.nll(batch)
