"""How likely each token of an answer was, and how that compares with its rivals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from mubench.types import Token

#: Positions in one pass: what a large vocabulary costs in memory beside the logits is bounded.
ROWS = 512


def traces(logits: Tensor, places: Sequence[int], targets: Sequence[int]) -> Iterator[Token]:
    """``targets[i]`` as predicted by row ``places[i]`` of float32 ``logits`` [N, V]."""
    for start in range(0, len(places), ROWS):
        at = torch.tensor(places[start : start + ROWS], device=logits.device)
        wanted = torch.tensor(targets[start : start + ROWS], device=logits.device)[:, None]
        logp = logits[at].log_softmax(-1)
        own = logp.gather(1, wanted)
        rank = (logp >= own).sum(-1) - 1
        share = logp.exp()
        # A token that cannot be (log-probability -inf) adds nothing: 0 x inf would be no number.
        finite = logp.masked_fill(share == 0, 0)
        mean = (share * finite).sum(-1)
        std = ((share * (finite - mean[:, None]).square()).sum(-1)).sqrt()
        columns = (own[:, 0], rank, mean, std)
        yield from map(Token, *(column.tolist() for column in columns))
