"""Where a bundle goes: into a folder, onto a branch for a pull request, or to the Hub."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from mubench.errors import OutputError, UsageError
from mubench.record import RunRecord

from .bundle import Weights, place

RECORDS = Path("leaderboards/records")


def weights_at(text: str) -> Weights:
    """``hub:OWNER/NAME@COMMIT`` as a reference. UsageError for anything else."""
    match = re.fullmatch(r"hub:([\w.-]+/[\w.-]+)@([0-9a-f]{40})", text)
    if match is None:
        raise UsageError(
            f"--weights {text}: give attach, or hub:OWNER/NAME@COMMIT with 40 hex digits, since "
            "a branch moves"
        )
    return Weights(kind="hub", repo=match[1], revision=match[2])


def branch(bundle: Path, record: RunRecord, here: Path) -> list[str]:
    """Commit the bundle on a branch of its own; returns the commands that open the pull request.

    The work tree, index and current branch of the checkout stay as they are.
    """
    root = Path(_git(here, "rev-parse", "--show-toplevel"))
    if not (root / RECORDS.parent).is_dir():
        raise UsageError(f"{root} is no checkout of mubench: it has no folder {RECORDS.parent}")
    where, name = RECORDS / place(record), f"submit/{record.run_id}"
    if _git(root, "branch", "--list", name):
        raise UsageError(f"there is a branch {name} already: git branch -D {name}")
    title = "Submit {2} on {1}, {0}".format(*place(record).split("/"))
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        _git(root, "worktree", "add", "--quiet", "-b", name, str(tree), "HEAD")
        try:
            shutil.copytree(bundle, tree / where, dirs_exist_ok=True)
            _git(tree, "add", "--force", "--", where.as_posix())
            _git(tree, "commit", "--quiet", "-m", title)
        except (OSError, UsageError):
            _git(root, "worktree", "remove", "--force", str(tree))
            _git(root, "branch", "-D", name)
            raise
        _git(root, "worktree", "remove", "--force", str(tree))
    return [
        f"git push --set-upstream origin {name}",
        f'gh pr create --head {name} --title "{title}" --body "Made with mubench submit."',
    ]


def _git(folder: Path, *words: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True)
    except OSError as error:
        raise UsageError("git is needed for --to pr, and is not installed") from error
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise UsageError(f"git {words[0]}: {said}")
    return done.stdout.strip()


def hub(bundle: Path, record: RunRecord, repo: str) -> str:
    """Upload the bundle to its place in a data set on the Hub; returns the data set's address."""
    from mubench.data.hub import upload

    where = f"records/{place(record)}"
    return upload(bundle, repo, path=where, message=f"Submit {place(record)}")


def writable(folder: Path) -> Path:
    """The folder, made if need be. OutputError if it cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror}") from error
    return folder
