"""Commands that need no model answer at once, without torch; the others print what they promise."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mubench import __version__
from mubench.config.resolve import presets
from mubench.errors import EXIT_CODES
from mubench.metrics.catalogue import METRICS
from mubench.registry import METHODS
from runner.quick import Quick, arguments, copy_stages, environment, mubench, results

GUARD = '''
import sys


class Refuse:
    """A finder in front of all others; ImportError would be too easy to swallow."""

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "transformers", "datasets", "peft", "matplotlib"}:
            raise SystemExit(f"{name} was imported")


sys.meta_path.insert(0, Refuse())
'''


@pytest.fixture
def guarded(tmp_path: Path) -> dict[str, str]:
    """An environment in which importing a heavy library ends the process with exit code 1."""
    (tmp_path / "guard").mkdir()
    (tmp_path / "guard" / "sitecustomize.py").write_text(GUARD, encoding="utf-8")
    return {"PYTHONPATH": str(tmp_path / "guard")}


def test_the_guard_guards(guarded: dict[str, str]) -> None:
    done = mubench("doctor", env=guarded)
    assert done.returncode == 1
    assert "torch was imported" in done.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--help"], "unlearned multimodal model"),
        (["run", "--help"], "--method"),
        (["list", "methods"], "manu-official"),
        (["list", "models"], "llava-tiny"),
        (["list", "benchmarks"], "people-mini"),
        (["list", "metrics"], "rouge_l"),
        (["show", "npo"], "arXiv:2404.05868"),
        (["show", "llava"], "llava-hf/llava-1.5-7b-hf"),
        (["show", "people-mini"], "forget_ratio"),
        (["show", "rouge_l"], "ROUGE"),
        (["show", "accuracy"], "accuracy: Choice accuracy"),
        (["show", "accuracy"], "accuracy: Zero-shot accuracy"),
        (["plan", "--method", "manu"], "unlearn method"),
        (["plan", "--method", "npo", "--model", "llava"], "train gold"),
        (["cache", "ls"], "total: 0.0 MB"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_answers_at_once_without_torch(
    guarded: dict[str, str], tmp_path: Path, words: list[str], expected: str
) -> None:
    done = mubench(*words, env={**guarded, "MUBENCH_CACHE": str(tmp_path / "cache")})
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout
    assert done.stderr == ""


def test_every_method_can_be_shown(guarded: dict[str, str]) -> None:
    """One process: what matters is that no method file imports torch when it is loaded."""
    code = "import sys; sys.argv = ['mubench']\nfrom mubench.cli import commands\n" + "".join(
        f"commands.show({name!r})\n" for name in METHODS.builtin
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(guarded), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert all(f"{name}: " in done.stdout for name in METHODS.builtin)


def test_help_lists_the_exit_codes() -> None:
    text = " ".join(mubench("--help").stdout.replace("│", " ").split())
    for code, meaning in EXIT_CODES.items():
        assert f"{code}: {meaning}" in text


def test_list_names_the_origin_of_methods() -> None:
    rows = mubench("list", "methods").stdout.splitlines()[1:]
    assert {row.split()[0] for row in rows} >= set(METHODS.builtin)
    assert all(row.split()[-1] == "mubench" for row in rows if row.split()[0] in METHODS.builtin)


def test_list_metrics_has_every_metric() -> None:
    text = mubench("list", "metrics").stdout
    assert all(info.name in text for infos in METRICS.values() for info in infos)


def test_show_names_defaults_and_a_preset_s_own() -> None:
    text = mubench("show", "manu").stdout
    assert "arXiv:2502.15910" in text
    default = METHODS.get("manu").load().Config().alpha
    own = presets("models")["llava-tiny"]["methods"]["manu"]["alpha"]
    assert f"| `alpha` | {default} | llava-tiny: {own} |" in text
    assert "`--set method.KEY=VALUE`" in text


def test_plan_tells_cached_from_to_do(quick: Quick, tmp_path: Path) -> None:
    words = arguments("manu", quick.store.root, tmp_path / "runs")
    place = words.index("--out")
    del words[place : place + 2]
    text = mubench("plan", *words[1:]).stdout
    assert text.count("cached") == len(quick.plan.nodes)
    assert "to do" not in text
    fresh = mubench("plan", *words[1:], "--cache", str(tmp_path / "cache")).stdout
    assert fresh.count("to do") == len(quick.plan.nodes)
    assert all(node.label in fresh for node in quick.plan.nodes)
    assert "n/a: " in fresh
    assert not (tmp_path / "cache").exists(), "a plan writes nothing"


def test_run_prints_table_and_paths(quick: Quick, tmp_path: Path) -> None:
    """Everything is cached, so that only the command's own words are new."""
    done = mubench(*arguments("manu", quick.store.root, tmp_path / "runs"))
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "runs" / quick.folder.name
    last = done.stdout.splitlines()[-2:]
    assert last == [f"report: {folder / 'report.html'}", f"record: {folder / 'record.json'}"]
    assert "efficacy" in done.stdout.lower()
    assert done.stderr.count(": cached") == len(quick.plan.nodes)
    assert results(folder) == results(quick.folder)


@pytest.mark.parametrize("name", ["", "record.json"])
def test_report_prints_the_table_again(quick: Quick, name: str) -> None:
    done = mubench("report", str(quick.folder / name), env={"COLUMNS": "100"})
    assert done.returncode == 0, done.stderr
    for word in ("target", "gold", "manu"):
        assert word in done.stdout.lower()
    *table, last = done.stdout.splitlines()
    assert all(len(line) <= 100 for line in table)
    page = last.removeprefix("report: ")
    assert Path(page).is_file()


def test_cache_ls_and_clear(quick: Quick, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    copy_stages(quick.store, cache, quick.plan, [("data", None), ("predict", "gold")])
    env = {"MUBENCH_CACHE": str(cache)}
    listed = mubench("cache", "ls", env=env).stdout
    key = quick.plan.node("predict", "gold").key[:32]
    assert f"predict/{key}" in listed
    assert mubench("cache", "clear", f"predict/{key}", env=env).stdout == "removed 1 stage\n"
    assert f"predict/{key}" not in mubench("cache", "ls", env=env).stdout
    assert mubench("cache", "clear", env=env).stdout == "removed 1 stage\n"
    assert "total: 0.0 MB" in mubench("cache", "ls", env=env).stdout


def test_doctor_works_offline(tmp_path: Path) -> None:
    done = mubench("doctor", env={"MUBENCH_CACHE": str(tmp_path / "cache")})
    assert done.returncode == 0, done.stderr
    found = dict(line.split(maxsplit=1) for line in done.stdout.splitlines() if line.strip())
    assert found["mubench"].strip() == __version__
    assert {"python", "torch", "gpu", "cache", "hub", "llava-tiny"} <= set(found)
    assert found["hub"].startswith("offline mode")
    assert "writable" in found["cache"]


def test_debug_shows_the_traceback() -> None:
    done = mubench("show", "nothing-like-it", "--debug")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
