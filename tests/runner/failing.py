"""Methods that fail, for sweeps: one raises, one takes its process with it."""

from __future__ import annotations

import os

from mubench.config.schema import Settings
from mubench.types import MethodInfo


class _Failing:
    Config = Settings

    def __init__(self, config):
        self.config = config


class Raises(_Failing):
    info = MethodInfo(name="raises", title="Raises", paper="", formula="none", kind="pruning")

    def unlearn(self, model, data, context):
        raise ValueError("planted\nfailure")


class Dies(_Failing):
    info = MethodInfo(name="dies", title="Dies", paper="", formula="none", kind="pruning")

    def unlearn(self, model, data, context):
        os._exit(9)
