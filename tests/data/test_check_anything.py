"""Whatever is done to the files of a benchmark: it is read, or refused with one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from data.small import RATIO, build
from mubench.data.check import PROMISES, check
from mubench.data.load import BenchmarkData
from mubench.data.tables import TABLES, write
from mubench.errors import MubenchError


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    write(build(), folder)
    return folder


QUICK = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
FILES = [*(f"{name}.parquet" for name in TABLES), "manifest.json"]
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def survives(folder: Path) -> None:
    try:
        findings = check(BenchmarkData(folder, RATIO))
    except MubenchError as error:
        assert "\n" not in str(error)
    else:
        assert len(findings) == len(PROMISES)


def copied(whole: Path, to: Path) -> Path:
    shutil.copytree(whole, to, dirs_exist_ok=True)
    return to


@QUICK
@given(file=st.sampled_from(FILES), place=st.floats(0, 1), data=st.binary(max_size=8))
def test_damaged_bytes_never_crash(
    whole: Path, tmp_path: Path, file: str, place: float, data: bytes
) -> None:
    path = copied(whole, tmp_path) / file
    content = path.read_bytes()
    at = int(place * len(content))
    # Nothing to write: cut the file there.
    path.write_bytes(content[:at] + data + content[at + len(data) :] if data else content[:at])
    survives(tmp_path)


@QUICK
@given(
    table=st.sampled_from(TABLES),
    row=st.integers(0, 200),
    column=st.integers(0, 20),
    value=st.none() | st.text() | st.binary() | st.integers() | st.lists(st.text(), max_size=3),
    all_rows=st.booleans(),
)
def test_damaged_cells_never_crash(
    whole: Path, tmp_path: Path, table: str, row: int, column: int, value: Any, all_rows: bool
) -> None:
    path = copied(whole, tmp_path) / f"{table}.parquet"
    rows = pyarrow.parquet.read_table(path).to_pylist()
    names = list(rows[0])
    changed: Iterable[dict[str, Any]] = rows if all_rows else [rows[row % len(rows)]]
    for one in changed:
        one[names[column % len(names)]] = value
    try:
        damaged = pyarrow.Table.from_pylist(rows)
    except (pyarrow.ArrowException, UnicodeError):
        assume(False)
    pyarrow.parquet.write_table(damaged, path)
    survives(tmp_path)


@QUICK
@given(
    key=st.sampled_from(
        ["name", "version", "source", "content_sha", "rows", "splits", "refusals", "groups"]
    ),
    value=JSON,
    whole_file=st.booleans(),
)
def test_damaged_manifests_never_crash(
    whole: Path, tmp_path: Path, key: str, value: Any, whole_file: bool
) -> None:
    path = copied(whole, tmp_path) / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(value if whole_file else {**manifest, key: value}))
    survives(tmp_path)
