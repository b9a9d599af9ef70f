"""CLIPErase: forget pairs apart, retain pairs matched, retain distributions held."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mubench.types import MethodInfo

from ..tokens import kl_from_target
from .common import DualConfig, DualMethod


class CLIPErase(DualMethod):
    """FM has no floor: it pushes matched pairs below zero, and with them what is near."""

    info = MethodInfo(
        name="cliperase",
        title="CLIPErase",
        paper="arXiv:2410.23330",
        formula="L = rm InfoNCE(D_r) + fm mean <z_f, t_f>"
        " + cm mean [KL(p_target || p)(texts | x_r) + KL(p_target || p)(images | y_r)]",
        kind="gradient",
        models=("clip",),
        notes="Weights 1, 3, 3; Adam, lr 1e-6, 20 epochs, batch 16, both towers. What the paper's"
        " unimodal distributions of CM range over is open: cm_space=logits takes the rows and"
        " columns of the batch's logits, feature the dimensions of each embedding.",
    )
    reference = "distribution"

    class Config(DualConfig):
        rm: float = Field(default=1.0, ge=0)
        fm: float = Field(default=3.0, ge=0, json_schema_extra={"log": (0.3, 10)})
        cm: float = Field(default=3.0, ge=0)
        cm_space: Literal["logits", "feature"] = "logits"
        lr: float = Field(default=1e-6, gt=0, json_schema_extra={"around": 3})
        weight_decay: float = Field(default=0.0, ge=0)
        epochs: float = Field(default=20.0, gt=0)

    def terms(self, model, forget, retain):
        return {
            "forgetting": self.config.fm * self.forgetting(model, forget),
            "retention": self.config.rm * model.nll(retain),
            "consistency": self.config.cm * self.consistency(model, retain),
        }

    def forgetting(self, model, batch):
        """Mean cosine of the forget pairs."""
        return (model.image_features(batch) * model.text_features(batch)).sum(1).mean()

    def consistency(self, model, batch):
        """Mean over pairs of KL(target || model) on the image's side and on the text's."""
        if self.config.cm_space == "logits":
            return 2 * kl_from_target(model, batch)
        import torch

        with model.reference() as target, torch.no_grad():
            wanted = _over_dimensions(target, batch)
        kl = torch.nn.functional.kl_div(
            _over_dimensions(model, batch), wanted, log_target=True, reduction="none"
        )
        return 2 * kl.sum(1).mean()


def _over_dimensions(model, batch):
    """[2B, D] log-softmax of the image features, then of the text features."""
    import torch

    features = torch.cat([model.image_features(batch), model.text_features(batch)])
    return features.log_softmax(1)
