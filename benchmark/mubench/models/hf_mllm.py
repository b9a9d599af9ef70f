"""Any image-text-to-text model of ``transformers``, as mubench's methods and runner see it."""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mubench.errors import UsageError
from mubench.types import Capability, Example, Response

from . import deltas, packing
from .behaviours import digest_of
from .deltas import Changes, Rows, opened, scale_adapter
from .encoding import IGNORE, Encoder, Picture, Row
from .engine import Engine
from .layouts import LAYOUTS, Layout
from .plain import plain_answers
from .protocols import Batch, Behaviour, DeltaKind, Images, Neurons, Scope, Units
from .reading import Reader
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
        self._pattern = ""
        self._frozen: HFVisionLanguageModel | None = None
        self.notes: dict[str, Any] = {}
        self.changes = Changes()

    # -- tensors ----------------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        found: torch.device = next(self.model.parameters()).device
        return found

    @property
    def base(self) -> Any:
        """The conditional-generation model itself, adapters in place."""
        return self.model.get_base_model() if self.changes.scope == "lora" else self.model

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
        inputs = self.collate(rows, examples, left=False)
        width = inputs["input_ids"].shape[1]
        padded = [label + [IGNORE] * (width - len(label)) for label in labels]
        return Batch(inputs, torch.tensor(padded, device=self.device), keys)

    def collate(
        self, rows: Sequence[Row], examples: Sequence[Example], *, left: bool
    ) -> dict[str, Tensor]:
        """One batch of rows and their pictures, padded on one side, where the model is."""
        batch = self.encoder.collate(rows, [example.image for example in examples], left=left)
        return {
            key: value.to(self.device, self.model.dtype if value.is_floating_point() else None)
            for key, value in batch.items()
        }

    # -- likelihood -------------------------------------------------------------------------

    def answer_logits(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Float32 logits [N, V] that predict the N answer tokens, those tokens, and their rows."""
        row, column = (batch.labels != IGNORE).nonzero(as_tuple=True)
        # The head reads only what is asked for: a vocabulary is wider than all that came before.
        head = self.base.get_output_embeddings()
        hook = head.register_forward_pre_hook(lambda _, args: (args[0][row, column - 1],))
        try:
            logits = self.model(**batch.inputs).logits
        finally:
            hook.remove()
        return logits.float(), batch.labels[row, column], row

    def _token_logp(self, batch: Batch) -> tuple[Tensor, Tensor]:
        logits, targets, row = self.answer_logits(batch)
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
        return self.answer_logits(batch)[0].log_softmax(-1)

    # -- hidden states ----------------------------------------------------------------------

    def _layers(self) -> tuple[torch.nn.Module, torch.nn.ModuleList]:
        """The language model's list of layers, and the module that holds it."""
        base = self.base
        for name, module in base.named_modules():
            if re.fullmatch(self.layout.language_layers, f"{name}.0") and len(module):
                return base.get_submodule(name.rpartition(".")[0]), module
        raise UsageError(f"no language layers match {self.layout.language_layers}")

    def depth(self) -> int:
        """Number of layers of the language model."""
        return len(self._layers()[1])

    def hidden(self, batch: Batch, layer: int) -> Tensor:
        """[N, d] float32: what a language layer puts out at the N positions that predict an
        answer token. Later layers do not run. UsageError if there is no such layer."""
        holder, layers = self._layers()
        with _output_of(layers, layer) as seen:
            holder.layers = layers[: layer + 1]
            try:
                self.model(**batch.inputs, logits_to_keep=1)
            finally:
                holder.layers = layers
        return _predicting(batch, seen[0])

    def nll_and_hidden(self, batch: Batch, layer: int) -> tuple[Tensor, Tensor]:
        """``nll`` and ``hidden``, from one pass through all layers."""
        with _output_of(self._layers()[1], layer) as seen:
            nll = self.nll(batch)
        return nll, _predicting(batch, seen[0])

    # -- training ---------------------------------------------------------------------------

    def train_scope(
        self, scope: Scope, *, layers: Sequence[int] | None = None, **options: Any
    ) -> list[torch.nn.Parameter]:
        """Choose what may change: ``lora`` on the language model, ``full``, or some ``rows``;
        ``layers`` keeps to those of the language model.

        The vision tower stays frozen in the first two, as in LLaVA's own fine-tuning. ``rows``
        takes ``units``: rows (with their bias) of linear layers of either tower.
        """
        self.changes.scope = scope
        number = r"\d+" if layers is None else f"(?:{'|'.join(map(str, layers))})"
        if scope == "lora":
            from peft import LoraConfig, get_peft_model

            # Anchored: a list of suffixes would silently hit the vision tower as well.
            self._pattern = self.layout.lora.replace(r"\d+", number, 1)
            config = LoraConfig(target_modules=self._pattern, **options)
            self.model = get_peft_model(self.model, config)
        elif scope == "rows":
            self.model.requires_grad_(False)
            for name, indices in options["units"].items():
                linear: Any = self.module(name)
                parts = [part for part in (linear.weight, linear.bias) if part is not None]
                self.changes.rows[name] = [Rows(part, indices) for part in parts]
        else:
            of_layers = self.layout.language_layers.replace(r"(\d+)", number) + r"\..*"
            self._pattern = rf"(?!{self.layout.vision}).*" if layers is None else of_layers
            for name, parameter in self.model.named_parameters():
                parameter.requires_grad_(bool(re.fullmatch(self._pattern, name)))
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]

    def trained_pattern(self) -> str:
        """The anchored pattern by which ``train_scope`` chose modules (lora) or weights (full)."""
        return self._pattern

    def trained_modules(self) -> list[str]:
        """Names of the modules that ``train_scope`` opened, for the record."""
        return opened(self.model)

    @contextmanager
    def reference(self) -> Iterator[HFVisionLanguageModel]:
        """The model before training: adapters off, opened rows put back, or a frozen copy made by
        ``freeze_copy``. Ask it before the model itself: rows are exchanged in place."""
        if self.changes.scope == "lora":
            with self.model.disable_adapter():
                yield self
        elif self.changes.scope == "rows":
            opened = [rows for parts in self.changes.rows.values() for rows in parts]
            now = [rows.exchange(rows.before) for rows in opened]
            try:
                yield self
            finally:
                for rows, values in zip(opened, now, strict=True):
                    rows.exchange(values)
        elif self._frozen is not None:
            yield self._frozen
        else:
            raise RuntimeError("reference() needs train_scope('lora') or freeze_copy()")

    def freeze_copy(self) -> None:
        """Keep the model as it is now for ``reference``, where adapters cannot be switched off."""
        if self.changes.scope == "full":
            self._frozen = HFVisionLanguageModel(
                copy.deepcopy(self.model).requires_grad_(False), self.processor, self.encoder.images
            )

    def scale_adapter(self, factor: float) -> None:
        """Multiply what the adapter adds to the weights, e.g. by -1 to take it off instead."""
        scale_adapter(self.model, factor)
        self.changes.adapter_scale *= factor

    # -- at inference -----------------------------------------------------------------------

    def first_layers(self, count: int) -> HFVisionLanguageModel:
        """A model of the same weight tensors whose language model ends after ``count`` layers.

        No weight is copied: final norm, head, vision tower and layers are this model's own.
        """
        weights = (*self.model.parameters(), *self.model.buffers())
        model = copy.deepcopy(self.model, {id(weight): weight for weight in weights})
        decoder = model.get_decoder()
        if count > len(decoder.layers):
            raise UsageError(
                f"the first {count} layers are asked for, but the language model has "
                f"{len(decoder.layers)}: lower --set method.layers=..."
            )
        decoder.layers = decoder.layers[:count]
        decoder.config.num_hidden_layers = count
        if kinds := getattr(decoder.config, "layer_types", None):
            decoder.config.layer_types = kinds[:count]
        first = HFVisionLanguageModel(model, self.processor)
        first.encoder = self.encoder
        return first

    def add(self, behaviour: Behaviour) -> None:
        """Change how the model answers and none of its weights."""
        if self.changes.behaviour is not None:
            raise UsageError("a model takes one inference-time method, not two")
        behaviour.attach(self)
        self.changes.behaviour = behaviour

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
                self.changes.zeroed[axis].setdefault(name, []).extend(indices)

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
        engine = Engine(self.reader(), self.plain, self.model.dtype, notes=self.notes)
        return engine.answers(units, max_new_tokens=max_new_tokens, batch=batch, start=start)

    @torch.inference_mode()
    def reader(self) -> Reader:
        """Reads with the model as it is now; make a new one after its weights changed."""
        behaviour = self.changes.behaviour
        scorer = behaviour.scorer(self.base) if behaviour else ModelScorer(self.base)
        return Reader(self.encoder, scorer, self.positions, self.device)

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

    def plain(self, examples: Sequence[Example], max_new_tokens: int) -> list[Response]:
        """One batch, choices or free answers of one modality, with nothing shared."""
        return plain_answers(self, examples, max_new_tokens)

    # -- storage ----------------------------------------------------------------------------

    def save(self, folder: Path) -> None:
        """Weights (safetensors) and processor in Hugging Face layout, adapters merged.

        UsageError where an inference-time method acts: weights alone would not bring it along.
        """
        if self.changes.behaviour is not None:
            raise UsageError("what an inference-time method does cannot be saved as weights")
        if self.changes.scope == "lora":
            self.model = self.model.merge_and_unload()
            self.changes.scope = None
        self.model.save_pretrained(folder)
        self.processor.save_pretrained(folder)

    def save_delta(self, folder: Path) -> DeltaKind:
        """Write only what changed against the loaded model; ``load_delta`` brings it back."""
        return self.changes.save(self.model, folder)

    def load_delta(self, folder: Path) -> None:
        """Apply what ``save_delta`` wrote to a freshly loaded model."""
        deltas.apply(self, folder)
        self.model.eval()

    def fingerprint(self) -> str:
        """sha256 over every tensor's name, dtype, shape and bytes, in order of name, and over what
        an inference-time method added."""
        digest = digest_of(self.model.state_dict())
        if self.changes.behaviour is not None:
            digest.update(self.changes.behaviour.digest().encode())
        return digest.hexdigest()


@contextmanager
def _output_of(layers: torch.nn.ModuleList, layer: int) -> Iterator[list[Tensor]]:
    """While open, what a language layer puts out is appended to the list, [B, T, d]."""
    if layer >= len(layers):
        raise UsageError(f"there is no layer {layer}: the model has layers 0 to {len(layers) - 1}")
    seen: list[Tensor] = []

    def append(_: Any, __: Any, output: Any) -> None:
        seen.append(output[0] if isinstance(output, tuple) else output)

    hook = layers[layer].register_forward_hook(append)
    try:
        yield seen
    finally:
        hook.remove()


def _predicting(batch: Batch, output: Tensor) -> Tensor:
    """[N, d] float32: of a layer's output [B, T, d], what predicts an answer token."""
    return output[:, :-1][batch.labels[:, 1:] != IGNORE].float()


def _ends(model: Any, tokenizer: Any) -> list[int]:
    """Ids of the tokens that end an answer."""
    ends = model.generation_config.eos_token_id
    ends = tokenizer.eos_token_id if ends is None else ends
    return list(ends) if isinstance(ends, list) else [ends]
