"""Any image-text-to-text model of ``transformers``, as mubench's methods and runner see it."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mubench.errors import RunError, UsageError
from mubench.types import Capability, Example, Response

from .layouts import LAYOUTS, Layout
from .protocols import Batch, DeltaKind, Images, Neurons, Scope, Units

IGNORE = -100


@dataclass(frozen=True, slots=True)
class _Picture:
    """What the processor makes of one picture, whatever is asked about it.

    ``tensors``: pixel values, grids and masks. ``block``: for every sequence-shaped output, the
    values that stand in place of the tokenised image placeholder ``stub``; ``fill`` elsewhere.
    """

    tensors: Mapping[str, Tensor]
    stub: tuple[int, ...]
    block: Mapping[str, tuple[int, ...]]
    fill: Mapping[str, int]


class HFVisionLanguageModel:
    """A conditional-generation model with its processor.

    The prompt is the processor's own chat template. A picture is processed once, however many
    questions are asked about it. Sequences are right-padded for scoring and training (a padded
    row equals the row alone) and left-padded for generation, as ``transformers`` expects.
    """

    capabilities: frozenset[Capability] = frozenset({"likelihood", "generate"})

    def __init__(self, model: Any, processor: Any, images: Images | None = None) -> None:
        self.model = model
        self.processor = processor
        self.tokenizer = processor.tokenizer
        self.images = images
        self.model.eval()
        self._pictures: dict[str, _Picture] = {}
        self._prompts: dict[tuple[str | None, str], tuple[str, list[int]]] = {}
        self._rows: dict[
            tuple[str, str | None, str], tuple[dict[str, list[int]], list[int], str]
        ] = {}
        self._scope: Scope | None = None
        self._frozen: HFVisionLanguageModel | None = None
        self._zeroed: dict[str, dict[str, list[int]]] = {"rows": {}, "columns": {}}

    # -- text and pictures to tensors -------------------------------------------------------

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def layout(self) -> Layout:
        kind = self.model.config.model_type
        if kind not in LAYOUTS:
            raise UsageError(
                f"model family '{kind}' has no layout in mubench/models/layouts.py: "
                f"known are {', '.join(LAYOUTS)}"
            )
        return LAYOUTS[kind]

    @property
    def _end(self) -> list[int]:
        ends = self.model.generation_config.eos_token_id
        ends = self.tokenizer.eos_token_id if ends is None else ends
        return list(ends) if isinstance(ends, list) else [ends]

    @property
    def _placeholder(self) -> int:
        """Id of the token that stands for a picture in the chat template."""
        found: int = self.processor.image_token_id
        return found

    def _render(self, question: str, image: str | None, answer: str | None = None) -> str:
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

    def picture(self, image: str) -> _Picture:
        """What the processor makes of a picture; kept, since many questions share it."""
        if image not in self._pictures:
            if self.images is None:
                raise RunError(f"picture '{image}' is asked for, but the model was given none")
            text = self._render("?", image)
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
            start = min(_common(plain, full), plain.index(self._placeholder))
            tail = _common(plain[start + 1 :][::-1], full[start + 1 :][::-1])
            self._pictures[image] = _Picture(
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

    def _prompt(self, question: str, image: str | None) -> tuple[str, list[int]]:
        key = (image and "image", question)
        if key not in self._prompts:
            text = self._render(question, image)
            self._prompts[key] = (text, self.tokenizer(text)["input_ids"])
        return self._prompts[key]

    def _answer(self, example: Example, answer: str) -> tuple[list[int], list[int]]:
        """Prompt and answer token ids, image placeholder not yet expanded.

        They are split where the tokenised prompt ends inside the tokenised whole, so that the
        model is scored on the very tokens it would read.
        """
        _, prompt = self._prompt(example.question, example.image)
        text = self._render(example.question, example.image, answer).rstrip()
        whole = self.tokenizer(text)["input_ids"]
        split = _common(prompt, whole)
        tail = whole[split:]
        return prompt[:split], tail if tail[-1] in self._end else [*tail, self._end[0]]

    def _expand(self, ids: list[int], image: str | None) -> dict[str, list[int]]:
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

    def _row(self, example: Example, answer: str) -> tuple[dict[str, list[int]], list[int], str]:
        """Token ids, labels and hash of one question with one answer; kept for later epochs."""
        key = (example.question, example.image, answer)
        if key not in self._rows:
            prompt, tail = self._answer(example, answer)
            row = self._expand([*prompt, *tail], example.image)
            labels = [IGNORE] * (len(row["input_ids"]) - len(tail)) + tail
            digest = sha256(repr((row, labels, example.image)).encode()).hexdigest()
            self._rows[key] = (row, labels, digest)
        return self._rows[key]

    def encode(self, examples: Sequence[Example], answers: Sequence[str] | None = None) -> Batch:
        """Examples with their answers (or the given ones) as one batch of one modality."""
        answers = [example.answer for example in examples] if answers is None else answers
        pairs = [self._row(e, answer) for e, answer in zip(examples, answers, strict=True)]
        rows, labels, keys = zip(*pairs, strict=True)
        inputs = self._collate(rows, [example.image for example in examples], left=False)
        width = inputs["input_ids"].shape[1]
        padded = [label + [IGNORE] * (width - len(label)) for label in labels]
        return Batch(inputs, torch.tensor(padded, device=self.device), keys)

    def _collate(
        self, rows: Sequence[dict[str, list[int]]], images: Sequence[str | None], *, left: bool
    ) -> dict[str, Tensor]:
        if len({image is None for image in images}) > 1:
            raise ValueError("image+text and text-only examples do not share a batch")
        width = max(len(row["input_ids"]) for row in rows)
        pad = self.tokenizer.pad_token_id
        inputs: dict[str, Tensor] = {}
        for key in rows[0]:
            fill = pad if key == "input_ids" else 0
            inputs[key] = torch.tensor(
                [_pad(row[key], width, fill, left=left) for row in rows], device=self.device
            )
        inputs["attention_mask"] = torch.tensor(
            [_pad([1] * len(row["input_ids"]), width, 0, left=left) for row in rows],
            device=self.device,
        )
        shown = [self.picture(image).tensors for image in images if image is not None]
        for key in shown[0] if shown else ():
            value = torch.cat([tensors[key] for tensors in shown]).to(self.device)
            inputs[key] = value.to(self.model.dtype) if value.is_floating_point() else value
        return inputs

    # -- likelihood -------------------------------------------------------------------------

    def _answer_logits(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Float32 logits [N, V] that predict the N answer tokens, those tokens, and their rows."""
        positions = (batch.labels != IGNORE).any(0).nonzero().squeeze(1)
        keep = torch.arange(int(positions[0]) - 1, int(positions[-1]), device=self.device)
        logits = self.model(**batch.inputs, logits_to_keep=keep).logits
        targets = batch.labels[:, keep + 1]
        row, column = (targets != IGNORE).nonzero(as_tuple=True)
        return logits[row, column].float(), targets[row, column], row

    def _token_logp(self, batch: Batch) -> tuple[Tensor, Tensor]:
        logits, targets, row = self._answer_logits(batch)
        return -torch.nn.functional.cross_entropy(logits, targets, reduction="none"), row

    def logp(self, batch: Batch) -> Tensor:
        """[B] log p(answer | image, prompt), summed over the answer's tokens."""
        tokens, row = self._token_logp(batch)
        total = torch.zeros(len(batch.labels), device=tokens.device)
        return total.index_add(0, row, tokens)

    def nll(self, batch: Batch) -> Tensor:
        """Mean negative log-likelihood over all answer tokens of the batch."""
        return -self._token_logp(batch)[0].mean()

    def log_dist(self, batch: Batch) -> Tensor:
        """[N, V] log-probabilities at the N positions that predict an answer token."""
        return self._answer_logits(batch)[0].log_softmax(-1)

    # -- training ---------------------------------------------------------------------------

    def train_scope(self, scope: Scope, **options: Any) -> list[torch.nn.Parameter]:
        """Choose what may change: ``lora`` on the language model, or ``full``.

        The vision tower stays frozen in both, as in LLaVA's own fine-tuning.
        """
        self._scope = scope
        if scope == "lora":
            from peft import LoraConfig, get_peft_model

            # Anchored: a list of suffixes would silently hit the vision tower as well.
            config = LoraConfig(target_modules=self.layout.lora, **options)
            self.model = get_peft_model(self.model, config)
        else:
            for name, parameter in self.model.named_parameters():
                parameter.requires_grad_(not re.fullmatch(self.layout.vision, name))
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]

    def trained_modules(self) -> list[str]:
        """Names of the modules that ``train_scope`` opened, for the record."""
        names = {
            re.sub(r"\.lora_[AB]\..*|^base_model\.model\.", "", name)
            for name, parameter in self.model.named_parameters()
            if parameter.requires_grad
        }
        return sorted(names)

    @contextmanager
    def reference(self) -> Iterator[HFVisionLanguageModel]:
        """The model before training: adapters off, or a frozen copy made by ``freeze_copy``."""
        if self._scope == "lora":
            with self.model.disable_adapter():
                yield self
        elif self._frozen is not None:
            yield self._frozen
        else:
            raise RuntimeError("reference() needs train_scope('lora') or freeze_copy()")

    def freeze_copy(self) -> None:
        """Keep the model as it is now for ``reference``, where adapters cannot be switched off."""
        if self._scope != "lora":
            self._frozen = HFVisionLanguageModel(
                copy.deepcopy(self.model).requires_grad_(False), self.processor, self.images
            )

    # -- units ------------------------------------------------------------------------------

    def neurons(self) -> list[Neurons]:
        """Every MLP block of both towers, found by the family's layout."""
        layout = self.layout
        modules = dict(self.model.named_modules())
        found = []
        for tower, pattern, up, down in (
            ("language", layout.language_mlp, layout.language_up, layout.language_down),
            ("vision", layout.vision_mlp, layout.vision_up, layout.vision_down),
        ):
            for name, module in modules.items():
                if match := re.fullmatch(pattern, name):
                    found.append(
                        Neurons(
                            name=name,
                            tower=tower,  # type: ignore[arg-type]
                            layer=int(match[1]),
                            count=getattr(module, down).in_features,
                            down=f"{name}.{down}",
                            up=tuple(f"{name}.{part}" for part in up),
                        )
                    )
        return found

    def patches(self, activations: Tensor, batch: Batch) -> list[Tensor]:
        """Vision activations of a batch, [patches, units] a picture, whatever their sizes."""
        flat = activations.reshape(-1, activations.shape[-1])
        grids = batch.inputs.get("image_grid_thw")
        if grids is not None:  # pictures of any size in one row of patches
            return list(flat.split(grids.prod(1).tolist()))
        return list(flat.split(len(flat) // len(batch.labels)))

    def module(self, name: str) -> torch.nn.Module:
        """A submodule by its full name."""
        found: torch.nn.Module = self.model.get_submodule(name)
        return found

    @torch.no_grad()
    def zero(self, *, rows: Units, columns: Units) -> None:
        """Zero rows (with their bias) and columns of linear layers, by module name."""
        for axis, units in (("rows", rows), ("columns", columns)):
            for name, indices in units.items():
                linear: Any = self.module(name)
                index = torch.tensor(list(indices), dtype=torch.long, device=self.device)
                if axis == "columns":
                    linear.weight[:, index] = 0
                else:
                    linear.weight[index] = 0
                    if linear.bias is not None:
                        linear.bias[index] = 0
                self._zeroed[axis].setdefault(name, []).extend(indices)

    # -- answering --------------------------------------------------------------------------

    @torch.inference_mode()
    def respond(self, examples: Sequence[Example], *, max_new_tokens: int) -> list[Response]:
        """Answer one batch of one modality: candidates scored; text unless options are given."""
        scored = self._likelihoods(examples)
        texts: list[tuple[str, bool] | None] = [None] * len(examples)
        if not examples[0].choices:
            texts = list(self._generate(examples, max_new_tokens))
        return [
            Response(
                example_id=example.id,
                status="ok",
                logprobs=logprobs,
                lengths=lengths,
                text=text[0] if text else None,
                finished=text[1] if text else None,
            )
            for example, (logprobs, lengths), text in zip(examples, scored, texts, strict=True)
        ]

    def _likelihoods(
        self, batch: Sequence[Example]
    ) -> list[tuple[tuple[float, ...], tuple[int, ...]]]:
        candidates = [example.choices or (example.answer,) for example in batch]
        flat = [example for example, many in zip(batch, candidates, strict=True) for _ in many]
        encoded = self.encode(flat, [text for many in candidates for text in many])
        logp = self.logp(encoded).tolist()
        lengths = (encoded.labels != IGNORE).sum(1).tolist()
        scored, start = [], 0
        for many in candidates:
            end = start + len(many)
            scored.append((tuple(logp[start:end]), tuple(lengths[start:end])))
            start = end
        return scored

    def _generate(
        self, batch: Sequence[Example], max_new_tokens: int
    ) -> Iterator[tuple[str, bool]]:
        rows = [
            self._expand(self._prompt(example.question, example.image)[1], example.image)
            for example in batch
        ]
        inputs = self._collate(rows, [example.image for example in batch], left=True)
        output = self.model.generate(
            **inputs,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            pad_token_id=self.tokenizer.pad_token_id,
        )
        for row in output[:, inputs["input_ids"].shape[1] :].tolist():
            ends = [place for place, token in enumerate(row) if token in self._end]
            text = self.tokenizer.decode(row[: ends[0]] if ends else row, skip_special_tokens=True)
            yield text.strip(), bool(ends)

    # -- storage ----------------------------------------------------------------------------

    def save(self, folder: Path) -> None:
        """Weights (safetensors) and processor in Hugging Face layout, adapters merged."""
        if self._scope == "lora":
            self.model = self.model.merge_and_unload()
            self._scope = None
        self.model.save_pretrained(folder)
        self.processor.save_pretrained(folder)

    def save_delta(self, folder: Path) -> DeltaKind:
        """Write only what changed against the loaded model; ``load_delta`` brings it back."""
        kind: DeltaKind = "none"
        if self._scope == "lora":
            kind = "lora"
            self.model.save_pretrained(folder / "adapter")
        elif self._scope == "full":
            kind = "full"
            self.model.save_pretrained(folder / "weights")
        elif any(self._zeroed.values()):
            kind = "neurons"
            (folder / "neurons.json").write_text(json.dumps(self._zeroed), encoding="utf-8")
        (folder / "delta.json").write_text(json.dumps({"kind": kind}), encoding="utf-8")
        return kind

    def load_delta(self, folder: Path) -> None:
        """Apply what ``save_delta`` wrote to a freshly loaded model."""
        kind = json.loads((folder / "delta.json").read_text(encoding="utf-8"))["kind"]
        if kind == "lora":
            from peft import PeftModel

            adapted = PeftModel.from_pretrained(self.model, folder / "adapter")
            self.model = adapted.merge_and_unload()
        elif kind == "full":
            self.model = (
                type(self.model)
                .from_pretrained(folder / "weights", dtype=self.model.dtype)
                .to(self.device)
            )
        elif kind == "neurons":
            self.zero(**json.loads((folder / "neurons.json").read_text(encoding="utf-8")))
        self.model.eval()

    def fingerprint(self) -> str:
        """sha256 over every tensor's name, dtype, shape and bytes, in order of name."""
        digest = sha256()
        for name, value in sorted(self.model.state_dict().items()):
            raw = value.detach().cpu().contiguous()
            digest.update(f"{name}:{raw.dtype}:{tuple(raw.shape)}".encode())
            digest.update(raw.flatten().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()


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
