"""Whole runs: nothing is done twice, the same seed says the same, references are exact."""

from __future__ import annotations

import hashlib
import io
import json
import math
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from rich.console import Console

from mubench.config.resolve import resolve
from mubench.data.load import BenchmarkData
from mubench.errors import DamagedError, RunError
from mubench.runner import execute as executing
from mubench.runner.execute import execute, run_folder
from mubench.runner.plan import plan
from mubench.runner.stages import gate, prediction, scores, training
from mubench.runner.store import Store
from runner.quick import FEW, QUICK, Quick, contents, copy_stages, quick_run, results

BUILDERS = ("write", "train_model", "unlearn", "predict", "score")


def forbid(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Make stages fail if they are computed."""
    for name in names:

        def computed(*_: object, name: str = name) -> None:
            raise AssertionError(f"{name} ran again")

        monkeypatch.setattr(executing, name, computed)


def test_run_folder_holds_record_page_and_predictions(quick: Quick) -> None:
    assert set(contents(quick.folder)) == {
        "record.json",
        "report.html",
        "prior.json",
        *(f"predictions/{role}.jsonl" for role in ("target", "gold", "method")),
    }
    assert not list(quick.folder.parent.glob(".*")), "leftovers"


def test_record_lists_every_stage_as_computed_now(quick: Quick) -> None:
    stages_ = quick.record.stages
    assert [(s.kind, s.role, s.key) for s in stages_] == [
        (node.kind, node.role, node.key) for node in quick.plan.nodes
    ]
    assert not any(stage.cached for stage in stages_)
    assert all(stage.seconds > 0 and stage.peak_mb > 0 for stage in stages_)


def test_artifacts_have_the_hashes_of_what_lies_there(quick: Quick) -> None:
    for artifact in quick.record.artifacts:
        blob = (quick.folder / artifact.path).read_bytes()
        assert artifact.sha256 == hashlib.sha256(blob).hexdigest()
        assert artifact.bytes == len(blob)


def test_every_question_has_one_prediction_a_model(quick: Quick) -> None:
    data = BenchmarkData(quick.stage("data"), 0.25)
    for role in ("target", "gold", "method"):
        lines = (quick.folder / f"predictions/{role}.jsonl").read_text("utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        assert [row["example"]["id"] for row in rows] == [e.id for e in data.examples]
        assert all(row["response"]["status"] == "ok" for row in rows)


def test_the_three_models_differ(quick: Quick) -> None:
    """Else every comparison of this file would hold for a run that did nothing."""
    said = contents(quick.folder / "predictions")
    assert len(set(said.values())) == 3


def test_cells_agree_with_the_predictions(quick: Quick) -> None:
    """A published number can be recomputed from the published items."""
    cells = {(c.set, c.modality, c.task, c.metric): c for c in quick.record.cells}
    for role in ("target", "gold", "method"):
        lines = (quick.folder / f"predictions/{role}.jsonl").read_text("utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        for place, metric in (("choice", "probability"), ("generation", "rouge_l")):
            values = [
                row["scores"][metric]
                for row in rows
                if (row["example"]["set"], row["example"]["modality"], row["example"]["task"])
                == ("retain", "text", place)
            ]
            cell = cells["retain", "text", place, metric]
            assert cell.n == len(values)
            assert getattr(cell, role).value == pytest.approx(sum(values) / len(values))


def test_second_run_rebuilds_nothing_and_says_the_same(
    quick: Quick, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid(monkeypatch, *BUILDERS)
    again = quick_run(tmp_path, "manu", cache=quick.store.root)
    assert all(stage.cached for stage in again.record.stages)
    assert again.log.count(": cached") == len(quick.plan.nodes)
    assert results(again.folder) == results(quick.folder)


def test_a_run_replaces_its_own_folder_only(quick: Quick, tmp_path: Path) -> None:
    other = tmp_path / "runs" / "other"
    other.mkdir(parents=True)
    (other / "keep").touch()
    first = quick_run(tmp_path, "manu", cache=quick.store.root)
    second = quick_run(tmp_path, "manu", cache=quick.store.root)
    assert first.folder == second.folder
    assert {path.name for path in first.folder.parent.iterdir()} == {"other", first.folder.name}
    assert (other / "keep").exists()


def test_run_folder_name_does_not_depend_on_where_it_lies(quick: Quick) -> None:
    assert run_folder(quick.plan, Path("a")).name == run_folder(quick.plan, Path("b/c")).name
    assert run_folder(quick.plan, Path("a")).name == quick.folder.name


def test_same_seed_in_a_fresh_cache_gives_the_same_bytes(quick: Quick, tmp_path: Path) -> None:
    again = quick_run(tmp_path, "manu")
    assert not any(stage.cached for stage in again.record.stages)
    assert results(again.folder) == results(quick.folder)
    for node in quick.plan.nodes:
        assert contents(again.stage(node.kind, node.role)) == contents(
            quick.stage(node.kind, node.role)
        ), node.label


def test_another_seed_gives_other_predictions(quick: Quick, tmp_path: Path) -> None:
    other = plan(resolve("none", "llava-tiny", seed=1, sets=QUICK))
    copy_stages(quick.store, tmp_path / "cache", quick.plan, [("data", None)])
    data = BenchmarkData(Store(tmp_path / "cache").folder("data", other.node("data").key), 0.25)
    (tmp_path / "target").mkdir()
    (tmp_path / "said").mkdir()
    quiet = lambda *_: None  # noqa: E731
    training.train_model(other.spec, "target", data, tmp_path / "target", quiet)
    prediction.predict(other.spec, data, [tmp_path / "target"], tmp_path / "said", quiet)
    assert contents(tmp_path / "said") != contents(quick.stage("predict", "target"))


# -- references -----------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "role"), [("none", "target"), ("gold", "gold")])
def test_a_reference_is_what_it_refers_to(
    quick: Quick, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, role: str
) -> None:
    forbid(monkeypatch, "write", "train_model", "unlearn", "predict")
    run = quick_run(tmp_path, method, cache=quick.store.root)
    said = contents(run.folder / "predictions")
    assert said["method.jsonl"] == said[f"{role}.jsonl"]
    assert said["target.jsonl"] != said["gold.jsonl"]
    for cell in run.record.cells:
        assert cell.method == getattr(cell, role)
        if cell.gap is not None:
            assert cell.gap.value == pytest.approx(1.0 if method == "none" else 0.0)
        if method == "gold":
            assert cell.difference.value == 0


@pytest.mark.parametrize(("method", "gap"), [("target", 1.0), ("gold", 0.0)])
def test_gap_is_one_for_the_target_and_zero_for_gold(
    quick: Quick, tmp_path: Path, method: str, gap: float
) -> None:
    """Predictions are made up so that target and gold differ on everybody."""
    data = BenchmarkData(quick.stage("data"), 0.25)
    responses = prediction.read_responses(quick.stage("predict", "target"))
    folders = {}
    for role, shift in (("target", 0.0), ("gold", -3.0)):
        folders[role] = tmp_path / role
        folders[role].mkdir()
        lines = []
        for example in data.examples:
            response = responses[example.id]
            place = example.choices.index(example.answer) if example.choices else 0
            logprobs = [-5.0 * n for n in response.lengths]
            logprobs[place] += shift
            made = replace(response, logprobs=tuple(logprobs))
            lines.append(json.dumps(asdict(made)) + "\n")
        (folders[role] / "responses.jsonl").write_text("".join(lines), encoding="utf-8")
    (tmp_path / "scored").mkdir()
    given = {"target": folders["target"], "gold": folders["gold"], "method": folders[method]}
    scores.score(quick.plan.spec, data, given, tmp_path / "scored", lambda *_: None)
    gaps = [cell.gap for cell in scores.read_assessment(tmp_path / "scored").cells if cell.gap]
    assert gaps, "target and gold differ for 43 general questions: a gap is defined"
    assert all(found.value == pytest.approx(gap) for found in gaps)


# -- gate and missing predictions -----------------------------------------------------------


def test_gate_stops_before_anything_is_unlearned(
    quick: Quick, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid(monkeypatch, *BUILDERS)
    made = plan(resolve("manu", "llava-tiny", sets=(*QUICK, *FEW, "gate.margin=1")))
    with pytest.raises(RunError, match="never learned the forget people") as raised:
        execute(made, quick.store, tmp_path / "runs", Console(file=io.StringIO()))
    assert "--set target.epochs" in str(raised.value)
    assert list((tmp_path / "runs").iterdir()) == []


def test_gate_asks_whether_the_target_knows_the_forget_people(quick: Quick, tmp_path: Path) -> None:
    """Predictions are made up: the true option is always the likeliest, then the least likely."""
    data = BenchmarkData(quick.stage("data"), 0.25)
    responses = prediction.read_responses(quick.stage("predict", "target"))
    strict = plan(resolve("none", "llava-tiny", sets=(*QUICK, "gate.margin=0.3"))).spec
    for name, truth in (("knows", -0.1), ("knows nothing", -9.0)):
        lines = []
        for example in data.examples:
            response = responses[example.id]
            logprobs = [-1.0 * n for n in response.lengths]
            place = example.choices.index(example.answer) if example.choices else 0
            logprobs[place] = truth * response.lengths[place]
            lines.append(json.dumps(asdict(replace(response, logprobs=tuple(logprobs)))) + "\n")
        (tmp_path / name).mkdir()
        (tmp_path / name / "responses.jsonl").write_text("".join(lines), encoding="utf-8")
    gate.check_gate(strict, data, tmp_path / "knows")
    with pytest.raises(RunError, match="accuracy 0.00"):
        gate.check_gate(strict, data, tmp_path / "knows nothing")


def test_missing_predictions_are_an_error_not_a_zero(quick: Quick, tmp_path: Path) -> None:
    data = BenchmarkData(quick.stage("data"), 0.25)
    source = quick.stage("predict", "target") / "responses.jsonl"
    lines = source.read_text("utf-8").splitlines(keepends=True)
    (tmp_path / "responses.jsonl").write_text("".join(lines[:-3]), encoding="utf-8")
    with pytest.raises(RunError, match="3 responses are missing"):
        scores.item_scores(data, tmp_path)


def test_a_picture_that_is_no_image_fails_the_stage_that_needs_it(
    quick: Quick, tmp_path: Path
) -> None:
    """The hash is consistent: somebody built it that way."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    shutil.copytree(quick.stage("data"), tmp_path / "data")
    path = tmp_path / "data" / "images.parquet"
    table = pq.read_table(path)
    rows = table.column("image").to_pylist()
    for row in rows:
        row["bytes"] = b"no picture"
    column = pa.array(rows, type=table.schema.field("image").type)
    pq.write_table(table.set_column(1, table.schema.field("image"), column), path)
    (tmp_path / "said").mkdir()
    with pytest.raises(DamagedError, match="is not an image") as raised:
        prediction.predict(
            quick.plan.spec,
            BenchmarkData(tmp_path / "data", 0.25),
            [quick.stage("train", "target")],
            tmp_path / "said",
            lambda *_: None,
        )
    assert str(path) in str(raised.value)


def test_a_method_that_breaks_leaves_its_last_good_state_and_its_log(
    quick: Quick, tmp_path: Path
) -> None:
    """A step so large that the next loss is not finite."""
    with pytest.raises(RunError, match=r"not finite at step \d+ of .* is kept in (.*)") as raised:
        quick_run(
            tmp_path,
            "ga",
            "method.scope=full",
            "method.lr=1e36",
            "method.warmup=0",
            "method.weight_decay=0",
            cache=quick.store.root,
        )
    kept = Path(str(raised.value).partition(" is kept in ")[2])
    log = json.loads((kept / "log.json").read_text("utf-8"))
    assert log["failed"] in str(raised.value)
    assert all(math.isfinite(step["forget"]) for step in log["losses"])
    assert json.loads((kept / "delta.json").read_text("utf-8"))["kind"] == "full"
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").glob("*ga*"))
    assert Store(quick.store.root).clear("unlearn", kept.name) == 1


def test_a_spent_budget_and_the_trained_pattern_are_in_the_record(
    quick: Quick, tmp_path: Path
) -> None:
    run = quick_run(tmp_path, "npo", "method.budget.steps=2", cache=quick.store.root)
    (stage,) = [stage for stage in run.record.stages if stage.kind == "unlearn"]
    assert stage.detail["stopped"].startswith("budget.steps=2 spent after 2 steps")
    assert r"language_model\.layers" in stage.detail["scope"]
    assert f"trained {stage.detail['scope']}" in run.log
