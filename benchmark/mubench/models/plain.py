"""Plain answers, nothing shared between questions: what the engine is checked against."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch

from mubench.types import Example, Response, Token

from .traces import traces

if TYPE_CHECKING:
    from .hf_mllm import HFVisionLanguageModel


@torch.inference_mode()
def plain_answers(
    model: HFVisionLanguageModel, examples: Sequence[Example], max_new_tokens: int
) -> list[Response]:
    """Answers to one batch of one modality, all of them choices or all of them free answers."""
    texts: list[tuple[str | None, bool | None]] = [(None, None)] * len(examples)
    if not examples[0].choices:
        texts = list(_generated(model, examples, max_new_tokens))
    return [
        Response(example.id, "ok", logprobs, lengths, text, finished, tokens=tokens)
        for example, (logprobs, lengths, tokens), (text, finished) in zip(
            examples, _likelihoods(model, examples), texts, strict=True
        )
    ]


def _likelihoods(
    model: HFVisionLanguageModel, batch: Sequence[Example]
) -> Iterator[tuple[tuple[float, ...], tuple[int, ...], tuple[Token, ...]]]:
    pairs = [(example, text) for example in batch for text in example.candidates]
    encoded = model.encode([example for example, _ in pairs], [text for _, text in pairs])
    logits, targets, row = model.answer_logits(encoded)
    places: list[list[int]] = [[] for _ in pairs]
    for place, owner in enumerate(row.tolist()):
        places[owner].append(place)
    logp = -torch.nn.functional.cross_entropy(logits, targets, reduction="none")
    start = 0
    for example in batch:
        own = places[start : start + len(example.candidates)]
        start += len(own)
        true = [] if example.choices else own[0]
        yield (
            tuple(float(logp[at].sum()) for at in own),
            tuple(map(len, own)),
            tuple(traces(logits, true, targets[true].tolist())),
        )


def _generated(
    model: HFVisionLanguageModel, batch: Sequence[Example], max_new_tokens: int
) -> Iterator[tuple[str, bool]]:
    rows = [model.encoder.question(example) for example in batch]
    inputs = model.collate(rows, batch, left=True)
    output = model.model.generate(
        **inputs,
        max_new_tokens=max_new_tokens,
        do_sample=False,
        num_beams=1,
        repetition_penalty=1.0,  # some checkpoints set one: greedy means the likeliest token
        pad_token_id=model.tokenizer.pad_token_id,
    )
    for row in output[:, inputs["input_ids"].shape[1] :].tolist():
        yield model.encoder.text(row)
