"""Data sets through the real Hub client, from a server on this machine that misbehaves on demand."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants

from data.hub_server import TOKEN, Fault, HubServer, Repo, serve
from mubench.data import hub
from mubench.errors import DamagedError, MissingError, MubenchError, OutputError

REPO = "somebody/people"
LARGE = bytes(range(256)) * 4000
FILES = {
    "README.md": b"---\nconfigs:\n- config_name: odd\n  data_files:\n  - split: train\n"
    b"    path: elsewhere/part-*\n---\n# Card\n",
    "Full_Set/train-00000-of-00002.parquet": LARGE,
    "Full_Set/train-00001-of-00002.parquet": LARGE[::-1],
    "elsewhere/part-0.parquet": b"odd",
    "half/train-00000-of-00002.parquet": b"half",
}
FULL = "Full_Set/train-00000-of-00002.parquet"


@pytest.fixture
def server() -> Iterator[HubServer]:
    with serve() as server:
        yield server


@pytest.fixture(autouse=True)
def client(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The real client, online, with a cache of its own and no patience."""
    huggingface_hub.close_session()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.3)
    monkeypatch.setattr(hub, "TIMEOUT", 0.3)
    monkeypatch.setattr("huggingface_hub.file_download._ETAG_RETRY_TIMEOUT", 0.3)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    slept = time.sleep
    monkeypatch.setattr(
        "huggingface_hub.utils._http.time",
        type("Quick", (), {"sleep": lambda _: slept(0), "time": time.time}),
    )
    monkeypatch.setattr(
        "huggingface_hub.file_download.time",
        type("Quick", (), {"sleep": lambda _: slept(0), "time": time.time}),
    )


@pytest.fixture
def commits(server: HubServer) -> tuple[str, str]:
    """An old and a new revision; the new one has another first shard."""
    server.repos[REPO] = repo = Repo()
    return repo.commit({**FILES, FULL: b"old"}), repo.commit(FILES)


def _get(server: HubServer, revision: str = "") -> hub.Files:
    found = hub.repository(REPO, revision=revision, endpoint=server.endpoint)
    return hub.fetch(found, {"Full_Set": found.config("Full_Set")})


def _line(call: Callable[[], object], kind: type[MubenchError] = MissingError) -> str:
    with pytest.raises(kind) as caught:
        call()
    line = str(caught.value)
    assert "\n" not in line and len(line) < 500
    return line


def test_newest_revision_with_hashes(server, commits):
    files = _get(server)
    assert files.repository.revision == commits[1]
    assert [path.read_bytes() for path in files.parts["Full_Set"]] == [LARGE, LARGE[::-1]]
    assert files.source == {
        "repo": REPO,
        "revision": commits[1],
        "files": {
            FULL: sha256(LARGE).hexdigest(),
            FULL.replace("00000-of", "00001-of"): sha256(LARGE[::-1]).hexdigest(),
        },
    }


def test_pinned_revision(server, commits):
    files = _get(server, commits[0])
    assert files.repository.revision == commits[0]
    assert files.parts["Full_Set"][0].read_bytes() == b"old"


def test_second_fetch_asks_for_no_file(server, commits):
    _get(server)
    server.requests.clear()
    _get(server)
    assert [method for method, path, _ in server.requests if "/resolve/" in path] == []


def test_configs_are_found_by_card_or_folder_and_must_be_whole(server, commits):
    found = hub.repository(REPO, endpoint=server.endpoint)
    assert found.config("odd") == ("elsewhere/part-0.parquet",)
    assert "has no config 'Retain_Set': it has Full_Set, elsewhere, half" in _line(
        lambda: found.config("Retain_Set")
    )
    assert "'half'" in (line := _line(lambda: found.config("half"))) and "1 of its 2 files" in line


def test_a_broken_download_is_resumed(server, commits, monkeypatch):
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 2**16)  # what is lost at most
    server.faults.append(Fault(FULL, cut_after=300_000, times=1, method="GET"))
    assert _get(server).parts["Full_Set"][0].read_bytes() == LARGE
    ranges = [head.get("Range") for head in server.seen("GET", FULL)]
    assert ranges[0] is None and ranges[1] is not None
    assert 0 < int(ranges[1].removeprefix("bytes=").rstrip("-")) <= 300_000


def test_a_download_that_breaks_again_and_again_ends(server, commits):
    server.faults.append(Fault(FULL, cut_after=0, method="GET"))
    line = _line(lambda: _get(server))
    assert line.startswith(f"{FULL} of data set {REPO}") and "broke off" in line
    assert len(server.seen("GET", FULL)) <= 10


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Fault("/api/datasets", status=401), "set HF_TOKEN"),
        (Fault("/api/datasets", status=403, code="GatedRepo"), "is gated: ask for access"),
        (Fault("/api/datasets", status=403), "access denied: your token"),
        (Fault("/api/datasets", status=404, code="RepoNotFound"), "not found: check the name"),
        (Fault("/api/datasets", status=404, code="RevisionNotFound"), "no revision 'nightly'"),
        (Fault("/api/datasets", status=429), "too many requests: wait"),
        (Fault("/api/datasets", status=500), "the server says 500"),
        (Fault("/api/datasets", delay=1.0), "did not answer in time"),
        (Fault("/resolve/", status=401), "set HF_TOKEN"),
        (Fault("/resolve/", status=403, code="GatedRepo"), "is gated: ask for access"),
        (Fault("/resolve/", status=404, code="EntryNotFound"), "does not exist at revision"),
        (Fault("/resolve/", status=429), "too many requests: wait"),
        (Fault(FULL, delay=0.5, method="GET"), "did not answer in time"),
    ],
    ids=lambda value: (
        f"{value.path}-{value.status}{value.code}" if isinstance(value, Fault) else ""
    ),
)
def test_failures_are_one_line(server, commits, fault, says):
    server.faults.append(fault)
    revision = "nightly" if "Revision" in fault.code else ""
    line = _line(lambda: _get(server, revision))
    assert says in line and REPO in line
    assert len(server.requests) <= 20  # no endless retries


