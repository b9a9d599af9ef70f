"""The toy's losses and gradients on paper.

With p = softmax(z) at an answer position and y the one-hot answer token:
d log p(token) / dz = y - p. A mean over N tokens (nll) or B sequences divides by N or B.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from methods.toy import QUESTIONS, forget, retain


def table(model):
    return model.model.logits.detach().numpy().copy()


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def positions(answers):
    """(question row, place, token) of every answer token."""
    return [
        (QUESTIONS.index(question), place, int(word))
        for question, answer in answers.items()
        for place, word in enumerate(answer)
    ]


def nll_by_hand(z, answers):
    """Mean over all answer tokens of -log p, and its gradient."""
    p, gradient, total = softmax(z), np.zeros_like(z), 0.0
    where = positions(answers)
    for row, place, word in where:
        total -= math.log(p[row, place, word])
        gradient[row, place] += p[row, place]
        gradient[row, place, word] -= 1
    return total / len(where), gradient / len(where)


def loss_and_gradient(method, model, answers=None):
    """The method's terms on all forget and all retain questions, and d(sum)/d(logits)."""
    model.model.logits.grad = None
    kept = model.encode(retain()) if method.uses_retain else None
    terms = method.terms(model, model.encode(forget(), answers), kept)
    torch.stack(list(terms.values())).sum().backward()
    found = {name: term.item() for name, term in terms.items()}
    return found, model.model.logits.grad.numpy()


def made(cls, **settings):
    return cls(cls.Config(**settings))


def moved(model, seed, scale=1.0):
    """The model after its tables moved somewhere else; returns the tables before."""
    before = table(model)
    step = np.random.default_rng(seed).normal(size=before.shape) * scale
    model.model.logits.data += torch.from_numpy(step)
    return before


def logps(z, answers):
    """log p of every answer, summed over its tokens."""
    p = softmax(z)
    return {
        question: sum(
            math.log(p[QUESTIONS.index(question), place, int(word)])
            for place, word in enumerate(answer)
        )
        for question, answer in answers.items()
    }


def slope_of_logp(z, question, answer):
    """d log p(answer) / dz."""
    p, slope = softmax(z), np.zeros_like(z)
    row = QUESTIONS.index(question)
    for place, word in enumerate(answer):
        slope[row, place] -= p[row, place]
        slope[row, place, int(word)] += 1
    return slope


def sigmoid(x):
    return 1 / (1 + math.exp(-x))
