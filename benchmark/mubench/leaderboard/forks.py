"""Work shared between the cores by processes that begin with all that was read."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")
#: Things that a process does at a time; with fewer than that for each there is nothing to gain.
MANY = 32

_do: Callable[[int], Any]


def spread(do: Callable[[T], R], things: Sequence[T]) -> list[R]:
    """What ``do`` gives for every one of ``things``, in their order; the first error is raised.

    Processes are forked: records of thousands of runs would take longer to send than to work on, so
    that what is given back should be small. One after the other where there is nothing to gain, or
    no fork.
    """
    global _do
    cores = os.cpu_count() or 1
    if min(cores, len(things) // MANY) < 2 or "fork" not in multiprocessing.get_all_start_methods():
        return [do(thing) for thing in things]

    def numbered(number: int) -> R:
        return do(things[number])

    _do = numbered  # a function that knows the records cannot be sent either
    with ProcessPoolExecutor(cores, multiprocessing.get_context("fork")) as pool:
        return list(pool.map(_numbered, range(len(things)), chunksize=MANY))


def _numbered(number: int) -> Any:
    return _do(number)
