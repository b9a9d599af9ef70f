"""A dual encoder of two linear maps in float64, whose losses can be worked out on paper.

An image is a vector of width 4, and so is a caption's "token ids". Features are x W / |x W|, with
W [4, 3] the only parameter of a tower.
"""

from __future__ import annotations

import copy
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from mubench.models.contrastive import Contrastive
from mubench.models.protocols import PairBatch
from mubench.types import Example
from pairs import pair

WIDTH, FEATURES = 4, 3
SCALE = 5.0


FORGET = [pair(name) for name in ("Ann", "Bo", "Cy")]
RETAIN = [pair(name, set="retain") for name in ("Dee", "Eli", "Fay", "Gus")]


class Towers(nn.Module):
    def __init__(self, seed: int) -> None:
        super().__init__()
        rng = np.random.default_rng(seed)
        for name in ("image", "text"):
            weight = torch.from_numpy(rng.normal(size=(WIDTH, FEATURES)))
            setattr(self, name, nn.Parameter(weight))


class ToyDual(Contrastive):
    """Speaks the dual encoder's protocol."""

    capabilities = frozenset({"likelihood"})

    def __init__(self, seed: int = 0) -> None:
        self.model = Towers(seed)
        self.frozen: ToyDual | None = None
        self.loaded = [weight.detach().clone() for weight in self.model.parameters()]
        self.shown: dict[str, torch.Tensor] = {}  # pictures that are not random
        self.numbers: dict[str, int] = {}
        self.encoded: list[list[Example]] = []

    def encode(self, examples, answers=None):
        if answers is not None:
            examples = [
                one if one.answer == answer else replace(one, answer=answer, keyword=answer)
                for one, answer in zip(examples, answers, strict=True)
            ]
        self.encoded.append(list(examples))
        names = [self.numbers.setdefault(one.keyword, len(self.numbers)) for one in examples]
        return PairBatch(
            torch.stack([self.shown.get(one.image, vector(one.image)) for one in examples]),
            torch.stack([vector(one.answer) for one in examples]),
            torch.tensor(names),
        )

    def image_features(self, batch):
        return nn.functional.normalize(batch.images @ self.model.image, dim=1)

    def text_features(self, batch):
        return nn.functional.normalize(batch.texts @ self.model.text, dim=1)

    def logit_scale(self):
        return torch.tensor(SCALE, dtype=torch.float64)

    def project(self, tower, matrix):
        weight = getattr(self.model, tower)
        weight.data = weight.data @ matrix

    def train_scope(self, scope, *, layers=None, towers=("image", "text"), **options):
        self.scope = scope
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(name in towers)
        return [p for p in self.model.parameters() if p.requires_grad]

    def trained_modules(self):
        return [name for name, p in self.model.named_parameters() if p.requires_grad]

    def trained_pattern(self):
        return "|".join(self.trained_modules())

    def freeze_copy(self):
        self.frozen = ToyDual()
        self.frozen.model = copy.deepcopy(self.model).requires_grad_(False)

    @contextmanager
    def reference(self):
        assert self.frozen is not None, "the reference is asked for and was never kept"
        yield self.frozen


def vector(text: str) -> torch.Tensor:
    """Any text as a fixed random vector."""
    rng = np.random.default_rng(list(text.encode()))
    return torch.from_numpy(rng.normal(size=WIDTH))
