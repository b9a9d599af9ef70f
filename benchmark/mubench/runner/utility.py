"""The published utility sets of a run one by one, with the metrics and names of CLIP_benchmark."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mubench.data.load import BenchmarkData
from mubench.record import PaperCell
from mubench.types import ROLES, Example

#: Names by task and direction, and where an item's score is.
CLASSES = {"acc1": "accuracy", "acc5": "r5"}
PER_CLASS = "mean_per_class_recall"
RECALLS = {
    "image_to_text": {f"text_retrieval_recall@{k}": f"r{k}" for k in (1, 5, 10)},
    "text_to_image": {f"image_retrieval_recall@{k}": f"r{k}" for k in (1, 5, 10)},
}


def utility_cells(data: BenchmarkData, scored: Path) -> list[PaperCell]:
    """Means of every set that ``benchmark.utility`` names; ``scored``: the score stage's folder."""
    names = data.manifest["source"].get("utility", {})
    groups: defaultdict[tuple[str, str, str], list[Example]] = defaultdict(list)
    for example in data.examples:
        if example.set == "general" and example.fact in names:
            groups[example.fact, example.modality, example.task].append(example)
    if not groups:
        return []
    items = {role: _items(scored / f"{role}.items.jsonl") for role in ROLES}
    return [cell for key, asked in groups.items() for cell in _cells(*key, asked, items)]


def _items(path: Path) -> dict[str, dict[str, Any]]:
    rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return {row["id"]: row for row in rows}


def _cells(
    name: str,
    modality: str,
    task: str,
    asked: Sequence[Example],
    items: Mapping[str, Mapping[str, Mapping[str, float]]],
) -> list[PaperCell]:
    metrics = CLASSES if task == "zero_shot" else RECALLS[modality]
    values = {
        metric: {role: _mean([of[e.id][key] for e in asked]) for role, of in items.items()}
        for metric, key in metrics.items()
    }
    if task == "zero_shot":
        values[PER_CLASS] = {role: _per_class(asked, of) for role, of in items.items()}
    return [
        PaperCell(set=name, modality=modality, task=task, metric=metric, n=len(asked), **roles)
        for metric, roles in values.items()
    ]


def _per_class(asked: Sequence[Example], of: Mapping[str, Mapping[str, float]]) -> float:
    classes: defaultdict[str, list[float]] = defaultdict(list)
    for example in asked:
        classes[example.answer].append(of[example.id]["accuracy"])
    return _mean([_mean(own) for own in classes.values()])


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
