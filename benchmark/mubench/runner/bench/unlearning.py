"""`mubench bench unlearn`: mubench's training step against a bare PyTorch loop on the same batches.

The bare loop is what anyone would write: the whole model, a loss, AdamW. Both start from the same
adapters and must go through the same losses before their times are compared.
"""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mubench.errors import RunError
from mubench.methods.base import Context, UnlearnData
from mubench.models.hf_mllm import HFVisionLanguageModel
from mubench.models.protocols import Batch
from mubench.registry import METHODS

from .subject import Side, build, questions

NAMES = ("grad-diff", "npo")
#: Smaller than in `bench eval`: what a step costs beside the model weighs more.
SHAPE = {"image_size": 112, "text_layers": 6}
#: Loss terms of the two loops may differ by this share of them, after as many updates.
TOLERANCE = 1e-4

Pairs = list[tuple[Batch, Batch]]
Terms = dict[str, float]  # of forget and of retain: their sum may be next to 0


@dataclass(frozen=True, slots=True)
class Result:
    """One method: seconds a step of mubench and of the bare loop, and mubench's peak memory in
    bytes. ``tokens`` a step are those of both batches."""

    name: str
    steps: int
    tokens: float
    sides: tuple[Side, Side]
    difference: float
    peak: int


def bench_unlearn(
    model: HFVisionLanguageModel,
    size: int,
    steps: int,
    repeats: int,
    report: Callable[[str], None] = lambda _: None,
) -> list[Result]:
    """``steps`` steps on ``size`` forget and retain examples each; RunError where losses differ."""
    data = _given(size)
    sides = {name: (Side("mubench", []), Side("bare loop", [])) for name in NAMES}
    worst, tokens = dict.fromkeys(NAMES, 0.0), {}
    for number in range(repeats + 1):
        report(f"repeat {number} of {repeats}" if number else "comparing losses")
        for name in NAMES:
            own = ours(model, name, data, steps)
            other = bare(model, name, own.batches)
            worst[name] = max(worst[name], _compare(name, own.losses, other.losses))
            tokens[name] = statistics.mean(map(_tokens, own.batches))
            if number:  # the first round warms up
                for side, run in zip(sides[name], (own, other), strict=True):
                    side.seconds.append(statistics.median(run.seconds[1:]))
    report("peak memory")
    peaks = {name: peak(model, name, data) for name in NAMES}
    return [
        Result(name, steps, tokens[name], sides[name], worst[name], peaks[name]) for name in NAMES
    ]


def subject() -> HFVisionLanguageModel:
    """The model that is trained."""
    return build(**SHAPE)


def _given(size: int) -> UnlearnData:
    asked = questions(2 * size, 1, free=True)
    return UnlearnData(asked[:size], asked[size:])


@dataclass(frozen=True, slots=True)
class Run:
    """What a loop did: seconds and loss terms of every step, and the batches it saw."""

    seconds: list[float]
    losses: list[Terms]
    batches: Pairs


def ours(model: HFVisionLanguageModel, name: str, data: UnlearnData, steps: int) -> Run:
    """The registered method, through mubench's own loop, encoding of the batches included."""
    made: Any = METHODS.get(name).load()
    batches: Pairs = []
    ends: list[float] = []

    class Watched(made):  # type: ignore[misc]
        def terms(self, model: Any, forget: Batch, retain: Batch) -> dict[str, Tensor]:
            batches.append((forget, retain))
            found: dict[str, Tensor] = super().terms(model, forget, retain)
            return found

    config = made.Config(
        batch_size=len(data.forget), epochs=steps, schedule="constant", warmup=0, lr=1e-3
    )
    context = Context(seed=0, report=lambda *_: ends.append(time.perf_counter()))
    torch.manual_seed(0)
    Watched(config).unlearn(_copy(model), data, context)
    seconds = [0.0, *(after - before for before, after in zip(ends, ends[1:], strict=False))]
    return Run(seconds, context.log["losses"], batches)


