"""Where a run was made and with what: recorded, never part of a key."""

from __future__ import annotations

import json
import os
import platform
import sys
from importlib.metadata import distribution, distributions
from typing import Any

from mubench import __version__
from mubench.hashing import code_sha, sha

KEY_PACKAGES = (
    "torch",
    "torchvision",
    "transformers",
    "peft",
    "accelerate",
    "datasets",
    "numpy",
    "scipy",
    "pillow",
    "tokenizers",
    "safetensors",
    "rouge-score",
    "Faker",
    "pandas",
)


def provenance() -> dict[str, Any]:
    """Package, environment, hardware and command of this process."""
    import torch

    freeze = sorted({f"{d.name}=={d.version}" for d in distributions() if d.name})
    found = dict(line.lower().split("==", 1) for line in freeze)
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "package": {
            "version": __version__,
            "commit": _installed_commit(),
            "source_sha": code_sha("mubench", "mubench_data"),
        },
        "environment": {
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.machine()}",
            "packages": {
                name: found[name.lower()] for name in KEY_PACKAGES if name.lower() in found
            },
            "freeze_sha": sha(freeze),
        },
        "hardware": {
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
            "gpus": gpus,
            "cuda": torch.version.cuda if gpus else None,
        },
        "command": " ".join(["mubench", *sys.argv[1:]]),
    }


def _installed_commit() -> str | None:
    """The commit that pip installed from, if it installed from version control."""
    try:
        text = distribution("mubench").read_text("direct_url.json")
    except Exception:  # not installed: run from a source tree
        return None
    commit = json.loads(text or "{}").get("vcs_info", {}).get("commit_id")
    return str(commit) if commit else None
