"""Progress of stages: bars with time left on a terminal, plain lines otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

Report = Callable[[int, int, str], None]


@contextmanager
def bar(console: Console, label: str) -> Iterator[Report]:
    """A ``report(done, total, text)`` for one stage."""
    if not console.is_terminal:
        console.print(f"{label} ...", highlight=False)
        yield _tenths(console, label)
        return
    columns = (
        TextColumn("{task.description:<16}"),
        BarColumn(bar_width=30),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[text]}", style="dim"),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(label, total=None, text="")
        yield lambda done, total, text: progress.update(
            task, completed=done, total=total, text=text
        )


def _tenths(console: Console, label: str) -> Report:
    seen = 0

    def report(done: int, total: int, text: str) -> None:
        nonlocal seen
        tenth = 10 * done // max(total, 1)
        if tenth > seen:
            seen = tenth
            console.print(f"{label} {10 * tenth} % {text}", highlight=False)

    return report
