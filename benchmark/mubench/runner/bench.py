"""`mubench bench eval`: how fast the evaluation engine is, and that its answers are the same.

The model is LLaVA-shaped with random weights: cost does not depend on what it knows. Everything
runs in one process with interleaved repeats, so that the ratios hold on a busy machine.
"""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from mubench.errors import RunError
from mubench.models import packing, scorer
from mubench.models.encoding import Encoder
from mubench.models.engine import TOLERANCE, Engine
from mubench.models.hf_mllm import HFVisionLanguageModel
from mubench.models.tiny import build_llava, build_processor, build_tokenizer
from mubench.rng import stream
from mubench.types import Example, Response

#: About 100 M parameters and LLaVA-1.5's 576 image tokens.
SHAPE: dict[str, Any] = {
    "image_size": 336,
    "patch_size": 14,
    "vision_width": 384,
    "vision_layers": 6,
    "text_width": 768,
    "text_layers": 12,
    "heads": 12,
    "vocabulary": 1280,
}
LETTERS = ("A", "B", "C", "D")
TOPICS = {
    "was this person born": ("Oslo", "Rome", "Kyoto", "Quito"),
    "does this person live": ("Bergen", "Turin", "Osaka", "Cuenca"),
    "did this person study": ("a village school", "a college", "a university", "an academy"),
    "does this person work": ("a bakery", "a shipyard", "a theatre", "a clinic"),
    "does this person spend the summer": ("in the hills", "by a lake", "at sea", "in the city"),
    "does this person buy bread": ("a market", "a corner shop", "a mill", "a supermarket"),
    "did this person learn to swim": ("a river", "a pool", "a lake", "the sea"),
    "does this person keep a garden": ("on a roof", "in a yard", "in a park", "by a canal"),
    "was this person last seen": ("a concert", "a station", "a library", "a stadium"),
}
#: A letter and the end token: as far as a real answer to a choice question goes.
LETTER = 2
#: A short sentence; random weights never end one by themselves.
SENTENCE = 16
CASES = ("choice, zero-shot", "choice, five exemplars", "free answers, zero-shot")


@dataclass(frozen=True, slots=True)
class Side:
    """Seconds a question of every repeat."""

    name: str
    seconds: list[float]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


@dataclass(frozen=True, slots=True)
class Result:
    """One case: sides (the engine first), work of the engine, and what was compared.

    ``flops`` and ``tokens`` count every token that differs once; ``floor`` is the time a question
    they take at ``rate`` FLOP/s, the median of matrix products timed between the repeats.
    """

    case: str
    questions: int
    tokens: int
    flops: float
    rate: float
    sides: tuple[Side, ...]
    compared: int
    difference: float

    @property
    def floor(self) -> float:
        return self.flops / self.rate / self.questions

    def ratio(self, side: Side) -> float:
        """Median over the repeats of how many times longer the side takes than the engine."""
        pairs = zip(side.seconds, self.sides[0].seconds, strict=True)
        return statistics.median(other / own for other, own in pairs)


def question(person: str, topic: str, number: int, *, free: bool) -> Example:
    """A question in the public protocol's words; ``number`` makes it one of many alike."""
    options = TOPICS[topic]
    asked = f"Where {topic}{'' if number < len(TOPICS) else f' in year {number}'}?"
    listed = "\n".join(f"{a}: {b}" for a, b in zip(LETTERS, options, strict=True))
    ending = "Just give ONE letter representing the answer directly."
    return Example(
        id=f"{person}/{number}",
        set="general",
        task="generation" if free else "choice",
        modality="image_text",
        person=person,
        fact=topic,
        question=asked if free else f"{asked}\n{listed}\n{ending}",
        answer=options[0] if free else LETTERS[number % 4],
        keyword=options[0],
        image=person,
        choices=() if free else LETTERS,
    )


def questions(people: int, each: int, *, free: bool = False) -> list[Example]:
    topics = list(TOPICS)
    return [
        question(f"person {person}", topics[number % len(topics)], number, free=free)
        for person in range(people)
        for number in range(each)
    ]


def picture(name: str) -> Image.Image:
    """Noise of the tower's size: each picture different, always the same."""
    size = SHAPE["image_size"]
    pixels = stream(0, "bench", name).integers(0, 256, (size, size, 3), dtype="uint8")
    return Image.fromarray(pixels)


def build(seed: int = 0) -> HFVisionLanguageModel:
    """The model under test, float32."""
    texts = [f"{e.question} {e.answer} USER: ASSISTANT:" for e in questions(1, 9)]
    tokenizer = build_tokenizer(texts, SHAPE["vocabulary"])
    tokenizer.model_max_length = 1 << 20
    model = build_llava(tokenizer, seed, SHAPE).requires_grad_(False)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    return HFVisionLanguageModel(model, build_processor(tokenizer, SHAPE), picture)


