"""A loopback server that speaks as much of the Hub's HTTP as its real clients need.

Data sets only: information, listings, files (with etags, commits and ranges), uploads. Faults are
asked for by part of a path, so that every failure a user can meet is met by the real client.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha1, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "hf_of_the_tests"
#: Files of these kinds are stored as large files, as the Hub does.
LARGE = (".parquet", ".zip", ".jpg", ".png", ".safetensors")


@dataclass
class Fault:
    """What goes wrong with requests whose path contains ``path``, the next ``times`` times."""

    path: str
    status: int = 0
    code: str = ""  # the Hub's X-Error-Code
    delay: float = 0.0
    cut_after: int = -1  # bytes of a body that are sent before the connection closes
    times: int = 10**6
    method: str = ""  # all, if empty


@dataclass
class Repo:
    """Commits of a data set, oldest first: (sha, files)."""

    commits: list[tuple[str, dict[str, bytes]]] = field(default_factory=list)
    private: bool = False

    def commit(self, files: dict[str, bytes]) -> str:
        """Add a commit that holds just these files; returns its 40-hex name."""
        content = [(path, sha256(data).hexdigest()) for path, data in sorted(files.items())]
        sha = sha1(json.dumps([len(self.commits), content]).encode()).hexdigest()
        self.commits.append((sha, dict(files)))
        return sha

    def at(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """A commit by name or beginning, or the newest for ``main``."""
        if revision == "main":
            return self.commits[-1] if self.commits else None
        return next((one for one in self.commits if one[0].startswith(revision)), None)


class HubServer(ThreadingHTTPServer):
    """The server: ``repos`` by name, ``faults``, and the ``requests`` it has seen."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repos: dict[str, Repo] = {}
        self.large: dict[str, bytes] = {}  # uploaded large files by sha256
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, str, dict[str, str]]] = []

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def put(self, repo: str, folder: Path) -> str:
        """Commit all files of a folder; returns the commit."""
        files = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        return self.repos.setdefault(repo, Repo()).commit(files)

    def seen(self, method: str, part: str) -> list[dict[str, str]]:
        """Headers of the requests with this method and part of a path."""
        return [head for verb, path, head in self.requests if verb == method and part in path]


