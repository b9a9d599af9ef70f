"""MultiDelete: forget pairs look like pairs that never matched, the rest as before."""

from __future__ import annotations

from pydantic import Field

from mubench.types import MethodInfo

from .common import DualConfig, DualMethod


class MultiDelete(DualMethod):
    """The paper's models fuse both inputs; a dual encoder has cosines in the fusion's place."""

    info = MethodInfo(
        name="multidelete",
        title="MultiDelete",
        paper="arXiv:2311.12047",
        formula="L = md mean 1/2 [(<z_i, t_i> - <z_i, t_j>_target)^2 + (<z_i, t_i> -"
        " <z_j, t_i>_target)^2] + ukr mean 1/2 [|z - z_target|^2 + |t - t_target|^2] on D_f"
        " + mkr mean (S - S_target)^2 on D_r; j: a random forget pair of another name",
        kind="gradient",
        models=("clip",),
        notes="Weights 1. The knowledge of the fusion encoder that MKR keeps is the matrix of"
        " cosines S of the batch. Written from the paper's formulas: the released launcher switches"
        " none of the losses on.",
    )
    reference = "distribution"

    class Config(DualConfig):
        md: float = Field(default=1.0, ge=0)
        mkr: float = Field(default=1.0, ge=0)
        ukr: float = Field(default=1.0, ge=0)

    def prepare(self, model, data, context):
        self._rng = context.generator("decoupled")

    def terms(self, model, forget, retain):
        import torch

        with model.reference() as target, torch.no_grad():
            wanted_z, wanted_t = target.image_features(forget), target.text_features(forget)
            kept = target.image_features(retain) @ target.text_features(retain).T
        z, t = model.image_features(forget), model.text_features(forget)
        rows, others = self.decoupled(forget)
        cosine = (z * t).sum(1)[rows]
        to_texts = (wanted_z[rows] * wanted_t[others]).sum(1)
        to_images = (wanted_z[others] * wanted_t[rows]).sum(1)
        apart = ((cosine - to_texts) ** 2 + (cosine - to_images) ** 2).mean() / 2
        alone = ((z - wanted_z) ** 2 + (t - wanted_t) ** 2).sum(1).mean() / 2
        now = model.image_features(retain) @ model.text_features(retain).T
        config = self.config
        return {
            "decoupling": config.md * apart,
            "unimodal": config.ukr * alone,
            "multimodal": config.mkr * ((now - kept) ** 2).mean(),
        }

    def decoupled(self, batch):
        """Rows of the batch, and for each a random row of another name; those that have none are
        left out."""
        apart = (~batch.match()).nonzero().tolist()
        others: dict[int, list[int]] = {}
        for row, other in apart:
            others.setdefault(row, []).append(other)
        return list(others), [many[self._rng.integers(len(many))] for many in others.values()]
