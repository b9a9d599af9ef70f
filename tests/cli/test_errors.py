"""Whatever is wrong with the input: one line that names it, the documented exit code, nothing lost."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mubench.hashing import file_sha
from mubench.runner.store import META
from runner.quick import (
    Quick,
    arguments,
    copy_stages,
    environment,
    error_line,
    mubench,
)


def _state(quick: Quick) -> dict[str, tuple[int, int]]:
    """Size and time of every file of the earlier run and its cache; locks do not count."""
    return {
        str(path): (path.stat().st_size, path.stat().st_mtime_ns)
        for root in (quick.store.root, quick.folder)
        for path in root.rglob("*")
        if path.is_file() and path.suffix != ".lock"
    }


@pytest.fixture(autouse=True)
def earlier(quick: Quick) -> Iterator[Quick]:
    """An earlier run that every bad command must leave as it is."""
    before = _state(quick)
    yield quick
    assert _state(quick) == before


def refused(code: int, *words: str, env: dict[str, str] | None = None) -> str:
    """A command that fails with ``code``, before it computes anything."""
    done = mubench(*words, env=env)
    line = error_line(done, code)
    assert done.stdout == ""
    return line


@pytest.fixture
def run(tmp_path: Path) -> list[str]:
    """A ``run`` into empty folders, to which something wrong is added."""
    return ["run", "--cache", str(tmp_path / "cache"), "--out", str(tmp_path / "runs")]


# -- names, keys and values: 2 --------------------------------------------------------------


def test_unknown_method(run: list[str]) -> None:
    line = refused(2, *run, "--method", "mnau")
    assert line.startswith("unknown method 'mnau': did you mean 'manu'?")


def test_unknown_model(run: list[str]) -> None:
    line = refused(2, *run, "--method", "manu", "--model", "lava-tiny")
    assert line.startswith("unknown model 'lava-tiny': did you mean 'llava-tiny'?")


def test_unknown_benchmark(run: list[str]) -> None:
    line = refused(2, *run, "--method", "manu", "--benchmark", "people-mni")
    assert line.startswith("unknown benchmark 'people-mni': did you mean 'people-mini'?")


def test_unknown_name_with_nothing_close_lists_what_there_is(run: list[str]) -> None:
    line = refused(2, *run, "--method", "zzzzzz")
    assert "known: " in line
    assert "manu" in line


def test_unknown_method_key(run: list[str]) -> None:
    line = refused(2, *run, "--method", "manu", "--set", "method.alhpa=0.1")
    assert line == "unknown key 'method.alhpa': did you mean 'method.alpha'?"


def test_unknown_training_key(run: list[str]) -> None:
    line = refused(2, *run, "--method", "manu", "--set", "target.epoch=1")
    assert line == "unknown key 'target.epoch': did you mean 'target.epochs'?"


def test_unknown_section(run: list[str]) -> None:
    line = refused(2, *run, "--method", "manu", "--set", "methd.alpha=0.1")
    assert line == "unknown section 'methd': did you mean 'method'?"


@pytest.mark.parametrize("item", ["alpha", "alpha=1", "method.=1", "=1"])
def test_set_without_section_key_or_value(run: list[str], item: str) -> None:
    line = refused(2, *run, "--method", "manu", "--set", item)
    assert line.startswith(f"--set {item}: write section.key=value")


@pytest.mark.parametrize("item", ["target.lr=fast", "method.alpha=2", "predict.batch_size=1.5"])
def test_value_that_does_not_fit(run: list[str], item: str) -> None:
    line = refused(2, *run, "--method", "manu", "--set", item)
    assert line.startswith(item.partition("=")[0] + "=")


def test_unknown_key_in_a_config_file(run: list[str], tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text("target: {epohcs: 3}\n", encoding="utf-8")
    line = refused(2, *run, "--method", "manu", "--config", str(tmp_path / "my.yaml"))
    assert line == "unknown key 'target.epohcs': did you mean 'target.epochs'?"


def test_unknown_section_in_a_config_file(run: list[str], tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text("targte: {epochs: 3}\n", encoding="utf-8")
    line = refused(2, *run, "--method", "manu", "--config", str(tmp_path / "my.yaml"))
    assert line == "unknown section 'targte': did you mean 'target'?"


@pytest.mark.parametrize("text", ["a: [1", "- 1\n", "target: 3\n", "just words"])
def test_config_file_that_is_no_configuration(run: list[str], tmp_path: Path, text: str) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(text, encoding="utf-8")
    assert str(path) in refused(2, *run, "--method", "manu", "--config", str(path))


def test_config_file_that_is_not_there(run: list[str], tmp_path: Path) -> None:
    line = refused(2, *run, "--method", "manu", "--config", str(tmp_path / "no.yaml"))
    assert str(tmp_path / "no.yaml") in line


@pytest.mark.parametrize("seed", ["x", "-1", "1.5"])
def test_seed_that_is_none(run: list[str], seed: str) -> None:
    assert "--seed" in refused(2, *run, "--method", "manu", "--seed", seed)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["run"], "--method"),
        (["rnu"], "rnu"),
        (["run", "--method", "manu", "--sed", "1"], "--sed"),
        (["list", "methds"], "'methods'"),
        (["show", "mnau"], "'manu'"),
        (["report", "nowhere"], "nowhere"),
        (["cache", "clear", "data/nothing"], "data/nothing"),
    ],
)
def test_command_line_that_makes_no_sense(words: list[str], named: str, tmp_path: Path) -> None:
    assert named in refused(2, *words, env={"MUBENCH_CACHE": str(tmp_path)})


def test_empty_forget_set(run: list[str]) -> None:
    line = refused(2, *run, "--method", "manu", "--set", "benchmark.forget_ratio=0.001")
    assert line.startswith("the forget set is empty")
    assert "benchmark.forget_ratio" in line


def test_unknown_fact(run: list[str]) -> None:
    facts = "benchmark.facts=[birthplace, hobby, food, pet, shoe]"
    assert "shoe" in refused(2, *run, "--method", "manu", "--set", facts)


@pytest.mark.parametrize(
    ("code", "attribute"),
    [
        (None, "Mine"),
        ("x = 1\n", "Mine"),
        ("def broken(:\n", "Mine"),
        ("import not_there_at_all\n", "Mine"),
        ("raise RuntimeError('at import')\n", "Mine"),
        ("class Mine:\n    pass\n", "Mine"),
    ],
    ids=["no file", "no class", "no Python", "missing import", "raises", "no method"],
)
def test_method_file_that_is_none(
    run: list[str], tmp_path: Path, code: str | None, attribute: str
) -> None:
    path = tmp_path / "mine.py"
    if code is not None:
        path.write_text(code, encoding="utf-8")
    assert "mine.py" in refused(2, *run, "--method", f"{path}:{attribute}")


# -- weights that are not to be had: 3 ------------------------------------------------------


@pytest.mark.parametrize(
    "env",
    [
        {"HF_HUB_OFFLINE": "1"},
        {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9"},
    ],
    ids=["offline mode", "no network"],
)
def test_hub_model_without_network_or_cache(
    run: list[str], tmp_path: Path, env: dict[str, str]
) -> None:
    begun = time.monotonic()
    line = refused(
        3,
        *run,
        "--method",
        "manu",
        "--model",
        "llava",
        env={**env, "HF_HOME": str(tmp_path / "hf")},
    )
    assert time.monotonic() - begun < 15
    assert "llava-hf/llava-1.5-7b-hf" in line
    assert "llava-tiny" in line
    assert not list((tmp_path / "runs").iterdir())


# -- the experiment itself: 4 ---------------------------------------------------------------


def test_target_that_never_learned(quick: Quick, tmp_path: Path) -> None:
    words = arguments("manu", quick.store.root, tmp_path / "runs", "gate.margin=1")
    line = error_line(mubench(*words), 4)
    assert "never learned the forget people" in line
    assert not list((tmp_path / "runs").iterdir())


# -- damaged files: 5 -----------------------------------------------------------------------


def test_truncated_cache_file(quick: Quick, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    copy_stages(quick.store, cache, quick.plan, [("data", None)])
    (path,) = cache.rglob("images.parquet")
    path.write_bytes(path.read_bytes()[:-100])
    line = error_line(mubench(*arguments("manu", cache, tmp_path / "runs")), 5)
    assert str(path) in line
    command = re.search(r"'mubench (cache clear \S+)'", line)
    assert command, line
    done = mubench(*command[1].split(), "--cache", str(cache))
    assert (done.returncode, done.stdout) == (0, "removed 1 stage\n")
    assert not path.exists()


def test_picture_that_is_no_image(quick: Quick, tmp_path: Path) -> None:
    """Inside a whole file with the right hash, as if it had been built that way."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    cache = tmp_path / "cache"
    copy_stages(quick.store, cache, quick.plan, [("data", None)])
    (path,) = cache.rglob("images.parquet")
    table = pq.read_table(path)
    rows = [{**row, "bytes": b"no picture"} for row in table.column("image").to_pylist()]
    kind = table.schema.field("image")
    pq.write_table(table.set_column(1, kind, pa.array(rows, type=kind.type)), path)
    meta = json.loads((path.parent / META).read_text("utf-8"))
    meta["files"]["images.parquet"] = file_sha(path)
    (path.parent / META).write_text(json.dumps(meta), encoding="utf-8")
    line = error_line(mubench(*arguments("manu", cache, tmp_path / "runs")), 5)
    assert re.match(r"picture .\S+. in \S+images\.parquet is not an image", line)
    assert str(path) in line


def test_record_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text('{"schema_version": 1}', encoding="utf-8")
    line = refused(5, "report", str(tmp_path))
    assert str(tmp_path / "record.json") in line


# -- places that cannot be written: 6 -------------------------------------------------------


def test_output_folder_below_a_file(run: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "runs"
    words = [*run[:-1], str(out), "--method", "manu"]
    assert f"cannot write to output folder {out}" in refused(6, *words)
    assert not (tmp_path / "cache").exists(), "checked before anything is computed"


def test_cache_below_a_file(run: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cache = tmp_path / "file" / "cache"
    line = error_line(mubench(*run, "--cache", str(cache), "--method", "manu"), 6)
    assert str(cache) in line
    assert "MUBENCH_CACHE" in line


# -- interrupted: 130 -----------------------------------------------------------------------


def test_interrupted(tmp_path: Path) -> None:
    words = arguments("manu", tmp_path / "cache", tmp_path / "runs")
    running = subprocess.Popen(
        [sys.executable, "-m", "mubench", *words],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not list((tmp_path / "cache").glob("data/.*.partial")):
        assert running.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 130, errors
    assert errors.splitlines()[-1].startswith(
        "mubench: error: interrupted; the same command goes on"
    )
    assert "Traceback" not in errors
