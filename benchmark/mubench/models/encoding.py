"""Text and pictures to tensors: prompts by the chat template, each picture processed once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from hashlib import sha256
from threading import Lock
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from mubench.errors import RunError
from mubench.types import Example, Modality

from .packing import Atom, common
from .protocols import Images

IGNORE = -100

Row = dict[str, list[int]]  # sequence-shaped inputs of one question: token ids, token types, ...

#: Processed pictures are kept up to this many bytes.
KEPT = 1 << 30
#: Prompts are kept while their candidates are asked, not for as long as a pass.
PROMPTS = 1 << 12


@dataclass(frozen=True)
class Picture:
    """What the processor makes of one picture, whatever is asked about it.

    ``tensors``: pixel values, grids and masks. ``block``: for every sequence-shaped output, the
    values that stand in place of the tokenised image placeholder ``stub``; ``fill`` elsewhere.
    ``crossed``: for models with cross attention, by input name, what a token from the picture on
    attends to (tokens before it attend to nothing).
    """

    tensors: Mapping[str, Tensor]
    stub: tuple[int, ...]
    block: Mapping[str, tuple[int, ...]]
    fill: Mapping[str, int]
    crossed: Mapping[str, Tensor]

    @property
    def nbytes(self) -> int:
        return sum(tensor.nbytes for tensor in self.tensors.values())

    @cached_property
    def content(self) -> str:
        """sha256 of all that the vision tower is given."""
        digest = sha256()
        for key, tensor in sorted(self.tensors.items()):
            digest.update(f"{key}:{tensor.dtype}:{tuple(tensor.shape)}".encode())
            digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()


Kept = TypeVar("Kept", Picture, Tensor)


class Memo(Generic[Kept]):
    """Values with ``nbytes`` by key; the longest unused go when together they exceed ``limit``.
    Pictures are prepared beside the pass before them, so two threads may ask."""

    def __init__(self, limit: int = KEPT) -> None:
        self.limit = limit
        self._kept: OrderedDict[Any, Kept] = OrderedDict()
        self._size = 0
        self._lock = Lock()

    def get(self, key: Any) -> Kept | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: Any, value: Kept) -> Kept:
        with self._lock:
            old = self._kept.pop(key, None)
            self._size += value.nbytes - (0 if old is None else old.nbytes)
            self._kept[key] = value
            while self._size > self.limit and len(self._kept) > 1:
                self._size -= self._kept.popitem(last=False)[1].nbytes
        return value

    def clear(self) -> None:
        with self._lock:
            self._kept.clear()
            self._size = 0


class Encoder:
    """A processor with a memory. The prompt is the processor's own chat template.

    A picture is processed once, however many questions are asked about it. Sequences are
    right-padded for scoring and training (a padded row equals the row alone) and left-padded for
    generation, as ``transformers`` expects. ``ends``: ids of the tokens that end an answer.
    ``preamble``: solved examples that stand before every question of their modality (few-shot).
    """

    def __init__(self, processor: Any, images: Images | None, ends: Sequence[int]) -> None:
        self.processor = processor
        self.tokenizer = processor.tokenizer
        self.images = images
        self.ends = tuple(ends)
        self.preamble: Mapping[Modality, Sequence[Example]] = {}
        self._pictures: Memo[Picture] = Memo()
        self._prompted = lru_cache(PROMPTS)(self._prompt)
        self._rows: dict[tuple[str, str | None, str], tuple[Row, list[int], str]] = {}

    def render(self, question: str, image: str | None, answer: str | None = None) -> str:
        turns: list[dict[str, Any]] = []
        for shown in self.exemplars(image):
            turns += _turns(shown.question, shown.image, shown.answer)
        turns += _turns(question, image, answer)
        text: str = self.processor.apply_chat_template(
            turns, tokenize=False, add_generation_prompt=answer is None
        )
        return text

    def exemplars(self, image: str | None) -> Sequence[Example]:
        return self.preamble.get("text" if image is None else "image_text", ())

    def pictures(self, image: str | None) -> list[str]:
        """Names of all pictures in a prompt about ``image``, in their order."""
        shown = [exemplar.image for exemplar in self.exemplars(image)]
        return [name for name in (*shown, image) if name is not None]

    def picture(self, image: str) -> Picture:
        """What the processor makes of a picture; kept, since many questions share it."""
        kept = self._pictures.get(image)
        if kept is None:
            if self.images is None:
                raise RunError(f"picture '{image}' is asked for, but the model was given none")
            text = self.processor.apply_chat_template(_turns("?", image), tokenize=False)
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
            start = min(common((plain, full)), plain.index(self.processor.image_token_id))
            tail = common((plain[start + 1 :][::-1], full[start + 1 :][::-1]))
            crossed = {
                key: value[0, -1]
                for key, value in output.items()
                if value.dim() > 2 and value.shape[1] == length and key.endswith("attention_mask")
            }
            kept = Picture(
                tensors={
                    key: value
                    for key, value in output.items()
                    if key not in rows and key not in crossed
                },
                stub=tuple(plain[start : len(plain) - tail]),
                block={
                    key: tuple(row[start : len(row) - tail])
                    for key, row in rows.items()
                    if key != "attention_mask"
                },
                fill={key: row[0] for key, row in rows.items()},
                crossed=crossed,
            )
            self._pictures.put(image, kept)
        return kept

    def prompt(self, question: str, image: str | None) -> tuple[str, list[int]]:
        """Text and token ids of a question; which picture it is about makes no difference."""
        return self._prompted(question, image is not None)

    def _prompt(self, question: str, seen: bool) -> tuple[str, list[int]]:
        text = self.render(question, "image" if seen else None)
        return text, self.tokenizer(text)["input_ids"]

    def answered(self, example: Example, answer: str) -> tuple[list[int], list[int]]:
        """Prompt and answer token ids, image placeholders not yet expanded.

        They are split where the tokenised prompt ends inside the tokenised whole, so that the
        model is scored on the very tokens it would read.
        """
        _, prompt = self.prompt(example.question, example.image)
        text = self.render(example.question, example.image, answer).rstrip()
        whole = self.tokenizer(text)["input_ids"]
        split = common((prompt, whole))
        tail = whole[split:]
        return prompt[:split], tail if tail[-1] in self.ends else [*tail, self.ends[0]]

    def atoms(self, ids: Sequence[int], image: str | None) -> list[Atom]:
        """Token ids with the placeholders of pictures replaced by the pictures' names."""
        row: list[Atom] = list(ids)
        start = 0
        for name in self.pictures(image):
            stub = self.picture(name).stub
            while tuple(row[start : start + len(stub)]) != stub:
                start += 1
                if start >= len(row):
                    raise RunError(f"no image placeholder in the prompt for picture '{name}'")
            row[start : start + len(stub)] = [name]
            start += 1
        return row

    def shared(self, image: str | None) -> list[Atom]:
        """What all prompts of a modality begin with: system text and solved examples. A space at
        its end is left out: it may be one token with a question's first word."""
        one, other = (self.render(question, image) for question in ("?", "!"))
        row = self.atoms(self.tokenizer(one)["input_ids"], image)
        length = common((row, self.atoms(self.tokenizer(other)["input_ids"], image)))
        if image is not None:
            length = min(length, max(i for i, atom in enumerate(row) if atom == image))
        while length and isinstance(row[length - 1], int) and self._blank(row[length - 1]):
            length -= 1
        return row[:length]

    def _blank(self, token: Any) -> bool:
        return not self.tokenizer.decode([token]).strip()

    def expand(self, row: Sequence[Atom]) -> Row:
        """The sequence-shaped inputs of a row of atoms."""
        shown = {atom: self.picture(atom) for atom in row if isinstance(atom, str)}
        if not shown:
            return {"input_ids": [atom for atom in row if isinstance(atom, int)]}
        first = next(iter(shown.values()))
        made: Row = {key: [] for key in first.block}
        for atom in row:
            for key, values in made.items():
                if isinstance(atom, str):
                    values.extend(shown[atom].block[key])
                else:
                    values.append(atom if key == "input_ids" else first.fill[key])
        return made

    def question(self, example: Example) -> Row:
        """The prompt alone, for generation."""
        ids = self.prompt(example.question, example.image)[1]
        return self.expand(self.atoms(ids, example.image))

    def text(self, tokens: Sequence[int]) -> tuple[str, bool]:
        """What an answer says up to its end token, and whether it came to one."""
        end = next((place for place, token in enumerate(tokens) if token in self.ends), None)
        said = self.tokenizer.decode(tokens[:end], skip_special_tokens=True)
        return said.strip(), end is not None

    def row(self, example: Example, answer: str) -> tuple[Row, list[int], str]:
        """Token ids, labels and hash of one question with one answer; kept for later epochs."""
        key = (example.question, example.image, answer)
        if key not in self._rows:
            prompt, tail = self.answered(example, answer)
            row = self.expand(self.atoms([*prompt, *tail], example.image))
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
        shown = [self.picture(name) for image in images for name in self.pictures(image)]
        for key in shown[0].tensors if shown else ():
            inputs[key] = joined([picture.tensors[key] for picture in shown])
        for key in shown[0].crossed if shown else ():
            if len(shown) > len(rows):
                raise RunError(
                    "a model with cross attention takes no solved examples with pictures"
                )
            attends = inputs["input_ids"] == self.processor.image_token_id
            inputs[key] = crossed(attends.cumsum(1), [picture.crossed[key] for picture in shown])
        return inputs