def test_failures_without_a_server(server, commits):
    found = hub.repository(REPO, endpoint=server.endpoint)
    nowhere = "http://127.0.0.1:9"
    assert "cannot be reached" in _line(lambda: hub.repository(REPO, endpoint=nowhere))
    server.repos.clear()
    assert "not found, or private" in _line(lambda: found.open(FULL))
    assert "not the name of a data set" in _line(
        lambda: hub.repository("a name//that is none", endpoint=server.endpoint)
    )


def test_private_data_needs_the_token(server, commits, monkeypatch):
    server.repos[REPO].private = True
    assert "HF_TOKEN" in _line(lambda: _get(server))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert _get(server).repository.revision == commits[1]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES])
def test_a_cache_that_cannot_be_written(server, commits, monkeypatch, tmp_path, number):
    found = hub.repository(REPO, endpoint=server.endpoint)

    def full(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("huggingface_hub.file_download._download_to_tmp_and_move", full)
    line = _line(lambda: found.open(FULL), OutputError)
    assert str(tmp_path / "cache") in line and "HF_HOME" in line


def test_offline_uses_what_was_fetched(server, commits, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "is not on this machine and the network is switched off" in _line(lambda: _get(server))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    online = [_get(server, commits[0]), _get(server)]
    server.requests.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert _get(server, commits[0]).source == online[0].source
    assert _get(server).source == online[1].source  # downloaded last
    assert "at 12345" in _line(lambda: _get(server, "12345"))
    assert server.requests == []


def test_an_altered_file_in_the_cache_is_found(server, commits):
    path = _get(server).parts["Full_Set"][0]
    path.resolve().write_bytes(b"x" + LARGE[1:])
    assert "is not what was published" in _line(lambda: _get(server), DamagedError)


def test_local_copy(server, commits, tmp_path):
    copy = tmp_path / "copy"
    for path, data in {**FILES, ".cache/huggingface/x.parquet": b""}.items():
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        (copy / path).write_bytes(data)
    found = hub.repository(REPO, data_dir=copy)
    files = hub.fetch(found, {"Full_Set": found.config("Full_Set")})
    assert files.sha256 == _get(server).sha256
    assert files.repository.revision == hub.LOCAL
    assert set(found.paths) == set(FILES)
    (tmp_path / "empty").mkdir()
    assert "is empty" in _line(lambda: hub.repository(REPO, data_dir=tmp_path / "empty"))
    assert "is not a folder" in _line(lambda: hub.repository(REPO, data_dir=tmp_path / "none"))


def test_progress_counts_files(server, commits):
    found = hub.repository(REPO, endpoint=server.endpoint)
    seen: list[tuple[int, int, str]] = []
    wanted = {"Full_Set": found.config("Full_Set")}
    hub.fetch(found, wanted, lambda *step: seen.append(step))
    assert [step[:2] for step in seen] == [(0, 2), (1, 2)]


def test_uploads_come_back(server, tmp_path, monkeypatch):
    """The server takes what the real client uploads: small files, and large ones apart."""
    folder = tmp_path / "made"
    (folder / "data").mkdir(parents=True)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# Made\n")
    (folder / "data" / "train-00000-of-00001.parquet").write_bytes(LARGE)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # its storage is another protocol
    api = huggingface_hub.HfApi(endpoint=server.endpoint, token=TOKEN)
    api.create_repo("tester/made", repo_type="dataset", private=True)
    done = api.upload_folder(repo_id="tester/made", folder_path=folder, repo_type="dataset")
    found = server.repos["tester/made"].at("main")
    assert found and found[0] == done.oid
    assert found[1]["data/train-00000-of-00001.parquet"] == LARGE
    assert sha256(LARGE).hexdigest() in server.large
    assert b"# Made" in found[1]["README.md"]


def test_load_dataset_reads_from_the_server(server, tmp_path):
    """``datasets`` itself, in a process where HF_ENDPOINT is set before it is imported."""
    from data.published_fixtures import mllmu

    commit = server.put(REPO, mllmu().write(tmp_path / "data"))
    code = (
        "from datasets import load_dataset; "
        f"rows = load_dataset('{REPO}', 'forget_10', split='train', revision='{commit}'); "
        "print(len(rows), rows[0]['ID'], rows[0]['image']['path'])"
    )
    environment = os.environ | {
        "HF_ENDPOINT": server.endpoint,
        "HF_HUB_OFFLINE": "0",
        "HF_DATASETS_OFFLINE": "0",
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.split("\n")[-2] == "2 100 100.png", done.stderr[-2000:]
