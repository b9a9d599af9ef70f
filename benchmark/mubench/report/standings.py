"""Methods beside each other on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mubench.metrics.labels import words
from mubench.metrics.ranking import KEPT, Standing
from mubench.report import view

LEGEND = (
    "distance: mean |gap| to gold over the headline cells of the forget set (0 like gold, 1 "
    "like the target), with 95 % interval; rank [interval] by paired bootstrap over people and "
    "seeds; = not told from the first; * no other is better in distance, utility and time at once."
)


def render(standings: Sequence[Standing], console: Console) -> None:
    """A table of all methods, those that are not ranked below with the reason."""
    modalities = list(dict.fromkeys(name for one in standings for name in one.by_modality))
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    columns = ("rank", "method", "label", "distance", *map(words, modalities), "utility", "time")
    for column in (*columns, "compute", "memory", "needs", "kept", "answer"):
        table.add_column(column, no_wrap=True)
    for one in standings:
        rank = "-" if one.rank is None else f"{one.rank}{'=' if one.tied and one.rank > 1 else ''}"
        between = "" if one.rank is None else f" [{one.low}, {one.high}]"
        distance = one.distance
        table.add_row(
            Text(f"{rank}{between}{' *' if one.front else ''}"),
            Text(view.line(one.name, 24) + (f" ({one.seeds} seeds)" if one.seeds > 1 else "")),
            Text(one.label),
            Text(f"{view.number(distance.value)}±{(distance.high - distance.low) / 2:.2f}")
            if distance and distance.low is not None and distance.high is not None
            else Text(view.MISSING),
            *(Text(view.number(one.by_modality.get(name))) for name in modalities),
            Text(view.MISSING if one.utility is None else f"{one.utility:.0%}"),
            *_cost(one),
            style="dim" if one.rank is None else "",
        )
    console.print(table)
    console.print()
    for one in standings:
        if one.reason:
            console.print(Text(f"{view.line(one.name, 24)}: not ranked, {one.reason}"))
    console.print(Text(LEGEND, style="dim"))
    console.print(Text(f"Ranked are those that keep {KEPT:.0%} of the utility.", style="dim"))


def _cost(one: Standing) -> list[Text]:
    cost = one.cost
    if cost is None:
        return [Text(view.MISSING)] * 6
    return [
        Text(f"{cost.seconds:.0f} s"),
        Text(view.flops(cost.flops)),
        Text(f"{cost.peak_mb / 1024:.1f} GB" if cost.peak_mb else "-"),
        Text("retain data" if cost.retain else "-"),
        Text(cost.state),
        Text(view.MISSING if cost.overhead is None else f"x{cost.overhead:.1f}"),
    ]
