"""The command line. Every command imports what it needs when it runs, so that help is instant."""

from __future__ import annotations

import os
import sys
from typing import Any

import typer

from mubench.errors import EXIT_CODES, MubenchError

from . import commands

_CODES = "\n\n".join(f"  {code}: {meaning}" for code, meaning in EXIT_CODES.items())


def app() -> typer.Typer:
    """All commands."""
    made = typer.Typer(
        name="mubench",
        help="How far is an unlearned multimodal model from one that never saw the person?",
        epilog=f"Exit codes:\n\n{_CODES}",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
    )
    for command in (
        commands.run,
        commands.plan,
        commands.list_,
        commands.show,
        commands.report,
        commands.doctor,
    ):
        made.command(command.__name__.rstrip("_"))(command)
    cache = typer.Typer(help="What earlier runs left in the cache.", no_args_is_help=True)
    cache.command("ls")(commands.cache_ls)
    cache.command("clear")(commands.cache_clear)
    made.add_typer(cache, name="cache")
    return made


def main(arguments: list[str] | None = None) -> None:
    """Run a command; every failure is one line on stderr and a documented exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    try:
        status = typer.main.get_command(app()).main(arguments, standalone_mode=False)
        if status == 130:  # what typer makes of a KeyboardInterrupt
            raise KeyboardInterrupt
        sys.exit(status if isinstance(status, int) else 0)
    except MubenchError as error:
        if debug:
            raise
        _fail(str(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        print(
            "mubench: error: interrupted; the same command goes on where it stopped",
            file=sys.stderr,
            flush=True,
        )
        # Not sys.exit: Python kills itself with SIGINT if the signal arrived inside an exec().
        os._exit(130)
    except Exception as error:
        if debug:
            raise
        message = _usage(error)
        if message is not None:
            _fail(message, 2)
        _fail(f"{type(error).__name__}: {error} (a bug; --debug shows where)", 1)


def _usage(error: Any) -> str | None:
    """The message of typer's own complaint about the command line, else None."""
    return error.format_message() if hasattr(error, "format_message") else None


def _fail(message: str, code: int) -> None:
    line = " ".join(message.split())
    if line:
        print(f"mubench: error: {line}", file=sys.stderr)
    sys.exit(code)
