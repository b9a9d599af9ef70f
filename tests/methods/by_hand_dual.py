"""Losses of the toy dual encoder on paper: every one by its slope in the matrix of cosines.

With Z = XW / |XW| (and T alike), S = Z T^T and G = dL/dS: dL/dZ = G T, the normalisation takes off
what points along Z and divides by |XW|, and dL/dW = X^T of that. Logits are SCALE * S.
"""

from __future__ import annotations

import numpy as np
import torch

from methods.toy_dual import FORGET, RETAIN, SCALE


def arrays(model, batch):
    """X, W and features of both towers."""
    found = {}
    for tower, given in (("image", batch.images), ("text", batch.texts)):
        weight = getattr(model.model, tower).detach().numpy().copy()
        raw = given.numpy() @ weight
        found[tower] = (given.numpy(), raw, raw / np.linalg.norm(raw, axis=1, keepdims=True))
    return found


def cosines(model, batch):
    """[B, B]"""
    found = arrays(model, batch)
    return found["image"][2] @ found["text"][2].T


def through_features(model, batch, *, image=None, text=None):
    """dL/dW of both towers from dL/dZ of each."""
    found = {}
    for tower, slope in (("image", image), ("text", text)):
        x, raw, z = arrays(model, batch)[tower]
        slope = np.zeros_like(z) if slope is None else slope
        along = (slope * z).sum(1, keepdims=True) * z
        found[tower] = x.T @ ((slope - along) / np.linalg.norm(raw, axis=1, keepdims=True))
    return found


def through_cosines(model, batch, slope):
    """dL/dW of both towers from G."""
    found = arrays(model, batch)
    z, t = found["image"][2], found["text"][2]
    return through_features(model, batch, image=slope @ t, text=slope.T @ z)


def softmax(x, axis=1):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def right(batch):
    """[B, B] target of every row, shared by the captions of its name."""
    names = batch.names.numpy()
    match = (names[:, None] == names).astype(float)
    return match / match.sum(1, keepdims=True)


def infonce(s, q):
    """Symmetric InfoNCE of the cosines and its G: (p_rows + p_columns - q - q^T) SCALE / 2B."""
    rows, columns = softmax(SCALE * s), softmax(SCALE * s, 0)
    value = -(q * np.log(rows) + q.T * np.log(columns)).sum() / 2 / len(s)
    return value, SCALE * (rows + columns - q - q.T) / 2 / len(s)


def kl_of_rows(before, now):
    """Sum over rows and columns of KL(p_before || p_now), and its G."""
    value, slope = 0.0, np.zeros_like(now)
    for axis in (1, 0):
        p, q = softmax(SCALE * before, axis), softmax(SCALE * now, axis)
        value += (p * np.log(p / q)).sum()
        slope += SCALE * (q - p)
    return value, slope


def made(cls, **settings):
    return cls(cls.Config(**settings))


def moved(model, seed):
    """The model after its weights went somewhere else, with the frozen one kept."""
    model.freeze_copy()
    rng = np.random.default_rng(seed)
    for weight in model.model.parameters():
        weight.data += torch.from_numpy(rng.normal(size=weight.shape) / 2)
    return model


def gradient(model):
    return {
        name: np.zeros(weight.shape) if weight.grad is None else weight.grad.numpy().copy()
        for name, weight in model.model.named_parameters()
    }


def loss_and_gradient(method, model, forget=FORGET, retain=RETAIN):
    """The method's terms on these pairs and d(sum)/dW, and both batches."""
    model.model.zero_grad()
    away = model.encode(forget)
    kept = model.encode(retain) if method.uses_retain else None
    terms = method.terms(model, away, kept)
    torch.stack(list(terms.values())).sum().backward()
    found = {name: term.item() for name, term in terms.items()}
    return found, gradient(model), away, kept


def close(found, *parts):
    """The gradient is the sum of the parts."""
    for tower in ("image", "text"):
        wanted = sum(part[tower] for part in parts)
        assert np.abs(wanted).max() > 1e-6, "a test that says nothing"
        np.testing.assert_allclose(found[tower], wanted, atol=1e-12)
