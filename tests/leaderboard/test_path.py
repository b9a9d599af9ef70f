"""A new user's four commands, with models that are really trained: from nothing to a row."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from leaderboard.test_submit import mubench
from mubench.config import resolve
from runner.quick import FEW, Quick

#: Few people, learned by heart in a minute or two; all other steps are those of the benchmark.
SMALL = {
    "fictitious": 50, "celebrities": 5, "holdout": 0, "scenes": 5, "words": 5, "forget_ratio": 0.2,
    "facts": ["birthplace", "occupation", "hobby", "food", "pet"],
}  # fmt: skip
MODELS = {
    "llava-tiny": ("people-mini", "manu", [*FEW, "target.epochs=4", "predict.max_new_tokens=12"]),
    "clip-tiny": ("clip-people", "ga", ["target.epochs=4"]),
}


@pytest.fixture
def commit(monkeypatch):
    """What the runs say of the code that made them: a commit without changes."""
    said = {"commit": "a" * 40, "dirty": False}
    monkeypatch.setattr("mubench.runner.provenance._commit", lambda: said)
    return said


@pytest.fixture
def publish(monkeypatch, tmp_path):
    """Other settings stand for those of a published benchmark; the user works in a new folder."""
    known = resolve.presets("benchmarks")

    def change(name: str, settings: dict) -> None:
        monkeypatch.setitem(known, name, known[name] | settings)

    monkeypatch.chdir(tmp_path)
    return change


def test_a_run_on_two_people_is_refused_with_what_to_do(quick: Quick, publish, tmp_path, capsys):
    """Every command works on the quick run; its two people are too few for an interval."""
    spec = quick.record.spec["benchmark"]
    publish("people-mini", {key: value for key, value in spec.items() if key != "name"})
    cache = ("--cache", str(quick.store.root))
    run = shutil.copytree(quick.folder, tmp_path / "run")
    values = json.loads((run / "record.json").read_text("utf-8"))
    for dirty, expected in ((True, "from a clean checkout"), (False, "2 persons are too few")):
        values["provenance"]["package"] |= {"commit": "a" * 40, "dirty": dirty}
        (run / "record.json").write_text(json.dumps(values), encoding="utf-8")
        assert mubench("submit", str(run)) == 0
        assert mubench("leaderboard", "validate", *cache) == 5
        (line,) = [one for one in capsys.readouterr().out.splitlines() if one.startswith("  ")]
        assert expected in line
    assert mubench("leaderboard", "build", *cache) == 0
    assert "1 rows of 1 runs" in capsys.readouterr().out


@pytest.mark.bars
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("model", MODELS)
def test_from_a_run_to_a_row_in_four_commands(model, commit, publish, capsys, monkeypatch):
    benchmark, method, sets = MODELS[model]
    publish(benchmark, SMALL)
    options = [part for item in sets for part in ("--set", item)]
    run = ("run", "--method", method, "--model", model, *options)
    monkeypatch.setattr("sys.argv", ["mubench", *run])  # which the record tells
    assert mubench(*run) == 0
    (folder,) = Path("runs").glob(f"{benchmark}-{model}-{method}-seed0-*")
    assert mubench("submit", str(folder), "--by", "anna") == 0
    assert mubench("leaderboard", "validate") == 0
    capsys.readouterr()
    assert mubench("leaderboard", "build") == 0
    assert "1 rows of 1 runs" in capsys.readouterr().out

    site = Path("leaderboards/site")
    (board,) = (site / "data").glob(f"{benchmark}@*.json")
    (row,) = json.loads(board.read_text("utf-8"))["rows"]
    assert (row["method"], row["model"], row["persons"]) == (method, model, True)
    assert row["badges"] == ["rescored", "single-seed"]
    assert any(row["gap"])
    page = (site / "runs" / f"{row['id']}.html").read_text("utf-8")
    assert f"mubench run --method {method} --model {model}" in page and ">anna<" in page
