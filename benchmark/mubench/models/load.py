"""Load a model from package data, a local folder or the hub. Safetensors only, no remote code."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from mubench.config.schema import ModelSettings
from mubench.errors import DamagedError, MissingError
from mubench.hashing import file_sha, sha

from .protocols import DeltaKind, Gallery, Images, TrainableModel

PACKAGE = "package:"


def package_folder(name: str) -> Path:
    """The folder of a checkpoint that ships with mubench."""
    folder = Path(str(files("mubench.models").joinpath("checkpoints", name)))
    if not any(folder.glob("*.safetensors")):
        raise MissingError(f"checkpoint '{name}' is not in this install: run 'make base-model'")
    return folder


def source_identity(settings: ModelSettings) -> str:
    """What a source is, for stage keys: file hashes where it lies here, else id and revision."""
    folder = _local(settings)
    if folder is None:
        return f"{settings.source}@{settings.revision or 'main'}"
    return sha({path.name: file_sha(path) for path in sorted(folder.iterdir()) if path.is_file()})


def _local(settings: ModelSettings) -> Path | None:
    if settings.source.startswith(PACKAGE):
        return package_folder(settings.source.removeprefix(PACKAGE))
    folder = Path(settings.source.removeprefix("local-dir:")).expanduser()
    return folder if folder.is_dir() else None


def check_available(settings: ModelSettings) -> None:
    """Fail early, in seconds, if the weights are neither here nor reachable."""
    if _local(settings) is not None:
        return
    from huggingface_hub import HfApi, try_to_load_from_cache

    if settings.kind == "clip":
        from .open_clip_files import CONFIG, repository

        name, config = repository(settings.source), CONFIG
    else:
        name, config = settings.source, "config.json"
    if isinstance(try_to_load_from_cache(name, config, revision=settings.revision), str):
        return
    try:
        # One short request: a download would retry for half a minute without a network.
        HfApi().model_info(name, revision=settings.revision, timeout=5)
    except Exception as error:  # the hub client raises a dozen kinds for "not to be had"
        tiny = "clip-tiny" if settings.kind == "clip" else "llava-tiny"
        raise MissingError(
            f"weights of '{name}' are not in the Hugging Face cache and the hub cannot "
            f"be reached ({type(error).__name__}): connect and run again, or fetch them with "
            f"'hf download {name}'; --model {tiny} needs no download"
        ) from error


def scaled_delta(source: Path, folder: Path, factor: float) -> DeltaKind:
    """The adapter of a saved delta times ``factor``, as a delta of its own."""
    delta = json.loads((source / "delta.json").read_text(encoding="utf-8"))
    shutil.copytree(source / "adapter", folder / "adapter")
    text = json.dumps({**delta, "scale": factor * delta["scale"]})
    (folder / "delta.json").write_text(text, encoding="utf-8")
    return "lora"


def load_model(
    settings: ModelSettings,
    images: Images | None,
    deltas: Sequence[Path] = (),
    gallery: Gallery | None = None,
) -> Any:
    """The model with its processor, and the deltas of earlier stages applied in order.

    A ``TrainableModel``, or a ``DualEncoder`` for settings of kind clip, whose questions choose
    from what ``gallery`` gives by name.
    """
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    if settings.kind == "clip":
        made = _clip(settings, images, gallery, device)
    else:
        made = _mllm(settings, images, device)
    for delta in deltas:
        made.load_delta(delta)
    return made


def _clip(
    settings: ModelSettings, images: Images | None, gallery: Gallery | None, device: str
) -> Any:
    from .dual_encoder import OpenClipModel
    from .open_clip_files import fetched, read

    parts = read(_local(settings) or fetched(settings.source, settings.revision), settings.dtype)
    parts.model.to(device)
    return OpenClipModel(parts, images, gallery)


def _mllm(settings: ModelSettings, images: Images | None, device: str) -> TrainableModel:
    import torch
    import transformers
    from safetensors import SafetensorError
    from transformers import AutoModelForImageTextToText, AutoProcessor

    from .hf_mllm import HFVisionLanguageModel

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    source = _local(settings) or settings.source
    try:
        processor = AutoProcessor.from_pretrained(source, revision=settings.revision)
        model = AutoModelForImageTextToText.from_pretrained(
            source,
            revision=settings.revision,
            dtype=getattr(torch, settings.dtype),
            use_safetensors=True,
        )
    except SafetensorError as error:
        raise DamagedError(f"the weights of '{settings.source}' are damaged: {error}") from error
    except OSError as error:
        reason = str(error).splitlines()[0]
        raise MissingError(f"cannot load '{settings.source}': {reason}") from error
    return HFVisionLanguageModel(model.to(device), processor, images)
