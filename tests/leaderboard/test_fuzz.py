"""Random damage: the judge never breaks, and never accepts numbers that do not recompute."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leaderboard import made
from mubench.record import Assessment, RunRecord

JUDGE = made.validator()
FILES = (
    "record.json",
    "submission.json",
    "predictions/method.jsonl.gz",
    "predictions/gold.jsonl.gz",
)

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20),
    st.sampled_from(["", "<script>", "../..", "\u202e", "\ud800", "__proto__", 2**63, -0.0, 1e-12]),
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    return made.bundle(tmp_path_factory.mktemp("good"))


def places(value, path=()):
    """Every place in a JSON value."""
    yield path
    parts = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, part in parts:
        yield from places(part, (*path, key))


def change(value, path, new, how):
    for key in path[:-1]:
        value = value[key]
    if how == "remove":
        del value[path[-1]]
    elif how == "double" and isinstance(value, list):
        value.append(value[path[-1]])
    else:
        value[path[-1]] = new


def fuzz(folder: Path, data) -> None:
    """Damage one file, and make the hashes fit in most cases, so that it is looked at closely."""
    name = data.draw(st.sampled_from(FILES))
    path = folder / name
    raw = path.read_bytes()
    content = gzip.decompress(raw) if name.endswith(".gz") else raw
    if data.draw(st.booleans()):  # bytes
        content = bytearray(content)
        for _ in range(data.draw(st.integers(1, 3))):
            at = data.draw(st.integers(0, len(content) - 1))
            content[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    else:  # values
        lines = bytes(content).splitlines() if name.endswith(".gz") else [bytes(content)]
        at = data.draw(st.integers(0, len(lines) - 1))
        value = json.loads(lines[at])
        place = data.draw(st.sampled_from(list(places(value))[1:]))
        how = data.draw(st.sampled_from(["replace", "remove", "double"]))
        change(value, place, data.draw(values), how)
        lines[at] = json.dumps(value).encode("utf-8", "surrogatepass")
        content = b"\n".join(lines) + b"\n"
    packed = name.endswith(".gz") and data.draw(st.integers(0, 9))
    path.write_bytes(gzip.compress(bytes(content), 1, mtime=0) if packed else bytes(content))
    if name != "submission.json" and data.draw(st.integers(0, 9)):
        made.seal(folder)


def judged(good: Path, folder: Path, data) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(good, folder)
    fuzz(folder, data)
    verdict = JUDGE(folder)
    assert len(verdict.refusals) <= 1
    if verdict.refusals:
        assert verdict.refusals[0].isprintable()
        return
    # What is accepted may differ in words about the run, never in a number that was measured; a
    # field left out that has no value says the same as one that is null.
    before, after = (
        RunRecord.model_validate_json((f / "record.json").read_bytes()).model_dump(mode="json")
        for f in (good, folder)
    )
    for key in (*Assessment.model_fields, "status"):
        assert made.same(before[key], after[key]), key
    for name in FILES[2:]:
        rows = [gzip.decompress((f / name).read_bytes()).splitlines() for f in (good, folder)]
        said, now = ([json.loads(line) for line in part] for part in rows)
        scored = [sorted((row["id"], row["scores"]) for row in part) for part in (said, now)]
        assert made.same(*scored)


few = settings(
    max_examples=100, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
many = settings(few, max_examples=10_000)


@few
@given(data=st.data())
def test_no_damage_breaks_the_judge(good, data):
    judged(good, good.parent / "fuzzed", data)


@pytest.mark.bars
@pytest.mark.timeout(3600)
@many
@given(data=st.data())
def test_no_damage_of_ten_thousand_breaks_the_judge(good, data):
    judged(good, good.parent / "fuzzed", data)
