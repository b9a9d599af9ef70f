"""Given answers, token by token, in plain teacher-forced batches through the model's protocol."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from mubench.types import Example, Token

from .encoding import IGNORE
from .protocols import TrainableModel


def token_scores(
    model: TrainableModel, examples: Sequence[Example], batch_size: int
) -> Iterator[tuple[Token, ...]]:
    """What the model thinks of each example's true answer, in the order of the examples.

    Likelihoods are those of the model as it answers: what acts at inference time acts here.
    """
    for batch in _batches(examples, batch_size):
        yield from _scored(model, batch)


@torch.no_grad()
def _scored(model: TrainableModel, batch: Sequence[Example]) -> Iterator[tuple[Token, ...]]:
    encoded = model.encode(batch)
    rows = model.log_dist(encoded)  # [answer tokens, V]
    answers = encoded.labels != IGNORE
    own = rows.gather(1, encoded.labels[answers][:, None])
    # A token may be forbidden: 0 log 0 is 0.
    probabilities, finite = rows.exp(), rows.nan_to_num(neginf=0.0)
    means = (probabilities * finite).sum(1)
    stds = (probabilities * (finite - means[:, None]).square()).sum(1).sqrt()
    ranks = (rows >= own).sum(1) - 1
    columns = (column.tolist() for column in (own[:, 0], ranks, means, stds))
    tokens = list(map(Token, *columns))
    start = 0
    for length in answers.sum(1).tolist():
        yield tuple(tokens[start : start + length])
        start += length


def gradient_norms(model: TrainableModel, examples: Sequence[Example]) -> Iterator[float]:
    """2-norm of the gradient of each example's loss, averaged over the weights looked at.

    These are the language model's MLP output weights, the same for every model: all gradients of
    a large model would not fit, and a mean over other tensors could not be compared.
    """
    model.module("").requires_grad_(False)
    weights = [
        model.module(block.down).weight.requires_grad_(True)
        for block in model.neurons()
        if block.tower == "language"
    ]
    for example in examples:
        gradients = torch.autograd.grad(model.nll(model.encode([example])), weights)
        norms = [torch.linalg.vector_norm(gradient.float()) for gradient in gradients]
        yield float(torch.stack(norms).mean())


def _batches(examples: Sequence[Example], size: int) -> Iterator[list[Example]]:
    """Neighbours of one modality together."""
    batch: list[Example] = []
    for example in examples:
        if batch and (len(batch) == size or batch[0].modality != example.modality):
            yield batch
            batch = []
        batch.append(example)
    if batch:
        yield batch
