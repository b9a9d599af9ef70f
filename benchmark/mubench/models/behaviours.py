"""What inference-time methods add to a model: a preface, a filter of its text, other logits."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from mubench.hashing import sha
from mubench.types import Response

from .encoding import Encoder
from .protocols import Behaviour, Step
from .scorer import ModelScorer


class _Plain:
    """A behaviour whose settings are its fields, and all there is to it."""

    @property
    def settings(self) -> dict[str, Any]:
        return asdict(self)  # type: ignore[call-overload,no-any-return]

    def scorer(self, base: Any) -> ModelScorer:
        return ModelScorer(base)

    def save(self, folder: Path) -> None:
        """Nothing but the settings."""

    def digest(self) -> str:
        return sha(self.settings)


@dataclass(frozen=True)
class Preface(_Plain):
    """Turns, as (role, text), that stand before every question in every conversation."""

    kind: ClassVar[str] = "preface"
    turns: Sequence[tuple[str, str]]

    def attach(self, model: Any) -> None:
        around = _PrefacedProcessor(model.processor, self.turns)
        model.encoder = Encoder(around, model.encoder.images, model.encoder.ends)


class _PrefacedProcessor:
    """A processor whose conversations begin with given turns.

    A chat template that knows no system role would drop it or take it for an answer: there the
    system text opens the first user turn, before the picture.
    """

    def __init__(self, processor: Any, turns: Sequence[tuple[str, str]]) -> None:
        self._processor = processor
        has_system = "system" in str(processor.chat_template)
        opening = [] if has_system else [text for role, text in turns if role == "system"]
        self._opening = [{"type": "text", "text": f"{text}\n"} for text in opening]
        self._turns = [
            {"role": role, "content": [{"type": "text", "text": text}]}
            for role, text in turns
            if has_system or role != "system"
        ]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._processor, name)

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self._processor(*args, **options)

    def apply_chat_template(self, turns: Sequence[dict[str, Any]], **options: Any) -> Any:
        whole = [*self._turns, *turns]
        if self._opening:
            first = whole[0]
            whole[0] = {**first, "content": [*self._opening, *first["content"]]}
        return self._processor.apply_chat_template(whole, **options)


@dataclass(frozen=True)
class OutputFilter(_Plain):
    """Puts ``refusal`` in place of a decoded answer that contains one of ``words``.

    It sees text alone: log-probabilities pass it by.
    """

    kind: ClassVar[str] = "output-filter"
    words: Sequence[str]
    refusal: str

    def attach(self, model: Any) -> None:
        answers = model.answers

        def filtered(*args: Any, **options: Any) -> Iterator[list[Response]]:
            for unit in answers(*args, **options):
                yield [self.filtered(response) for response in unit]

        model.answers = filtered

    def filtered(self, response: Response) -> Response:
        said = f" {_words(response.text or '')} "
        if any(f" {_words(word)} " in said for word in self.words):
            return replace(response, text=self.refusal, finished=True)
        return response


def _words(text: str) -> str:
    """Lower case, words apart by one space, no punctuation."""
    kept = (letter if letter.isalnum() else " " for letter in text.casefold())
    return " ".join("".join(kept).split())


class LogitDifference:
    """ULD: takes ``weight`` times an assistant's logits off the model's own (paper, eq. 2).

    ``assistant`` is what ``first_layers(layers)`` gives, with a trained adapter on it. It reads the
    embeddings that the model reads, so that the vision tower runs once.
    """

    kind: ClassVar[str] = "logit-difference"

    def __init__(self, assistant: Any, layers: int, weight: float, filter: float) -> None:
        self.assistant = assistant
        self.settings = {"layers": layers, "weight": weight, "filter": filter}
        #: What the assistant's last layer put out when the target's were about to run.
        self._latest: list[Tensor] = []

    def save(self, folder: Path) -> None:
        self.assistant.model.save_pretrained(folder / "assistant")

    def digest(self) -> str:
        adapter = self.assistant.model.state_dict()
        digest = digest_of({name: value for name, value in adapter.items() if ".lora_" in name})
        return sha([digest.hexdigest(), self.settings])

    def attach(self, model: Any) -> None:
        from transformers import DynamicCache

        target = model.model
        depth, count = len(target.get_decoder().layers), self.settings["layers"]
        decoder = self.assistant.model.get_base_model().get_decoder()
        head = target.get_output_embeddings()
        # Its keys and values are further layers of the caller's cache, behind the target's own.
        for module in decoder.modules():
            if hasattr(module, "layer_idx"):
                module.layer_idx += depth

        def read(module: Any, args: Any, inputs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
            """Runs before the target's layers: the cache still is as both must find it."""
            cache = inputs.get("past_key_values")
            if cache is None:
                wanted = inputs.get("use_cache")
                if module.config.use_cache if wanted is None else wanted:
                    inputs["past_key_values"] = cache = DynamicCache(config=module.config)
            if cache is not None and len(cache.layers) == depth:
                if cache.get_seq_length():
                    raise RuntimeError("the cache was filled without the assistant")
                cache.layers.extend(copy.deepcopy(cache.layers[:count]))
            self._latest[:] = [decoder(*args, **inputs).last_hidden_state]
            return args, inputs

        def subtract(_: Any, __: Any, inputs: dict[str, Any], output: Any) -> Any:
            keep = inputs.get("logits_to_keep", 0)
            kept = slice(-keep, None) if isinstance(keep, int) else keep
            output.logits = self.subtract(output.logits, head(self.hidden()[:, kept]))
            return output

        target.get_decoder().register_forward_pre_hook(read, with_kwargs=True)
        target.register_forward_hook(subtract, with_kwargs=True)

    def hidden(self) -> Tensor:
        """[B, T, d] of the step that the target has just read."""
        return self._latest.pop()

    def subtract(self, target: Tensor, assistant: Tensor) -> Tensor:
        return difference(target, assistant, self.settings["weight"], self.settings["filter"])

    def scorer(self, base: Any) -> DifferenceScorer:
        return DifferenceScorer(base, self)


