"""Direct minimisation of the forget pairs' similarity."""

from __future__ import annotations

from mubench.types import MethodInfo

from .common import DualMethod


class SimilarityMinimisation(DualMethod):
    """Bounded by -1 and still destructive: the cheapest way down is to turn a whole tower round."""

    info = MethodInfo(
        name="sim-min",
        title="Direct similarity minimisation",
        paper="arXiv:2603.26316 (as a baseline)",
        formula="L = mean <z_f, t_f>",
        kind="gradient",
        needs=("forget",),
        models=("clip",),
    )

    def forget_loss(self, model, batch):
        return (model.image_features(batch) * model.text_features(batch)).sum(1).mean()
