"""WAGLE by name: NPO on the weights that its attribution selects."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mubench.types import MethodInfo

from .npo import NPO


class WAGLE(NPO):
    """NPO with ``mask=wagle``; any other gradient method takes the mask as well."""

    info = MethodInfo(
        name="wagle",
        title="Weight attribution-guided unlearning (WAGLE)",
        paper="arXiv:2410.17509",
        formula="NPO on the top share of S = |(theta - g_r / gamma_H) g_f|, other weights held",
        kind="gradient",
        notes="lr 1e-5, density 0.95, gamma_H 1e-6 (mask_gamma): released for NPO on TOFU. "
        "Gradients are summed over examples, whatever the batch size. Full weights.",
    )

    class Config(NPO.Config):
        scope: Literal["lora", "full"] = "full"
        lr: float = Field(default=1e-5, gt=0, json_schema_extra={"around": 3})
        mask: Literal["wagle"] = "wagle"
