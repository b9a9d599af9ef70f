"""`mubench bench eval`: how fast the evaluation engine is, and that its answers are the same.

Everything runs in one process with interleaved repeats, so that the ratios hold on a busy machine.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from mubench.errors import RunError
from mubench.models import packing, scorer
from mubench.models.encoding import Encoder
from mubench.models.engine import TOLERANCE, Engine
from mubench.models.hf_mllm import HFVisionLanguageModel
from mubench.types import Example, Response

from .subject import TOPICS, Side, matmul_rate, question, questions

#: A letter and the end token: as far as a real answer to a choice question goes.
LETTER = 2
#: A short sentence; random weights never end one by themselves.
SENTENCE = 16
CASES = ("choice, zero-shot", "choice, five exemplars", "free answers, zero-shot")
#: Choice questions of MLLMU-Bench, and those answered freely (cloze included): 20,754 in all.
MLLMU = (11_530, 9_224)


@dataclass(frozen=True, slots=True)
class Result:
    """One case: sides (the engine first), work of the engine, and what was compared.

    ``flops`` and ``tokens`` count every token that differs once; ``floor`` is the time a question
    they take at ``rate`` FLOP/s, the median of matrix products timed between the repeats. Of the
    ``compared`` questions ``same`` got the same texts everywhere; ``peak`` is the engine's GPU
    memory in bytes, None without a GPU.
    """

    case: str
    questions: int
    tokens: int
    flops: float
    rate: float
    sides: tuple[Side, ...]
    compared: int
    same: int
    difference: float
    peak: int | None

    @property
    def floor(self) -> float:
        return self.flops / self.rate / self.questions


def fresh(model: HFVisionLanguageModel, preamble: Sequence[Example]) -> Engine:
    """An engine that has seen nothing yet."""
    scorer.FEATURES.clear()
    encoder = Encoder(model.processor, model.encoder.images, model.encoder.ends)
    encoder.preamble = {"image_text": preamble}
    model.encoder = encoder
    return Engine(model.reader(), model.plain, model.model.dtype, check=False)


def one_at_a_time(
    model: HFVisionLanguageModel, asked: Sequence[Example], tokens: int
) -> list[list[int]]:
    """The public protocol: every prompt processed, encoded and decoded by itself."""
    return [generated for e in asked for generated in _generate(model, [e], tokens)]


def batched(
    model: HFVisionLanguageModel, asked: Sequence[Example], tokens: int, size: int
) -> list[list[int]]:
    """Plain batches of ``transformers``, nothing shared."""
    parts = [asked[start : start + size] for start in range(0, len(asked), size)]
    return [generated for part in parts for generated in _generate(model, part, tokens)]


@torch.inference_mode()
def _generate(
    model: HFVisionLanguageModel, asked: Sequence[Example], tokens: int
) -> list[list[int]]:
    encoder = model.encoder
    inputs = model.processor(
        text=[encoder.render(e.question, e.image) for e in asked],
        images=[encoder.images(name) for e in asked for name in encoder.pictures(e.image)],
        padding=True,
        padding_side="left",
        return_tensors="pt",
    ).to(model.device)
    output = model.model.generate(
        **inputs,
        max_new_tokens=tokens,
        do_sample=False,
        pad_token_id=encoder.tokenizer.pad_token_id,
    )
    made: list[list[int]] = output[:, inputs["input_ids"].shape[1] :].tolist()
    return made


def bench_eval(
    model: HFVisionLanguageModel,
    images: int,
    each: int,
    repeats: int,
    batch: int = 4,
    report: Callable[[str], None] = lambda _: None,
) -> Iterator[Result]:
    """Case by case, ``batch`` pictures (of plain batches: questions) at once; RunError where the
    engine's scores, or in float32 its texts, are not those of the plain ways."""
    for name in CASES:
        yield _case(model, name, images, each, repeats, batch, report)


