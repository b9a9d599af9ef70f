"""An image tower that was unlearned elsewhere, put into a multimodal model."""

from __future__ import annotations

from typing import Any

from mubench.config.schema import Settings
from mubench.errors import UsageError
from mubench.types import MethodInfo


class Transplant:
    """The language model and its projector stay as they are; ``mubench transplant`` runs it."""

    info = MethodInfo(
        name="transplant",
        title="Transplant of an unlearned image tower",
        paper="mubench",
        formula="vision tower of the target <- image tower of a dual encoder after unlearning",
        kind="editing",
        needs=(),
    )

    class Config(Settings):
        tower: str  # a file of safetensors, by the names of transformers' CLIPVisionModel
        method: str  # what was done to it, for the record

    def __init__(self, config: Any) -> None:
        self.config = config

    def unlearn(self, model: Any, data: Any, context: Any) -> None:
        from safetensors.torch import load_file

        model.train_scope("full")  # nothing is trained, but whole weights are what is saved
        put_in(model.model, load_file(self.config.tower))


def put_in(network: Any, tower: Any) -> None:
    """Give a transformers model this CLIP image tower. UsageError if it has none of its shape.

    Only weights that make patch features are replaced: the norm after pooling stays.
    """
    from transformers import CLIPVisionModel

    for module in network.modules():
        if isinstance(module, CLIPVisionModel):
            own = module.state_dict()
            wrong = {name for name, value in tower.items() if _shape(own, name) != value.shape}
            wrong |= {name for name in own.keys() - tower.keys() if "post_layernorm" not in name}
            if wrong:
                raise UsageError(
                    f"the two image towers differ in shape, first at {min(wrong)}: the multimodal "
                    "model must stand on the tower of the dual encoder"
                )
            module.load_state_dict(tower, strict=False)
            return
    raise UsageError(
        f"a {type(network).__name__} has no CLIP image tower that another could replace"
    )


def _shape(weights: Any, name: str) -> Any:
    return weights[name].shape if name in weights else None
