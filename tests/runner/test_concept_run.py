"""A whole run that forgets classes: stages, cells, record and page as of any other."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from data import webdata_fixture
from mubench.config.resolve import resolve
from mubench.errors import DamagedError, RunError, UsageError
from mubench.record import RunRecord
from mubench.runner.execute import execute
from mubench.runner.plan import plan
from mubench.runner.probe_answers import stored
from mubench.runner.rescore import verify
from mubench.runner.store import Store


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Sixteen classes of small pictures, and two sets as utility."""
    root = tmp_path_factory.mktemp("sets")
    copy, things, said = (
        webdata_fixture.write(files, root / name)
        for name, files in (
            ("copy", webdata_fixture.classes()),
            ("things", webdata_fixture.classes(test=2)),
            ("said", webdata_fixture.captions()),
        )
    )
    return (
        f"benchmark.data_dir={copy}",
        "benchmark.dataset=x/things",
        "benchmark.classes=16",
        f"benchmark.families={webdata_fixture.FAMILIES}",
        "benchmark.forget_ratio=0.4",
        "benchmark.scenes=2",
        "benchmark.words=2",
        f"benchmark.utility=[{things}, {said}]",
        "target.epochs=0.5",
        "target.batch_size=32",
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("concept-run"))


@pytest.fixture(scope="module")
def ran(
    store: Store, sets: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, RunRecord]:
    root = tmp_path_factory.mktemp("runs")
    made = plan(
        resolve(
            "ga",
            "clip-tiny",
            "clip-concepts",
            sets=(*sets, "gate.margin=-1", "method.epochs=1", "probe.recovery=true"),
        )
    )
    folder = execute(made, store, root, Console(file=io.StringIO()))
    return folder, RunRecord.model_validate_json((folder / "record.json").read_text("utf-8"))


def test_every_set_has_its_headline_cells(ran: tuple[Path, RunRecord]) -> None:
    found = {(cell.set, cell.task, cell.modality) for cell in ran[1].cells if cell.headline}
    for set_ in ("forget", "test", "retain", "holdout_identity", "general"):
        assert (set_, "zero_shot", "image_to_text") in found
        assert (set_, "retrieval", "text_to_image") in found
    assert ("test", "choice", "image_to_text") in found
    assert ("retain", "retrieval", "text_to_text") in found
    assert ("forget", "prototype", "image_to_image") in found
    assert ("forget", "membership", "image_to_text") in found
    assert ran[1].label is not None


def test_the_unit_of_an_interval_is_the_class(ran: tuple[Path, RunRecord]) -> None:
    cells = [cell for cell in ran[1].cells if (cell.set, cell.task) == ("test", "zero_shot")]
    assert {(cell.persons, cell.n) for cell in cells if cell.metric != "class_recall"} == {(6, 300)}
    assert all(cell.target.low is not None for cell in cells)


def test_published_sets_are_told_one_by_one(ran: tuple[Path, RunRecord]) -> None:
    found = {(cell.set, cell.metric): cell for cell in ran[1].paper}
    lines = (ran[0] / "predictions" / "method.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    own = [row for row in rows if row["example"]["fact"] == "things"]
    assert len(own) == found["things", "acc1"].n == 32
    hits: dict[str, list[bool]] = {}
    for row in own:
        right = row["response"]["text"] == row["example"]["answer"]
        hits.setdefault(row["example"]["answer"], []).append(right)
    means = [sum(one) / len(one) for one in hits.values()]
    assert found["things", "mean_per_class_recall"].method == pytest.approx(sum(means) / 16)
    for metric, modality, count, most in (
        ("text_retrieval_recall@5", "image_to_text", 6, 5),
        ("image_retrieval_recall@5", "text_to_image", 13, 5),
    ):
        asked = [
            row for row in rows
            if (row["example"]["fact"], row["example"]["modality"]) == ("said", modality)
        ]  # fmt: skip
        places = [min(row["response"]["ranks"]) for row in asked]
        assert len(places) == found["said", metric].n == count
        assert found["said", metric].method == sum(p <= most for p in places) / count
    assert set(ran[1].data["source"]["utility"]) == {"things", "said"}


def test_recovery_is_told_beside_gold_s_and_scored_again(ran: tuple[Path, RunRecord]) -> None:
    found = {cell.axes["attack"]: cell for cell in ran[1].probes}
    assert set(found) == {"1-shot prototypes", "5-shot prototypes", "relearning"}
    for cell in found.values():
        assert (cell.probe, cell.persons, cell.n) == ("recovery", 6, 300)
        assert cell.difference.value == pytest.approx(cell.method.value - cell.gold.value)
    assert verify(ran[0]) == []
    assert "How little brings it back?" in (ran[0] / "report.html").read_text("utf-8")
    path = ran[0] / "probes" / "recovery.method.jsonl.gz"
    whole = path.read_bytes()
    rows = gzip.decompress(whole).splitlines()
    path.write_bytes(gzip.compress(b"\n".join([b'{"ranks": [0]}', *rows[1:]]) + b"\n"))
    with pytest.raises(DamagedError, match="has no rank from 1 on"):
        stored(ran[0], ran[1])
    path.write_bytes(whole)


def test_the_page_is_there(ran: tuple[Path, RunRecord]) -> None:
    page = (ran[0] / "report.html").read_text("utf-8")
    assert "image to text" in page and "zero" in page


def test_a_target_that_does_not_know_the_classes_is_refused(
    store: Store, sets: tuple[str, ...], ran: object, tmp_path: Path
) -> None:
    made = plan(resolve("ga", "clip-tiny", "clip-concepts", sets=(*sets, "gate.margin=0.9")))
    with pytest.raises(RunError, match="never learned the forget people: accuracy"):
        execute(made, store, tmp_path, Console(file=io.StringIO()))


def test_a_language_model_has_no_prototypes() -> None:
    with pytest.raises(UsageError, match="--probe recovery is of dual encoders"):
        plan(resolve("ga", "llava-tiny", sets=["probe.recovery=true"]))
    with pytest.raises(UsageError, match="or take --probe recovery"):
        plan(resolve("ga", "clip-tiny", sets=["probe.leakage=true"]))


def test_a_language_model_is_not_asked_of_classes() -> None:
    with pytest.raises(UsageError, match="clip-concepts asks clip models"):
        plan(resolve("ga", "llava-tiny", "clip-concepts"))
