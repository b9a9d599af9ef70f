"""SALMUBench: target and gold as published, unlearning between them, and its own metrics."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from data import salmubench_fixture
from mubench.config.resolve import resolve
from mubench.errors import DamagedError, UsageError
from mubench.models.load import load_model
from mubench.models.open_clip_files import CONFIG
from mubench.record import RunRecord
from mubench.report.tables import render
from mubench.runner.execute import execute
from mubench.runner.plan import plan, published_gold
from mubench.runner.store import Store
from tiny_clip import clip_folder


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    root = tmp_path_factory.mktemp("salmubench")
    return (
        f"benchmark.data_dir={salmubench_fixture.write(root / 'copy')}",
        f"model.source={clip_folder(root / 'compromised', seed=1)}",
        f"model.gold={clip_folder(root / 'clean', seed=2)}",
        "gate.margin=-1",
        "predict.track=paper",
    )


@pytest.fixture(scope="module")
def ran(
    sets: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Store, RunRecord]:
    root = tmp_path_factory.mktemp("run")
    made = plan(
        resolve("sim-min", "salmu-vit-b-16", sets=(*sets, "method.lr=1e-3", "method.epochs=3"))
    )
    store = Store(root / "cache")
    folder = execute(made, store, root, Console(file=io.StringIO()))
    return folder, store, RunRecord.model_validate_json((folder / "record.json").read_text("utf-8"))


def test_nothing_is_trained_and_gold_is_the_other_model(
    sets: tuple[str, ...], ran: tuple[Path, Store, RunRecord]
) -> None:
    spec = resolve("sim-min", "salmu-vit-b-16", sets=sets)
    made = plan(spec)
    stages = {stage.role: stage for stage in ran[2].stages if stage.kind == "train"}
    assert stages["target"].detail["delta"] == "none"
    for role, settings in (("target", spec.model), ("gold", published_gold(spec))):
        folder = ran[1].folder("train", made.node("train", role).key)
        loaded = load_model(spec.model, None, [folder])
        assert loaded.fingerprint() == load_model(settings, None).fingerprint()


def test_its_own_metrics_stand_beside_gold_s(ran: tuple[Path, Store, RunRecord]) -> None:
    found = {cell.metric: cell for cell in ran[2].paper}
    assert set(found) == {
        "AssocStr", "InterIdSim", "IntraIdSim", "VisIdInt", "FragSim",
        "RetFail R@1", "RetFail MRR", "ACS", "IdZSC", "CoreAssoc",
    }  # fmt: skip
    assert (found["AssocStr"].n, found["IdZSC"].n, found["VisIdInt"].n) == (36, 24, 7)
    assert found["AssocStr"].method < found["AssocStr"].target - 0.1
    log = io.StringIO()
    render(ran[2], Console(file=log, width=120))
    assert "RetFail MRR" in log.getvalue() and "image to text" in log.getvalue()


def test_association_strength_is_that_of_the_answers(ran: tuple[Path, Store, RunRecord]) -> None:
    """Every forgotten pair is also asked in a gallery: the two means are one."""
    lines = (ran[0] / "predictions" / "method.jsonl").read_text("utf-8").splitlines()
    cosines = [
        row["response"]["cosine"]
        for row in map(json.loads, lines)
        if (row["example"]["set"], row["example"]["modality"]) == ("forget", "image_to_text")
    ]
    paper = next(cell for cell in ran[2].paper if cell.metric == "AssocStr")
    assert sum(cosines) / len(cosines) == pytest.approx(paper.method, abs=1e-5)


def test_models_of_another_shape_are_refused(sets: tuple[str, ...], tmp_path: Path) -> None:
    other = clip_folder(tmp_path / "other", seed=3)
    config = json.loads((other / CONFIG).read_text("utf-8"))
    assert config["model_cfg"]["vision_cfg"]["layers"] == 3
    from mubench.models.open_clip_files import write
    from mubench.models.tiny import build_clip_tokenizer

    config["model_cfg"]["vision_cfg"]["layers"] = 2
    import open_clip

    write(other, config, open_clip.CLIP(**config["model_cfg"]), build_clip_tokenizer(["a photo"]))
    made = plan(resolve("none", "salmu-vit-b-16", sets=(*sets, f"model.gold={other}")))
    with pytest.raises(DamagedError, match="is not of the same shape"):
        execute(made, Store(tmp_path / "cache"), tmp_path, Console(file=io.StringIO()))


def test_there_is_one_published_gold(sets: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="was published with one gold model"):
        plan(resolve("none", "salmu-vit-b-16", golds=3, sets=sets))


def test_the_paper_track_needs_a_published_evaluation() -> None:
    with pytest.raises(UsageError, match="clip-people is no published evaluation"):
        plan(resolve("none", "clip-tiny", sets=["predict.track=paper"]))
