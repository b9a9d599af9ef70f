"""How fast mubench is: what each measurement prints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Repeats = Annotated[int, typer.Option(min=1, help="Interleaved repeats.")]


def eval_(
    images: Annotated[int, typer.Option(min=1, help="Pictures in a pass.")] = 8,
    questions: Annotated[int, typer.Option(min=1, help="Questions about each.")] = 9,
    repeats: Repeats = 3,
    plot: Annotated[
        Path | None, typer.Option(help="Draw time a question over questions a picture, as PNG.")
    ] = None,
) -> None:
    """The evaluation engine against plain ways; proves equal answers, then prints times."""
    from mubench.runner.bench import evaluation, growth
    from mubench.runner.bench.subject import machine

    print(f"LLaVA shape of about 100 M random weights; {machine()}")
    for result in evaluation.bench_eval(images, questions, repeats, _say):
        print("\n".join(evaluation.lines(result)), flush=True)
    if plot is not None:
        growth.plot_growth(growth.growth((1, 3, 9, 27, 81), repeats, _say), plot)
        print(f"plot: {plot}")


def unlearn(
    examples: Annotated[int, typer.Option(min=1, help="Forget, and retain, examples a step.")] = 4,
    steps: Annotated[int, typer.Option(min=2, help="Steps a repeat.")] = 4,
    repeats: Repeats = 3,
) -> None:
    """Training steps against a bare PyTorch loop; proves equal losses, then prints times."""
    from mubench.runner.bench import unlearning
    from mubench.runner.bench.subject import machine

    print(f"LLaVA shape of about 50 M random weights, LoRA; {machine()}")
    for line in unlearning.lines(unlearning.bench_unlearn(examples, steps, repeats, _say)):
        print(line)


def data(
    people: Annotated[int, typer.Option(min=4, help="Fictitious people.")] = 24,
    repeats: Repeats = 3,
) -> None:
    """How fast people are drawn and written; proves equal content, then prints times."""
    from mubench.runner.bench import building

    for line in building.lines(building.bench_data(people, repeats, _say)):
        print(line)


def _say(line: str) -> None:
    """Progress: on stderr, apart from what was measured."""
    import sys

    print(line, file=sys.stderr, flush=True)
