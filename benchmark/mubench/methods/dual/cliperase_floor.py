"""CLIPErase with a floor: forget pairs are as far apart as pairs that never matched."""

from __future__ import annotations

from pydantic import Field

from mubench.types import MethodInfo

from ..base import UnlearnData
from .cliperase import CLIPErase


class CLIPEraseFloor(CLIPErase):
    """The floor needs no gold model: it is what the target gives to pairs that do not match."""

    info = MethodInfo(
        name="cliperase-floor",
        title="CLIPErase with a floor",
        paper="arXiv:2410.23330, changed by mubench",
        formula="L = fm mean relu(<z_f, t_f> - c) + cm KL(D_r) [+ rm InfoNCE(D_r)],"
        " c: the target's mean cosine of pairs that do not match",
        kind="gradient",
        models=("clip",),
        notes="rm 0: the distributions that CM holds keep what RM would teach, and teach no more.",
    )

    class Config(CLIPErase.Config):
        rm: float = Field(default=0.0, ge=0)

    def prepare(self, model, data, context):
        self.floor = mismatched_cosine(
            model, data, self.config.batch_size, context.generator("floor")
        )
        context.log["floor"] = self.floor

    def forgetting(self, model, batch):
        cosine = (model.image_features(batch) * model.text_features(batch)).sum(1)
        return (cosine - self.floor).relu().mean()


def mismatched_cosine(model, data: UnlearnData, size: int, rng) -> float:
    """Mean cosine of images and captions of others, over random batches of pairs that say what the
    forget pairs say (their names, say, and not their towns). What is true of a person in other
    words is no mismatch."""
    import torch

    from .. import loops

    said = {pair.fact for pair in data.forget}
    alike = [pair for pair in (*data.forget, *data.retain) if pair.fact in said]
    total, count = 0.0, 0
    for pairs in loops.batches(alike, size, rng):
        batch = model.encode(pairs)
        with torch.no_grad():
            cosine = model.image_features(batch) @ model.text_features(batch).T
        whose = [pair.person for pair in pairs]
        same = batch.names.new_tensor([[one == other for other in whose] for one in whose]).bool()
        apart = ~(batch.match() | same)
        total += cosine[apart].sum().item()
        count += int(apart.sum())
    return total / count
