"""A run as one self-contained page: no network, no other file, same run same bytes."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mubench.metrics.ranking import cost
from mubench.record import Cell, RunRecord, Value
from mubench.report import pictures, probes, view
from mubench.types import MODALITIES, ROLES

#: What the gap bars show; values outside end in an arrow.
GAP_FROM, GAP_TO = -0.25, 1.25
_BAR_WIDTH = 108


@dataclass(frozen=True, slots=True)
class Sample:
    """One question with the answers of the three models, for looking at."""

    set: str
    modality: str
    task: str
    question: str
    choices: tuple[str, ...]
    answer: str
    image_png: bytes | None
    target: str
    gold: str
    method: str
    verdicts: Mapping[str, bool | None]  # by role; None: not judged
    person: str


@dataclass(frozen=True, slots=True)
class Bar:
    """A gap in pixels on the axis from ``GAP_FROM`` to ``GAP_TO``."""

    x: float
    width: float
    end: float
    low: float | None
    high: float | None
    beyond: str  # "left" or "right" where the gap itself lies outside the axis


@dataclass(frozen=True, slots=True)
class Portrait:
    """A picture that is embedded once, as a CSS class."""

    name: str
    data: str  # base64
    width: int
    height: int


def _pixel(value: float) -> float:
    share = (value - GAP_FROM) / (GAP_TO - GAP_FROM)
    return round(min(max(share, 0.0), 1.0) * _BAR_WIDTH, 1)


def bar(gap: Value) -> Bar:
    """Where the bar of a gap starts and ends: from gold (0) towards the target (1)."""
    end = _pixel(gap.value)
    zero = _pixel(0.0)
    beyond = "left" if gap.value < GAP_FROM else "right" if gap.value > GAP_TO else ""
    known = gap.low is not None and gap.high is not None
    return Bar(
        x=min(zero, end),
        width=round(abs(end - zero), 1),
        end=end,
        low=_pixel(gap.low) if known and gap.low is not None else None,
        high=_pixel(gap.high) if known and gap.high is not None else None,
        beyond=beyond,
    )


def _main_cell(record: RunRecord, name: str, modality: str) -> Cell | None:
    """The headline cell of a set that the verdict quotes: its first task."""
    found = (row.cells.get(modality) for row in view.rows(record) if row.set == name)
    return next((cell for cell in found if cell is not None), None)


def _clause(cell: Cell) -> str:
    return (
        f"{view.number(cell.method.value)} on {view.MODALITY_TITLES[cell.modality]} questions "
        f"(gold {view.number(cell.gold.value)}, target {view.number(cell.target.value)})"
    )


def verdict(record: RunRecord) -> list[str]:
    """The outcome in plain English: first the sentence that matters most, then its reading.

    Quotes the first headline task of the forget and of the retain set.
    """
    method = view.line(view.identity(record).method, 40)
    forget, retain = (
        [cell for m in view.modalities(record) if (cell := _main_cell(record, name, m)) is not None]
        for name in ("forget", "retain")
    )
    sentences = []
    for set_, cells in (("forget", forget), ("retain", retain)):
        if cells:
            what = f"{view.line(cells[0].task)} {view.line(cells[0].metric)}"
            clauses = " and ".join(_clause(cell) for cell in cells)
            sentences.append(f"On the {set_} set, {method} has a {what} of {clauses}.")
        else:
            sentences.append(f"On the {set_} set, no headline metric was measured.")
    return [sentences[0], *[_reading(cell) for cell in forget], sentences[1]]


def _reading(cell: Cell) -> str:
    where = f"{view.MODALITY_TITLES[cell.modality]} {view.line(cell.task)}"
    gap = cell.gap
    if gap is None:
        reason = view.line(cell.gap_reason or "no gap was computed", 120)
        return f"{where}: the gap is n/a ({reason})."
    size = f"{where}: the gap to gold is {view.number(gap.value, signed=True)}"
    if gap.low is None or gap.high is None:
        return f"{size}; its uncertainty is not known."
    return f"{size} {view.interval(gap)}: {_meaning(gap.low, gap.high)}."


def _meaning(low: float, high: float) -> str:
    """What the interval of a gap says; 0 is gold, 1 is the target."""
    if low <= 0.0 and high >= 1.0:
        return "too uncertain to tell it from gold or from the target"
    if low <= 0.0 <= high:
        return "not distinguishable from the gold model in this run"
    if low <= 1.0 <= high:
        return "not distinguishable from the target in this run, as if nothing was forgotten"
    if high < 0.0:
        return "beyond gold, which shows that something was removed"
    if low > 1.0:
        return "further from gold than the target was"
    return "closer to gold than the target was, and not there yet"


#: What has to be kept to have the unlearned model, by kind of delta.
STATES = {
    "none": "nothing",
    "lora": "a LoRA adapter",
    "full": "all weights",
    "rows": "some rows of the weights",
    "tensors": "the tensors that changed",
    "neurons": "a list of neurons",
    "behaviour": "what runs beside the model",
}


def cost_words(record: RunRecord) -> str:
    """What unlearning took, in words; empty where nothing was unlearned."""
    if not any(stage.kind in ("learn", "unlearn") for stage in record.stages):
        return ""
    spent = cost([record])
    answered = f"answered in {spent.overhead or 0:.1f} times the target's time"
    parts = [
        f"{spent.seconds:.0f} s",
        *([] if spent.flops is None else [view.flops(spent.flops)]),
        f"{spent.peak_mb / 1024:.1f} GB of memory at most",
        f"needs {'forget and retain data' if spent.retain else 'forget data alone'}",
        f"keeps {STATES.get(spent.state, spent.state)}",
        *([] if spent.overhead is None else [answered]),
    ]
    return f"Unlearning: {', '.join(parts)}."


def _portraits(samples: Sequence[Sample]) -> dict[bytes, Portrait]:
    """Each distinct picture once, in the order in which it is first needed."""
    found: dict[bytes, Portrait] = {}
    for sample in samples:
        png = sample.image_png
        if png is not None and png not in found:
            width, height = _png_size(png)
            data = base64.b64encode(png).decode("ascii")
            found[png] = Portrait(f"portrait-{len(found) + 1}", data, width, height)
    return found


def _png_size(png: bytes) -> tuple[int, int]:
    """Width and height from the header of a PNG; square where it has none."""
    if len(png) < 24 or png[12:16] != b"IHDR":
        return 1, 1
    width, height = struct.unpack(">II", png[16:24])
    return max(width, 1), max(height, 1)


def _picture(record: RunRecord, modality: str) -> dict[str, Any]:
    panel = pictures.panel(record, modality)
    if panel is None:
        return {"title": view.MODALITY_TITLES[modality], "svg": None, "points": {}, "metrics": ()}
    from markupsafe import Markup

    return {
        "title": view.MODALITY_TITLES[modality],
        "svg": Markup(pictures.draw(panel)),  # drawn here, holds no text from the record
        "points": panel.points,
        "metrics": [view.line(name) for name in panel.metrics],
    }


def _mood(record: RunRecord) -> str:
    """How the label is coloured: reached, on the way, or broken."""
    if record.label is None or record.label.name in ("under-forgot", "over-forgot"):
        return "is-open"
    return "is-good" if record.label.name == "matched" else "is-bad"


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)


def _shown(value: Any) -> Any:
    """What stands on the page for a value: cleaned text, and ``n/a`` for None."""
    if value is None:
        return view.MISSING
    if isinstance(value, str) and not hasattr(value, "__html__"):
        return view.clean(value)
    return value


def render_html(record: RunRecord, samples: Sequence[Sample]) -> str:
    """The page. Every text of the record and the samples is escaped where it is shown."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    loader = PackageLoader("mubench.report", "templates")
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=view.number,
        interval=view.interval,
        bar=bar,
        line=view.line,
        pretty=_pretty,
        verdict=view.verdict,
        told=view.told,
    )
    script = loader.get_source(environment, "report.js")[0]
    style = loader.get_source(environment, "report.css")[0]
    script_hash = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    portraits = _portraits(samples)
    rates = view.rates(record)
    total, earlier = view.seconds(record)
    return environment.get_template("report.html.j2").render(
        record=record,
        who=view.identity(record),
        verdict=verdict(record),
        script=Markup(script),
        script_hash=script_hash,
        style=Markup(style),
        label_meaning=view.LABELS[record.label.name] if record.label else "",
        label_mood=_mood(record),
        cost=cost_words(record),
        judged=view.judged(record),
        judged_modalities=list(dict.fromkeys(m for row in view.judged(record) for m in row.cells)),
        golds=view.gold_count(record),
        signal_titles=view.SIGNALS,
        pictures=[_picture(record, modality) for modality in view.modalities(record)],
        rows=view.rows(record),
        probes=probes.shown(record, MODALITIES),
        rates={(rate.set, rate.modality, rate.metric): rate for rate in rates},
        rate_columns=view.rate_columns(rates),
        rate_sets=list(dict.fromkeys(rate.set for rate in rates)),
        gap_reasons=view.gap_reasons(record),
        missing_numbers=view.missing(record),
        samples=samples,
        portraits=portraits,
        filters={
            name: list(dict.fromkeys(getattr(sample, name) for sample in samples))
            for name in ("set", "modality", "task")
        },
        seconds=total,
        seconds_earlier=earlier,
        modalities=view.modalities(record),
        modality_titles=view.MODALITY_TITLES,
        aspect_titles=view.ASPECT_TITLES,
        rate_titles=view.RATES,
        roles=ROLES,
        bar_width=_BAR_WIDTH,
        bar_zero=_pixel(0.0),
        bar_one=_pixel(1.0),
    )
