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

from mubench.types import Tokens

#: Share of the least likely tokens that Min-K looks at (open-unlearning's for TOFU and MUSE).
K = 0.4
#: Min-K++ divides by a standard deviation, which is 0 where the model is certain.
LEAST_VARIANCE = 1e-6


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
    return math.fsum(tokens.logprobs) / len(tokens.logprobs)


def zlib_ratio(text: str, tokens: Tokens) -> float:
    """The loss over the compressed size of the text in bytes (Carlini et al. 2021)."""
    return loss(tokens) / len(zlib.compress(text.encode("utf-8")))


def min_k(tokens: Tokens, k: float = K) -> float:
    """Mean of the lowest ``k`` of the log-probabilities, one at least (arXiv:2310.16789)."""
    return _lowest(tokens.logprobs[:-1], k)


def min_k_plus(tokens: Tokens, k: float = K) -> float:
    """Min-K of log-probabilities standardised over the vocabulary (arXiv:2404.02936)."""
    standardised = [
        (logprob - mean) / math.sqrt(max(variance, LEAST_VARIANCE))
        for logprob, mean, variance in zip(
            tokens.logprobs, tokens.means, tokens.variances, strict=True
        )
    ]
    return _lowest(standardised[:-1], k)


def _lowest(values: Sequence[float], k: float) -> float:
    if not values:
        raise ValueError("an answer without tokens has no Min-K")
    count = max(1, int(k * len(values)))
    return math.fsum(sorted(values)[:count]) / count


def exact_memorisation(tokens: Tokens) -> float:
    """Share of the answer's tokens that are the one likeliest token, in [0, 1]."""
    ranks = tokens.ranks[:-1]
    return sum(rank == 0 for rank in ranks) / len(ranks)


def extraction_strength(tokens: Tokens) -> float:
    """1 - k / n with the fewest k of n tokens after which greedy decoding gives the rest.

    Carlini et al. 2021. 0 if not even the last token follows from those before it.
    """
    ranks = tokens.ranks[:-1]
    extracted = next((n for n, rank in enumerate(reversed(ranks)) if rank != 0), len(ranks))
    return extracted / len(ranks)


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
