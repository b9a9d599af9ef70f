"""What methods for dual encoders share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mubench.errors import RunError
from mubench.types import Example

from ..base import GradientConfig, GradientMethod

if TYPE_CHECKING:
    from torch import Tensor

    from mubench.models.protocols import DualEncoder, Side

Towers = Literal["both", "image", "text"]


def sides(towers: Towers) -> tuple[Side, ...]:
    """The towers that ``towers`` names."""
    return ("image", "text") if towers == "both" else (towers,)


class DualConfig(GradientConfig):
    """All weights of both towers, as the methods for CLIP train them, but for the logit scale."""

    scope: Literal["lora", "full"] = "full"
    towers: Towers = "both"


class DualMethod(GradientMethod):
    """A gradient method that is defined by features and cosines, hence for dual encoders alone."""

    Config = DualConfig

    def scope_options(self) -> dict[str, Any]:
        return {**super().scope_options(), "towers": sides(self.config.towers)}


class Edit:
    """A method with an ``unlearn`` of its own. What its code depends on stands in this module or
    in its own, for stages are keyed by the modules of a method's classes."""

    def __init__(self, config: Any) -> None:
        self.config = config


def renamed(
    pair: Example, others: Sequence[Example], rng: np.random.Generator, method: str
) -> Example:
    """The image of a pair with the caption of another name. RunError if all have its own."""
    wrong = [one for one in others if one.keyword != pair.keyword]
    if not wrong:
        raise RunError(f"{method} needs two names or more to exchange, and finds {pair.keyword}")
    other = wrong[rng.integers(len(wrong))]
    return replace(pair, answer=other.answer, keyword=other.keyword)


def batched(pairs: Sequence[Example], size: int) -> list[Sequence[Example]]:
    """The pairs in their order, ``size`` at a time."""
    return [pairs[at : at + size] for at in range(0, len(pairs), size)]


def images(model: DualEncoder, pairs: Sequence[Example], size: int) -> tuple[Tensor, list[str]]:
    """[N, D] features of the different images among the pairs, without gradient, and whose."""
    import torch

    seen = list({one.image: one for one in pairs}.values())
    with torch.no_grad():
        parts = [model.image_features(model.encode(part)) for part in batched(seen, size)]
    return torch.cat(parts), [one.keyword for one in seen]


def names(model: DualEncoder, pairs: Sequence[Example], size: int) -> tuple[Tensor, list[str]]:
    """[N, D] one text feature of length 1 a name, without gradient, and the names: the normalised
    mean over its different captions, as zero-shot classes are made."""
    import torch

    captions = {(one.keyword, one.answer): one for one in pairs}
    with torch.no_grad():
        parts = [model.text_features(model.encode(p)) for p in batched([*captions.values()], size)]
    features = torch.cat(parts)
    said = [keyword for keyword, _ in captions]
    known = list(dict.fromkeys(said))
    means = [
        features[[at for at, word in enumerate(said) if word == name]].mean(0) for name in known
    ]
    return torch.nn.functional.normalize(torch.stack(means), dim=1), known
