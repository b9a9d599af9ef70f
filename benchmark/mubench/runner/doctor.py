"""Facts about this machine that decide whether a run will work."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator

from mubench import __version__

from .store import Store


def checks(store: Store) -> Iterator[tuple[str, str]]:
    """(what, finding) pairs; never raises for a missing part."""
    yield "mubench", __version__
    yield "python", platform.python_version()
    for package in ("torch", "transformers", "peft", "accelerate", "datasets", "open_clip"):
        try:
            module = __import__(package)
            yield package, str(module.__version__)
        except ImportError as error:
            yield package, f"cannot be imported: {error}"
    try:
        import torch

        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        yield "gpu", ", ".join(names) or f"none; {os.cpu_count()} cores"
    except ImportError:
        yield "gpu", "not known without torch"
    try:
        from mubench.models.load import package_folder

        yield "llava-tiny", f"ships with this install ({package_folder('llava-tiny').name})"
    except Exception as error:
        yield "llava-tiny", str(error)
    probe = store.root
    while not probe.exists():
        probe = probe.parent
    free = shutil.disk_usage(probe).free / 2**30
    writable = "writable" if os.access(probe, os.W_OK) else "not writable"
    yield "cache", f"{store.root} ({writable}, {free:.0f} GB free)"
    yield "hub", _hub()


def _hub() -> str:
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return "offline mode (HF_HUB_OFFLINE)"
    from huggingface_hub import HfApi

    try:
        HfApi().model_info("llava-hf/llava-1.5-7b-hf", timeout=5)
    except Exception as error:
        return f"{constants.ENDPOINT} not reachable ({type(error).__name__}); llava-tiny needs none"
    return f"{constants.ENDPOINT} reachable"
