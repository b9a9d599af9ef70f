"""A built benchmark keeps every promise; whichever is broken is told, with the place."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from data.damage import DAMAGE, Damage, png
from data.small import RATIO, build
from mubench.data import promises as p
from mubench.data.check import PROMISES, Finding, check
from mubench.data.evidence import Evidence
from mubench.data.load import BenchmarkData
from mubench.data.tables import TABLES, Tables, write
from mubench.errors import DamagedError
from mubench_data.facts import PERSON_FACTS


@pytest.fixture(scope="module")
def built() -> Tables:
    return build()


@pytest.fixture(scope="module")
def whole(built: Tables, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    write(built, folder)
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    return tmp_path


def broken(folder: Path) -> dict[Any, str]:
    """What is told of each broken promise, by the function that looked."""
    findings = check(BenchmarkData(folder, RATIO))
    return {
        promise.look: found.detail
        for promise, found in zip(PROMISES, findings, strict=True)
        if found.ok is False
    }


def test_a_built_benchmark_keeps_every_promise(whole: Path) -> None:
    calls: list[tuple[int, int, str]] = []
    findings = check(BenchmarkData(whole, RATIO), lambda *call: calls.append(call))
    assert [found.promise for found in findings if not found.ok] == []
    assert [found.promise for found in findings] == [promise.text for promise in PROMISES]
    assert all(found.detail for found in findings)
    pictures = json.loads((whole / "manifest.json").read_text())["rows"]["images"]
    assert calls[-1] == (pictures, pictures, "pictures")
    assert len({promise.look for promise in PROMISES}) == len(PROMISES)


def test_it_changes_nothing(whole: Path) -> None:
    before = {path: path.read_bytes() for path in whole.iterdir()}
    check(BenchmarkData(whole, RATIO))
    assert {path: path.read_bytes() for path in whole.iterdir()} == before


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damage_breaks_its_promise_alone(damage: Damage, built: Tables, tmp_path: Path) -> None:
    write(damage.change(built), tmp_path)
    found = broken(tmp_path)
    assert {look.__name__ for look in found} == {damage.promise.__name__}, found
    assert damage.names in found[damage.promise]


# -- damage to the files --------------------------------------------------------------------


def edit(folder: Path, table: str, change: Callable[[list[dict[str, Any]]], None]) -> None:
    path = folder / f"{table}.parquet"
    stored = pyarrow.parquet.read_table(path)
    rows = stored.to_pylist()
    change(rows)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema=stored.schema), path)


def test_changed_text_is_not_the_content(folder: Path) -> None:
    edit(folder, "people", lambda rows: rows[0].update(biography="Nobody."))
    found = broken(folder)
    assert set(found) == {p.content_as_recorded}
    assert "content_sha is " in found[p.content_as_recorded]


@pytest.mark.parametrize("table", TABLES)
def test_row_counts(folder: Path, table: str) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["rows"][table] += 1
    path.write_text(json.dumps(manifest))
    found = broken(folder)
    assert set(found) == {p.content_as_recorded}
    assert f"{table}.parquet has {manifest['rows'][table] - 1} rows" in found[p.content_as_recorded]


@pytest.mark.parametrize("table", TABLES)
def test_an_id_that_comes_twice(folder: Path, table: str) -> None:
    names: list[str] = []

    def repeat(rows: list[dict[str, Any]]) -> None:
        names.append(rows[-1]["id"])
        rows.append(rows[-1])

    edit(folder, table, repeat)
    found = broken(folder)
    assert f"{table}.id '{names[0]}' comes 2 times" in found[p.ids_unique]
    assert p.content_as_recorded in found


@pytest.mark.parametrize(
    ("data", "said"), [(b"nothing", "not an image"), (png((9, 9, 9)), "its pixels are not those")]
)
def test_pictures_that_are_not_what_was_stored(folder: Path, data: bytes, said: str) -> None:
    def replaced(rows: list[dict[str, Any]]) -> None:
        row = next(row for row in rows if row["id"] == "person-003/sketch")
        row["image"]["bytes"] = data

    edit(folder, "images", replaced)
    found = broken(folder)
    assert set(found) == {p.pictures_whole, p.content_as_recorded}
    assert f"picture 'person-003/sketch': {said}" in found[p.pictures_whole]


def test_splits_that_do_not_nest(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By their stored form they always do; so the reader of splits is what is broken here."""
    real = p.forget_people

    def backwards(splits: Any, people: Any, ratio: float, fold: Any) -> list[str]:
        return real({"order": splits["order"][round(ratio * 40) :]}, people, ratio, fold)

    monkeypatch.setattr(p, "forget_people", backwards)
    found = broken(whole)
    assert set(found) == {p.splits_nest}
    assert "are in a smaller split only" in found[p.splits_nest]


