"""Greedy free answers, all branches of all rows side by side."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .protocols import Scorer, Step

if TYPE_CHECKING:
    from .reading import Read


@dataclass(slots=True)
class Growth:
    """A free answer under way: its row of the batch, the position of its last token."""

    row: int
    position: int
    tokens: list[int]


def grow(
    scorer: Scorer,
    read: Read,
    grown: list[Growth],
    sees: Tensor,
    ends: Collection[int],
    limit: int,
) -> None:
    """Append to every branch its likeliest tokens up to one of ``ends``, or ``limit`` in all.

    ``sees`` [branches, S]: what each branch has behind it. A finished branch makes room at once;
    when half of the rows are done, the rest are regrouped.
    """
    height = len(read.next)
    while True:
        open_ = [
            place
            for place, growth in enumerate(grown)
            if growth.tokens[-1] not in ends and len(growth.tokens) < limit
        ]
        if not open_:
            return
        if len(open_) < len(grown):
            grown, sees = [grown[place] for place in open_], sees[open_]
        live = sorted({growth.row for growth in grown})
        if 2 * len(live) <= height:
            read.memory = scorer.rows(read.memory, torch.tensor(live, device=sees.device))
            read.pictures = [read.pictures[row] for row in live] if read.pictures else []
            for growth in grown:
                growth.row = live.index(growth.row)
            height = len(live)
        sees = step(scorer, read, grown, sees, height)


def step(scorer: Scorer, read: Read, grown: Sequence[Growth], sees: Tensor, height: int) -> Tensor:
    """One token more for every branch; returns what each one has behind it now."""
    columns, used, device = [], [0] * height, sees.device
    for growth in grown:
        columns.append(used[growth.row])
        used[growth.row] += 1
    width, past = max(used), sees.shape[1]
    row = torch.tensor([growth.row for growth in grown], device=device)
    column = torch.tensor(columns, device=device)
    ids = torch.zeros(height, width, dtype=torch.long, device=device)
    ids[row, column] = torch.tensor([g.tokens[-1] for g in grown], device=device)
    positions = torch.zeros_like(ids)
    positions[row, column] = torch.tensor([g.position for g in grown], device=device)
    visible = torch.zeros(height, width, past + width, dtype=torch.bool, device=device)
    visible[:, :, past:] = torch.eye(width, dtype=torch.bool, device=device)
    visible[row, column, :past] = sees
    crossed = read.crossed(torch.ones_like(ids))
    made = Step(ids, positions, visible, (row, column), crossed=crossed)
    logits, read.memory = scorer.read(read.memory, made)
    for growth, token in zip(grown, logits.argmax(-1).tolist(), strict=True):
        growth.tokens.append(token)
        growth.position += 1
    return visible[row, column]
