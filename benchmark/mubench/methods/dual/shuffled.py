"""Shuffled captions: forget images learn the names of one another."""

from __future__ import annotations

from pydantic import Field

from mubench.types import MethodInfo

from .common import DualConfig, DualMethod, renamed


class Shuffled(DualMethod):
    """Drawn anew in every step, so that no wrong name is learned for good."""

    info = MethodInfo(
        name="shuffled",
        title="Shuffled captions",
        paper="arXiv:2603.26316 (as a baseline)",
        formula="L = InfoNCE(x_f, y_f') + alpha InfoNCE(D_r), y': the caption of another forget"
        " name",
        kind="gradient",
        models=("clip",),
    )

    class Config(DualConfig):
        alpha: float = Field(default=1.0, ge=0)

    def forget_batch(self, model, forget, data, rng):
        return model.encode([renamed(one, data.forget, rng, self.info.name) for one in forget])

    def forget_loss(self, model, batch):
        return model.nll(batch)
