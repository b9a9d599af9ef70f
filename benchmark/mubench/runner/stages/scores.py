"""The score stage: from stored responses alone to cells with intervals and gaps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mubench.config.schema import RunSpec
from mubench.data.load import BenchmarkData
from mubench.errors import RunError
from mubench.metrics import scoring
from mubench.record import Cell
from mubench.types import Role

from . import Report
from .prediction import read_responses


def score(
    spec: RunSpec, data: BenchmarkData, predictions: dict[Role, Path], folder: Path, report: Report
) -> dict[str, Any]:
    """Cells with intervals and gaps, from stored predictions alone."""
    scores = {role: item_scores(data, path) for role, path in predictions.items()}
    report(1, 2, "intervals")
    cells = scoring.build_cells(data.examples, scores, answer_prior(data), spec.seed)
    text = "".join(cell.model_dump_json() + "\n" for cell in cells)
    (folder / "cells.jsonl").write_text(text, encoding="utf-8")
    for role, found in scores.items():
        lines = (json.dumps({"id": key, **item.values}) for key, item in found.items())
        (folder / f"{role}.items.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    report(2, 2, "intervals")
    return {"cells": len(cells)}


def item_scores(data: BenchmarkData, folder: Path) -> dict[str, scoring.ItemScore]:
    """Every example's scores from the stored responses."""
    responses = read_responses(folder)
    missing = [example.id for example in data.examples if example.id not in responses]
    if missing:
        raise RunError(f"{folder} lacks {len(missing)} responses, the first is {missing[0]}")
    return {example.id: scoring.score(example, responses[example.id]) for example in data.examples}


def answer_prior(data: BenchmarkData) -> dict[str, float]:
    """The best accuracy without knowing the person, per choice question about trained people."""
    answers: dict[str, dict[str, str]] = {}
    for example in data.train("retain"):
        answers.setdefault(example.fact, {})[example.person] = example.keyword
    asked = [
        example
        for example in data.examples
        if example.task == "choice" and example.set in ("forget", "test", "retain")
    ]
    return scoring.answer_prior(asked, {fact: list(of.values()) for fact, of in answers.items()})


def read_cells(folder: Path) -> list[Cell]:
    lines = (folder / "cells.jsonl").read_text(encoding="utf-8").splitlines()
    return [Cell.model_validate_json(line) for line in lines]
