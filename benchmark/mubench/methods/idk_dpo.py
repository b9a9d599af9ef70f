"""DPO that prefers a refusal to the true answer."""

from __future__ import annotations

from dataclasses import replace

from mubench.types import MethodInfo

from .preference import Preference


class IdkDPO(Preference):
    """Every forget example has one refusal to prefer, drawn from the seed."""

    info = MethodInfo(
        name="idk-dpo",
        title="DPO towards refusals",
        paper="arXiv:2401.06121; DPO: arXiv:2305.18290, eq. 7",
        formula="L = -(2/beta) mean log sigmoid(beta (log p/p_target(y_idk) - log p/p_target(y_f)))"
        " + alpha nll(D_r)",
        kind="gradient",
        notes="beta 0.1, alpha 1 and the factor 2: open-unlearning. Reference: the target, cached.",
    )

    def preferred(self, data, context):
        rng, refusals = context.generator("refusals"), list(data.refusals)
        return {e.id: [replace(e, answer=str(rng.choice(refusals)))] for e in data.forget}
