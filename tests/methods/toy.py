"""A model of five words in float64 whose losses can be worked out on paper.

Every question has its own table of logits [answer positions, 5], and the tables are the only
parameter. An answer is written as digits, e.g. "03"; its tokens are those digits.
"""

from __future__ import annotations

import copy
from contextlib import contextmanager
from hashlib import sha256

import numpy as np
import torch
from torch import nn

from mubench.models.protocols import Batch
from mubench.types import Example

WORDS = 5
LENGTH = 3  # answer positions a question
FORGET = {"f0": "03", "f1": "4"}
RETAIN = {"r0": "12", "r1": "301"}
QUESTIONS = [*FORGET, *RETAIN]


def example(question: str, answer: str, modality: str = "text") -> Example:
    return Example(
        id=f"{question}/{modality}",
        set="forget" if question in FORGET else "retain",
        task="generation",
        modality=modality,
        person=question,
        fact="x",
        question=question,
        answer=answer,
        keyword=answer,
        image=question if modality == "image_text" else None,
    )


def forget(modality: str = "text") -> list[Example]:
    return [example(question, answer, modality) for question, answer in FORGET.items()]


def retain(modality: str = "text") -> list[Example]:
    return [example(question, answer, modality) for question, answer in RETAIN.items()]


class Tables(nn.Module):
    def __init__(self, seed: int) -> None:
        super().__init__()
        shape = (len(QUESTIONS), LENGTH, WORDS)
        self.logits = nn.Parameter(torch.from_numpy(np.random.default_rng(seed).normal(size=shape)))

    def forward(self, rows):
        return self.logits[rows]


class Toy:
    """Speaks the model protocol, as far as gradient methods need it."""

    capabilities = frozenset({"likelihood"})

    def __init__(self, seed: int = 0, *, broken_from: int | None = None) -> None:
        self.model = Tables(seed)
        self.frozen: Toy | None = None
        self.encoded: list[tuple[tuple[Example, ...], tuple[str, ...]]] = []
        self.calls = 0
        self.broken_from = broken_from

    def encode(self, examples, answers=None):
        answers = tuple(e.answer for e in examples) if answers is None else tuple(answers)
        self.encoded.append((tuple(examples), answers))
        labels = torch.full((len(examples), LENGTH), -100)
        for row, answer in enumerate(answers):
            labels[row, : len(answer)] = torch.tensor([int(word) for word in answer])
        keys = tuple(
            sha256(f"{e.question} {e.image} {answer}".encode()).hexdigest()
            for e, answer in zip(examples, answers, strict=True)
        )
        rows = torch.tensor([QUESTIONS.index(e.question) for e in examples])
        return Batch({"rows": rows}, labels, keys)

    def _tokens(self, batch):
        row, column = (batch.labels != -100).nonzero(as_tuple=True)
        return self.model(batch.inputs["rows"])[row, column].log_softmax(-1), row

    def log_dist(self, batch):
        return self._tokens(batch)[0]

    def logp(self, batch):
        found, row = self._tokens(batch)
        chosen = found.gather(1, batch.labels[batch.labels != -100][:, None]).squeeze(1)
        return torch.zeros(len(batch.labels), dtype=chosen.dtype).index_add(0, row, chosen)

    def hidden(self, batch, layer):
        """The logits themselves: a state of width 5 under an identity for a head."""
        row, column = (batch.labels != -100).nonzero(as_tuple=True)
        self.hidden_asked = layer
        return self.model(batch.inputs["rows"])[row, column]

    def nll_and_hidden(self, batch, layer):
        return self.nll(batch), self.hidden(batch, layer)

    def depth(self):
        return 12

    def nll(self, batch):
        self.calls += 1
        loss = -self.logp(batch).sum() / (batch.labels != -100).sum()
        if self.broken_from is not None and self.calls >= self.broken_from:
            return loss * float("nan")
        return loss

    def train_scope(self, scope, *, layers=None, **options):
        self.scope, self.layers, self.options = scope, layers, options
        return list(self.model.parameters())

    def trained_pattern(self):
        return "logits"

    def trained_modules(self):
        return ["logits"]

    def freeze_copy(self):
        self.frozen = copy.copy(self)
        self.frozen.model = copy.deepcopy(self.model).requires_grad_(False)

    @contextmanager
    def reference(self):
        assert self.frozen is not None, "the reference is asked for and was never kept"
        yield self.frozen
