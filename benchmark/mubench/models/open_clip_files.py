"""open_clip models as files: the ``local-dir:`` layout of config, safetensors and tokenizer.

open_clip itself only logs a warning where it finds no weights, and starts from random ones; it
warns where the activation is another than that of training; it reads pickles. All three are
refused here.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mubench.errors import DamagedError, MissingError, UsageError, unknown

CONFIG, WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"
#: Names of weights in the order in which they are preferred, as open_clip does.
NAMES = (WEIGHTS, "open_clip_pytorch_model.safetensors", "model.safetensors")
#: CLIP training keeps the logit scale below 100; a checkpoint beyond it is no CLIP checkpoint.
MOST_SCALE = 100.0


@dataclass(frozen=True, slots=True)
class Parts:
    """A model with all that belongs to it; ``config`` is what the layout's json holds."""

    model: Any
    preprocess: Callable[[Any], Any]
    tokenizer: Any
    config: dict[str, Any]


def write(folder: Path, config: Mapping[str, Any], model: Any, tokenizer: Any) -> None:
    """Write a model so that ``open_clip.create_model("local-dir:FOLDER")`` reads it."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(weights, folder / WEIGHTS)
    if hasattr(tokenizer, "save_pretrained"):  # CLIP's own is part of open_clip
        tokenizer.save_pretrained(str(folder))


def read(source: Path | str, dtype: str = "float32") -> Parts:
    """The model of a folder in this layout, or one of open_clip's own as ``NAME/TAG``.

    MissingError without config or safetensors, DamagedError where they do not fit each other,
    UsageError for a name or tag that open_clip does not have, or a tag that was trained with
    another activation.
    """
    import open_clip

    if isinstance(source, Path):
        name, config, weights = f"local-dir:{source}", _config(source), _weights(source)
    else:
        name, config, weights = _named(source)
    precision = {"float32": "fp32", "bfloat16": "pure_bf16", "float16": "pure_fp16"}[dtype]
    try:
        with _quiet():
            model = open_clip.create_model(
                name,
                precision=precision,
                load_weights=False,
                force_preprocess_cfg=config.get("preprocess_cfg", {}),
            )
            tokenizer = open_clip.get_tokenizer(name)
    except Exception as error:  # a config may be wrong in any way
        raise DamagedError(f"{source} is no model of open_clip: {_line(error)}") from error
    try:
        open_clip.load_checkpoint(model, str(weights), strict=True)
    except Exception as error:  # torn files, other shapes, other names
        raise DamagedError(f"{weights} does not fit its config: {_line(error)}") from error
    _check_scale(model, weights)
    _check_tokenizer(model, tokenizer, source)
    return Parts(model, preprocessing(model), tokenizer, config)


def repository(source: str) -> str:
    """The hub repository of a source that is no folder here: its id, with or without ``hf-hub:``,
    or ``NAME/TAG``. MissingError where it could only have been a folder."""
    if source.startswith(("local-dir:", "/", "~", ".")):
        raise MissingError(f"model.source={source}: no such folder")
    source = source.removeprefix("hf-hub:")
    return _tag(source).get("hf_hub", "").strip("/") or source


def fetched(source: str, revision: str | None) -> Path | str:
    """The folder of a hub model, from the cache or the hub; a ``NAME/TAG`` stays as it is.

    MissingError if the hub does not have it or is not to be reached.
    """
    if _tag(source):
        return source
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(
            repository(source),
            revision=revision,
            allow_patterns=[CONFIG, "*.safetensors", "tokenizer*", "*.txt", "*.json"],
        )
    except Exception as error:  # the hub client raises a dozen kinds for "not to be had"
        raise MissingError(f"cannot load '{source}': {_line(error)}") from error
    return Path(folder)


def _tag(source: str) -> dict[str, Any]:
    """What open_clip knows of the weights ``NAME/TAG``; empty where that is a hub repository.

    UsageError for a name without weights of that tag, and for an architecture that is not there.
    """
    import open_clip

    name, _, tag = source.partition("/")
    known = open_clip.list_models()
    if name not in known:
        if not tag or tag in {tag for _, tag in open_clip.list_pretrained()}:
            raise unknown("architecture", name, known)
        return {}
    found: dict[str, Any] = open_clip.get_pretrained_cfg(name, tag) or {}
    if not found.get("hf_hub"):
        tags = open_clip.list_pretrained_tags_by_model(name)
        raise UsageError(
            f"open_clip has no weights '{tag}' of {name} on the hub: known are {', '.join(tags)}"
        )
    return found


def _named(source: str) -> tuple[str, dict[str, Any], Path]:
    """Name, config and weights of ``NAME/TAG``. UsageError where the activations differ."""
    import open_clip
    from huggingface_hub import hf_hub_download

    tag, name = _tag(source), source.partition("/")[0]
    model = open_clip.get_model_config(name)
    wanted, has = bool(tag.get("quick_gelu")), bool(model.get("quick_gelu"))
    if wanted != has:
        right = f"{name}-quickgelu" if wanted else name.removesuffix("-quickgelu")
        raise UsageError(
            f"{source} was trained with {'QuickGELU' if wanted else 'GELU'}, which {name} is not "
            f"made with: its accuracy would silently fall; take {right}"
        )
    preprocess = {key: tag[key] for key in ("mean", "std", "interpolation", "resize_mode")}
    try:
        weights = hf_hub_download(tag["hf_hub"].strip("/"), WEIGHTS)
    except Exception as error:  # the hub client raises a dozen kinds for "not to be had"
        raise MissingError(f"cannot load '{source}': {_line(error)}") from error
    return name, {"model_cfg": model, "preprocess_cfg": preprocess}, Path(weights)


def preprocessing(model: Any) -> Callable[[Any], Any]:
    """How a picture becomes the image tower's input, without augmentation."""
    from open_clip.transform import PreprocessCfg, image_transform_v2

    settings = PreprocessCfg(**model.visual.preprocess_cfg)
    made: Callable[[Any], Any] = image_transform_v2(settings, is_train=False)
    return made


