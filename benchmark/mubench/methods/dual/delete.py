"""DELETE: towards what the target would say if the true name did not exist."""

from __future__ import annotations

from mubench.types import MethodInfo

from .common import DualMethod


class DELETE(DualMethod):
    """Made for classifiers; here both directions are masked, for one alone leaves the other open.

    Candidates are the batch's forget pairs and as many retain pairs, which have no loss of their
    own.
    """

    info = MethodInfo(
        name="delete",
        title="DELETE",
        paper="CVPR 2025 (decoupled distillation to erase)",
        formula="L = mean [KL(q || p)(texts | x_f) + KL(q || p)(images | y_f)], q: softmax of the"
        " target's logits without the right ones",
        kind="gradient",
        models=("clip",),
        notes="The paper's classifier knows all classes; here the retain pairs stand for them.",
    )
    reference = "distribution"

    def terms(self, model, forget, retain):
        import torch

        with model.reference() as target, torch.no_grad():
            wanted = self.both_ways(target, forget, retain, masked=True).exp()
        now = self.both_ways(model, forget, retain)
        kl = torch.nn.functional.kl_div(now, wanted, reduction="none")
        return {"forget": 2 * kl.sum(1).mean()}

    def both_ways(self, model, forget, retain, masked=False):
        """[2F, F + R] log p over all texts for the forget images, over all images for their texts;
        ``masked``: as if the right ones were not there."""
        import torch

        z = torch.cat([model.image_features(forget), model.image_features(retain)])
        t = torch.cat([model.text_features(forget), model.text_features(retain)])
        count = len(forget.names)
        logits = model.logit_scale() * torch.cat([z[:count] @ t.T, t[:count] @ z.T])
        if masked:
            names = torch.cat([forget.names, retain.names])
            right = forget.names[:, None] == names
            logits = logits.masked_fill(right.repeat(2, 1), -torch.inf)
        return logits.log_softmax(1)
