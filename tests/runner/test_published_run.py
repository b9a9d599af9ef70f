"""A published benchmark goes through a whole run as a built one does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from data import published_fixtures
from mubench.benchmarks import published
from mubench.config.resolve import resolve
from mubench.errors import UsageError
from mubench.runner.execute import execute
from mubench.runner.plan import plan
from mubench.runner.store import Store
from runner.quick import QUICK

FAST = tuple(item for item in QUICK if not item.startswith("benchmark."))


@pytest.mark.parametrize("name", ["mllmu", "umu", "clear", "fiubench"])
def test_a_whole_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    fixture = getattr(published_fixtures, name)()
    copy = fixture.write(tmp_path / "copy")
    small = replace(published.PUBLISHED[name], rows=fixture.rows)
    monkeypatch.setitem(published.PUBLISHED, name, small)
    ratio = next(iter(small.ratios))
    sets = (*FAST, f"benchmark.data_dir={copy}", f"benchmark.forget_ratio={ratio}")
    made = plan(resolve("grad-diff", "llava-tiny", name, sets=(*sets, "method.epochs=2")))
    folder = execute(made, Store(tmp_path / "cache"), tmp_path / "runs", Console(quiet=True))
    from mubench.record import RunRecord

    record = RunRecord.model_validate_json((folder / "record.json").read_text("utf-8"))
    assert record.status == "ok"
    assert {cell.set for cell in record.cells} >= {"forget", "retain"}
    assert record.data["source"]["repo"] == small.repo
    assert record.data["source"]["files"]
    assert str(copy) not in made.run_id


def test_a_ratio_that_was_not_published() -> None:
    with pytest.raises(UsageError, match=r"forget_ratio=0\.07 is not published: mllmu has 0\.05"):
        plan(resolve("none", "llava-tiny", "mllmu", sets=["benchmark.forget_ratio=0.07"]))


def test_the_same_copy_elsewhere_is_the_same_data(tmp_path: Path) -> None:
    keys = set()
    for place in ("here", "there"):
        copy = published_fixtures.mllmu().write(tmp_path / place)
        made = plan(resolve("none", "llava-tiny", "mllmu", sets=[f"benchmark.data_dir={copy}"]))
        keys.add((made.run_id, made.node("data").key))
    assert len(keys) == 1
