"""Probes as they are shown: the leakage matrix as a heat map that is a table, and privacy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mubench.probes.leakage import COLUMNS, ENTRANCES, TITLES
from mubench.record import Probe, RunRecord

from . import view

#: Titles of attacks and measures, in the order in which they are shown.
ATTACKS = {
    "loss": "loss",
    "zlib": "zlib",
    "min_k": "Min-K %",
    "min_k_plus": "Min-K %++",
    "reference": "reference (base model)",
    "grad_norm": "gradient norm",
    "loss, swapped picture": "loss, swapped picture (control)",
}
MEASURES = {
    "extraction_strength": "extraction strength",
    "exact_memorisation": "exact memorisation",
}


@dataclass(frozen=True, slots=True)
class Heat:
    """One cell of a heat map. ``shade``: recovery as whole percent of the way to certainty, 0 to
    100; ``kind``: what the colour says."""

    cell: Probe
    shade: int
    kind: str  # leaks, quiet, unknown (not even the target knows it) or below (less than gold)

    @classmethod
    def of(cls, cell: Probe) -> Heat:
        shade = round(100 * min(max(cell.difference.value, 0.0), 1.0))
        if cell.known is False:
            return cls(cell, 0, "unknown")
        below = cell.difference.high is not None and cell.difference.high < 0
        return cls(cell, shade, "leaks" if cell.leaks else "below" if below else "quiet")


@dataclass(frozen=True, slots=True)
class HeatRow:
    """A row of a heat map: its title, and its cells in the order of the columns."""

    title: str
    cells: tuple[Heat | None, ...]


def leakage_rows(record: RunRecord) -> list[HeatRow]:
    """A row per path that was asked, a column per form of the question."""
    found = _by_axes(record, "leakage", ("path", "form"))
    return [
        HeatRow(title, tuple(found.get((path, form)) for form in COLUMNS))
        for path, title in TITLES.items()
        if any(key[0] == path for key in found)
    ]


def component_rows(record: RunRecord) -> list[HeatRow]:
    """A row per set of components put back, a column per entrance and form."""
    found = _by_axes(record, "components", ("components", "path", "form"))
    sets = list(dict.fromkeys(key[0] for key in found))
    return [
        HeatRow(
            "nothing" if some == "none" else some.replace("+", " + "),
            tuple(found.get((some, path, form)) for path in ENTRANCES for form in COLUMNS),
        )
        for some in sets
    ]


def _by_axes(record: RunRecord, probe: str, axes: Sequence[str]) -> dict[tuple[str, ...], Heat]:
    return {
        tuple(cell.axes[axis] for axis in axes): Heat.of(cell)
        for cell in record.probes
        if cell.probe == probe
    }


def leakage_words(record: RunRecord) -> list[str]:
    """What the matrix says, in sentences."""
    paths = {row.title: {heat.kind for heat in row.cells if heat} for row in leakage_rows(record)}
    if not paths:
        return []
    leaks = [title for title, kinds in paths.items() if "leaks" in kinds]
    unknown = [title for title, kinds in paths.items() if kinds == {"unknown"}]
    said = (
        f"Forgotten facts still come out by {len(leaks)} of {len(paths)} paths: {'; '.join(leaks)}."
        if leaks
        else f"By none of {len(paths)} paths does more come out than gold guesses."
    )
    if not unknown:
        return [said]
    return [said, f"Not even the target knows them by: {'; '.join(unknown)}."]


def recovery_words(record: RunRecord) -> list[str]:
    """What few pictures or pairs bring back, in a sentence an attack."""
    return [
        f"Recovery by {cell.axes['attack']}: {view.number(cell.method.value)}, gold "
        f"{view.number(cell.gold.value)}, excess {view.number(cell.difference.value, signed=True)} "
        f"{view.interval(cell.difference)}{', which leaks' if cell.leaks else ''}."
        for cell in record.probes
        if cell.probe == "recovery"
    ]


def privacy_words(record: RunRecord) -> list[str]:
    """What membership inference says, in a sentence: the attack that tells the most."""
    areas = [cell for cell in record.probes if (cell.probe, cell.metric) == ("membership", "auc")]
    if not areas:
        return []
    worst = max(areas, key=lambda cell: abs(cell.difference.value))
    attack, modality = worst.axes["attack"], worst.axes["modality"]
    return [
        f"Membership: furthest from gold is {ATTACKS[attack]} on {view.MODALITY_TITLES[modality]} "
        f"questions, AUC {view.number(worst.method.value)} {view.interval(worst.method)}, gold "
        f"{view.number(worst.gold.value)} {view.interval(worst.gold)}."
    ]


@dataclass(frozen=True, slots=True)
class PrivacyRow:
    """An attack or a measure: the cell of every modality, and PrivLeak where there is one."""

    title: str
    cells: tuple[tuple[Probe | None, Probe | None], ...]


def attack_rows(record: RunRecord, modalities: Iterable[str]) -> list[PrivacyRow]:
    """A row per membership attack."""
    found = {
        (cell.axes["attack"], cell.metric, cell.axes["modality"]): cell
        for cell in record.probes
        if cell.probe == "membership"
    }
    return [
        PrivacyRow(
            title,
            tuple(
                (found.get((attack, "auc", m)), found.get((attack, "privleak", m)))
                for m in modalities
            ),
        )
        for attack, title in ATTACKS.items()
        if any(key[0] == attack for key in found)
    ]


def memory_rows(record: RunRecord, modalities: Iterable[str]) -> list[PrivacyRow]:
    """A row per measure of memorisation."""
    found = {
        (cell.metric, cell.axes["modality"]): cell
        for cell in record.probes
        if cell.probe == "memorisation"
    }
    return [
        PrivacyRow(title, tuple((found.get((measure, m)), None) for m in modalities))
        for measure, title in MEASURES.items()
        if any(key[0] == measure for key in found)
    ]


def shown(record: RunRecord, modalities: Sequence[str]) -> dict[str, Any]:
    """All that the page's section on probes needs."""
    return {
        "words": leakage_words(record),
        "recovery": recovery_words(record),
        "privacy_words": privacy_words(record),
        "forms": [title for title, _ in COLUMNS.values()],
        "entrances": [TITLES[path] for path in ENTRANCES],
        "leakage": leakage_rows(record),
        "components": component_rows(record),
        "attacks": attack_rows(record, modalities),
        "memory": memory_rows(record, modalities),
        "percent": lambda value: f"{value:+.0f} %" if abs(value) < 1000 else view.number(value),
    }
