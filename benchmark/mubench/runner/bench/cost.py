"""`mubench bench methods`: what an epoch of each unlearning method costs.

The forget set has the size of MLLMU-Bench's forget-5 %: 25 people with 18 questions each, half of
them with the picture (arXiv:2410.22108); as many other people are retained.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from mubench.methods.base import Context, UnlearnData
from mubench.models.hf_mllm import HFVisionLanguageModel
from mubench.models.protocols import Batch
from mubench.registry import METHODS
from mubench.types import Example

from .subject import TOPICS, machine, questions


@dataclass(frozen=True, slots=True)
class Cost:
    """One method: ``tokens`` that entered the model in training and whatever precedes it, the
    seconds of all of it, and the largest GPU memory in bytes, None without a GPU."""

    machine: str  # and the model
    name: str
    scope: str
    tokens: int
    seconds: float
    peak: int | None


def material(people: int) -> UnlearnData:
    """Forget and retain examples of as many people each, every question with and without its
    picture."""
    asked = [
        replace(example, id=f"{example.id}/{modality}", modality=modality, image=image)
        for example in questions(2 * people, len(TOPICS), free=True)
        for modality, image in (("image_text", example.image), ("text", None))
    ]
    half = len(asked) // 2
    return UnlearnData(asked[:half], asked[half:], ("I do not know.",))


def costs(
    model: Callable[[], HFVisionLanguageModel],
    names: Sequence[str],
    data: UnlearnData,
    batch: int,
    report: Callable[[str], None] = lambda _: None,
) -> Iterator[Cost]:
    """Each method on a model of its own, at its defaults but for one epoch and ``batch`` examples
    of forget (and retain) a step."""
    for name in names:
        made: Any = METHODS.get(name).load()
        fields = made.Config.model_fields
        wanted = {"batch_size": batch, "epochs": 1.0}
        config = made.Config(**{key: value for key, value in wanted.items() if key in fields})
        subject = _counting(model())
        on = machine(subject)

        def say(step: int, steps: int, message: str, name: str = name) -> None:
            if step * 4 // steps > (step - 1) * 4 // steps:
                report(f"{name}: {step} of {steps} {message}")

        watched = torch.cuda.is_available()
        if watched:
            torch.cuda.reset_peak_memory_stats()
        start = time.perf_counter()
        made(config).unlearn(subject, data, Context(seed=0, report=say))
        if watched:
            torch.cuda.synchronize()
        seconds = time.perf_counter() - start
        peak = torch.cuda.max_memory_allocated() if watched else None
        yield Cost(on, name, subject.changes.scope or "pruned", subject.tokens, seconds, peak)
        del subject
        gc.collect()  # adapters and hooks refer to each other
        if watched:
            torch.cuda.empty_cache()


class _Counting(HFVisionLanguageModel):
    """Counts the tokens of every batch that it encodes, pictures' tokens included."""

    tokens = 0

    def encode(self, examples: Sequence[Example], answers: Sequence[str] | None = None) -> Batch:
        batch = super().encode(examples, answers)
        self.tokens += int(batch.inputs["attention_mask"].sum())
        return batch


def _counting(model: HFVisionLanguageModel) -> _Counting:
    return _Counting(model.model, model.processor, model.encoder.images)


def lines(found: Iterable[Cost]) -> Iterator[str]:
    """What `mubench bench methods` prints."""
    for number, cost in enumerate(found):
        if number == 0:
            yield cost.machine
            yield (
                f"{'method':<14}{'scope':<8}{'tokens':>10}{'tokens/s':>10}{'minutes':>9}"
                f"{'peak GiB':>10}"
            )
        peak = "n/a" if cost.peak is None else f"{cost.peak / 2**30:.1f}"
        yield (
            f"{cost.name:<14}{cost.scope:<8}{cost.tokens:>10,}{cost.tokens / cost.seconds:>10,.0f}"
            f"{cost.seconds / 60:>9.2f}{peak:>10}"
        )
