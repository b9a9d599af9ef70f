"""The commit a run was made from, and whether the code was changed since."""

from __future__ import annotations

import subprocess
from importlib.metadata import PackageNotFoundError

import pytest

from mubench.runner import provenance


def git(folder, *words):
    who = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    subprocess.run(["git", "-C", str(folder), *who, *words], check=True, capture_output=True)


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A copy of the module in a checkout of its own, as if the package were run from there."""

    def not_installed(_):
        raise PackageNotFoundError

    here = tmp_path / "mubench" / "runner" / "provenance.py"
    here.parent.mkdir(parents=True)
    here.write_text("here\n")
    monkeypatch.setattr(provenance, "__file__", str(here))
    monkeypatch.setattr(provenance, "distribution", not_installed)
    return tmp_path


def test_a_checkout_names_its_commit_and_its_changes(tree):
    git(tree, "init")
    git(tree, "add", ".")
    git(tree, "commit", "-m", "one")
    clean = provenance._commit()
    assert len(clean["commit"]) == 40
    assert clean["dirty"] is False
    (tree / "notes.txt").write_text("not code")
    assert provenance._commit() == clean
    (tree / "mubench" / "new.py").write_text("more = 1\n")
    assert provenance._commit() == {**clean, "dirty": True}


def test_no_checkout_and_a_checkout_of_something_else_are_not_known(tree):
    unknown = {"commit": None, "dirty": None}
    assert provenance._commit() == unknown
    git(tree, "init")  # e.g. a home folder under git, with a virtual environment in it
    (tree / "other.txt").write_text("other")
    git(tree, "add", "other.txt")
    git(tree, "commit", "-m", "one")
    assert provenance._commit() == unknown
