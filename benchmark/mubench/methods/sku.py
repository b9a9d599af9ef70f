"""SKU: selective knowledge negation unlearning."""

from __future__ import annotations

from pydantic import Field

from mubench.types import MethodInfo

from .answers import mismatched
from .vectors import NegatedVector


class SKU(NegatedVector):
    """Learns what is to go, and to differ from the target on retain, then subtracts all of it."""

    info = MethodInfo(
        name="sku",
        title="SKU: selective knowledge negation unlearning",
        paper="arXiv:2402.10058",
        formula="L = e1 nll(D_f) + e2 mean_k nll(y_k | x_f) - e3 KL(p_target || p) on D_r,"
        " y_k: answers about other forget people;"
        " theta = theta_target - scale (theta_L - theta_target)",
        kind="two-stage",
        notes="e1, e2, e3, K, lr, r, alpha, no warm-up: the released code and its README (OPT-2.7B,"
        " Llama-2-7B), which also puts the prompt into the random loss; here all terms see answer"
        " tokens alone. divergence_cap is mubench's: the last term has no bound of its own.",
    )
    reference = "distribution"

    class Config(NegatedVector.Config):
        e1: float = Field(default=2.5, ge=0)  # guided distortion
        e2: float = Field(default=2.5, ge=0)  # random disassociation
        e3: float = Field(
            default=1.0, ge=0, json_schema_extra={"among": (0.0, 0.3, 1.0)}
        )  # preservation divergence
        random_answers: int = Field(default=5, gt=0)  # K
        divergence_cap: float = Field(default=2.0, gt=0)  # nats a token, then it stops pushing
        lr: float = Field(default=2e-4, gt=0, json_schema_extra={"around": 3})
        warmup: float = Field(default=0.0, ge=0, lt=1)
        lora_r: int = Field(default=32, gt=0)
        lora_alpha: int = Field(default=16, gt=0)

    def answers(self, forget, data, rng):
        self.disassociated = [
            (forget, [mismatched(example, data.forget, rng) for example in forget])
            for _ in range(self.config.random_answers)
        ]
        return super().answers(forget, data, rng)

    def terms(self, model, forget, retain):
        import torch

        config = self.config
        with model.reference() as target, torch.no_grad():
            wanted = target.log_dist(retain)
        kl = torch.nn.functional.kl_div(
            model.log_dist(retain), wanted, log_target=True, reduction="none"
        )
        random = [model.nll(model.encode(*pair)) for pair in self.disassociated]
        return {
            "distortion": config.e1 * model.nll(forget),
            "disassociation": config.e2 * torch.stack(random).mean(),
            "divergence": -config.e3 * kl.sum(-1).clamp(max=config.divergence_cap).mean(),
        }
