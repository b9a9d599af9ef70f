"""What masks share: parameters, examples, and gradients at the target's weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from mubench.types import Example

from .. import loops
from ..base import Context, GradientMethod, UnlearnData
from . import selection
from .packed import Packed


class Mask:
    """Lets the ``density`` share of weights with the highest score change."""

    density: ClassVar[float] = 0.95
    forget_only: ClassVar[bool] = False

    def __init__(
        self,
        method: GradientMethod,
        model: Any,
        data: UnlearnData,
        everything: UnlearnData,
        context: Context,
    ) -> None:
        self.method, self.model, self.context = method, model, context
        self.data, self.everything = data, everything
        self.config = method.config
        self.parameters: Mapping[str, torch.nn.Parameter] = {
            name: parameter
            for name, parameter in model.model.named_parameters()
            if parameter.requires_grad
        }
        self.sizes = {name: parameter.numel() for name, parameter in self.parameters.items()}
        self.notes: dict[str, Any] = {}

    def scores(self) -> selection.Score:
        raise NotImplementedError

    def mask(self) -> Packed:
        bits = selection.top(
            self.scores(),
            self.sizes,
            self.config.mask_density or self.density,
            per_block=self.config.mask_threshold == "block",
        )
        return Packed(self.parameters, bits, forget_only=self.forget_only, notes=self.notes)

    def summed_gradients(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """Sum over examples of d nll / d theta, nll per token of one example: any batch size gives
        the same. Parameters that take no part are left out."""

        def total(batch: Sequence[Example]) -> Tensor:
            encoded = self.model.encode(batch)
            return -(self.model.logp(encoded) / encoded.lengths).sum()

        self._backward(examples, total, lambda: None)
        found = {n: p.grad for n, p in self.parameters.items() if p.grad is not None}
        self._clear()
        return found

    def squared_gradients(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """Mean over batches of the squared gradient of their cross-entropy, for every parameter
        over the batches in which it takes part."""
        total: dict[str, Tensor] = {}
        count: dict[str, int] = {}

        def add() -> None:
            for name, parameter in self.parameters.items():
                if parameter.grad is not None:
                    square = parameter.grad.float().square()
                    total[name] = total[name].add_(square) if name in total else square
                    count[name] = count.get(name, 0) + 1
            self._clear()

        self._backward(examples, lambda batch: self.model.nll(self.model.encode(batch)), add)
        return {name: value.div_(count[name]) for name, value in total.items()}

    def _backward(
        self,
        examples: Sequence[Example],
        loss: Callable[[Sequence[Example]], Tensor],
        after: Callable[[], None],
    ) -> None:
        size = self.config.batch_size
        batches = list(loops.batches(examples, size, self.context.generator("mask")))
        for number, batch in enumerate(batches, start=1):
            loss(batch).backward()
            after()
            self.context.report(number, len(batches), "gradients for the mask")

    def _clear(self) -> None:
        for parameter in self.parameters.values():
            parameter.grad = None