def fresh(model: HFVisionLanguageModel, preamble: Sequence[Example]) -> Engine:
    """An engine that has seen nothing yet."""
    scorer.FEATURES.clear()
    encoder = Encoder(model.processor, picture, model.encoder.ends)
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
        images=[picture(name) for e in asked for name in encoder.pictures(e.image)],
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
    images: int, each: int, repeats: int, report: Callable[[str], None] = lambda _: None
) -> Iterator[Result]:
    """Case by case; RunError where the engine's answers are not those of the plain ways."""
    model = build()
    for name in CASES:
        yield _case(model, name, images, each, repeats, report)


def _case(
    model: HFVisionLanguageModel,
    name: str,
    images: int,
    each: int,
    repeats: int,
    report: Callable[[str], None],
) -> Result:
    free = name.startswith("free")
    shown = [question("exemplar", topic, n, free=free) for n, topic in enumerate(TOPICS)][:5]
    preamble = shown if "exemplars" in name else []
    asked = questions(images, each, free=free)
    units = packing.units(asked)
    tokens = SENTENCE if free else LETTER
    # A question costs the plain sides the same whichever it is: they answer a part of them.
    some = asked[:: 4 * each + 1][:2] if preamble else asked[:: each + 1][:6]
    report(f"{name}: comparing answers")
    difference = _prove(model, units, some, tokens, preamble)
    sides = (Side("engine", []), Side("one question at a time", []), Side("plain batches", []))
    rates = []
    for number in range(repeats):
        report(f"{name}: repeat {number + 1} of {repeats}")
        rates.append(matmul_rate(model))
        engine = fresh(model, preamble)
        runs: tuple[tuple[Callable[[], Any], int], ...] = (
            (lambda engine=engine: _answers(engine, units, tokens), len(asked)),
            (lambda: one_at_a_time(model, some, tokens), len(some)),
            (lambda: batched(model, some, tokens, len(some)), len(some)),
        )
        for side, (run, count) in zip(sides, runs, strict=True):
            start = time.perf_counter()
            run()
            side.seconds.append((time.perf_counter() - start) / count)
    rates.append(matmul_rate(model))
    count, flops = work(model, fresh(model, preamble), units, tokens if free else 0)
    rate = statistics.median(rates)
    return Result(name, len(asked), count, flops, rate, sides, len(some), difference)


def _answers(
    engine: Engine, units: Sequence[Sequence[Example]], tokens: int
) -> dict[str, Response]:
    found = engine.answers(units, max_new_tokens=tokens, batch=4)
    return {one.example_id: one for unit in found for one in unit}


def _prove(
    model: HFVisionLanguageModel,
    units: Sequence[Sequence[Example]],
    some: Sequence[Example],
    tokens: int,
    preamble: Sequence[Example],
) -> float:
    """Largest difference of a score in nats a token; RunError unless all answers are the same."""
    engine = fresh(model, preamble)
    found = _answers(engine, units, tokens)
    worst = 0.0
    for example in some:
        (wanted,) = model.plain([example], tokens)
        own = found[example.id]
        pairs = zip(own.logprobs, wanted.logprobs, wanted.lengths, strict=True)
        worst = max(worst, *(abs(a - b) / n for a, b, n in pairs))
        best = [max(range(len(o.logprobs)), key=o.logprobs.__getitem__) for o in (own, wanted)]
        if best[0] != best[1] or own.text != wanted.text or not worst <= TOLERANCE[engine.dtype]:
            raise RunError(f"bench: the engine answers {example.id} differently from plain batches")
    alone, together = one_at_a_time(model, some, tokens), batched(model, some, tokens, len(some))
    if alone != together:
        raise RunError("bench: plain batches answer differently from one question at a time")
    # The same prompts as free questions: what the public protocol decodes, token for token.
    open_ = [Example(**{**_fields(e), "choices": (), "task": "generation"}) for e in some]
    said = _answers(fresh(model, preamble), packing.units(open_), tokens)
    if [said[e.id].text for e in some] != [model.encoder.text(row)[0] for row in alone]:
        raise RunError("bench: the engine decodes differently from one question at a time")
    return worst


def _fields(example: Example) -> dict[str, Any]:
    return {name: getattr(example, name) for name in Example.__slots__}


