"""Files of a published data set: from the Hugging Face Hub, its cache, or a local copy.

The real client (``huggingface_hub``) does the talking, resuming and caching. The token is its own
matter too (``HF_TOKEN``), and so are the endpoint (``HF_ENDPOINT``) and offline mode
(``HF_HUB_OFFLINE``). Here its many failures become one line each.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any

from mubench.errors import DamagedError, MissingError, MubenchError, OutputError
from mubench.hashing import file_sha

#: Seconds until the server must have answered a question about a repository or file.
TIMEOUT = 10.0
#: What ``Repository.revision`` says of a local copy: its files' hashes tell it apart.
LOCAL = "local"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SHARD = re.compile(r"-\d{5}-of-(\d{5})\.")


@dataclass(frozen=True)
class Repository:
    """A data set at one revision: which files it has, and how to come by one."""

    repo: str
    revision: str  # 40 hex digits, or LOCAL
    paths: tuple[str, ...]
    open: Callable[[str], Path]  # path in the repository -> file on this machine

    def match(self, *patterns: str) -> tuple[str, ...]:
        """Paths that match any of the glob patterns (``*`` crosses folders), sorted."""
        found = (path for path in self.paths if any(fnmatchcase(path, p) for p in patterns))
        return tuple(sorted(found))

    @cached_property
    def _declared(self) -> dict[str, tuple[str, ...]]:
        """Glob patterns by config, from the front matter of the data card, where it has one."""
        if "README.md" not in self.paths:
            return {}
        from huggingface_hub import DatasetCard

        try:
            data = DatasetCard.load(self.open("README.md"), ignore_metadata_errors=True).data
            return {
                config["config_name"]: tuple(_globs(config["data_files"]))
                for config in data.to_dict().get("configs", [])
            }
        except MubenchError:
            raise
        except Exception:  # whatever is wrong with the card, the folders say the same
            return {}

    def config(self, name: str) -> tuple[str, ...]:
        """The parquet files of a config, in shard order. MissingError names what there is."""
        patterns = self._declared.get(name, ())
        found = self.match(*patterns) or self.match(f"{name}/*.parquet")
        if not found:
            folders = sorted({path.split("/")[0] for path in self.match("*/*.parquet")})
            raise MissingError(
                f"{self} has no config '{name}': it has {', '.join(folders) or 'none'}"
            )
        return self.whole(name, found)

    def whole(self, name: str, found: tuple[str, ...]) -> tuple[str, ...]:
        """The same paths. MissingError if their names tell that there should be more."""
        shards = [match for path in found if (match := _SHARD.search(path))]
        if shards and len(found) != int(shards[0][1]):
            raise MissingError(
                f"config '{name}' of {self} has {len(found)} of its {int(shards[0][1])} files; "
                "download the others"
            )
        return found

    def __str__(self) -> str:
        return f"{self.repo}@{self.revision[:12]}"


@dataclass(frozen=True)
class Files:
    """The files that a reader wants, on this machine, by config or file name."""

    repository: Repository
    parts: Mapping[str, Sequence[Path]]
    sha256: Mapping[str, str]  # by path in the repository

    @property
    def source(self) -> dict[str, Any]:
        """What is recorded of every load."""
        return {
            "repo": self.repository.repo,
            "revision": self.repository.revision,
            "files": dict(self.sha256),
        }


def repository(
    repo: str, *, data_dir: Path | None = None, revision: str = "", endpoint: str | None = None
) -> Repository:
    """A data set on the Hub (newest revision if none is given), or its copy in ``data_dir``.

    In offline mode, what is in the client's cache. MissingError if there is nothing to be had.
    """
    from huggingface_hub.constants import is_offline_mode

    if data_dir is not None:
        return _local(repo, data_dir)
    if is_offline_mode():
        return _cached(repo, revision)
    return _online(repo, revision, endpoint)


def fetch(
    repository: Repository,
    wanted: Mapping[str, Sequence[str]],
    progress: Callable[[int, int, str], None] | None = None,
) -> Files:
    """The wanted files (repository paths by part), downloaded where need be, and their hashes."""
    paths: dict[str, list[Path]] = {part: [] for part in wanted}
    shas: dict[str, str] = {}
    total = sum(map(len, wanted.values()))
    for part, several in wanted.items():
        for path in several:
            if progress:
                progress(len(shas), total, path)
            paths[part].append(repository.open(path))
            shas[path] = _checked_sha(paths[part][-1])
    return Files(repository, paths, shas)


def upload(
    folder: Path,
    repo: str,
    *,
    path: str = "",
    message: str = "Upload with mubench data push",
    private: bool = False,
    endpoint: str | None = None,
) -> str:
    """Put a folder into a data set on the Hub, which is made if need be; returns its address.

    The token is the client's (``HF_TOKEN`` or its login). MissingError says why it cannot be done.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.constants import is_offline_mode

    if is_offline_mode():
        raise MissingError(f"data set {repo}: the network is switched off; unset HF_HUB_OFFLINE")
    api = HfApi(endpoint=endpoint)
    with _one_line(f"data set {repo}", "main"):
        made = api.create_repo(repo, repo_type="dataset", private=private, exist_ok=True)
        api.upload_folder(
            repo_id=repo,
            folder_path=folder,
            path_in_repo=path,
            repo_type="dataset",
            commit_message=message,
        )
    return str(made)


