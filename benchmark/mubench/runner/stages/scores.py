"""The score stage: from stored responses alone to all that is said about a run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mubench.config.schema import RunSpec
from mubench.data.load import BenchmarkData
from mubench.metrics import assessment, scoring
from mubench.record import Assessment

from . import Report
from .prediction import read_responses


def score(
    spec: RunSpec,
    data: BenchmarkData,
    predictions: Mapping[str, Path],
    folder: Path,
    report: Report,
) -> dict[str, Any]:
    """Item scores, cells and label, from the stored predictions of each role alone."""
    responses = {role: read_responses(path) for role, path in predictions.items()}
    scores = {}
    for number, (role, found) in enumerate(responses.items()):
        report(number, len(responses) + 1, f"answers of {role}")
        scores[role] = assessment.item_scores(data.examples, found)
        lines = (json.dumps({"id": key, **item.values}) for key, item in scores[role].items())
        (folder / f"{role}.items.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    prior = answer_prior(data)
    report(len(responses), len(responses) + 1, "intervals")
    found_ = assessment.assess(data.examples, responses, scores, prior, spec.seed)
    (folder / "assessment.json").write_text(found_.model_dump_json(), encoding="utf-8")
    (folder / "prior.json").write_text(json.dumps(prior), encoding="utf-8")
    report(len(responses) + 1, len(responses) + 1, "intervals")
    return {"cells": len(found_.cells)}


def item_scores(data: BenchmarkData, folder: Path) -> dict[str, scoring.ItemScore]:
    """Every example's scores from the stored responses."""
    return assessment.item_scores(data.examples, read_responses(folder))


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


def read_assessment(folder: Path) -> Assessment:
    text = (folder / "assessment.json").read_text(encoding="utf-8")
    return Assessment.model_validate_json(text)
