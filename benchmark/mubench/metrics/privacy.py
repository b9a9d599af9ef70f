"""What single answer tokens give away: membership scores and memorisation.

A membership score is higher the more an item looks like one the model was trained on. Scores of
single tokens leave the final end token out, because every answer has it; sums keep it, as
log-likelihoods do everywhere in mubench. Formulas follow open-unlearning (arXiv:2506.12618) and
the papers named at each; where its code departs from them, the paper holds.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mubench.types import Token

#: Share of the least likely tokens that Min-K looks at (open-unlearning's for TOFU and MUSE).
K = 0.4
#: Min-K++ divides by a standard deviation, which is 0 where the model is certain.
LEAST_STD = 1e-3

Tokens = Sequence[Token]  # of one answer, its end token last


@dataclass(frozen=True, slots=True)
class Item:
    """All that attacks look at: the answer's text and tokens, the same tokens under the base
    model, and the gradient norm, where it was computed."""

    text: str
    tokens: Tokens
    base: Tokens
    gradient: float | None = None


def loss(tokens: Tokens) -> float:
    """Mean log p a token (Yeom et al. 2018): the negative loss."""
    return math.fsum(token.logprob for token in tokens) / len(tokens)


def zlib_ratio(text: str, tokens: Tokens) -> float:
    """The loss over the compressed size of the text in bytes (Carlini et al. 2021)."""
    return loss(tokens) / len(zlib.compress(text.encode("utf-8")))


def min_k(tokens: Tokens, k: float = K) -> float:
    """Mean of the lowest ``k`` of the log-probabilities, one at least (arXiv:2310.16789)."""
    return _lowest([token.logprob for token in tokens[:-1]], k)


def min_k_plus(tokens: Tokens, k: float = K) -> float:
    """Min-K of log-probabilities standardised over the vocabulary (arXiv:2404.02936)."""
    return _lowest(
        [(token.logprob - token.mean) / max(token.std, LEAST_STD) for token in tokens[:-1]], k
    )


def _lowest(values: Sequence[float], k: float) -> float:
    if not values:
        raise ValueError("an answer without tokens has no Min-K")
    count = max(1, int(k * len(values)))
    return math.fsum(sorted(values)[:count]) / count


def exact_memorisation(tokens: Tokens) -> float:
    """Share of the answer's tokens that are the one likeliest token, in [0, 1]."""
    answer = tokens[:-1]
    return sum(token.rank == 0 for token in answer) / len(answer)


def extraction_strength(tokens: Tokens) -> float:
    """1 - k / n with the fewest k of n tokens after which greedy decoding gives the rest.

    Carlini et al. 2021. 0 if not even the last token follows from those before it.
    """
    answer = tokens[:-1]
    missed = (n for n, token in enumerate(reversed(answer)) if token.rank != 0)
    return next(missed, len(answer)) / len(answer)


#: Membership attacks by name. ``grad_norm``: 2-norm of the loss gradient, averaged over weights.
ATTACKS: Mapping[str, Callable[[Item], float]] = {
    "loss": lambda item: loss(item.tokens),
    "zlib": lambda item: zlib_ratio(item.text, item.tokens),
    "min_k": lambda item: min_k(item.tokens),
    "min_k_plus": lambda item: min_k_plus(item.tokens),
    "reference": lambda item: loss(item.tokens) - loss(item.base),
    "grad_norm": lambda item: -_known(item.gradient),
}
MEMORISATION: Mapping[str, Callable[[Tokens], float]] = {
    "extraction_strength": extraction_strength,
    "exact_memorisation": exact_memorisation,
}


def _known(gradient: float | None) -> float:
    if gradient is None:
        raise ValueError("no gradient norm was computed")
    return gradient