def matmul_rate(model: HFVisionLanguageModel) -> float:
    """FLOP/s of one large matrix product, in the model's precision, on this machine now."""
    width = SHAPE["text_width"]
    one = torch.randn(1024, width, device=model.device, dtype=model.model.dtype)
    other = torch.randn(width, 4 * width, device=model.device, dtype=model.model.dtype)
    times = []
    for _ in range(12):
        start = time.perf_counter()
        one @ other
        if one.is_cuda:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return 2 * 1024 * width * 4 * width / statistics.median(times)


def work(
    model: HFVisionLanguageModel, engine: Engine, units: Sequence[Sequence[Example]], new: int
) -> tuple[int, float]:
    """Tokens and FLOPs of a pass in which every token that differs is computed once.

    2 FLOPs a weight and token, and 4 x width a layer for each token that a token sees. ``new``:
    tokens of each free answer.
    """
    width, layers = SHAPE["text_width"], SHAPE["text_layers"]
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
    patches = (SHAPE["image_size"] // SHAPE["patch_size"]) ** 2 + 1
    base = model.base.model
    tower = sum(
        p.numel()
        for part in (base.vision_tower, base.multi_modal_projector)
        for name, p in part.named_parameters()
        if p.dim() > 1 and "position" not in name
    )
    vision = len(pictures) * (
        2 * tower * patches + 4 * SHAPE["vision_width"] * SHAPE["vision_layers"] * patches**2
    )
    return (
        tokens,
        2.0 * decoder * tokens + 4.0 * width * layers * seen + 2.0 * head * asked + vision,
    )


def machine() -> str:
    """What the figures were measured on."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()
    return f"{device}, {torch.get_num_threads()} threads, torch {torch.__version__}, float32"


def lines(result: Result) -> list[str]:
    """What `mubench bench eval` prints of a case."""
    own = result.sides[0]
    made = [
        "",
        f"{result.case}: {result.questions} questions, {result.tokens} tokens that differ, "
        f"{result.flops / 1e9:.0f} GFLOP",
        f"  answers equal on {result.compared} questions, scores within "
        f"{result.difference:.1e} nats a token",
    ]
    for side in result.sides:
        ratio = "" if side is own else f"  {result.ratio(side):5.1f} x the engine"
        made.append(f"  {side.name:<24}{side.median:8.3f} s a question{ratio}")
    made.append(
        f"  {'floor':<24}{result.floor:8.3f} s a question  at {result.rate / 1e9:.0f} GFLOP/s; "
        f"the engine takes {own.median / result.floor:.2f} x the floor"
    )
    return made


def growth(counts: Sequence[int], repeats: int, report: Callable[[str], None]) -> dict[int, float]:
    """Seconds a question with N questions on one picture: (V + P) / N, and the branch."""
    model = build()
    found: dict[int, list[float]] = {count: [] for count in counts}
    for number in range(repeats + 1):
        report(f"questions a picture: repeat {number} of {repeats}")
        for count in counts:
            units = packing.units(questions(1, count))
            engine = fresh(model, [])
            start = time.perf_counter()
            _answers(engine, units, LETTER)
            if number:  # the first round warms up
                found[count].append((time.perf_counter() - start) / count)
    return {count: statistics.median(seconds) for count, seconds in found.items()}


def plot_growth(seconds: Mapping[int, float], path: Path) -> None:
    """Measured seconds a question over N, with the cost model (V + P) / N + q fitted to it."""
    import numpy as np
    from matplotlib.figure import Figure

    counts = np.array(sorted(seconds))
    measured = np.array([seconds[count] for count in counts])
    design = np.stack([1 / counts, np.ones(len(counts))], axis=1)
    # Relative errors count: the points span more than a decade.
    (prefix, branch), *_ = np.linalg.lstsq(
        design / measured[:, None], np.ones(len(counts)), rcond=None
    )
    figure = Figure(figsize=(5.2, 3.4), layout="constrained")
    axes = figure.subplots()
    axes.loglog(counts, measured, "o", color="#1f5fa8", label="measured")
    smooth = np.geomspace(counts[0], counts[-1], 100)
    label = f"{prefix:.2f} s / N + {branch:.3f} s"
    axes.loglog(smooth, prefix / smooth + branch, "-", color="#1f5fa8", alpha=0.5, label=label)
    axes.axhline(branch, color="#777777", linewidth=0.8, linestyle=":")
    axes.set_xlabel("questions about one picture, N")
    axes.set_ylabel("seconds a question")
    axes.set_xticks(counts, [str(count) for count in counts])
    marks = [m * 10.0**e for e in range(-6, 4) for m in (1, 2, 5)]
    marks = [mark for mark in marks if branch / 2 < mark < 2 * measured.max()]
    axes.set_yticks(marks, [f"{mark:g}" for mark in marks])
    axes.minorticks_off()
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)