def bare(model: HFVisionLanguageModel, name: str, batches: Pairs) -> Run:
    """The same steps by hand, on batches that are ready."""
    from peft import LoraConfig, get_peft_model

    config: Any = METHODS.get(name).load().Config()
    torch.manual_seed(0)
    lora = LoraConfig(
        target_modules=model.layout.lora, r=config.lora_r, lora_alpha=config.lora_alpha
    )
    network = get_peft_model(copy.deepcopy(model.model), lora)
    reference = []
    if name == "npo":
        with torch.no_grad():
            reference = [-_nll(network, forget).sum(1) for forget, _ in batches]
    network.train()
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=config.weight_decay)
    seconds, losses = [], []
    for step, (forget, retain) in enumerate(batches):
        start = time.perf_counter()
        if name == "npo":
            ratio = -_nll(network, forget).sum(1) - reference[step]
            away = -torch.nn.functional.logsigmoid(-config.beta * ratio).mean() * 2 / config.beta
        else:
            away = -_mean(network, forget)
        kept = _mean(network, retain)
        (away + kept).backward()
        torch.nn.utils.clip_grad_norm_(parameters, config.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
        losses.append({"forget": away.item(), "retain": kept.item()})
        seconds.append(time.perf_counter() - start)
    return Run(seconds, losses, batches)


def _nll(network: Any, batch: Batch) -> Tensor:
    """[B, T - 1] negative log-probabilities of the answer's tokens, 0 elsewhere."""
    logits = network(**batch.inputs).logits[:, :-1].float()
    wanted = batch.labels[:, 1:]
    found = torch.nn.functional.cross_entropy(logits.transpose(1, 2), wanted, reduction="none")
    return found


def _mean(network: Any, batch: Batch) -> Tensor:
    return _nll(network, batch).sum() / (batch.labels[:, 1:] != -100).sum()


def _copy(model: HFVisionLanguageModel) -> HFVisionLanguageModel:
    return HFVisionLanguageModel(copy.deepcopy(model.model), model.processor, model.encoder.images)


def _compare(name: str, own: Sequence[Terms], other: Sequence[Terms]) -> float:
    """Largest difference of a step's loss terms, as a share; RunError if it is too large."""
    steps = zip(own, other, strict=True)
    worst = max(
        abs(mine[term] - wanted[term]) / abs(wanted[term])
        for mine, wanted in steps
        for term in wanted
    )
    if not worst <= TOLERANCE:
        raise RunError(f"bench: {name} loses {worst:.1e} differently from the bare loop")
    return worst


def _tokens(pair: tuple[Batch, Batch]) -> int:
    return sum(int(batch.inputs["attention_mask"].sum()) for batch in pair)


def peak(model: HFVisionLanguageModel, name: str, data: UnlearnData) -> int:
    """Most bytes of a step: on a GPU what was allocated, else all that is kept for the backward
    pass, weights included (what a process holds depends on its allocator)."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        ours(model, name, data, 1)
        return torch.cuda.max_memory_allocated()
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        ours(model, name, data, 1)
    return sum(kept.values())


def lines(results: Sequence[Result]) -> Iterator[str]:
    """What `mubench bench unlearn` prints."""
    for result in results:
        own, other = result.sides
        yield ""
        yield (
            f"{result.name}, LoRA: {result.tokens:.0f} tokens a step; losses of {result.steps} "
            f"steps within {result.difference:.1e} of the bare loop's"
        )
        for side in result.sides:
            rate = result.tokens / side.median
            yield f"  {side.name:<12}{side.median:8.3f} s a step{rate:10.0f} tokens/s"
        yield f"  mubench does {other.over(own):.2f} x the bare loop's tokens a second"
    first, second = results
    yield ""
    yield (
        f"a {second.name} step takes {second.sides[0].over(first.sides[0]):.3f} x a {first.name} "
        f"step, and {second.peak / first.peak:.3f} x its memory ({second.peak / 2**20:.0f} MB)"
    )
