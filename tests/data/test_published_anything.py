"""Whatever stands in published data: it is read, or refused with one line."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.published_fixtures import FIXTURES
from mubench.benchmarks import published
from mubench.errors import MubenchError

_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
_QUICK = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def _place(value: Any, path: list[int]) -> tuple[Any, Any]:
    """A container inside a row and a key in it, found by following numbers."""
    for step in path:
        if not isinstance(value, dict | list) or not value:
            break
        keys = list(value) if isinstance(value, dict) else range(len(value))
        key = keys[step % len(keys)]
        inner = value[key]
        if not isinstance(inner, dict | list) or not inner or step % 3 == 0:
            return value, key
        value = inner
    keys = list(value) if isinstance(value, dict) else range(len(value))
    return value, keys[0]


@_QUICK
@given(
    name=st.sampled_from(["mllmu", "umu", "clear"]),
    table=st.integers(0, 20),
    row=st.integers(0, 20),
    path=st.lists(st.integers(0, 20), min_size=1, max_size=6),
    value=_ANY,
    as_text=st.sampled_from([None, repr, json.dumps]),
)
def test_any_value_anywhere_is_read_or_named(
    tmp_path_factory, name, table, row, path, value, as_text
):
    import pyarrow as pa

    fixture = FIXTURES[name]()
    rows = fixture.tables[sorted(fixture.tables)[table % len(fixture.tables)]]
    container, key = _place(rows[row % len(rows)], path)
    try:
        container[key] = as_text(value) if as_text else value
    except TypeError:  # bytes have no JSON
        return
    try:
        folder = fixture.write(tmp_path_factory.mktemp("any"))
    except (pa.ArrowException, UnicodeEncodeError, OverflowError):  # parquet cannot hold it
        return
    try:
        list(published.load(name, data_dir=folder, rows=fixture.rows).images)
    except MubenchError as error:
        assert "\n" not in str(error)


@_QUICK
@given(
    place=st.integers(0, 30),
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=6,
    ),
    file=st.sampled_from(["full.json", "split.json", "idontknow.json"]),
)
def test_any_json_is_read_or_named(tmp_path_factory, place, value, file):
    fixture = FIXTURES["fiubench"]()
    lines = fixture.files[file].split(b"\n")
    row = json.loads(lines[0])
    container, key = _place(row, [place, place // 3, place // 5])
    container[key] = value
    lines[0] = json.dumps(row).encode()
    fixture.files[file] = b"\n".join(lines)
    folder = fixture.write(tmp_path_factory.mktemp("any"))
    try:
        list(published.load("fiubench", data_dir=folder, rows=fixture.rows).images)
    except MubenchError as error:
        assert "\n" not in str(error)


@_QUICK
@given(
    data=st.binary(max_size=200),
    file=st.sampled_from(["split.json", "idontknow.json", "SFHQ.zip", "full.json"]),
)
def test_any_bytes_for_a_file_are_read_or_named(tmp_path_factory, data, file):
    fixture = FIXTURES["fiubench"]()
    fixture.files[file] = data
    folder = fixture.write(tmp_path_factory.mktemp("any"))
    try:
        list(published.load("fiubench", data_dir=folder, rows=fixture.rows).images)
    except MubenchError as error:
        assert "\n" not in str(error)
