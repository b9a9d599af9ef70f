"""The ``evaluate`` wrappers give the numbers of the scoring layer, without network."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mubench.errors import UsageError
from mubench.metrics import hf

CASES: dict[str, tuple[dict[str, Any], dict[str, float]]] = {
    "choice_accuracy": (
        {"predictions": [[-1.0, -2.0], [-2.0, -2.0], [-3.0, -1.0, -2.0]], "references": [0, 0, 1]},
        {"choice_accuracy": 2 / 3},
    ),
    "answer_probability": (
        {"predictions": [-2.0, 0.0], "references": [2, 1]},
        {"answer_probability": (0.36787944 + 1) / 2},
    ),
    "rouge_l": (
        {"predictions": ["cat on mat", "x"], "references": ["cat sat on mat", "y"]},
        {"rouge_l": (6 / 7) / 2, "rouge_l_recall": 3 / 8},
    ),
    "exact_match": (
        {"predictions": ["The Cat!", "cats"], "references": ["cat", "cat"]},
        {"exact_match": 0.5},
    ),
    "keyword_match": (
        {"predictions": ["In Paris.", "comparison"], "references": ["Paris", "Paris"]},
        {"keyword_match": 0.5},
    ),
    "cloze_match": (
        {"predictions": ["Paris.", "In Paris"], "references": ["Paris", "Paris"]},
        {"cloze_match": 0.5},
    ),
    "refusal_rate": ({"predictions": ["I don’t know", "Paris"]}, {"refusal_rate": 0.5}),
    "degenerate_rate": ({"predictions": ["", "Paris"]}, {"degenerate_rate": 0.5}),
}


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def test_every_metric_has_a_case() -> None:
    assert set(CASES) == set(hf.NAMES)


@pytest.mark.parametrize("name", CASES)
def test_compute(name: str) -> None:
    columns, expected = CASES[name]
    metric = hf.load(name)
    assert metric.name == name
    assert metric.compute(**columns) == pytest.approx(expected)
    assert metric.compute(**columns) == pytest.approx(expected)  # an object can be used again


def test_rows_can_be_added_one_by_one() -> None:
    metric = hf.load("keyword_match")
    metric.add(prediction="In Paris.", reference="Paris")
    metric.add(prediction="comparison", reference="Paris")
    assert metric.compute() == {"keyword_match": 0.5}


def test_metrics_combine() -> None:
    import evaluate

    both = evaluate.combine([hf.load("exact_match"), hf.load("keyword_match")])
    got = both.compute(predictions=["in Paris"], references=["Paris"])
    assert got == {"exact_match": 0.0, "keyword_match": 1.0}


def test_bad_input_is_refused() -> None:
    with pytest.raises(UsageError, match="did you mean 'rouge_l'"):
        hf.load("rouge")
    with pytest.raises(ValueError, match="expected format"):
        hf.load("exact_match").compute(predictions=[1], references=["a"])


def test_nothing_slow_is_imported_before_load() -> None:
    code = (
        "import sys, mubench.metrics.hf as hf, mubench.metrics.scoring\n"
        "slow = {'torch', 'evaluate', 'datasets', 'rouge_score', 'nltk'} & set(sys.modules)\n"
        "sys.exit(f'imported {slow}' if slow else 0)"
    )
    package = Path(hf.__file__).parents[2]
    env = {"PYTHONPATH": str(package)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=env, check=False
    )
    assert done.returncode == 0, done.stderr
