"""The paper track beside the strict one: asked for, cached, recorded, printed."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from mubench.config.resolve import resolve
from mubench.errors import UsageError
from mubench.report.tables import render
from mubench.runner.execute import execute
from mubench.runner.plan import plan
from runner.quick import Quick, quick_run

HALF = "benchmark.forget_ratio=0.5"  # two people are shown as exemplars, two are asked about
PAPER = (HALF, "predict.track=paper")


@pytest.fixture(scope="module")
def run(quick: Quick, tmp_path_factory: pytest.TempPathFactory) -> Quick:
    return quick_run(tmp_path_factory.mktemp("paper"), "none", *PAPER, cache=quick.store.root)


def test_every_set_task_and_modality_is_there(run: Quick) -> None:
    cells = {(cell.set, cell.task, cell.modality, cell.metric): cell for cell in run.record.paper}
    metrics = {
        "choice": ["accuracy"],
        "cloze": ["match"],
        "generation": ["rouge_1", "rouge_2", "rouge_l", "bleu"],
    }
    assert set(cells) == {
        (set_, task, modality, metric)
        for set_ in ("forget", "test", "retain_shared", "retain_celebrity")
        for task, names in metrics.items()
        for modality in ("image_text", "text")
        for metric in names
    }
    # Four people; one is shown as exemplar of choice questions, two of cloze questions.
    assert cells["forget", "choice", "text", "accuracy"].n == 3 * 5
    assert cells["forget", "cloze", "text", "match"].n == 2 * 2
    assert cells["forget", "generation", "text", "bleu"].n == 4 * 2
    assert cells["retain_celebrity", "choice", "text", "accuracy"].n == 2 * 5


def test_the_strict_cells_are_what_they_are_without_it(run: Quick) -> None:
    """The track adds stages and changes no other key."""
    kinds = [node.kind for node in run.plan.nodes]
    assert kinds.count("paper") == 2  # the method is the target
    strict = quick_run(run.folder.parents[1], "none", HALF, cache=run.store.root)
    assert strict.record.cells == run.record.cells
    assert all(stage.cached for stage in strict.record.stages)
    assert strict.record.paper == []
    assert strict.plan.run_id != run.plan.run_id


def test_again_is_read_from_the_cache_and_printed(run: Quick, tmp_path: Path) -> None:
    log = io.StringIO()
    execute(run.plan, run.store, tmp_path, Console(file=log, width=200))
    assert log.getvalue().count("paper target: cached") == 1
    text = io.StringIO()
    render(run.record, Console(file=text, width=100))
    assert "retain_celebrity bleu" in text.getvalue()


def test_replies_are_kept_beside_the_predictions(run: Quick) -> None:
    names = {path.name for path in (run.folder / "predictions").iterdir()}
    assert {"target.paper.jsonl", "gold.paper.jsonl", "method.paper.jsonl"} <= names


@pytest.mark.parametrize("method", ["guard", "icul", "output-filter"])
def test_methods_that_act_on_conversations_are_refused_before_anything_runs(method: str) -> None:
    with pytest.raises(UsageError, match=f"does not go with {method}"):
        plan(resolve(method, "llava-tiny", sets=["predict.track=paper"]))


def test_too_few_people_for_exemplars_is_one_line(run: Quick, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="raise benchmark.forget_ratio"):
        quick_run(tmp_path, "none", "predict.track=paper", cache=run.store.root)