def _config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    if not path.is_file():
        raise MissingError(f"{folder} holds no {CONFIG}: it is no model folder of open_clip")
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        config["model_cfg"]["text_cfg"], config["model_cfg"]["vision_cfg"]
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedError(f"{path} is not readable: {_line(error)}") from error
    return config


def _weights(folder: Path) -> Path:
    named = [folder / name for name in NAMES if (folder / name).is_file()]
    found = named or sorted(folder.glob("*.safetensors"))
    if not found:
        raise MissingError(
            f"{folder} holds no weights as safetensors: without them open_clip would start from "
            "random ones, and pickles are not read"
        )
    return found[0]


def _check_scale(model: Any, weights: Path) -> None:
    scale = float(model.logit_scale.detach().float().exp().max())
    if not (math.isfinite(scale) and 1.0 <= scale <= MOST_SCALE * 1.001):
        raise DamagedError(f"{weights} has a logit scale of {scale:g}: CLIP's lie in 1 to 100")


def _check_tokenizer(model: Any, tokenizer: Any, source: Path | str) -> None:
    """DamagedError unless ids fit the token embedding, rows the context, and ends the pooling."""
    rows = tokenizer(["a", "a photo of a cat."])
    known = getattr(tokenizer, "vocab_size", None) or len(tokenizer.tokenizer)
    vocabulary = getattr(model, "vocab_size", known)
    if rows.shape[1] != model.context_length:
        problem = f"makes rows of {rows.shape[1]} tokens, the model reads {model.context_length}"
    elif known > vocabulary:
        problem = f"has {known} tokens, the model knows {vocabulary}"
    elif getattr(model, "text_pool_type", "") == "eos" and not bool(
        (rows == model.text_eos_id).any(1).all()
    ):
        problem = f"never gives the end token {model.text_eos_id} that the model pools at"
    else:
        return
    raise DamagedError(f"the tokenizer of {source} is not the model's: it {problem}")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without open_clip's warning that nothing was loaded: weights come in a step of their own."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
