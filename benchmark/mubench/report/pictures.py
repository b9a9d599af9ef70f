"""Forgetting against utility: where target, gold and method stand, one picture per modality."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mubench.record import Cell, RunRecord, Value
from mubench.report import view
from mubench.types import ROLES

#: Drawn in these colours, then replaced by CSS variables so that a page can set light and dark.
_INKS = {
    "#0a0b01": "var(--ink, #1d2530)",
    "#0a0b02": "var(--muted, #66707c)",
    "#0a0b03": "var(--grid, #d9dee4)",
    "#0a0b04": "var(--target, #b4530a)",
    "#0a0b05": "var(--gold, #8a6d00)",
    "#0a0b06": "var(--method, #1f5fbf)",
}
_INK, _MUTED, _GRID, *_ROLE_INKS = _INKS
_MARKERS = {"target": "s", "gold": "D", "method": "o"}


@dataclass(frozen=True, slots=True)
class Point:
    """One model: what it knows of the forget set (x) and of what to keep (y)."""

    forget: Value
    retain: Value


@dataclass(frozen=True, slots=True)
class Panel:
    """One modality of the picture, drawn from the metrics that both axes share."""

    modality: str
    metrics: tuple[str, ...]  # each with its task
    points: dict[str, Point]  # by role


def mean(values: Sequence[Value]) -> Value:
    """The mean, with the mean of the limits as its interval.

    The cells ask the same people, so their errors are not independent. The mean of the limits is
    right for fully dependent values and errs on the wide side for all others.
    """
    lows = [value.low for value in values if value.low is not None]
    highs = [value.high for value in values if value.high is not None]
    count = len(values)
    known = len(lows) == len(highs) == count
    return Value(
        value=sum(value.value for value in values) / count,
        low=sum(lows) / count if known else None,
        high=sum(highs) / count if known else None,
    )


def panel(record: RunRecord, modality: str) -> Panel | None:
    """The points of a modality; None where forget and retain share no headline metric.

    Only metrics that stand on both axes, in the unit of the first, count: x and y mean the same.
    """
    found: dict[tuple[str, str, str], dict[str, Cell]] = {}
    for row in view.rows(record):
        if row.set in ("forget", "retain") and (cell := row.cells.get(modality)) is not None:
            found.setdefault((cell.unit, row.task, row.metric), {})[row.set] = cell
    shared = {key: cells for key, cells in found.items() if len(cells) == 2}
    if not shared:
        return None
    unit = next(iter(shared))[0]
    pairs = {key: cells for key, cells in shared.items() if key[0] == unit}
    points: dict[str, Point] = {
        role: Point(
            mean([getattr(cells["forget"], role) for cells in pairs.values()]),
            mean([getattr(cells["retain"], role) for cells in pairs.values()]),
        )
        for role in ROLES
    }
    return Panel(modality, tuple(f"{task} {metric}" for _, task, metric in pairs), points)


def draw(panel: Panel) -> str:
    """The panel as SVG text for inlining: same panel, same bytes; colours are CSS variables."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(
            {
                "svg.fonttype": "none",
                "svg.hashsalt": f"mubench-{panel.modality}",
                "svg.id": f"picture-{panel.modality}",
                "font.family": ["DejaVu Sans"],
                "font.size": 9.5,
                "text.color": _INK,
                "axes.labelcolor": _INK,
                "axes.edgecolor": _MUTED,
                "xtick.color": _MUTED,
                "ytick.color": _MUTED,
                "grid.color": _GRID,
                "text.parse_math": False,
            }
        )
        figure = Figure(figsize=(4.3, 3.9), layout="constrained")
        FigureCanvasSVG(figure)
        figure.patch.set_visible(False)
        _fill(figure.add_subplot(), panel)
        buffer = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", metadata=nothing, transparent=True)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<style[^>]*>.*?</style>", "", svg, flags=re.DOTALL)  # would style the page too
    svg = re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2)
    for ink, variable in _INKS.items():
        svg = svg.replace(ink, variable)
    return svg


def _fill(axes: Any, panel: Panel) -> None:
    axes.patch.set_visible(False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.set_xlabel("still known of the forget set")
    axes.set_ylabel("still known of the retain set")
    numbers = [
        number
        for point in panel.points.values()
        for value in (point.forget, point.retain)
        for number in (value.value, value.low, value.high)
        if number is not None
    ]
    if min(numbers) >= -0.05 and max(numbers) <= 1.05:
        axes.set(xlim=(-0.05, 1.07), ylim=(-0.05, 1.07))
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
        axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
    gold = panel.points["gold"]
    axes.axvspan(*_limits(gold.forget), color=_ROLE_INKS[1], alpha=0.16, lw=0)
    axes.axhspan(*_limits(gold.retain), color=_ROLE_INKS[1], alpha=0.16, lw=0)
    start, end = panel.points["target"], panel.points["method"]
    axes.annotate(
        "",
        xy=(end.forget.value, end.retain.value),
        xytext=(start.forget.value, start.retain.value),
        arrowprops={"arrowstyle": "->", "color": _MUTED, "lw": 1.2, "shrinkA": 7, "shrinkB": 7},
    )
    markers = []
    for role, ink in zip(ROLES, _ROLE_INKS, strict=True):
        point = panel.points[role]
        drawn = axes.errorbar(
            [point.forget.value],
            [point.retain.value],
            xerr=_errors(point.forget),
            yerr=_errors(point.retain),
            fmt=_MARKERS[role],
            color=ink,
            markersize=7,
            elinewidth=1.5,
        )
        markers.append(drawn.lines[0])
    legend = {"loc": "outside upper center", "ncols": 3, "frameon": False, "handletextpad": 0.3}
    axes.figure.legend(markers, ROLES, **legend)


def _limits(value: Value) -> tuple[float, float]:
    low = value.value if value.low is None else value.low
    high = value.value if value.high is None else value.high
    return low, high


def _errors(value: Value) -> list[list[float]] | None:
    if value.low is None or value.high is None:
        return None
    low, high = _limits(value)
    return [[max(0.0, value.value - low)], [max(0.0, high - value.value)]]