def _online(repo: str, revision: str, endpoint: str | None) -> Repository:
    from huggingface_hub import HfApi, hf_hub_download

    with _one_line(f"data set {repo}", revision):
        found = HfApi(endpoint=endpoint).dataset_info(
            repo, revision=revision or None, timeout=TIMEOUT
        )
    if not found.sha or not _COMMIT.fullmatch(found.sha):
        raise MissingError(f"data set {repo}: the server names no commit; check HF_ENDPOINT")
    commit = found.sha

    def download(path: str) -> Path:
        with _one_line(f"{path} of data set {repo}", commit):
            return Path(
                hf_hub_download(
                    repo,
                    path,
                    repo_type="dataset",
                    revision=commit,
                    endpoint=endpoint,
                    etag_timeout=TIMEOUT,
                )
            )

    paths = tuple(sibling.rfilename for sibling in found.siblings or ())
    return Repository(repo, commit, paths, download)


def _cached(repo: str, revision: str) -> Repository:
    """The pinned revision, or the one that was downloaded last."""
    from huggingface_hub import CacheNotFound, scan_cache_dir

    try:
        known = scan_cache_dir(_cache()).repos
    except CacheNotFound:
        known = frozenset()
    revisions = [
        found
        for cached in known
        if cached.repo_type == "dataset" and cached.repo_id == repo
        for found in cached.revisions
        if found.commit_hash.startswith(revision) or revision in found.refs
    ]
    if not revisions:
        raise MissingError(
            f"data set {repo}{f' at {revision}' if revision else ''} is not on this machine and "
            "the network is switched off; unset HF_HUB_OFFLINE, or give --data-dir"
        )
    found = max(revisions, key=lambda one: one.last_modified)
    files = {
        file.file_path.relative_to(found.snapshot_path).as_posix(): file.file_path
        for file in found.files
    }
    return Repository(repo, found.commit_hash, tuple(files), files.__getitem__)


def _local(repo: str, folder: Path) -> Repository:
    if not folder.is_dir():
        raise MissingError(f"--data-dir {folder} is not a folder; it should be a copy of {repo}")
    files = {
        file.relative_to(folder).as_posix(): file
        for file in sorted(folder.rglob("*"))
        if file.is_file() and not any(p.startswith(".") for p in file.relative_to(folder).parts)
    }
    if not files:
        raise MissingError(f"--data-dir {folder} is empty; it should be a copy of {repo}")
    return Repository(repo, LOCAL, tuple(files), files.__getitem__)


def _checked_sha(file: Path) -> str:
    """The hash of a file; in the client's cache, large files bear theirs as a name."""
    try:
        sha, name = file_sha(file), file.resolve().name
    except OSError as error:
        raise MissingError(f"{file} cannot be read: {_text(error)}") from error
    if _SHA256.fullmatch(name) and name != sha:
        raise DamagedError(
            f"{file} is not what was published: its download broke; delete {file.resolve()} and "
            "run the command again"
        )
    return sha


def _globs(data_files: Any) -> Iterator[str]:
    """The patterns in a data card's ``data_files``: a string, or lists and mappings of them."""
    if isinstance(data_files, str):
        yield data_files
    elif isinstance(data_files, Mapping):
        yield from _globs(data_files["path"])
    else:
        for one in data_files:
            yield from _globs(one)


@contextmanager
def _one_line(what: str, revision: str) -> Iterator[None]:
    """Any failure of the client as one line: what, where, what to do."""
    try:
        yield
    except Exception as error:  # the client raises its HTTP library's and its own kinds
        raise _explained(what, revision, error) from error


def _explained(what: str, revision: str, error: BaseException) -> MubenchError:
    from huggingface_hub import errors

    chain = list(_causes(error))
    for cause in chain:
        if isinstance(cause, errors.RevisionNotFoundError):
            return MissingError(f"{what} has no revision '{revision}'; give a branch or commit")
        if isinstance(cause, errors.GatedRepoError):
            return MissingError(
                f"{what} is gated: ask for access on its page, then set HF_TOKEN to your token"
            )
        if isinstance(cause, errors.EntryNotFoundError) and not isinstance(
            cause, errors.LocalEntryNotFoundError
        ):
            return MissingError(f"{what} does not exist at revision {revision[:12]}")
        if isinstance(cause, errors.HFValidationError):
            return MissingError(f"{what}: that is not the name of a data set on the Hub")
        if isinstance(cause, errors.HfHubHTTPError):
            status: int = cause.response.status_code
            return MissingError(f"{what}: {_ANSWERS.get(status, f'the server says {status}')}")
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            return OutputError(f"{what}: no space left in {_cache()}; free some, or set HF_HOME")
        if isinstance(cause, OSError) and cause.errno in (errno.EACCES, errno.EROFS):
            return OutputError(f"{what}: {_cache()} cannot be written to; set HF_HOME")
    names = " ".join(type(cause).__name__ for cause in chain)
    stay = "try again, set HF_HUB_OFFLINE=1 to use what is on this machine, or give --data-dir"
    if "Timeout" in names:
        return MissingError(f"{what}: the server did not answer in time; {stay}")
    if "Connect" in names:
        return MissingError(f"{what}: the server cannot be reached; check the network; {stay}")
    if "Protocol" in names or "Consistency check" in str(error):
        return MissingError(f"{what}: the download broke off; run the command again")
    return MissingError(f"{what} cannot be had: {type(error).__name__}: {_text(error)}")


_ANSWERS = {
    401: "not found, or private: check the name, or set HF_TOKEN to your token",
    403: "access denied: your token (HF_TOKEN) lacks the right to it",
    404: "not found: check the name",
    429: "too many requests: wait some minutes, or set HF_TOKEN to your token",
}


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _cache() -> str:
    from huggingface_hub.constants import HF_HUB_CACHE

    return os.fspath(HF_HUB_CACHE)


def _text(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ["no reason given"])[0][:200]
