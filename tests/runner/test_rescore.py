"""A run folder says the same when it is scored again, and a changed one is found out."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mubench.errors import DamagedError, UsageError
from mubench.record import Assessment
from mubench.runner.resample import ask_again
from mubench.runner.rescore import recompute, rescore, verify
from mubench.runner.store import Store
from runner.quick import Quick


@pytest.fixture
def folder(quick: Quick, tmp_path: Path) -> Path:
    shutil.copytree(quick.folder, tmp_path / "run")
    return tmp_path / "run"


def test_a_run_recomputes_to_what_it_says(quick: Quick) -> None:
    record = quick.record
    assert recompute(quick.folder).model_dump() == {
        name: value
        for name, value in record.model_dump().items()
        if name in Assessment.model_fields
    }
    assert verify(quick.folder) == []


def test_no_torch_is_needed(quick: Quick) -> None:
    code = (
        "import sys; from pathlib import Path; from mubench.runner.rescore import recompute; "
        "recompute(Path(sys.argv[1])); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(quick.folder)], check=True)


def changed(folder: Path, **values: object) -> None:
    path = folder / "record.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | values), encoding="utf-8")


def test_a_better_number_is_found_out(folder: Path, quick: Quick) -> None:
    cells = quick.record.model_dump()["cells"]
    cells[0]["method"]["value"] = cells[0]["gold"]["value"] + 1e-3
    changed(folder, cells=cells)
    (problem,) = verify(folder)
    assert problem.startswith("cells: forget image_text choice accuracy: method is ")


def test_a_better_answer_is_found_out(folder: Path) -> None:
    path = folder / "predictions" / "method.jsonl"
    first, *rest = path.read_text("utf-8").splitlines()
    row = json.loads(first)
    row["scores"] = dict.fromkeys(row["scores"], 1.0)
    path.write_text("\n".join([json.dumps(row), *rest]) + "\n", encoding="utf-8")
    problems = verify(folder)
    assert problems[0] == "predictions/method.jsonl is not what was written"
    assert any("are not those of its answer" in problem for problem in problems)


def test_missing_and_added_files_are_found_out(folder: Path) -> None:
    (folder / "prior.json").unlink()
    (folder / "predictions" / "more.jsonl").touch()
    problems = verify(folder)
    assert problems[:2] == [
        "prior.json is missing",
        "predictions/more.jsonl is not part of the run",
    ]


def test_rescoring_writes_a_run_that_verifies(folder: Path, quick: Quick) -> None:
    changed(folder, cells=[], warnings=["made up"])
    path = folder / "predictions" / "gold.jsonl"
    rows = [json.loads(line) | {"scores": {}} for line in path.read_text("utf-8").splitlines()]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert verify(folder)
    record = rescore(folder, lambda _: None)
    assert verify(folder) == []
    assert record.cells == quick.record.cells and record.warnings == quick.record.warnings
    assert "made up" not in (folder / "report.html").read_text("utf-8")
    assert not list(folder.rglob("*.partial"))


def test_answers_can_be_asked_for_again(folder: Path, quick: Quick) -> None:
    assert ask_again(folder, 4, quick.store) == []
    path = folder / "predictions" / "method.jsonl"
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    for row in rows:
        row["response"]["logprobs"] = [p - 1 for p in row["response"]["logprobs"]]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert len(ask_again(folder, 4, quick.store)) == 4
    with pytest.raises(UsageError, match="not in the cache"):
        ask_again(folder, 4, Store(folder / "empty"))


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run at"):
        verify(tmp_path)
    (tmp_path / "record.json").write_text("{}", encoding="utf-8")
    with pytest.raises(DamagedError, match="not a run record"):
        verify(tmp_path)
