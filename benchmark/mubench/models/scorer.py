"""A model of ``transformers`` as the evaluation engine reads with it, and its key-value memory."""

from __future__ import annotations

import inspect
from hashlib import sha256
from typing import Any

import torch
from psutil import virtual_memory
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

from .encoding import Memo, Picture, joined
from .protocols import Step

#: Features of pictures by content: checkpoints with the same tower and projector share them. They
#: pay when a whole pass fits: the next one asks for the pictures in the same order.
FEATURES: Memo[Tensor] = Memo(virtual_memory().total // 8)


class ModelScorer:
    """Reads steps with one model as it is now. Make a new one after its weights changed.

    A picture's features are computed alone, so that they do not depend on the batch, and kept
    under the hash of its pixels and of every weight outside the language model: a method that
    touched the tower or the projector never meets another model's features.
    """

    def __init__(self, base: Any) -> None:
        self.core, self.head = base.model, base.get_output_embeddings()
        self.dtype, self.device = base.dtype, base.device
        text = base.config.get_text_config()
        #: Layers whose memory is the picture, not the text.
        self.crossing = frozenset(getattr(text, "cross_attention_layers", None) or ())
        self.keeps = "mm_encoder_outputs" in inspect.signature(self.core.forward).parameters
        self.tower = _outside_language_model(base) if self.keeps else ""

    def read(self, memory: Any, step: Step) -> tuple[Tensor, Any]:
        cache = Cache(layer_class_to_replicate=Growing) if memory is None else memory
        hidden = self.core(
            input_ids=step.ids,
            position_ids=step.positions,
            attention_mask=self._mask(step.visible),
            past_key_values=cache,
            use_cache=True,
            **step.crossed,
            **self._shown(step.pictures),
        ).last_hidden_state
        return self.logits(hidden, step).float(), cache

    def logits(self, hidden: Tensor, step: Step) -> Tensor:
        """[N, V] at the asked places, from what the last layer put out."""
        found: Tensor = self.head(hidden[step.ask])
        return found

    def rows(self, memory: Any, index: Tensor) -> Any:
        copy = Cache(layer_class_to_replicate=Growing)
        for place, layer in enumerate(memory.layers):
            if layer.is_initialized:
                copy.update(layer.keys[index], layer.values[index], place)
        return copy

    def cut(self, memory: Any, length: int) -> Any:
        for place, layer in enumerate(memory.layers):
            if place not in self.crossing:
                layer.cut(length)
        return memory

    def _mask(self, visible: Tensor) -> Tensor:
        if visible.dim() == 2:
            return visible.long()
        mask = torch.zeros(visible.shape, dtype=self.dtype, device=self.device)
        return mask.masked_fill_(~visible, torch.finfo(self.dtype).min)[:, None]

    def _shown(self, pictures: Any) -> dict[str, Any]:
        if not pictures:
            return {}
        if not self.keeps:
            keys = pictures[0].tensors
            return {key: self._here(joined([p.tensors[key] for p in pictures])) for key in keys}
        from transformers.modeling_outputs import BaseModelOutputWithPooling

        features = [self._features(picture).to(self.device) for picture in pictures]
        return {"mm_encoder_outputs": {"image": BaseModelOutputWithPooling(pooler_output=features)}}

    def _features(self, picture: Picture) -> Tensor:
        key = (self.tower, picture.content)
        kept = FEATURES.get(key)
        if kept is None:
            tensors = {name: self._here(value) for name, value in picture.tensors.items()}
            output = self.core.get_image_features(**tensors, return_dict=True)
            kept = FEATURES.put(key, torch.cat(list(output.pooler_output)).cpu())
        return kept

    def _here(self, value: Tensor) -> Tensor:
        return value.to(self.device, self.dtype if value.is_floating_point() else None)


class Growing(DynamicLayer):
    """Keys and values in buffers with room to grow: a decoding step appends without a copy of all
    that went before. ``keys`` and ``values`` are views of what is filled."""

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.room: list[Tensor] = [key_states[..., :0, :], value_states[..., :0, :]]
            self.keys, self.values = self.room
        used, new = self.keys.shape[-2], key_states.shape[-2]
        if used + new > self.room[0].shape[-2]:
            size = used + new + 64
            for place, old in enumerate((self.keys, self.values)):
                fresh = old.new_empty((*old.shape[:-2], size, old.shape[-1]))
                fresh[..., :used, :] = old
                self.room[place] = fresh
        for room, states in zip(self.room, (key_states, value_states), strict=True):
            room[..., used : used + new, :] = states
        self.keys, self.values = (room[..., : used + new, :] for room in self.room)
        return self.keys, self.values

    def cut(self, length: int) -> None:
        if self.is_initialized:
            self.keys, self.values = (room[..., :length, :] for room in self.room)


def _outside_language_model(base: Any) -> str:
    """sha256 of every tensor that is not the language model's: towers and projectors."""
    inside = {id(value) for value in base.get_decoder().state_dict(keep_vars=True).values()}
    inside |= {id(value) for value in base.get_output_embeddings().parameters()}
    digest = sha256(base.config.to_json_string().encode())
    for name, value in sorted(base.state_dict(keep_vars=True).items()):
        if id(value) not in inside:
            raw = value.detach().cpu().contiguous().flatten().view(torch.uint8)
            digest.update(f"{name}:{tuple(value.shape)}".encode())
            digest.update(raw.numpy().tobytes())
    return digest.hexdigest()
