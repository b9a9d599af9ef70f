"""What the bars share: target and gold are trained once."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """A fresh cache, or the one in MUBENCH_BARS_CACHE to look at a method again quickly."""
    return os.environ.get("MUBENCH_BARS_CACHE") or tmp_path_factory.mktemp("bars-cache")
