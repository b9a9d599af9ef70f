"""Any image-text-to-text model of ``transformers``, as mubench's methods and runner see it."""

from __future__ import annotations

import copy
import inspect
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mubench.errors import UsageError
from mubench.types import Capability, Example, Response

from . import packing
from .encoding import IGNORE, Encoder, Picture, Row
from .engine import Engine
from .layouts import LAYOUTS, Layout
from .protocols import Batch, DeltaKind, Images, Neurons, Scope, Units
from .scorer import ModelScorer


class HFVisionLanguageModel:
    """A conditional-generation model with its processor; ``encoder`` makes its inputs."""

    capabilities: frozenset[Capability] = frozenset({"likelihood", "generate"})

    def __init__(self, model: Any, processor: Any, images: Images | None = None) -> None:
        self.model = model
        self.processor = processor
        self.tokenizer = processor.tokenizer
        self.encoder = Encoder(processor, images, _ends(model, processor.tokenizer))
        self.model.eval()
        self._scope: Scope | None = None
        self._frozen: HFVisionLanguageModel | None = None
        self.notes: dict[str, Any] = {}
        self._zeroed: dict[str, dict[str, list[int]]] = {"rows": {}, "columns": {}}

    # -- tensors ----------------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        found: torch.device = next(self.model.parameters()).device
        return found

    @property
    def base(self) -> Any:
        """The conditional-generation model itself, adapters in place."""
        return self.model.get_base_model() if self._scope == "lora" else self.model

    @property
    def layout(self) -> Layout:
        kind = self.model.config.model_type
        if kind not in LAYOUTS:
            raise UsageError(
                f"model family '{kind}' has no layout in mubench/models/layouts.py: "
                f"known are {', '.join(LAYOUTS)}"
            )
        return LAYOUTS[kind]

    def encode(self, examples: Sequence[Example], answers: Sequence[str] | None = None) -> Batch:
        """Examples with their answers (or the given ones) as one batch of one modality."""
        answers = [example.answer for example in examples] if answers is None else answers
        pairs = [self.encoder.row(e, answer) for e, answer in zip(examples, answers, strict=True)]
        rows, labels, keys = zip(*pairs, strict=True)
        inputs = self._collate(rows, examples, left=False)
        width = inputs["input_ids"].shape[1]
        padded = [label + [IGNORE] * (width - len(label)) for label in labels]
        return Batch(inputs, torch.tensor(padded, device=self.device), keys)

    def _collate(
        self, rows: Sequence[Row], examples: Sequence[Example], *, left: bool
    ) -> dict[str, Tensor]:
        batch = self.encoder.collate(rows, [example.image for example in examples], left=left)
        return {
            key: value.to(self.device, self.model.dtype if value.is_floating_point() else None)
            for key, value in batch.items()
        }

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
                copy.deepcopy(self.model).requires_grad_(False), self.processor, self.encoder.images
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

    def respond(self, examples: Sequence[Example], *, max_new_tokens: int) -> list[Response]:
        """Candidates scored for every example, and a greedy text unless it has options."""
        found: dict[str, Response] = {}
        for unit in self.answers(packing.units(examples), max_new_tokens=max_new_tokens, batch=32):
            found |= {one.example_id: one for one in unit}
        return [found[example.id] for example in examples]

    def answers(
        self, units: Sequence[Sequence[Example]], *, max_new_tokens: int, batch: int, start: int = 0
    ) -> Iterator[list[Response]]:
        """Responses unit by unit, by the engine; ``notes`` says afterwards what the record should
        carry."""
        self.model.eval()
        with torch.inference_mode():
            scorer = ModelScorer(self.base)
        engine = Engine(self.encoder, scorer, self, self.device, self.model.dtype, notes=self.notes)
        return engine.answers(units, max_new_tokens=max_new_tokens, batch=batch, start=start)

    def positions(self, row: Row, pictures: Sequence[Picture]) -> Tensor:
        """[T] or [axes, T] positions of a row's tokens, as the model itself would count them."""
        core = self.base.model
        if not pictures or not hasattr(core, "get_rope_index"):
            return torch.arange(len(row["input_ids"]))
        known = inspect.signature(core.get_rope_index).parameters
        given = {key: torch.tensor([values]) for key, values in row.items() if key in known}
        for key in pictures[0].tensors.keys() & known.keys():
            given[key] = torch.cat([picture.tensors[key] for picture in pictures])
        found: Tensor = core.get_rope_index(**given)[0][:, 0]
        return found

    @torch.inference_mode()
    def plain(self, examples: Sequence[Example], max_new_tokens: int) -> list[Response]:
        """One batch, choices or free answers of one modality, with nothing shared."""
        texts: list[tuple[str | None, bool | None]] = [(None, None)] * len(examples)
        if not examples[0].choices:
            texts = list(self._generate(examples, max_new_tokens))
        return [
            Response(example.id, "ok", logprobs, lengths, text, finished)
            for example, (logprobs, lengths), (text, finished) in zip(
                examples, self._likelihoods(examples), texts, strict=True
            )
        ]

    def _likelihoods(
        self, batch: Sequence[Example]
    ) -> Iterator[tuple[tuple[float, ...], tuple[int, ...]]]:
        candidates = [example.choices or (example.answer,) for example in batch]
        flat = [example for example, many in zip(batch, candidates, strict=True) for _ in many]
        encoded = self.encode(flat, [text for many in candidates for text in many])
        found = zip(
            self.logp(encoded).tolist(), (encoded.labels != IGNORE).sum(1).tolist(), strict=True
        )
        for many in candidates:
            logps, lengths = zip(*(next(found) for _ in many), strict=True)
            yield logps, lengths

    def _generate(
        self, batch: Sequence[Example], max_new_tokens: int
    ) -> Iterator[tuple[str, bool]]:
        rows = [self.encoder.question(example) for example in batch]
        inputs = self._collate(rows, batch, left=True)
        output = self.model.generate(
            **inputs,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            num_beams=1,
            repetition_penalty=1.0,  # some checkpoints set one: greedy means the likeliest token
            pad_token_id=self.tokenizer.pad_token_id,
        )
        for row in output[:, inputs["input_ids"].shape[1] :].tolist():
            yield self.encoder.text(row)

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


def _ends(model: Any, tokenizer: Any) -> list[int]:
    """Ids of the tokens that end an answer."""
    ends = model.generation_config.eos_token_id
    ends = tokenizer.eos_token_id if ends is None else ends
    return list(ends) if isinstance(ends, list) else [ends]
