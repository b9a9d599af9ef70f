"""One environment for all tests: no network, a cache of its own, few threads; one shared quick run."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator

# Before anything imports torch or the hub client; subprocesses inherit it.
_CACHE = tempfile.TemporaryDirectory(prefix="mubench-test-cache-")
os.environ |= {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HOME": f"{_CACHE.name}/huggingface",
    "MUBENCH_CACHE": f"{_CACHE.name}/mubench",
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "MPLBACKEND": "agg",
}

import pytest  # noqa: E402
from filelock import FileLock  # noqa: E402

from runner.quick import Quick, quick_found, quick_run  # noqa: E402

_LOOPBACK = ("127.", "::1", "localhost")


class NetworkUsed(OSError):
    """A test tried to leave this machine."""


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Refuse every connection but loopback and unix sockets; a swallowed refusal fails as well."""
    used: list[object] = []

    def guard(real):
        def call(self, address, *rest):
            inet = self.family in (socket.AF_INET, socket.AF_INET6)
            if inet and not str(address[0]).startswith(_LOOPBACK):
                used.append(address)
                raise NetworkUsed(f"tests must not reach the network: {address}")
            return real(self, address, *rest)

        return call

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, guard(getattr(socket.socket, name)))
    yield
    assert not used, f"network used: {used}"


@pytest.fixture(scope="session")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Quick:
    """A finished quick run of MANU, made once for all test processes.

    Its cache is shared: read it, add to it, never damage it.
    """
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "quick"
    with FileLock(f"{shared}.lock"):
        return (
            quick_found(shared, "manu") if (shared / "log").exists() else quick_run(shared, "manu")
        )