class DifferenceScorer(ModelScorer):
    """Reads with target and assistant: one memory, in which the assistant's layers stand behind the
    target's, so that both are repeated and cut alike."""

    def __init__(self, base: Any, behaviour: LogitDifference) -> None:
        super().__init__(base)
        depth, count = len(base.get_decoder().layers), behaviour.settings["layers"]
        self.crossing |= {depth + layer for layer in self.crossing if layer < count}
        self.behaviour = behaviour

    def logits(self, hidden: Tensor, step: Step) -> Tensor:
        assistant = self.head(self.behaviour.hidden()[step.ask])
        return self.behaviour.subtract(super().logits(hidden, step), assistant)


def difference(target: Tensor, assistant: Tensor, weight: float, filter: float) -> Tensor:
    """[..., V] ``target - weight * assistant`` where the target finds a token likely enough.

    Likely enough: at least ``filter`` times the best token's probability, or among the best
    ``filter * V`` tokens. The others keep their logit, so the assistant's are centred first: a
    uniform assistant changes nothing.
    """
    wide = target.float()
    logp = wide.log_softmax(-1)
    best = logp.topk(max(1, int(filter * logp.shape[-1])), dim=-1).values
    threshold = torch.minimum(best[..., -1:], best[..., :1] + math.log(filter))
    narrow = assistant.float()
    taken = (narrow - narrow.mean(-1, keepdim=True)).masked_fill(logp < threshold, 0)
    return (wide - weight * taken).to(target.dtype)


def load(model: Any, folder: Path, kind: str, settings: dict[str, Any]) -> Behaviour:
    """What ``save`` and ``settings`` kept, for a freshly loaded model to ``add``."""
    if kind == LogitDifference.kind:
        from peft import PeftModel

        assistant = model.first_layers(settings["layers"])
        assistant.model = PeftModel.from_pretrained(assistant.model, folder / "assistant")
        assistant.model.eval()
        return LogitDifference(assistant, **settings)
    plain: Mapping[str, type[Preface] | type[OutputFilter]] = {
        Preface.kind: Preface,
        OutputFilter.kind: OutputFilter,
    }
    return plain[kind](**settings)


def digest_of(tensors: Mapping[str, Tensor]) -> Any:
    """A sha256 over every tensor's name, dtype, shape and bytes, in order of name."""
    digest = sha256()
    for name, value in sorted(tensors.items()):
        raw = value.detach().cpu().contiguous()
        digest.update(f"{name}:{raw.dtype}:{tuple(raw.shape)}".encode())
        digest.update(raw.flatten().view(torch.uint8).numpy().tobytes())
    return digest
