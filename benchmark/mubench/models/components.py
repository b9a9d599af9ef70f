"""Weights by component (vision tower, projector, language model), to put some of them back.

What an unlearned model says again once a component is the target's, it never lost: the other
components still lead to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from .layouts import COMPONENTS, Component


def differing(model: Any, target: Any) -> tuple[Component, ...]:
    """The components in which two models of one architecture differ."""
    own, other = weights(model), weights(target)
    return tuple(
        component
        for component in COMPONENTS
        if any(not tensor.equal(other[component][name]) for name, tensor in own[component].items())
    )


@contextmanager
def put_back(model: Any, target: Any, components: Sequence[Component]) -> Iterator[None]:
    """Within: these components of ``model`` have the target's weights."""
    pairs = [
        (tensor, weights(target)[component][name])
        for component in components
        for name, tensor in weights(model)[component].items()
    ]
    before = [tensor.clone() for tensor, _ in pairs]
    with torch.no_grad():
        for tensor, source in pairs:
            tensor.copy_(source)
    try:
        yield
    finally:
        with torch.no_grad():
            for (tensor, _), old in zip(pairs, before, strict=True):
                tensor.copy_(old)


def weights(model: Any) -> dict[Component, dict[str, Tensor]]:
    """Every tensor of the model by component and name; they share memory with the model."""
    found: dict[Component, dict[str, Tensor]] = {component: {} for component in COMPONENTS}
    for name, tensor in model.module("").state_dict().items():
        found[model.layout.component(name)][name] = tensor
    return found