@contextmanager
def serve() -> Iterator[HubServer]:
    """A running server, stopped at the end."""
    with HubServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    # --- requests -----------------------------------------------------------------------------

    def _answer(self) -> None:
        address = urlsplit(self.path)
        self.query = parse_qs(address.query)
        path = unquote(address.path)
        self.server.requests.append((self.command, path, dict(self.headers.items())))
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.fault = self._fault(path)
        if self.fault:
            time.sleep(self.fault.delay)
            if self.fault.status:
                self._error(self.fault.status, self.fault.code)
                return
        parts = path.strip("/").split("/")
        match parts:
            case ["api", "whoami-v2"]:
                self._json({"name": "tester", "type": "user", "orgs": []})
            case ["api", "validate-yaml"]:
                self._json({"errors": [], "warnings": []})
            case ["api", "repos", "create"]:
                self._create()
            case ["api", "datasets", owner, name, *rest]:
                self._api(f"{owner}/{name}", rest)
            case ["datasets", owner, name, "info", "lfs", "objects", "batch"]:
                self._batch(f"{owner}/{name.removesuffix('.git')}")
            case ["datasets", owner, name, "resolve", revision, *rest]:
                self._file(f"{owner}/{name}", revision, "/".join(rest))
            case ["large", sha] if self.command == "PUT":
                self.server.large[sha] = self.body
                self._json({})
            case _:
                self._error(404)

    def _fault(self, path: str) -> Fault | None:
        for fault in self.server.faults:
            if fault.path in path and fault.times > 0 and fault.method in ("", self.command):
                fault.times -= 1
                return fault
        return None

    def _repo(self, name: str) -> Repo | None:
        """A repository the caller may see; the Hub does not tell a private one from none."""
        repo = self.server.repos.get(name)
        allowed = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if repo is None or (repo.private and not allowed):
            self._error(404 if allowed else 401, "RepoNotFound")
            return None
        return repo

    def _api(self, name: str, rest: list[str]) -> None:
        repo = self._repo(name)
        if repo is None:
            return
        verb, revision = (rest[0], rest[1]) if len(rest) > 1 else ("", "main")
        if verb == "commit":
            self._commit(name, repo)
            return
        if verb == "preupload":
            files = json.loads(self.body)["files"]
            self._json({"files": [
                {"path": one["path"], "shouldIgnore": False,
                 "uploadMode": "lfs" if one["path"].endswith(LARGE) else "regular"}
                for one in files
            ]})  # fmt: skip
            return
        commit = repo.at(revision)
        if commit is None:
            self._error(404, "RevisionNotFound")
        elif verb == "tree":
            folder = "/".join(rest[2:])
            self._json(_tree(commit[1], folder, "recursive" in self.query))
        elif verb == "paths-info":
            given = json.loads(self.body) if self.body[:1] == b"{" else parse_qs(self.body.decode())
            self._json(_paths(commit[1], given["paths"]))
        else:
            self._json(_info(name, repo, *commit))

    def _file(self, name: str, revision: str, path: str) -> None:
        repo = self._repo(name)
        if repo is None:
            return
        commit = repo.at(revision)
        if commit is None:
            self._error(404, "RevisionNotFound")
            return
        sha, files = commit
        if path not in files:
            self._error(404, "EntryNotFound", {"X-Repo-Commit": sha})
            return
        data = files[path]
        start = 0
        if asked := self.headers.get("Range"):
            start = int(asked.removeprefix("bytes=").split("-")[0])
        head = {
            "ETag": f'"{_etag(path, data)}"',
            "X-Repo-Commit": sha,
            "Accept-Ranges": "bytes",
            "Content-Type": "application/octet-stream",
        }
        if asked:
            head["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        self._send(206 if asked else 200, data[start:], head)

    # --- uploads ------------------------------------------------------------------------------

    def _create(self) -> None:
        asked = json.loads(self.body)
        name = "/".join(filter(None, (asked.get("organization") or "tester", asked["name"])))
        if name in self.server.repos:
            self._error(409)
            return
        self.server.repos[name] = Repo(private=bool(asked.get("private")))
        self.server.repos[name].commit({".gitattributes": b""})
        self._json({"url": f"{self.server.endpoint}/datasets/{name}", "id": name, "name": name})

    def _batch(self, name: str) -> None:
        if self._repo(name) is None:
            return
        self._json({"transfer": "basic", "objects": [
            {"oid": one["oid"], "size": one["size"],
             "actions": {"upload": {"href": f"{self.server.endpoint}/large/{one['oid']}"}}}
            for one in json.loads(self.body)["objects"]
        ]})  # fmt: skip

    def _commit(self, name: str, repo: Repo) -> None:
        files = dict(repo.commits[-1][1]) if repo.commits else {}
        for line in self.body.splitlines():
            item = json.loads(line)
            value = item["value"]
            match item["key"]:
                case "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    files[value["path"]] = self.server.large[value["oid"]]
                case "deletedFile":
                    del files[value["path"]]
        sha = repo.commit(files)
        url = f"{self.server.endpoint}/datasets/{name}/commit/{sha}"
        self._json({"success": True, "commitOid": sha, "commitUrl": url})

    # --- answers ------------------------------------------------------------------------------

    def _json(self, value: Any) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _error(self, status: int, code: str = "", head: dict[str, str] | None = None) -> None:
        head = dict(head or {})
        if code:
            head["X-Error-Code"] = code
        self._send(status, b'{"error": "as asked"}', {"Content-Type": "application/json", **head})

    def _send(self, status: int, data: bytes, head: dict[str, str]) -> None:
        try:
            self.send_response(status)
            for name, value in head.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command == "HEAD":
                return
            if self.fault and self.fault.cut_after >= 0:
                self.wfile.write(data[: self.fault.cut_after])
                self.wfile.flush()
                self.close_connection = True
                self.connection.shutdown(2)
                return
            self.wfile.write(data)
        except OSError:  # the client gave up waiting
            self.close_connection = True


def _etag(path: str, data: bytes) -> str:
    """As the Hub: sha256 of large files, git's name of others."""
    if path.endswith(LARGE):
        return sha256(data).hexdigest()
    return sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _entry(path: str, data: bytes) -> dict[str, Any]:
    entry = {"type": "file", "path": path, "size": len(data), "oid": _etag(path, data)}
    if path.endswith(LARGE):
        entry["lfs"] = {"oid": _etag(path, data), "size": len(data), "pointerSize": 134}
    return entry


def _tree(files: dict[str, bytes], folder: str, recursive: bool) -> list[dict[str, Any]]:
    start = f"{folder}/" if folder else ""
    inside = {path: data for path, data in files.items() if path.startswith(start)}
    folders = {
        start + "/".join(parts[:depth])
        for path in inside
        if (parts := path.removeprefix(start).split("/"))
        for depth in range(1, len(parts))
    }
    entries = [{"type": "directory", "path": one, "size": 0, "oid": "0" * 40} for one in folders]
    entries += [_entry(path, data) for path, data in inside.items()]
    deep = len(start.split("/"))
    return [one for one in entries if recursive or len(str(one["path"]).split("/")) == deep]


def _paths(files: dict[str, bytes], paths: list[str]) -> list[dict[str, Any]]:
    found = [_entry(path, files[path]) for path in paths if path in files]
    folders = [path for path in paths if any(one.startswith(f"{path}/") for one in files)]
    return found + [{"type": "directory", "path": one, "oid": "0" * 40} for one in folders]


def _info(name: str, repo: Repo, sha: str, files: dict[str, bytes]) -> dict[str, Any]:
    return {
        "_id": "0" * 24,
        "id": name,
        "sha": sha,
        "author": name.split("/")[0],
        "private": repo.private,
        "gated": False,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": [],
        "lastModified": "2025-01-01T00:00:00.000Z",
        "createdAt": "2025-01-01T00:00:00.000Z",
        "siblings": [{"rfilename": path} for path in sorted(files)],
    }
