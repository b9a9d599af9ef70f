"""The settings that ship are those of the searches in the docs, and each search ends as it says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mubench.config.resolve import resolve
from mubench.config.search import space
from mubench.registry import METHODS
from mubench.runner.tune import Trial

DOCS = Path(__file__).parents[2] / "docs"
FOLDERS = {"llava-tiny": DOCS / "sweep" / "tuning", "clip-tiny": DOCS / "clip" / "tuning"}
#: Whose best try moved nothing: a try of theirs takes seconds, so that they had as many again.
TWICE = {"manu", "manu-official", "rmu"}
RECORDS = [path for folder in FOLDERS.values() for path in sorted(folder.glob("*.json"))]


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_what_ships_is_the_best_that_was_found(path: Path) -> None:
    record = json.loads(path.read_text("utf-8"))
    best = min((Trial(**trial) for trial in record["trials"]), key=lambda trial: trial.rank)
    assert best.judged and not best.gated
    assert record["best"] == best.settings
    assert record["fold"] == "dev"
    shipped = resolve(record["method"], record["model"]).method.config
    assert {key: shipped[key] for key in best.settings} == best.settings


@pytest.mark.parametrize(("model", "trials"), [("llava-tiny", 4), ("clip-tiny", 6)])
def test_every_method_had_the_same_number_of_tries(model: str, trials: int) -> None:
    """Less only where there are no more settings, more only as the docs say."""
    records = [json.loads(path.read_text("utf-8")) for path in FOLDERS[model].glob("*.json")]
    asked = {}
    for record in records:
        name = record["method"]
        asked[name] = trials * (1 + (model == "llava-tiny" and name in TWICE))
        assert len(record["trials"]) == asked[name] or name == "slug"
    assert {record["command"] for record in records} == {
        f"mubench tune --method {name} --model {model} --trials {count} --seed 0"
        for name, count in asked.items()
    }
    assert set(asked) == {name for name in METHODS.entries() if _tuned(name, model)}


def _tuned(name: str, model: str) -> bool:
    """Whether a method works on this kind of model and says how it is tuned."""
    method = METHODS.get(name).load()
    kind = "clip" if model.startswith("clip") else "mllm"
    return kind in method.info.models and bool(space(method.Config))
