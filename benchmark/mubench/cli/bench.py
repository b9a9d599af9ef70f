"""How fast mubench is: what each measurement prints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

Repeats = Annotated[int, typer.Option(min=1, help="Interleaved repeats.")]
Shape = Annotated[
    Literal["small", "llava-1.5-7b"],
    typer.Option(help="The model's shape; weights are random. llava-1.5-7b needs a GPU of 80 GB."),
]


def eval_(
    images: Annotated[int, typer.Option(min=1, help="Pictures in a pass.")] = 8,
    questions: Annotated[int, typer.Option(min=1, help="Questions about each.")] = 9,
    repeats: Repeats = 3,
    shape: Shape = "small",
    batch: Annotated[int, typer.Option(min=4, help="Pictures the engine takes at once.")] = 4,
    plot: Annotated[
        Path | None, typer.Option(help="Draw time a question over questions a picture, as PNG.")
    ] = None,
) -> None:
    """The evaluation engine against plain ways; proves equal answers, then prints times."""
    from mubench.runner.bench import evaluation, growth
    from mubench.runner.bench.subject import machine, of_shape

    model = of_shape(shape)
    print(machine(model))
    found = []
    for result in evaluation.bench_eval(model, images, questions, repeats, batch, _say):
        found.append(result)
        print("\n".join(evaluation.lines(result)), flush=True)
    print(f"\n{evaluation.mllmu(found)}")
    if plot is not None:
        growth.plot_growth(growth.growth(model, (1, 3, 9, 27, 81), repeats, _say), plot)
        print(f"plot: {plot}")


def unlearn(
    examples: Annotated[int, typer.Option(min=1, help="Forget, and retain, examples a step.")] = 4,
    steps: Annotated[int, typer.Option(min=2, help="Steps a repeat.")] = 4,
    repeats: Repeats = 3,
) -> None:
    """Training steps against a bare PyTorch loop; proves equal losses, then prints times."""
    from mubench.runner.bench import unlearning
    from mubench.runner.bench.subject import machine

    model = unlearning.subject()
    print(machine(model))
    for line in unlearning.lines(unlearning.bench_unlearn(model, examples, steps, repeats, _say)):
        print(line)


def methods(
    names: Annotated[
        str, typer.Option("--methods", help="Registered methods, with commas between.")
    ] = "ga,npo,kl-min,manu,wagle",
    batch: Annotated[int, typer.Option(min=1, help="Forget, and retain, examples a step.")] = 4,
    people: Annotated[int, typer.Option(min=1, help="People to forget, 18 questions each.")] = 25,
    shape: Shape = "small",
) -> None:
    """What one epoch of each method costs: tokens a second, minutes, GPU memory."""
    from functools import partial

    from mubench.runner.bench import cost
    from mubench.runner.bench.subject import of_shape

    model = partial(of_shape, shape)
    made = cost.costs(model, names.split(","), cost.material(people), batch, _say)
    for line in cost.lines(made):
        print(line, flush=True)


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
