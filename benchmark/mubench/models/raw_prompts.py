"""Continue a prompt as it stands, without the chat template, for other benchmarks' own formats."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch

from mubench.errors import RunError

from .behaviours import OutputFilter, Preface
from .hf_mllm import HFVisionLanguageModel

#: Stands in a raw prompt for each picture.
IMAGE = "<image>"
#: MLLMU-Bench's script leaves out as many tokens at the start when it decodes.
SKIPPED = 2

#: Behaviours that act around the chat template or on what ``respond`` says.
_CONVERSATIONAL = (Preface.kind, OutputFilter.kind)


def family(model: HFVisionLanguageModel) -> str:
    """The ``model_type`` of a model."""
    kind: str = model.model.config.model_type
    return kind


@torch.inference_mode()
def continue_prompt(
    model: HFVisionLanguageModel, prompt: str, images: Sequence[str], max_new_tokens: int
) -> str:
    """Prompt and greedy continuation as one text, special tokens and the first two tokens left out.

    ``images``: ids of pictures, one for each `IMAGE` in the prompt. RunError if the model carries
    an inference-time method that a raw prompt would pass by.
    """
    behaviour = model.changes.behaviour
    if behaviour is not None and behaviour.kind in _CONVERSATIONAL:
        raise RunError(
            f"'{behaviour.kind}' acts on conversations, which a raw prompt is not: methods "
            "of this kind have no numbers of the paper track, take predict.track=strict"
        )
    if images:
        encoder = model.encoder
        if encoder.images is None:
            raise RunError(f"picture '{images[0]}' is asked for, but the model was given none")
        shown = [encoder.images(image) for image in images]
        text = prompt.replace(IMAGE, placeholder(model))
        inputs = model.processor(text=[text], images=shown, return_tensors="pt")
    else:
        inputs = model.tokenizer([prompt], return_tensors="pt")
    moved = {
        key: value.to(model.device, model.model.dtype if value.is_floating_point() else None)
        for key, value in inputs.items()
    }
    output = model.model.generate(**moved, max_new_tokens=max_new_tokens, do_sample=False)
    whole: str = model.tokenizer.decode(output[0][SKIPPED:], skip_special_tokens=True)
    return whole


def placeholder(model: HFVisionLanguageModel) -> str:
    """What a processor expects in place of a picture: its image token, with the special tokens
    that the chat template puts right beside it."""
    special = sorted(map(re.escape, model.tokenizer.all_special_tokens), key=len, reverse=True)
    beside, token = f"(?:{'|'.join(special)})*", re.escape(model.processor.image_token)
    text = model.encoder.render("?", "picture")
    found = re.search(f"{beside}{token}{beside}", text)
    if found is None:
        raise RunError(f"the chat template of '{family(model)}' shows no {token} for a picture")
    return found[0]
