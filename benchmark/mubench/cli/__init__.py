"""The command line. Every command imports what it needs when it runs, so that help is instant."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import typer

from mubench.errors import EXIT_CODES, MubenchError

from . import bench, commands, data, leaderboard, many, scores

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
        many.sweep,
        many.tune,
        commands.plan,
        commands.list_,
        commands.show,
        commands.report,
        commands.transplant,
        scores.compare,
        scores.rescore,
        scores.verify,
        commands.doctor,
        leaderboard.submit,
        leaderboard.export,
    ):
        made.command(command.__name__.rstrip("_"))(command)
    cache = typer.Typer(help="What earlier runs left in the cache.", no_args_is_help=True)
    cache.command("ls")(commands.cache_ls)
    cache.command("clear")(commands.cache_clear)
    made.add_typer(cache, name="cache")
    benchmarks = typer.Typer(
        help="Build, pull, look at, check, export and publish benchmarks.", no_args_is_help=True
    )
    for command in (
        data.ls,
        data.build,
        data.pull,
        data.check,
        data.show,
        data.export,
        data.push,
    ):
        benchmarks.command(command.__name__)(command)
    made.add_typer(benchmarks, name="data")
    board = typer.Typer(
        help="Check submissions, and make the pages from them.", no_args_is_help=True
    )
    board.command("validate")(leaderboard.validate)
    board.command("build")(leaderboard.build)
    made.add_typer(board, name="leaderboard")
    speed = typer.Typer(help="How fast mubench is on this machine.", no_args_is_help=True)
    for command in (bench.eval_, bench.unlearn, bench.methods, bench.data):
        speed.command(command.__name__.rstrip("_"))(command)
    made.add_typer(speed, name="bench")
    made.command("meta-eval")(many.meta_eval)
    return made


def main(arguments: list[str] | None = None) -> None:
    """Run a command; every failure is one line on stderr and a documented exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    before = signal.signal(signal.SIGINT, _interrupted)
    try:
        status = typer.main.get_command(app()).main(arguments, standalone_mode=False)
        sys.exit(status if isinstance(status, int) else 0)
    except MubenchError as error:
        if debug:
            raise
        _fail(str(error), error.exit_code)
    except Exception as error:
        if debug:
            raise
        message = _usage(error)
        if message is not None:
            _fail(message, 2)
        _fail(f"{type(error).__name__}: {error} (a bug; --debug shows where)", 1)
    finally:
        signal.signal(signal.SIGINT, before)


def _interrupted(*_: Any) -> None:
    """End at once. A KeyboardInterrupt can be swallowed by a library that is being imported; the
    store makes an abrupt end as safe as an orderly one."""
    shown = "\x1b[?25h\n" if sys.stderr.isatty() else ""  # a progress bar hides the cursor
    line = "mubench: error: interrupted; the same command goes on where it stopped\n"
    os.write(2, f"{shown}{line}".encode())
    os._exit(130)


def _usage(error: Any) -> str | None:
    """The message of typer's own complaint about the command line, else None."""
    return error.format_message() if hasattr(error, "format_message") else None


def _fail(message: str, code: int) -> None:
    line = " ".join(message.split())
    if line:
        print(f"mubench: error: {line}", file=sys.stderr)
    sys.exit(code)
