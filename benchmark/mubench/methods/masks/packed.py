"""A mask at one bit a weight, and the freezing of what it leaves out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


class Packed:
    """1 where a weight may change. ``forget_only``: on steps with a forget term alone."""

    def __init__(
        self,
        parameters: Mapping[str, torch.nn.Parameter],
        bits: Mapping[str, Tensor],
        *,
        forget_only: bool = False,
        notes: Mapping[str, Any] | None = None,
    ) -> None:
        self.parameters = parameters
        self.bits = bits
        self.forget_only = forget_only
        self.notes = notes or {}

    @property
    def count(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters.values())

    @property
    def bits_per_weight(self) -> float:
        """What is stored, in bits; the last byte of a tensor may be part empty."""
        return 8 * sum(bits.numel() for bits in self.bits.values()) / self.count

    def __getitem__(self, name: str) -> Tensor:
        """The mask of one parameter, in its shape."""
        parameter = self.parameters[name]
        return unpack(self.bits[name], parameter.numel()).view(parameter.shape)

    def densities(self) -> dict[str, float]:
        """Share of weights that may change, by block."""
        free: dict[str, int] = {}
        total: dict[str, int] = {}
        for name, parameter in self.parameters.items():
            key = block(name)
            free[key] = free.get(key, 0) + int(self[name].sum())
            total[key] = total.get(key, 0) + parameter.numel()
        return {key: free[key] / total[key] for key in total}

    def density(self) -> float:
        return sum(int(self[name].sum()) for name in self.parameters) / self.count

    @contextmanager
    def held(self) -> Iterator[None]:
        """Whatever the optimizer does inside, weights left out are afterwards as before.

        The step is undone rather than the gradient masked, for weight decay and the momentum of
        unmasked steps would move them all the same.
        """
        with torch.no_grad():
            kept = {name: p.masked_select(~self[name]) for name, p in self.parameters.items()}
            yield
            for name, parameter in self.parameters.items():
                parameter.masked_scatter_(~self[name], kept[name])


def pack(mask: Tensor) -> Tensor:
    """Bytes [ceil(n / 8)] of a boolean mask of n entries."""
    flat = mask.flatten()
    flat = torch.nn.functional.pad(flat, (0, -len(flat) % 8)).view(-1, 8)
    return (flat.to(torch.uint8) << _shifts(flat)).sum(1, dtype=torch.uint8)


def unpack(bits: Tensor, count: int) -> Tensor:
    """[count] booleans."""
    return ((bits[:, None] >> _shifts(bits)) & 1).flatten()[:count].bool()


def _shifts(like: Tensor) -> Tensor:
    return torch.arange(8, dtype=torch.uint8, device=like.device)


def block(name: str) -> str:
    """What a parameter belongs to: its numbered layer, else the module around its own."""
    numbered = re.match(r".*?\.\d+(?=\.)", name)
    return numbered[0] if numbered else name.rpartition(".")[0] or name
