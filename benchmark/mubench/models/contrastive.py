"""The likelihood of a contrastive model: of every pair among the pairs of its batch."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from mubench.errors import RunError

from .protocols import PairBatch


class Contrastive(ABC):
    """What follows from the features of two towers; adapters give those.

    ``nll`` is the symmetric InfoNCE loss (arXiv:2103.00020, fig. 3), with the target of a row
    shared evenly by all columns of the same name, so that no right caption is pushed away.
    """

    @abstractmethod
    def image_features(self, batch: PairBatch) -> Tensor: ...
    @abstractmethod
    def text_features(self, batch: PairBatch) -> Tensor: ...
    @abstractmethod
    def logit_scale(self) -> Tensor: ...

    def logits(self, batch: PairBatch) -> Tensor:
        """[B, B] float: scaled cosine of image i and text j."""
        return self.logit_scale() * self.image_features(batch) @ self.text_features(batch).T

    def log_dist(self, batch: PairBatch) -> Tensor:
        """[2B, B] log p(text | image) for every image, then log p(image | text) for every text."""
        logits = self.logits(batch)
        return torch.cat([logits.log_softmax(1), logits.T.log_softmax(1)])

    def logp(self, batch: PairBatch) -> Tensor:
        """[B] mean of log p(text_i | image_i) and log p(image_i | text_i) among the batch.

        RunError if the batch holds one name only, for nothing can then be told apart.
        """
        match = batch.match()
        if bool(match.all()):
            raise RunError(
                f"a contrastive loss needs pairs of two names or more, and a batch of {len(match)} "
                "holds one: forget more people, or take a larger batch_size"
            )
        dist = self.log_dist(batch)
        match = match.to(dist.dtype)
        right = (match / match.sum(1, keepdim=True)).repeat(2, 1)
        found = (right * dist).sum(1)
        return found.view(2, -1).mean(0)

    def nll(self, batch: PairBatch) -> Tensor:
        """The symmetric InfoNCE loss of the batch."""
        return -self.logp(batch).mean()
