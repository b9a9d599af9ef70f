"""Any CLIP model of ``open_clip``, as mubench's methods and runner see it."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from mubench.errors import UsageError
from mubench.types import Capability, Example, Response

from . import behaviours
from .contrastive import Contrastive
from .deltas import opened, scale_adapter, with_adapter
from .open_clip_files import Parts, write
from .protocols import DeltaKind, Gallery, Images, PairBatch, Scope, Side
from .retrieval import Retrieval

#: Decoded pictures are kept for the next epoch up to this size.
KEPT_BYTES = 512 * 2**20


class OpenClipModel(Contrastive):
    """A model of open_clip with its preprocessing and tokenizer.

    ``gallery`` gives the candidates of a gallery by name. ``notes`` holds what the record should
    carry: how many captions were longer than the model reads.
    """

    capabilities: frozenset[Capability] = frozenset({"likelihood"})

    def __init__(
        self, parts: Parts, images: Images | None = None, gallery: Gallery | None = None
    ) -> None:
        self.parts = parts
        self.model = parts.model.eval()
        self.images = images
        self.gallery = gallery
        self.notes: dict[str, Any] = {}
        self._scope: Scope | None = None
        self._pattern = ""
        self._frozen: OpenClipModel | None = None
        self._adapter_scale = 1.0
        self._tokens: dict[str, Tensor] = {}
        self._cut: set[str] = set()
        self._pixels: dict[str, Tensor] = {}
        self._names: dict[str, int] = {}
        self._loaded = self._state()

    # -- inputs -----------------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        found: torch.device = next(self.model.parameters()).device
        return found

    @property
    def base(self) -> Any:
        """The open_clip model itself, adapters in place."""
        return self.model.get_base_model() if self._scope == "lora" else self.model

    def encode(
        self, examples: Sequence[Example], answers: Sequence[str] | None = None
    ) -> PairBatch:
        """Pictures with their captions, or the given ones, which match equal captions alone."""
        captions = [example.answer for example in examples] if answers is None else answers
        says = [
            example.keyword if caption == example.answer else caption
            for example, caption in zip(examples, captions, strict=True)
        ]
        names = [self._names.setdefault(name, len(self._names)) for name in says]
        return PairBatch(
            self.pixels([str(example.image) for example in examples]),
            self.tokens(captions),
            torch.tensor(names, device=self.device),
        )

    def pixels(self, ids: Sequence[str]) -> Tensor:
        """[B, C, H, W] pictures by id, as the image tower takes them."""
        return torch.stack([self._picture(id_) for id_ in ids]).to(self.device)

    def _picture(self, id_: str) -> Tensor:
        if id_ in self._pixels:
            return self._pixels[id_]
        if self.images is None:
            raise UsageError("this model was loaded without pictures")
        made = self.parts.preprocess(self.images(id_))
        if (len(self._pixels) + 1) * made.nbytes <= KEPT_BYTES:
            self._pixels[id_] = made
        return made

    def tokens(self, texts: Sequence[str]) -> Tensor:
        """[B, T] token ids. Texts that are longer than the model reads are cut and counted."""
        new = [text for text in dict.fromkeys(texts) if text not in self._tokens]
        if new:
            length = self.base.context_length
            ids = self.parts.tokenizer(new)
            # With room to spare, an uncut text fits in the same length.
            roomy = self.parts.tokenizer(new, context_length=2 * length)[:, :length]
            cut = (ids != roomy).any(1)
            self._tokens |= dict(zip(new, ids, strict=True))
            self._cut |= {text for text, is_cut in zip(new, cut, strict=True) if is_cut}
            if self._cut:
                self.notes["captions cut"] = f"{len(self._cut)}, the first: {min(self._cut)}"
        return torch.stack([self._tokens[text] for text in texts]).to(self.device)

    # -- features ---------------------------------------------------------------------------

    def image_features(self, batch: PairBatch) -> Tensor:
        """[B, D] of length 1."""
        found: Tensor = self.base.encode_image(batch.images, normalize=True)
        return found

    def text_features(self, batch: PairBatch) -> Tensor:
        """[B, D] of length 1; equal captions are read once."""
        unique, place = batch.texts.unique(dim=0, return_inverse=True)
        found: Tensor = self.base.encode_text(unique, normalize=True)[place]
        return found

    def logit_scale(self) -> Tensor:
        scale: Tensor = self.base.logit_scale.exp()
        return scale

    @torch.no_grad()
    def project(self, tower: Side, matrix: Tensor) -> None:
        """The features of a tower, before normalisation, times ``matrix`` [D, D] from the right."""
        base = self.base
        final = getattr(base.visual, "proj", None) if tower == "image" else base.text_projection
        if isinstance(final, torch.nn.Linear):
            final.weight.copy_(matrix.T @ final.weight)
            if final.bias is not None:
                final.bias.copy_(final.bias @ matrix)
        elif isinstance(final, torch.nn.Parameter):
            final.copy_(final @ matrix)
        else:
            raise UsageError(f"the {tower} tower of this model ends in no linear map to project")

    # -- training ---------------------------------------------------------------------------

    def train_scope(
        self,
        scope: Scope,
        *,
        layers: Sequence[int] | None = None,
        towers: Sequence[Side] = ("image", "text"),
        **options: Any,
    ) -> list[torch.nn.Parameter]:
        """``full``: all weights of the towers, or of the blocks ``layers`` in them; ``lora``:
        adapters on the linear maps of their MLP blocks. Never the logit scale."""
        self._scope = scope
        number = r"\d+" if layers is None else f"(?:{'|'.join(map(str, layers))})"
        image, text = r"visual\.(?:.*\.)?", r"(?!visual\.)(?:.*\.)?"
        where = "|".join({"image": image, "text": text}[tower] for tower in towers)
        blocks = rf"(?:{where})resblocks\.{number}\."
        if scope == "lora":
            from peft import LoraConfig, get_peft_model

            self._pattern = rf"{blocks}mlp\.c_(?:fc|proj)"
            self.model = get_peft_model(
                self.model, LoraConfig(target_modules=self._pattern, **options)
            )
        elif scope == "full":
            every = rf"(?!logit_(?:scale|bias))(?:{where}).*"
            self._pattern = every if layers is None else rf"{blocks}.*"
            for name, parameter in self.model.named_parameters():
                parameter.requires_grad_(bool(re.fullmatch(self._pattern, name)))
        else:
            raise UsageError(f"a dual encoder has no scope '{scope}': lora or full")
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]

    def trained_pattern(self) -> str:
        """The anchored pattern by which ``train_scope`` chose modules (lora) or weights (full)."""
        return self._pattern

    def trained_modules(self) -> list[str]:
        """Names of the modules that ``train_scope`` opened, for the record."""
        return opened(self.model)

    def freeze_copy(self) -> None:
        """Keep the model as it is now for ``reference``, where adapters cannot be switched off."""
        if self._scope != "lora":
            self._frozen = copy.copy(self)
            self._frozen.model = copy.deepcopy(self.model).requires_grad_(False)

    @contextmanager
    def reference(self) -> Iterator[OpenClipModel]:
        """The model before training: adapters off, or what ``freeze_copy`` kept."""
        if self._scope == "lora":
            with self.model.disable_adapter():
                yield self
        elif self._frozen is not None:
            yield self._frozen
        else:
            raise RuntimeError("reference() needs train_scope('lora') or freeze_copy()")

    def scale_adapter(self, factor: float) -> None:
        """Multiply what the adapter adds to the weights, e.g. by -1 to take it off instead."""
        scale_adapter(self.model, factor)
        self._adapter_scale *= factor

    def module(self, name: str) -> torch.nn.Module:
        """A submodule by its full name."""
        found: torch.nn.Module = self.model.get_submodule(name)
        return found

    # -- answering --------------------------------------------------------------------------

    def answers(
        self, units: Sequence[Sequence[Example]], *, max_new_tokens: int, batch: int, start: int = 0
    ) -> Iterator[list[Response]]:
        """Responses unit by unit. Every picture and every text is embedded once.

        A question with options chooses among them; one with a gallery finds its place in it.
        """
        if self.gallery is None:
            raise UsageError("this model was loaded without galleries")
        asked = [example for unit in units[start:] for example in unit]
        found = Retrieval(self, self.gallery, asked, batch)
        for unit in units[start:]:
            yield [found.response(example) for example in unit]

    def embed_images(self, ids: Sequence[str], batch: int) -> Tensor:
        """[N, D] features of length 1, on the CPU."""
        return self._embed(lambda part: self.base.encode_image(self.pixels(part)), ids, batch)

    def embed_texts(self, texts: Sequence[str], batch: int) -> Tensor:
        """[N, D] features of length 1, on the CPU."""
        return self._embed(lambda part: self.base.encode_text(self.tokens(part)), texts, batch)

    @torch.inference_mode()
    def _embed(
        self, tower: Callable[[Sequence[str]], Tensor], items: Sequence[str], batch: int
    ) -> Tensor:
        self.model.eval()
        parts = (tower(items[at : at + batch]).float() for at in range(0, len(items), batch))
        return torch.cat([normalize(part, dim=-1).cpu() for part in parts])

    def scale(self) -> float:
        return float(self.logit_scale().detach())

    # -- storage ----------------------------------------------------------------------------

    def _state(self) -> dict[str, Tensor]:
        return {name: tensor.clone() for name, tensor in self.model.state_dict().items()}

    def save_delta(self, folder: Path) -> DeltaKind:
        """The adapter, or every tensor that differs from the loaded model's."""
        from safetensors.torch import save_file

        kind: DeltaKind = "none"
        if self._scope == "lora":
            kind = "lora"
            self.model.save_pretrained(folder / "adapter")
        else:
            state = self.model.state_dict()
            changed = {
                name: tensor.contiguous()
                for name, tensor in state.items()
                if not torch.equal(tensor, self._loaded[name])
            }
            if changed:
                kind = "tensors"
                save_file(changed, folder / "tensors.safetensors")
        text = json.dumps({"kind": kind, "scale": self._adapter_scale})
        (folder / "delta.json").write_text(text, encoding="utf-8")
        return kind

    def load_delta(self, folder: Path) -> None:
        """Apply what ``save_delta`` wrote to a freshly loaded model."""
        from safetensors.torch import load_file

        delta = json.loads((folder / "delta.json").read_text(encoding="utf-8"))
        if delta["kind"] == "lora":
            self.model = with_adapter(self.model, folder, delta["scale"])
        elif delta["kind"] == "tensors":
            changed = load_file(folder / "tensors.safetensors", device=str(self.device))
            self.model.load_state_dict(changed, strict=False)
        self.model.eval()
        self._loaded = self._state()

    def save(self, folder: Path) -> None:
        """The whole model in open_clip's ``local-dir:`` layout, adapters merged."""
        if self._scope == "lora":
            self.model = self.model.merge_and_unload()
            self._scope = None
        write(folder, self.parts.config, self.model, self.parts.tokenizer)

    def fingerprint(self) -> str:
        """sha256 over every tensor's name, dtype, shape and bytes, in order of name."""
        return str(behaviours.digest_of(self.model.state_dict()).hexdigest())
