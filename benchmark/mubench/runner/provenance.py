"""Where a run was made and with what: recorded, never part of a key."""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, distributions
from pathlib import Path
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

    freeze = _installed()
    found = dict(line.lower().split("==", 1) for line in freeze)
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "package": {
            "version": __version__,
            **_commit(),
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
        "command": shlex.join(["mubench", *sys.argv[1:]]),
    }


@cache
def _installed() -> list[str]:
    """Every installed distribution with its version; reading them takes half a second."""
    return sorted({f"{one.name}=={one.version}" for one in distributions() if one.name})


def _commit() -> dict[str, Any]:
    """The commit of the code that runs, and whether it was changed since; None: not known."""
    try:
        text = distribution("mubench").read_text("direct_url.json")
    except PackageNotFoundError:  # not installed: run from a source tree
        text = None
    if commit := json.loads(text or "{}").get("vcs_info", {}).get("commit_id"):
        return {"commit": str(commit), "dirty": False}
    here = Path(__file__)
    if not _git(here.parent, "ls-files", here.name):  # no checkout, or that of something else
        return {"commit": None, "dirty": None}
    changes = _git(here.parents[1], "status", "--porcelain", ".")
    return {"commit": _git(here.parent, "rev-parse", "HEAD"), "dirty": changes != ""}


def _git(folder: Path, *words: str) -> str | None:
    """What git says about a folder; None if there is no git or it is no checkout."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
