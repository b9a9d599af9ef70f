"""KL minimisation: ascent on forget, distributions on retain held to the target's."""

from __future__ import annotations

from pydantic import Field

from mubench.types import MethodInfo

from .base import GradientConfig, GradientMethod


class KLMinimisation(GradientMethod):
    """KL(target || model) per answer token: image and prompt positions do not enter."""

    info = MethodInfo(
        name="kl-min",
        title="KL minimisation",
        paper="arXiv:2401.06121",
        formula="L = -nll(D_f) + alpha mean_t KL(p_target(.|x_r, y_<t) || p(.|x_r, y_<t))",
        kind="gradient",
        notes="Without the extra retain cross-entropy of MLLMU-Bench's released code.",
    )
    reference = "distribution"

    class Config(GradientConfig):
        alpha: float = Field(default=1.0, ge=0)

    def terms(self, model, forget, retain):
        import torch

        with model.reference() as target, torch.no_grad():
            wanted = target.log_dist(retain)
        kl = torch.nn.functional.kl_div(
            model.log_dist(retain), wanted, log_target=True, reduction="none"
        )
        return {"forget": -model.nll(forget), "retain": self.config.alpha * kl.sum(-1).mean()}