def _case(
    model: HFVisionLanguageModel,
    name: str,
    images: int,
    each: int,
    repeats: int,
    batch: int,
    report: Callable[[str], None],
) -> Result:
    free = name.startswith("free")
    shown = [question("exemplar", topic, n, free=free) for n, topic in enumerate(TOPICS)][:5]
    preamble = shown if "exemplars" in name else []
    asked = questions(images, each, free=free)
    units = packing.units(asked)
    tokens = SENTENCE if free else LETTER
    # A question costs the plain sides the same whichever it is: they answer a part of them.
    some = asked[:: 4 * each + 1][: batch // 2] if preamble else asked[:: each + 1][: max(6, batch)]
    report(f"{name}: comparing answers")
    difference, same = _prove(model, units, some, tokens, preamble, batch)
    sides = (Side("engine", []), Side("one question at a time", []), Side("plain batches", []))
    rates = []
    for number in range(repeats):
        report(f"{name}: repeat {number + 1} of {repeats}")
        rates.append(matmul_rate(model))
        engine = fresh(model, preamble)
        runs: tuple[tuple[Callable[[], Any], int], ...] = (
            (lambda engine=engine: answers(engine, units, tokens, batch), len(asked)),
            (lambda: one_at_a_time(model, some, tokens), len(some)),
            (lambda: batched(model, some, tokens, len(some)), len(some)),
        )
        for side, (run, count) in zip(sides, runs, strict=True):
            start = time.perf_counter()
            run()
            side.seconds.append((time.perf_counter() - start) / count)
    rates.append(matmul_rate(model))
    peak = None
    if model.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        answers(fresh(model, preamble), units, tokens, batch)
        peak = torch.cuda.max_memory_allocated()
    count, flops = work(model, fresh(model, preamble), units, tokens if free else 0)
    rate = statistics.median(rates)
    return Result(name, len(asked), count, flops, rate, sides, len(some), same, difference, peak)


def answers(
    engine: Engine, units: Sequence[Sequence[Example]], tokens: int, batch: int = 4
) -> dict[str, Response]:
    found = engine.answers(units, max_new_tokens=tokens, batch=batch)
    return {one.example_id: one for unit in found for one in unit}


def _prove(
    model: HFVisionLanguageModel,
    units: Sequence[Sequence[Example]],
    some: Sequence[Example],
    tokens: int,
    preamble: Sequence[Example],
    batch: int,
) -> tuple[float, int]:
    """Largest difference of a score in nats a token, and how many questions got the same texts all
    ways. RunError if scores are too far apart, or in float32 any text; in less than that, tokens
    that tie up to rounding fall either way."""
    engine = fresh(model, preamble)
    found = answers(engine, units, tokens, batch)
    worst, differing = 0.0, set()
    for example in some:
        (wanted,) = model.plain([example], tokens)
        own = found[example.id]
        pairs = zip(own.logprobs, wanted.logprobs, wanted.lengths, strict=True)
        worst = max(worst, *(abs(a - b) / n for a, b, n in pairs))
        best = [max(range(len(o.logprobs)), key=o.logprobs.__getitem__) for o in (own, wanted)]
        if best[0] != best[1] or own.text != wanted.text:
            differing.add(example.id)
    alone, together = one_at_a_time(model, some, tokens), batched(model, some, tokens, len(some))
    # The same prompts as free questions: what the public protocol decodes, token for token.
    open_ = [Example(**{**_fields(e), "choices": (), "task": "generation"}) for e in some]
    said = answers(fresh(model, preamble), packing.units(open_), tokens, batch)
    for example, one, other in zip(some, alone, together, strict=True):
        if one != other or said[example.id].text != model.encoder.text(one)[0]:
            differing.add(example.id)
    if not worst <= TOLERANCE[engine.dtype]:
        raise RunError(f"bench: scores are {worst:.1e} nats a token apart from plain ones")
    if differing and engine.dtype == torch.float32:
        raise RunError(f"bench: {sorted(differing)[0]} is answered differently one way and another")
    return worst, len(some) - len(differing)


def _fields(example: Example) -> dict[str, Any]:
    return {name: getattr(example, name) for name in Example.__slots__}


def work(
    model: HFVisionLanguageModel, engine: Engine, units: Sequence[Sequence[Example]], new: int
) -> tuple[int, float]:
    """Tokens and FLOPs of a pass in which every token that differs is computed once.

    2 FLOPs a weight and token, and 4 x width a layer for each token that a token sees. ``new``:
    tokens of each free answer.
    """
    text, image = model.base.config.text_config, model.base.config.vision_config
    width, layers = text.hidden_size, text.num_hidden_layers
    decoder = sum(p.numel() for p in model.base.get_decoder().layers.parameters())
    head = model.base.get_output_embeddings().weight.numel()
    tokens, seen, asked, pictures = 0, 0, 0, set()
    shared = 0
    for unit in units:
        packed = engine.reader.unit(unit)
        atoms = engine.reader.preamble(unit[0].image)
        trunk = len(engine.reader.encoder.expand(packed.trunk)["input_ids"])
        before = len(engine.reader.encoder.expand(atoms)["input_ids"])
        if not shared:
            shared = before
            tokens, seen = tokens + before, seen + before * (before + 1) // 2
        tokens += trunk - before
        seen += (trunk * (trunk + 1) - before * (before + 1)) // 2
        pictures |= {atom for atom in packed.trunk if isinstance(atom, str)}
        for tree in packed.trees:
            tokens += len(tree.tokens)
            seen += sum(trunk + depth + 1 for depth in tree.depths)
            asked += len({n for _, _, path, _ in tree.scored for n in path})
            for _, node in tree.starts:
                behind = trunk + tree.depths[node] + 1
                tokens, asked = tokens + new - 1, asked + new
                seen += sum(behind + step for step in range(1, new))
    patches = (image.image_size // image.patch_size) ** 2 + 1
    base = model.base.model
    tower = sum(
        p.numel()
        for part in (base.vision_tower, base.multi_modal_projector)
        for name, p in part.named_parameters()
        if p.dim() > 1 and "position" not in name
    )
    vision = len(pictures) * (
        2 * tower * patches + 4 * image.hidden_size * image.num_hidden_layers * patches**2
    )
    return (
        tokens,
        2.0 * decoder * tokens + 4.0 * width * layers * seen + 2.0 * head * asked + vision,
    )


def lines(result: Result) -> list[str]:
    """What `mubench bench eval` prints of a case."""
    own = result.sides[0]
    made = [
        "",
        f"{result.case}: {result.questions} questions, {result.tokens} tokens that differ, "
        f"{result.flops / 1e9:.0f} GFLOP",
        f"  answers equal on {result.same} of {result.compared} questions, scores within "
        f"{result.difference:.1e} nats a token",
    ]
    for side in result.sides:
        ratio = "" if side is own else f"  {side.over(own):5.1f} x the engine"
        made.append(f"  {side.name:<24}{side.median:8.4f} s a question{ratio}")
    made.append(
        f"  {'floor':<24}{result.floor:8.4f} s a question  at {result.rate / 1e9:.0f} GFLOP/s; "
        f"the engine takes {own.median / result.floor:.2f} x the floor"
    )
    if result.peak is not None:
        made.append(f"  GPU memory at most {result.peak / 2**30:.1f} GiB")
    return made


def mllmu(results: Sequence[Result]) -> str:
    """What all questions of MLLMU-Bench would take at these rates, each as if with a picture."""
    choice, _, free = (result.sides[0].median for result in results)
    minutes = (MLLMU[0] * choice + MLLMU[1] * free) / 60
    return (
        f"all {sum(MLLMU):,} questions of MLLMU-Bench at these rates, zero-shot: {minutes:.1f} min"
    )
