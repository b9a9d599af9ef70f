"""Where the towers and MLP units of each model family live: the only table of family names.

Module names are those of ``transformers`` 5 under the conditional-generation classes, without
the leading ``model.``. A family that is missing here is refused with a clear message.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Component = Literal["vision", "projector", "language"]
COMPONENTS: tuple[Component, ...] = ("vision", "projector", "language")

_GATED = ("gate_proj", "up_proj")


@dataclass(frozen=True, slots=True)
class Layout:
    """Regular expressions are anchored at both ends and match full module names.

    ``vision`` matches all of the vision tower, but not the projector. ``language_mlp`` and
    ``vision_mlp`` match MLP blocks and capture the layer number; the unit
    inputs and outputs are named by ``*_up`` and ``*_down``. ``lora`` matches the linear layers of
    the language model and nothing of the vision tower.
    """

    vision: str
    language_mlp: str
    vision_mlp: str
    lora: str
    language_up: tuple[str, ...] = _GATED
    language_down: str = "down_proj"
    vision_up: tuple[str, ...] = ("fc1",)
    vision_down: str = "fc2"

    @property
    def language_layers(self) -> str:
        """Matches the language model's layers and captures their numbers."""
        return self.language_mlp.removesuffix(r"\.mlp")

    def component(self, weight: str) -> Component:
        """Which of the three components a weight belongs to, by its full name.

        The output head is part of the language model; the projector is what is neither.
        """
        if re.fullmatch(self.vision, weight):
            return "vision"
        language = self.language_layers.partition(r"\.layers")[0]
        return "language" if re.fullmatch(rf"(?:{language}|lm_head)\..*", weight) else "projector"


_ATTENTION = r"(?:self_attn|cross_attn)\.(?:q|k|v|o)_proj"
_PROJECTIONS = r"(?:self_attn\.(?:q|k|v|o)_proj|mlp\.(?:gate|up|down)_proj)"

LAYOUTS: dict[str, Layout] = {
    "llava": Layout(
        vision=r"model\.vision_tower\..*",
        language_mlp=r"model\.language_model\.layers\.(\d+)\.mlp",
        vision_mlp=r"model\.vision_tower\..*?layers\.(\d+)\.mlp",
        lora=rf"model\.language_model\.layers\.\d+\.{_PROJECTIONS}",
    ),
    "qwen2_vl": Layout(
        vision=r"model\.visual\.(?!merger\.).*",
        language_mlp=r"model\.language_model\.layers\.(\d+)\.mlp",
        vision_mlp=r"model\.visual\.blocks\.(\d+)\.mlp",
        lora=rf"model\.language_model\.layers\.\d+\.{_PROJECTIONS}",
    ),
    "qwen2_5_vl": Layout(
        vision=r"model\.visual\.(?!merger\.).*",
        language_mlp=r"model\.language_model\.layers\.(\d+)\.mlp",
        vision_mlp=r"model\.visual\.blocks\.(\d+)\.mlp",
        lora=rf"model\.language_model\.layers\.\d+\.{_PROJECTIONS}",
        vision_up=_GATED,
        vision_down="down_proj",
    ),
    "idefics2": Layout(
        vision=r"model\.vision_model\..*",
        language_mlp=r"model\.text_model\.layers\.(\d+)\.mlp",
        vision_mlp=r"model\.vision_model\.encoder\.layers\.(\d+)\.mlp",
        lora=rf"model\.text_model\.layers\.\d+\.{_PROJECTIONS}",
    ),
    "idefics3": Layout(
        vision=r"model\.vision_model\..*",
        language_mlp=r"model\.text_model\.layers\.(\d+)\.mlp",
        vision_mlp=r"model\.vision_model\.encoder\.layers\.(\d+)\.mlp",
        lora=rf"model\.text_model\.layers\.\d+\.{_PROJECTIONS}",
    ),
    "smolvlm": Layout(
        vision=r"model\.vision_model\..*",
        language_mlp=r"model\.text_model\.layers\.(\d+)\.mlp",
        vision_mlp=r"model\.vision_model\.encoder\.layers\.(\d+)\.mlp",
        lora=rf"model\.text_model\.layers\.\d+\.{_PROJECTIONS}",
    ),
    "mllama": Layout(
        vision=r"model\.vision_model\..*",
        language_mlp=r"model\.language_model\.layers\.(\d+)\.mlp",
        vision_mlp=r"model\.vision_model\.transformer\.layers\.(\d+)\.mlp",
        lora=rf"model\.language_model\.layers\.\d+\.(?:{_ATTENTION}|mlp\.(?:gate|up|down)_proj)",
    ),
}