def joined(tensors: Sequence[Tensor]) -> Tensor:
    """[sum of N, ...] from [N, ...] each. Pictures of fewer tiles or pixels end in zeros, as
    processors themselves pad them; families drop what is all zero or masked."""
    sizes = [max(sizes) for sizes in zip(*(tensor.shape[1:] for tensor in tensors), strict=True)]
    made = tensors[0].new_zeros(sum(map(len, tensors)), *sizes)
    start = 0
    for tensor in tensors:
        place = (slice(start, start + len(tensor)), *map(slice, tensor.shape[1:]))
        made[place] = tensor
        start += len(tensor)
    return made


def crossed(attends: Tensor, masks: Sequence[Tensor]) -> Tensor:
    """[B, T, pictures, tiles]: each row's mask where ``attends`` [B, T] is 1, nothing elsewhere."""
    mask = torch.stack(list(masks)).to(attends.device)
    return attends[..., None, None] * mask[:, None]


def _turns(question: str, image: str | None, answer: str | None = None) -> list[dict[str, Any]]:
    """A question with its picture and, where it is given, its answer, for the chat template."""
    content: list[dict[str, str]] = [{"type": "text", "text": question}]
    if image is not None:
        content.insert(0, {"type": "image"})
    turns: list[dict[str, Any]] = [{"role": "user", "content": content}]
    if answer is not None:
        turns.append({"role": "assistant", "content": [{"type": "text", "text": answer}]})
    return turns


def _pad(row: list[int], width: int, fill: int, *, left: bool) -> list[int]:
    space = [fill] * (width - len(row))
    return [*space, *row] if left else [*row, *space]
