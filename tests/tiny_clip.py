"""Dual encoders of a moment, written and read as open_clip models are."""

from __future__ import annotations

import copy
from pathlib import Path

from PIL import Image

from mubench.models.dual_encoder import OpenClipModel
from mubench.models.open_clip_files import read, write
from mubench.models.tiny import CLIP_CONFIG, build_clip, build_clip_tokenizer
from mubench.rng import stream

NAMES = ("Anna Lee", "Bo Diaz", "Cy Young", "Dee Roy")


def picture(id_: str) -> Image.Image:
    """Noise: each id its own, always the same."""
    return Image.fromarray(stream(0, id_).integers(0, 256, (64, 64, 3), dtype="uint8"))


def clip_folder(folder: Path, seed: int = 0, **changes: object) -> Path:
    """A random model of clip-tiny's shape in open_clip's layout."""
    config = copy.deepcopy(CLIP_CONFIG)
    config["model_cfg"] |= changes
    tokenizer = build_clip_tokenizer([f"a photo of {name}." for name in NAMES])
    write(folder, config, build_clip(seed), tokenizer)
    return folder


def tiny_clip(folder: Path, seed: int = 0) -> OpenClipModel:
    return OpenClipModel(read(clip_folder(folder, seed)), picture)
