"""Text and pictures to tensors: prompts by the chat template, each picture processed once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor

from mubench.errors import RunError
from mubench.types import Example

from .protocols import Images

IGNORE = -100

Row = dict[str, list[int]]  # sequence-shaped inputs of one question: token ids, token types, ...


@dataclass(frozen=True, slots=True)
class Picture:
    """What the processor makes of one picture, whatever is asked about it.

    ``tensors``: pixel values, grids and masks. ``block``: for every sequence-shaped output, the
    values that stand in place of the tokenised image placeholder ``stub``; ``fill`` elsewhere.
    """

    tensors: Mapping[str, Tensor]
    stub: tuple[int, ...]
    block: Mapping[str, tuple[int, ...]]
    fill: Mapping[str, int]


class Encoder:
    """A processor with a memory. The prompt is the processor's own chat template.

    A picture is processed once, however many questions are asked about it. Sequences are
    right-padded for scoring and training (a padded row equals the row alone) and left-padded for
    generation, as ``transformers`` expects. ``ends``: ids of the tokens that end an answer.
    """

    def __init__(self, processor: Any, images: Images | None, ends: Sequence[int]) -> None:
        self.processor = processor
        self.tokenizer = processor.tokenizer
        self.images = images
        self.ends = tuple(ends)
        self._pictures: dict[str, Picture] = {}
        self._prompts: dict[tuple[str | None, str], tuple[str, list[int]]] = {}
        self._rows: dict[tuple[str, str | None, str], tuple[Row, list[int], str]] = {}

    def render(self, question: str, image: str | None, answer: str | None = None) -> str:
        content: list[dict[str, str]] = [{"type": "text", "text": question}]
        if image is not None:
            content.insert(0, {"type": "image"})
        turns: list[dict[str, Any]] = [{"role": "user", "content": content}]
        if answer is not None:
            turns.append({"role": "assistant", "content": [{"type": "text", "text": answer}]})
        text: str = self.processor.apply_chat_template(
            turns, tokenize=False, add_generation_prompt=answer is None
        )
        return text

    def picture(self, image: str) -> Picture:
        """What the processor makes of a picture; kept, since many questions share it."""
        if image not in self._pictures:
            if self.images is None:
                raise RunError(f"picture '{image}' is asked for, but the model was given none")
            text = self.render("?", image)
            output = self.processor(text=[text], images=[self.images(image)], return_tensors="pt")
            plain = self.tokenizer(text)["input_ids"]
            length = output["input_ids"].shape[1]
            rows = {
                key: value[0].tolist()
                for key, value in output.items()
                if value.dim() == 2 and value.shape[1] == length and not value.is_floating_point()
            }
            full = rows["input_ids"]
            # The placeholder may itself be the first token of its expansion.
            start = min(_common(plain, full), plain.index(self.processor.image_token_id))
            tail = _common(plain[start + 1 :][::-1], full[start + 1 :][::-1])
            self._pictures[image] = Picture(
                tensors={key: value for key, value in output.items() if key not in rows},
                stub=tuple(plain[start : len(plain) - tail]),
                block={
                    key: tuple(row[start : len(row) - tail])
                    for key, row in rows.items()
                    if key != "attention_mask"
                },
                fill={key: row[0] for key, row in rows.items()},
            )
        return self._pictures[image]

    def prompt(self, question: str, image: str | None) -> tuple[str, list[int]]:
        key = (image and "image", question)
        if key not in self._prompts:
            text = self.render(question, image)
            self._prompts[key] = (text, self.tokenizer(text)["input_ids"])
        return self._prompts[key]

    def _answer(self, example: Example, answer: str) -> tuple[list[int], list[int]]:
        """Prompt and answer token ids, image placeholder not yet expanded.

        They are split where the tokenised prompt ends inside the tokenised whole, so that the
        model is scored on the very tokens it would read.
        """
        _, prompt = self.prompt(example.question, example.image)
        text = self.render(example.question, example.image, answer).rstrip()
        whole = self.tokenizer(text)["input_ids"]
        split = _common(prompt, whole)
        tail = whole[split:]
        return prompt[:split], tail if tail[-1] in self.ends else [*tail, self.ends[0]]

    def expand(self, ids: list[int], image: str | None) -> Row:
        if image is None:
            return {"input_ids": ids}
        picture = self.picture(image)
        width = len(picture.stub)
        for start in range(len(ids) - width + 1):
            if tuple(ids[start : start + width]) == picture.stub:
                break
        else:
            raise RunError(f"no image placeholder in the prompt for picture '{image}'")
        return {
            key: [
                *(ids[:start] if key == "input_ids" else [picture.fill[key]] * start),
                *block,
                *(
                    ids[start + width :]
                    if key == "input_ids"
                    else [picture.fill[key]] * (len(ids) - start - width)
                ),
            ]
            for key, block in picture.block.items()
        }

    def question(self, example: Example) -> Row:
        """The prompt alone, for generation."""
        return self.expand(self.prompt(example.question, example.image)[1], example.image)

    def row(self, example: Example, answer: str) -> tuple[Row, list[int], str]:
        """Token ids, labels and hash of one question with one answer; kept for later epochs."""
        key = (example.question, example.image, answer)
        if key not in self._rows:
            prompt, tail = self._answer(example, answer)
            row = self.expand([*prompt, *tail], example.image)
            labels = [IGNORE] * (len(row["input_ids"]) - len(tail)) + tail
            digest = sha256(repr((row, labels, example.image)).encode()).hexdigest()
            self._rows[key] = (row, labels, digest)
        return self._rows[key]

    def collate(
        self, rows: Sequence[Row], images: Sequence[str | None], *, left: bool
    ) -> dict[str, Tensor]:
        """One batch on the CPU: rows padded to one width, and the tensors of their pictures."""
        if len({image is None for image in images}) > 1:
            raise ValueError("image+text and text-only examples do not share a batch")
        width = max(len(row["input_ids"]) for row in rows)
        pad = self.tokenizer.pad_token_id
        inputs: dict[str, Tensor] = {}
        for key in rows[0]:
            fill = pad if key == "input_ids" else 0
            inputs[key] = torch.tensor([_pad(row[key], width, fill, left=left) for row in rows])
        inputs["attention_mask"] = torch.tensor(
            [_pad([1] * len(row["input_ids"]), width, 0, left=left) for row in rows]
        )
        shown = [self.picture(image).tensors for image in images if image is not None]
        for key in shown[0] if shown else ():
            inputs[key] = torch.cat([tensors[key] for tensors in shown])
        return inputs


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """Length of the common prefix."""
    length = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        length += 1
    return length


def _pad(row: list[int], width: int, fill: int, *, left: bool) -> list[int]:
    space = [fill] * (width - len(row))
    return [*space, *row] if left else [*row, *space]
