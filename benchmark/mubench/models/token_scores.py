"""Given answers, token by token, in plain teacher-forced batches through the model's protocol."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from mubench.types import Example, Tokens

from .encoding import IGNORE
from .protocols import TrainableModel


def token_scores(
    model: TrainableModel, examples: Sequence[Example], batch_size: int
) -> Iterator[Tokens]:
    """What the model thinks of each example's true answer, in the order of the examples.

    Likelihoods are those of the model as it answers: what acts at inference time acts here.
    """
    for batch in _batches(examples, batch_size):
        yield from _scored(model, batch)


@torch.no_grad()
def _scored(model: TrainableModel, batch: Sequence[Example]) -> Iterator[Tokens]:
    encoded = model.encode(batch)
    rows = model.log_dist(encoded)  # [answer tokens, V]
    answers = encoded.labels != IGNORE
    own = rows.gather(1, encoded.labels[answers][:, None])
    # A token may be forbidden: 0 log 0 is 0.
    probabilities, finite = rows.exp(), rows.nan_to_num(neginf=0.0)
    means = (probabilities * finite).sum(1)
    variances = (probabilities * (finite - means[:, None]).square()).sum(1)
    ranks = (rows >= own).sum(1) - 1
    columns = (own[:, 0].tolist(), means.tolist(), variances.tolist(), ranks.tolist())
    start = 0
    for example, length in zip(batch, answers.sum(1).tolist(), strict=True):
        part = (tuple(column[start : start + length]) for column in columns)
        yield Tokens(example.id, *part)
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
