"""The two models every method is measured against, runnable as if they were methods."""

from __future__ import annotations

from typing import Any, ClassVar

from mubench.config.schema import Settings
from mubench.types import MethodInfo


class _Reference:
    Config: ClassVar[type[Settings]] = Settings

    def __init__(self, config: Any) -> None:
        self.config = config


class NoUnlearning(_Reference):
    """The target, unchanged. Every method must do better than this."""

    info = MethodInfo(
        name="none",
        title="No unlearning (the target)",
        paper="",
        formula="theta = theta_target",
        kind="reference",
        needs=(),
        extra={"stage": "target"},
    )


class Gold(_Reference):
    """The same training without the forget people: what perfect unlearning would give."""

    info = MethodInfo(
        name="gold",
        title="Gold (retrained without the forget people)",
        paper="",
        formula="theta = train(base, D_retain)",
        kind="reference",
        needs=(),
        extra={"stage": "gold"},
    )
