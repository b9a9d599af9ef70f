"""SALMUBench: files of its layout become pairs, sets and galleries; who may see what."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from mubench.benchmarks import published
from mubench.config.resolve import resolve_benchmark
from mubench.data.card import statistics
from mubench.data.load import BenchmarkData
from mubench.data.tables import Tables, write
from mubench.errors import DamagedError, MissingError, UsageError
from mubench.runner.sources import source

from . import salmubench_fixture as fixture
from .hub_server import serve


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    return published.load("salmubench", data_dir=fixture.write(tmp_path_factory.mktemp("copy")))


@pytest.fixture(scope="module")
def data(tables: Tables, tmp_path_factory: pytest.TempPathFactory) -> BenchmarkData:
    folder = tmp_path_factory.mktemp("salmubench")
    write(tables, folder)
    return BenchmarkData(folder, 0)


def test_forgotten_are_pairs_and_the_same_people_s_other_facts_are_held_out(
    data: BenchmarkData,
) -> None:
    assert data.forget == set(fixture.FORGET)
    forget, kept = data.train("forget"), data.train("holdout_association")
    assert len(forget) == 2 * (7 * 3 - 3) and len(kept) == 2 * 3
    assert {e.fact for e in kept} == {"job"}
    assert {e.person for e in kept} == {f"{id_}/other facts" for id_ in fixture.FORGET[:3]}
    assert not {e.answer for e in forget} & {e.answer for e in kept}


def test_a_method_is_shown_neither_holdout_and_harmless_captions_to_keep(
    data: BenchmarkData,
) -> None:
    shown = data.train("forget", "retain")
    assert {e.person for e in data.train("holdout_identity")} == set(fixture.OTHERS)
    assert not any(other in e.answer for e in shown for other in ("Nam7", "Nam8"))
    retain = Counter(e.fact for e in data.train("retain"))
    assert retain == {"joint": 7, "disjoint": 8, "fragile": 4}
    names = {fixture.identity(number)["name"] for number in range(9)}
    assert not any(name in e.answer for e in data.train("retain") for name in names)


def test_every_set_is_asked_both_ways_among_the_distractors(data: BenchmarkData) -> None:
    asked = Counter((e.set, e.modality) for e in data.examples)
    for set_, pictures in (
        ("forget", 36), ("holdout_association", 6), ("holdout_identity", 12),
        ("retain", 7), ("general", 4),
    ):  # fmt: skip
        assert asked[set_, "image_to_text"] == asked[set_, "text_to_image"] == pictures
    for example in data.examples:
        labels = [one.label for one in data.gallery(example.gallery)]
        assert 0 < labels.count(example.answer) < len(labels)
        assert sum("harmless picture" in label for label in labels) == 12


def test_people_have_the_facts_that_are_one_text(data: BenchmarkData) -> None:
    person = next(one for one in data.people if one.id == "00004")
    assert person.name == "Nam4 Sur4"
    assert person.facts["city"] == "Boro" and "emails" not in person.facts


def test_over_the_hub_as_from_a_copy(
    tables: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    with serve() as server:
        repo = published.find("salmubench").repo
        commit = server.put(repo, fixture.write(tmp_path / "copy"))
        found = published.load("salmubench", endpoint=server.endpoint)
    assert found.version == commit
    assert found.source["files"] == tables.source["files"]
    assert found.examples == tables.examples and found.train == tables.train
    assert list(found.images) == list(tables.images)


def _spoilt(tmp_path: Path, spoil: str) -> Path:
    splits, files = fixture.content()
    if spoil == "shard":
        folder = fixture.write(tmp_path / "copy")
        (folder / "data/forget-00001-of-00002.parquet").unlink()
        return folder
    if spoil == "file":
        files.pop("fragile_set_ids.json")
    elif spoil == "kind":
        files["sensitive_set_captions_metadata.json"].popitem()
    elif spoil == "person":
        splits["forget"][3]["identity_id"] = None
    elif spoil == "both":
        splits["forget"][3]["identity_id"] = fixture.OTHERS[0]
    elif spoil == "picture":
        splits["forget"][3]["image"] = None
    return fixture.write(tmp_path / "copy", splits, files)


@pytest.mark.parametrize(
    ("spoil", "kind", "line"),
    [
        ("shard", MissingError, "'forget' .* has 1 of its 2 files"),
        ("file", MissingError, r"has no fragile_set_ids\.json"),
        ("kind", DamagedError, "file_name: '.*' is not in sensitive_set_captions_metadata"),
        ("person", DamagedError, "row 3, column identity_id: is empty"),
        ("both", DamagedError, "'00007' is in forget and in holdout_identity"),
        ("picture", DamagedError, "row 3, column image: has no picture"),
    ],
)
def test_what_is_wrong_is_named(
    tmp_path: Path, spoil: str, kind: type[Exception], line: str
) -> None:
    with pytest.raises(kind, match=line):
        published.load("salmubench", data_dir=_spoilt(tmp_path, spoil))


def test_the_card_knows_one_forget_set(data: BenchmarkData) -> None:
    assert statistics(data).forgotten == {"0": 7}


def test_only_the_published_set_can_be_forgotten(data: BenchmarkData) -> None:
    made = source(resolve_benchmark("salmubench", ["benchmark.forget_ratio=0.1"]))
    with pytest.raises(UsageError, match=r"0\.1 is not published: salmubench has 0"):
        made.check_split()
    with pytest.raises(UsageError, match="at most 0"):
        BenchmarkData(data.folder, 0, "dev").forget  # noqa: B018
