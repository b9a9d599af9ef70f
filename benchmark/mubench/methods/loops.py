"""The one training loop: target, gold and every gradient method run through it.

accelerate owns devices, precision and accumulation. Methods give a loss and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from mubench.config.schema import Training
from mubench.errors import RunError
from mubench.types import Example

Report = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """``steps`` optimizer steps; the learning rate warms up, then follows ``schedule`` to 0."""

    steps: int
    lr: float
    weight_decay: float
    warmup: float  # share of the steps
    schedule: Literal["linear", "cosine", "constant"]
    max_grad_norm: float
    accumulation: int = 1  # micro-batches a step

    @classmethod
    def of(cls, training: Training, examples: Sequence[Example]) -> LoopSettings:
        """What ``training.epochs`` epochs over the examples come to."""
        micro = steps_per_epoch(examples, training.batch_size) * training.epochs
        return cls(
            steps=max(1, round(micro / training.accumulation)),
            lr=training.lr,
            weight_decay=training.weight_decay,
            warmup=training.warmup,
            schedule=training.schedule,
            max_grad_norm=training.max_grad_norm,
            accumulation=training.accumulation,
        )


def train(
    loss: Callable[[int], dict[str, Tensor]],
    model: Any,
    parameters: Sequence[torch.nn.Parameter],
    settings: LoopSettings,
    report: Report,
    *,
    log: list[dict[str, float]] | None = None,
    hold: Callable[[int], AbstractContextManager[None]] = lambda _: nullcontext(),
    spent: Callable[[int], bool] = lambda _: False,
) -> list[dict[str, float]]:
    """Minimise the sum of ``loss(step)`` over ``settings.steps`` steps; returns the loss log.

    ``hold(step)`` is open while the optimizer changes the weights; training ends early once
    ``spent(steps done)``. RunError at the first loss or gradient that is not finite: the weights
    are then those of the last good step, and ``log`` tells how the losses went.
    """
    from accelerate import Accelerator
    from transformers import get_scheduler

    accelerator = Accelerator(gradient_accumulation_steps=settings.accumulation)
    optimizer = torch.optim.AdamW(parameters, lr=settings.lr, weight_decay=settings.weight_decay)
    names = {"constant": "constant_with_warmup"}
    scheduler = get_scheduler(
        names.get(settings.schedule, settings.schedule),
        optimizer,
        num_warmup_steps=math.ceil(settings.warmup * settings.steps),
        num_training_steps=settings.steps,
    )
    log = [] if log is None else log

    def finite(what: str, value: Tensor, step: int) -> None:
        if not torch.isfinite(value):
            raise RunError(
                f"{what} is not finite at step {step + 1} of {settings.steps}: lower the lr"
            )

    model.model, optimizer, scheduler = accelerator.prepare(model.model, optimizer, scheduler)
    model.model.train()
    try:
        for micro in range(settings.steps * settings.accumulation):
            step = micro // settings.accumulation
            with accelerator.accumulate(model.model):
                terms = loss(step)
                total = torch.stack(list(terms.values())).sum()
                finite("loss", total, step)
                accelerator.backward(total)
                if accelerator.sync_gradients:
                    norm = accelerator.clip_grad_norm_(parameters, settings.max_grad_norm)
                    finite("gradient", norm, step)
                with hold(step) if accelerator.sync_gradients else nullcontext():
                    optimizer.step()
                scheduler.step()
                optimizer.zero_grad()
            log.append({name: term.item() for name, term in terms.items()})
            report(step + 1, settings.steps, f"loss {total.item():.3f}")
            if accelerator.sync_gradients and spent(step + 1):
                break
    finally:
        model.model = accelerator.unwrap_model(model.model)
        model.model.eval()
    return log


def phases(
    order: str, training: Training, forget: Sequence[Example], retain: Sequence[Example]
) -> list[str]:
    """Whether a step sees "forget" or "retain", for orders in which no step sees both."""
    size = training.batch_size * training.accumulation
    ascents, descents = steps_per_epoch(forget, size), steps_per_epoch(retain, size)
    epoch = {
        "sequential": ["forget"] * ascents + ["retain"] * descents,
        "alternating": ["forget", *["retain"] * max(1, descents // ascents)] * ascents,
    }[order]
    count = max(1, round(training.epochs * len(epoch)))
    return [epoch[step % len(epoch)] for step in range(count)]


def batches(
    examples: Sequence[Example], size: int, rng: np.random.Generator
) -> Iterator[list[Example]]:
    """One epoch in random order: batches of one modality, similar lengths together; pairs of image
    and caption, whose batch is what they are told apart from, by as many names as there are."""
    groups: dict[str, list[Example]] = {}
    for index in rng.permutation(len(examples)):
        groups.setdefault(examples[index].modality, []).append(examples[index])
    epoch: list[list[Example]] = []
    for group in groups.values():
        if group[0].task == "pair":
            epoch += _of_many_names(group, size)
            continue
        # Sorting within chunks saves padding and still mixes lengths across the epoch.
        for start in range(0, len(group), 16 * size):
            chunk = group[start : start + 16 * size]
            chunk.sort(key=lambda example: len(example.question) + len(example.answer))
            epoch += [chunk[at : at + size] for at in range(0, len(chunk), size)]
    for index in rng.permutation(len(epoch)):
        yield epoch[index]


def _of_many_names(pairs: Sequence[Example], size: int) -> list[list[Example]]:
    """Everybody's first pair, then everybody's second, cut into batches of nearly equal size.

    Names come in the same order in every turn, those with most pairs first: so none comes twice in
    a batch that is no larger than the turn it begins in.
    """
    of: dict[str, list[int]] = {}
    for index, pair in enumerate(pairs):
        of.setdefault(pair.keyword, []).append(index)
    turns = zip_longest(*sorted(of.values(), key=len, reverse=True))
    order = [index for turn in turns for index in turn if index is not None]
    parts = np.array_split(order, math.ceil(len(pairs) / size))
    return [[pairs[index] for index in part] for part in parts]


def epochs(
    examples: Sequence[Example], size: int, rng: np.random.Generator
) -> Iterator[list[Example]]:
    """Epoch after epoch, without end."""
    while True:
        yield from batches(examples, size, rng)


def partners(
    retain: Sequence[Example], size: int, rng: np.random.Generator
) -> Callable[[Sequence[Example]], list[Example]]:
    """For a batch of up to ``size``, as many random retain examples of its modality
    (open-unlearning's anchoring on forget), or what an epoch over them has left."""
    pools: dict[str, list[Example]] = {}
    for example in retain:
        pools.setdefault(example.modality, []).append(example)
    sources = {modality: epochs(pool, size, rng) for modality, pool in pools.items()}

    def paired(batch: Sequence[Example]) -> list[Example]:
        pool = pools[batch[0].modality]
        if pool[0].task == "pair":  # a batch is what they are told apart from: by chance alone
            return [pool[index] for index in rng.integers(len(pool), size=len(batch))]
        return next(sources[batch[0].modality])[: len(batch)]

    return paired


def steps_per_epoch(examples: Sequence[Example], size: int) -> int:
    """Number of batches that ``batches`` makes of these examples."""
    counts: dict[str, int] = {}
    for example in examples:
        counts[example.modality] = counts.get(example.modality, 0) + 1
    return sum(
        sum(-(-min(16 * size, count - start) // size) for start in range(0, count, 16 * size))
        for count in counts.values()
    )


@torch.no_grad()
def reference_logps(model: Any, examples: Sequence[Example], size: int) -> dict[str, float]:
    """log p of every true answer under the model as it is, by the hash of its exact inputs; nothing
    of models to which a row has no likelihood of its own."""
    found: dict[str, float] = {}
    for batch in batches(examples, size, np.random.default_rng(0)):
        encoded = model.encode(batch)
        if not encoded.keys:  # it depends on the batch
            return {}
        found |= dict(zip(encoded.keys, model.logp(encoded).tolist(), strict=True))
    return found


@torch.no_grad()
def mean_nll(model: Any, examples: Sequence[Example], size: int) -> float:
    """Mean cross-entropy per answer token over all examples."""
    total, count = 0.0, 0
    for batch in batches(examples, size, np.random.default_rng(0)):
        encoded = model.encode(batch)
        total -= model.logp(encoded).sum().item()
        count += int(encoded.lengths.sum())
    return total / count
