"""``mubench`` that dies by SIGKILL at a chosen moment: ``python killed_at.py MOMENT STAGE ARGS...``

Moments of a stage: ``halfway`` (its second progress report), ``built`` (all files written, not yet
declared whole), ``named`` (declared whole, not yet renamed). Of the run folder: ``written`` (not yet renamed), with the stage ``report``.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mubench.cli import main
from mubench.runner import execute, store


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(moment: str, stage: str) -> None:
    if stage == "report":
        Path.replace = lambda *_: die()  # type: ignore[method-assign,assignment]
        return
    real_get, real_bar = store.Store.get, execute.bar

    def get(
        self: store.Store, kind: str, key: str, build: Callable[[Path], Any], **options: Any
    ) -> Any:
        def dying(folder: Path) -> Any:
            if moment == "named":
                os.replace = lambda *_: die()  # type: ignore[assignment]
            made = build(folder)
            if moment == "built":
                die()
            return made

        return real_get(self, kind, key, dying if kind == stage else build, **options)

    class Bar:
        """A progress bar whose second report never returns."""

        def __init__(self, console: Any, label: str) -> None:
            self.inner, self.mine = real_bar(console, label), label.startswith(stage)

        def __enter__(self) -> Callable[[int, int, str], None]:
            report = self.inner.__enter__()

            def dying(done: int, total: int, text: str) -> None:
                if self.mine and moment == "halfway" and done == 2:
                    die()
                report(done, total, text)

            return dying

        def __exit__(self, *error: Any) -> Any:
            return self.inner.__exit__(*error)

    store.Store.get = get  # type: ignore[method-assign]
    execute.bar = Bar  # type: ignore[assignment]


if __name__ == "__main__":
    arm(sys.argv[1], sys.argv[2])
    main(sys.argv[3:])