def test_every_promise_was_damaged() -> None:
    files = {p.content_as_recorded, p.ids_unique, p.pictures_whole}
    assert files | {damage.promise for damage in DAMAGE.values()} == {x.look for x in PROMISES}


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [("examples", "question", None), ("people", "facts", '{"pet": 3}'), ("train", "modality", "x")],
)
def test_a_row_of_another_form_is_named(folder: Path, table: str, column: str, value: Any) -> None:
    edit(folder, table, lambda rows: rows[3].update({column: value}))
    with pytest.raises(DamagedError) as refused:
        check(BenchmarkData(folder, RATIO))
    assert f"{table}.parquet, row 3, column {column}" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("key", ["splits", "rows", "refusals", "groups", "source", "content_sha"])
def test_a_manifest_without_a_key_is_named(folder: Path, key: str) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest[key]
    path.write_text(json.dumps(manifest))
    with pytest.raises(DamagedError, match=rf"manifest\.json, {key}: "):
        check(BenchmarkData(folder, RATIO))


# -- published data -------------------------------------------------------------------------


def published(built: Tables) -> Tables:
    return replace(built, source={"repo": "somebody/data"})


def test_published_data_make_the_structural_promises(built: Tables, tmp_path: Path) -> None:
    write(published(built), tmp_path)
    findings = check(BenchmarkData(tmp_path, RATIO))
    for promise, found in zip(PROMISES, findings, strict=True):
        assert found.ok is (None if promise.built else True), found
        assert (found.detail == "published data make no such promise") is promise.built
    assert 8 < sum(found.ok is True for found in findings) < len(findings)


def test_published_lists_are_of_trained_people_but_need_not_nest(
    built: Tables, tmp_path: Path
) -> None:
    order = built.splits["order"]
    (tmp_path / "apart").mkdir()
    apart = {"0.15": order[1:3], "0.05": order[:1]}
    write(replace(published(built), splits=apart), tmp_path / "apart")
    assert broken(tmp_path / "apart") == {}
    write(replace(published(built), splits={**apart, "half": ["c", *order[:2], "c"]}), tmp_path)
    found = broken(tmp_path)
    assert set(found) == {p.splits_nest}
    assert "half: c are not trained people; half: somebody comes twice" in found[p.splits_nest]


def test_what_is_not_there_is_not_promised(built: Tables, tmp_path: Path) -> None:
    alone = [e for e in built.examples if e.task == "generation" and e.modality == "image_text"]
    write(replace(published(built), examples=alone, train=[], refusals=[]), tmp_path)
    said = {found.promise: found for found in check(BenchmarkData(tmp_path, RATIO))}
    assert said["a cloze has one blank, written __"] == Finding(
        "a cloze has one blank, written __", None, "there is no cloze"
    )
    assert said["no refusal holds an answer"].ok is None
    assert said["the two forms of a question pair, with equal options and answer"].ok is True


def test_reading_is_strict_about_every_column(whole: Path) -> None:
    """What is looked at later is what was validated: no column escapes."""
    seen = Evidence(BenchmarkData(whole, RATIO), lambda *_: None)
    assert {"id", "question", "choices"} < set(seen.rows["examples"][0])
    assert set(PERSON_FACTS) > set(seen.people["person-000"].facts)
