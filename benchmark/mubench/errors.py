"""Every failure a user can meet: one line (what, where, what to do) and a documented exit code."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MubenchError(Exception):
    """Base of all expected failures. ``str(error)`` is the one line that is shown."""

    exit_code = 1


class UsageError(MubenchError):
    """A name, key or value given by the user that mubench does not accept."""

    exit_code = 2


class MissingError(MubenchError):
    """Weights or data that are neither on this machine nor reachable."""

    exit_code = 3


class RunError(MubenchError):
    """The experiment itself failed: loss not finite, target never learned, predictions missing."""

    exit_code = 4


class DamagedError(MubenchError):
    """A stored file that is not what was written: truncated, altered or unreadable."""

    exit_code = 5


class OutputError(MubenchError):
    """A place that cannot be written to."""

    exit_code = 6


#: Shown by ``mubench --help`` and in the README.
EXIT_CODES = {
    0: "done",
    1: "a bug in mubench: please report it (--debug shows the traceback)",
    2: "unknown name, key or value on the command line or in a config file",
    3: "weights or data are neither on this machine nor reachable",
    4: "the run failed: loss not finite, or the target never learned its people",
    5: "a stored or given file is damaged",
    6: "an output folder or the cache cannot be written",
    130: "interrupted; the same command goes on where it stopped",
}


def unknown(kind: str, name: str, known: Iterable[str], hint: str = "") -> UsageError:
    """An error for ``name``, with the closest known names as a suggestion."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    advice = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(known)}"
    return UsageError(f"unknown {kind} '{name}': {advice}{' ' + hint if hint else ''}")
