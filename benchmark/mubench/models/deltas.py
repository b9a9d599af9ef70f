"""What was changed of a loaded model, kept on disk as a delta: only what differs is written."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from . import behaviours
from .protocols import Behaviour, DeltaKind, Scope

WHERE = "delta.json"


class Rows:
    """Some rows of one weight (or bias) that alone may be trained; ``before``: their old values."""

    def __init__(self, parameter: torch.nn.Parameter, indices: Sequence[int]) -> None:
        self.parameter = parameter.requires_grad_(True)
        self.index = torch.tensor(list(indices), dtype=torch.long, device=parameter.device)
        self.before = self.values()
        parameter.register_hook(self._masked)

    def _masked(self, gradient: Tensor) -> Tensor:
        return torch.zeros_like(gradient).index_copy(0, self.index, gradient[self.index])

    def values(self) -> Tensor:
        return self.parameter.detach()[self.index].clone()

    @torch.no_grad()
    def exchange(self, values: Tensor) -> Tensor:
        """Put ``values`` in place; returns what stood there."""
        now = self.values()
        self.parameter[self.index] = values
        return now


@dataclass
class Changes:
    """Everything that was done to a model since it was loaded.

    ``scope``: what was opened for training. ``rows``: by module, its opened rows of weight and
    bias. ``adapter_scale``: factor on what the adapter adds. ``zeroed``: rows and columns of linear
    layers, by module. ``behaviour``: an inference-time method.
    """

    scope: Scope | None = None
    rows: dict[str, list[Rows]] = field(default_factory=dict)
    adapter_scale: float = 1.0
    zeroed: dict[str, dict[str, list[int]]] = field(
        default_factory=lambda: {"rows": {}, "columns": {}}
    )
    behaviour: Behaviour | None = None

    def save(self, model: Any, folder: Path) -> DeltaKind:
        """Write what changed in the ``transformers`` (or peft) model; ``apply`` brings it back."""
        kind: DeltaKind = "none"
        details: dict[str, Any] = {}
        if self.behaviour is not None:
            kind = "behaviour"
            details = {"behaviour": self.behaviour.kind, "settings": self.behaviour.settings}
            self.behaviour.save(folder)
        elif self.scope == "lora":
            kind, details = "lora", {"scale": self.adapter_scale}
            model.save_pretrained(folder / "adapter")
        elif self.scope == "rows":
            kind = "rows"
            self._save_rows(folder / "rows.safetensors")
        elif self.scope == "full":
            kind = "full"
            model.save_pretrained(folder / "weights")
        elif any(self.zeroed.values()):
            kind = "neurons"
            (folder / "neurons.json").write_text(json.dumps(self.zeroed), encoding="utf-8")
        (folder / WHERE).write_text(json.dumps({"kind": kind, **details}), encoding="utf-8")
        return kind

    def _save_rows(self, path: Path) -> None:
        from safetensors.torch import save_file

        tensors = {}
        for name, parts in self.rows.items():
            tensors[f"{name}.index"] = parts[0].index
            for part, rows in zip(("weight", "bias"), parts, strict=False):
                tensors[f"{name}.{part}"] = rows.values()
        save_file(tensors, path)


def apply(handle: Any, folder: Path) -> None:
    """Do to a freshly loaded handle what ``save`` wrote about another."""
    delta = json.loads((folder / WHERE).read_text(encoding="utf-8"))
    kind = delta["kind"]
    if kind == "lora":
        handle.model = with_adapter(handle.model, folder, delta["scale"])
    elif kind == "full":
        weights = type(handle.model).from_pretrained(folder / "weights", dtype=handle.model.dtype)
        handle.model = weights.to(handle.device)
    elif kind == "neurons":
        handle.zero(**json.loads((folder / "neurons.json").read_text(encoding="utf-8")))
    elif kind == "rows":
        from safetensors.torch import load_file

        saved = load_file(folder / "rows.safetensors", device=str(handle.device))
        for key, values in saved.items():
            name, _, part = key.rpartition(".")
            if part != "index":
                getattr(handle.module(name), part).data[saved[f"{name}.index"]] = values
    elif kind == "behaviour":
        handle.add(behaviours.load(handle, folder, delta["behaviour"], delta["settings"]))


def with_adapter(model: Any, folder: Path, scale: float) -> Any:
    """The model with the saved adapter, times ``scale``, merged into its weights."""
    from peft import PeftModel

    adapted = PeftModel.from_pretrained(model, folder / "adapter")
    scale_adapter(adapted, scale)
    return adapted.merge_and_unload()


def opened(model: Any) -> list[str]:
    """Names of the modules (or weights) that may change, for the record."""
    names = {
        re.sub(r"\.lora_[AB]\..*|^base_model\.model\.", "", name)
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }
    return sorted(names)


def scale_adapter(model: Any, factor: float) -> None:
    """Multiply what LoRA layers add to the weights."""
    from peft.tuners.lora import LoraLayer

    for module in model.modules():
        if isinstance(module, LoraLayer):
            module.scale_layer(factor)
