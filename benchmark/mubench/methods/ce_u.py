"""Cross-entropy towards the model's own distribution without the true token."""

from __future__ import annotations

from pydantic import Field

from mubench.types import MethodInfo

from .base import GradientConfig, GradientMethod
from .tokens import places, tokens


class CEU(GradientMethod):
    """Bounded: the gradient on the true token's logit is its probability."""

    info = MethodInfo(
        name="ce-u",
        title="Cross-entropy unlearning (CE-U)",
        paper="arXiv:2503.01224",
        formula="L = mean_t CE(softmax(sg(z) with z_y = -inf), softmax(z))",
        kind="gradient",
        needs=("forget",),
        notes="No retain term, as in the paper. open-unlearning skips the first answer token; the "
        "default here is skip 0, for a visual question's answer is often one token.",
    )

    class Config(GradientConfig):
        skip: int = Field(default=0, ge=0)  # answer tokens at the start that are left alone

    def forget_loss(self, model, batch):
        import torch

        logp = model.log_dist(batch)
        truth = torch.nn.functional.one_hot(tokens(batch), logp.shape[1]).bool()
        wanted = logp.detach().masked_fill(truth, -torch.inf).softmax(-1)
        used = (places(batch) >= self.config.skip).type_as(logp)
        return -((wanted * logp).sum(-1) * used).sum() / used.sum().clamp(min=1)
