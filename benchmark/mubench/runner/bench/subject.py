"""What is benchmarked: a LLaVA-shaped model with random weights, and questions for it.

Cost does not depend on what a model knows.
"""

from __future__ import annotations

import platform
import statistics
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from PIL import Image

from mubench.errors import UsageError
from mubench.models.hf_mllm import HFVisionLanguageModel
from mubench.models.tiny import build_llava, build_processor, build_tokenizer
from mubench.rng import stream
from mubench.types import Example

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


@dataclass(frozen=True, slots=True)
class Side:
    """Seconds a question (or step, or person) in every repeat."""

    name: str
    seconds: list[float]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def over(self, other: Side) -> float:
        """Median over the repeats of how many times longer this one takes than the other."""
        pairs = zip(self.seconds, other.seconds, strict=True)
        return statistics.median(own / its for own, its in pairs)


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


def picture(name: str, size: int) -> Image.Image:
    """Noise: each picture different, always the same."""
    pixels = stream(0, "bench", name).integers(0, 256, (size, size, 3), dtype="uint8")
    return Image.fromarray(pixels)


def build(**changes: int) -> HFVisionLanguageModel:
    """The small model under test, float32; ``changes`` to its shape."""
    shape = SHAPE | changes
    tokenizer = _tokenizer(shape["vocabulary"])
    model = build_llava(tokenizer, 0, shape).requires_grad_(False)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    return _mllm(model, tokenizer, shape)


def full_llava(tokenizer: Any) -> Any:
    """LLaVA-1.5-7B's shapes, as llava-hf/llava-1.5-7b-hf's config.json has them, with random
    weights in bfloat16 on torch's current device."""
    from transformers import LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    # What transformers takes where nothing is said is this very model, but for its vocabulary.
    text = LlamaConfig(
        vocab_size=32064,
        max_position_embeddings=4096,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    image = tokenizer.convert_tokens_to_ids("<image>")
    config = LlavaConfig(text_config=text, image_token_id=image)
    precision = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        return LlavaForConditionalGeneration(config).requires_grad_(False)
    finally:
        torch.set_default_dtype(precision)


def of_shape(name: str) -> HFVisionLanguageModel:
    """The small model, or LLaVA-1.5-7B's shapes. UsageError for the large one without a GPU."""
    if name == "small":
        return build()
    if not torch.cuda.is_available():
        raise UsageError(f"--shape {name} needs a GPU of 80 GB: leave it out for a small model")
    tokenizer = _tokenizer(SHAPE["vocabulary"])
    with torch.device("cuda"), torch.random.fork_rng():
        torch.manual_seed(0)
        model = full_llava(tokenizer)
    return _mllm(model, tokenizer, {"image_size": 336, "patch_size": 14})


def _tokenizer(vocabulary: int) -> Any:
    texts = [f"{e.question} {e.answer} USER: ASSISTANT:" for e in questions(1, 9)]
    tokenizer = build_tokenizer(texts, vocabulary)
    tokenizer.model_max_length = 1 << 20
    return tokenizer


def _mllm(model: Any, tokenizer: Any, shape: dict[str, Any]) -> HFVisionLanguageModel:
    images = partial(picture, size=shape["image_size"])
    return HFVisionLanguageModel(model, build_processor(tokenizer, shape), images)


def matmul_rate(model: HFVisionLanguageModel) -> float:
    """FLOP/s of one large matrix product, in the model's precision, on this machine now."""
    width = model.base.config.text_config.hidden_size
    rows = 8192 if model.device.type == "cuda" else 1024
    one = torch.randn(rows, width, device=model.device, dtype=model.model.dtype)
    other = torch.randn(width, 4 * width, device=model.device, dtype=model.model.dtype)
    times = []
    for _ in range(12):
        start = time.perf_counter()
        one @ other
        if one.is_cuda:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return 2 * rows * width * 4 * width / statistics.median(times)


def machine(model: HFVisionLanguageModel) -> str:
    """What the figures were measured on, and of how large a model."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()
    weights = sum(parameter.numel() for parameter in model.model.parameters())
    precision = str(model.model.dtype).removeprefix("torch.")
    return (
        f"LLaVA shape of {weights / 1e6:,.0f} M random weights, {precision}; {device}, "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}"
    )
