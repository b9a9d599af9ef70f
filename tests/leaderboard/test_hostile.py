"""What strangers may send: each bundle is refused with its one line, and none breaks the judge."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from leaderboard import made
from leaderboard.hostile import CASES, METHOD, PROBED, twin
from leaderboard.made import edit_rows, seal
from mubench.leaderboard import bundle as bundles
from mubench.leaderboard import strict


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    return made.bundle(tmp_path_factory.mktemp("good"))


@pytest.fixture(scope="module")
def judge():
    return made.validator()


@pytest.fixture
def folder(good, tmp_path) -> Path:
    """A bundle of one's own to spoil, at its place."""
    return shutil.copytree(good, tmp_path / Path(*good.parts[-4:]))


def root(folder: Path) -> Path:
    return folder.parents[3]


def test_the_bundle_that_is_spoilt_below_is_accepted(folder, judge):
    verdict = judge(folder, root(folder))
    assert verdict.refusals == []


@pytest.mark.parametrize("name", CASES)
def test_refused_with_its_line(name, folder, judge):
    spoil, expected = CASES[name]
    moved = spoil(folder)
    at = None if name.startswith("a published") else root(folder)
    verdict = judge(moved if isinstance(moved, Path) else folder, at)
    assert len(verdict.refusals) == 1
    line = verdict.refusals[0]
    assert expected in line
    assert line.isprintable() and len(line) < 1000
    assert line.count("; ") >= 1, "what to do about it"


def test_there_are_enough_cases():
    assert len(CASES) >= 40


def flipped(path: Path, places) -> Iterator[int]:
    """The file with one bit changed at each of the places, and at the end as it was."""
    original = path.read_bytes()
    for place in places(len(original)):
        spoilt = bytearray(original)
        spoilt[place] ^= 1
        path.write_bytes(bytes(spoilt))
        yield place
    path.write_bytes(original)


def test_one_changed_byte_is_found_in_every_file(probed, tmp_path, judge):
    folder = shutil.copytree(probed, tmp_path / Path(*probed.parts[-4:]))
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) == 14
    for path in files:
        for place in flipped(path, lambda size: {0, 9, size // 3, size // 2, size - 1}):
            assert judge(folder, root(folder)).refusals, f"{path.name}, byte {place}"
    assert judge(folder, root(folder)).refusals == []


def test_every_byte_of_the_manifest_counts(folder):
    """It alone has no hash elsewhere: it has its own, and one form."""
    path = folder / "submission.json"
    for place in flipped(path, range):
        with pytest.raises(strict.Refusal):
            bundles._submission(path)
            pytest.fail(f"byte {place}")


@pytest.fixture(scope="module")
def probed(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("probed")
    return bundles.pack(made.probed_folder(root / "runs"), root)


@pytest.mark.parametrize("name", PROBED)
def test_probes_that_do_not_recompute_are_refused(name, probed, tmp_path, judge):
    folder = shutil.copytree(probed, tmp_path / "bundle")
    spoil, expected = PROBED[name]
    spoil(folder)
    (line,) = judge(folder).refusals
    assert expected in line
    assert line.isprintable() and len(line) < 1000


def test_a_copy_of_another_submission_is_reported(tmp_path):
    judge = made.validator()
    first = made.bundle(tmp_path, "manu")
    second = made.bundle(tmp_path, "npo", forget=0.4)
    assert judge(first).notes == judge(second).notes == []

    thief = made.bundle(tmp_path, "ga", forget=0.3)
    shutil.copy(first / METHOD, thief / METHOD)
    seal(thief)
    twin(thief, "method", "method")
    verdict = judge(thief)
    assert verdict.refusals == []
    assert len(verdict.notes) == 1
    assert "100% of the answers" in verdict.notes[0] and "manu" in verdict.notes[0]


def test_a_copy_with_noise_is_reported_too(tmp_path):
    judge = made.validator()
    first = made.bundle(tmp_path, "manu")
    judge(first)
    thief = made.bundle(tmp_path, "ga", forget=0.3)
    shutil.copy(first / METHOD, thief / METHOD)
    seal(thief)

    def blur(found):
        for number, row in enumerate(found):
            response = row["response"]
            response["logprobs"] = [x * (1 + 0.002 * (number % 3)) for x in response["logprobs"]]
            row["scores"] = dict(_score(row).values)

    edit_rows(thief, "method", blur)
    twin(thief, "method", "method")
    verdict = judge(thief)
    assert verdict.refusals == []
    assert len(verdict.notes) == 1


def _score(row):
    from mubench.metrics import scoring
    from mubench.types import Response

    asked = next(e for e in made.examples() if e.id == row["id"])
    said = {**row["response"], "example_id": row["id"]}
    said["logprobs"], said["lengths"] = tuple(said["logprobs"]), tuple(said["lengths"])
    return scoring.score(asked, Response(**said))
