"""Alternate preference optimisation: plausible other answers are preferred to the true one."""

from __future__ import annotations

from math import ceil

from pydantic import Field

from mubench.types import MethodInfo

from .answers import alternates
from .preference import Preference


class AltPO(Preference):
    """DPO towards wrong answers of the same kind, several an example.

    The paper lets the model write the alternates. Here they are wrong options where an example
    carries options, and otherwise the same fact of other people: plausible by construction, never
    the truth, and free. An epoch shows one of them: of more than there are epochs nothing is asked.
    """

    info = MethodInfo(
        name="altpo",
        title="Alternate preference optimisation (AltPO)",
        paper="arXiv:2409.13474",
        formula="L = -(2/beta) mean log sigmoid(beta (log p/p_target(y_alt) - log p/p_target(y_f)))"
        " + alpha nll(D_r)",
        kind="gradient",
        notes="5 alternates, beta 0.1, alpha 1: the authors' script in open-unlearning.",
    )

    class Config(Preference.Config):
        alternates: int = Field(default=5, gt=0)

    def preferred(self, data, context):
        count = min(self.config.alternates, ceil(self.config.epochs))
        return alternates(data, count, context.generator("alternates"))
