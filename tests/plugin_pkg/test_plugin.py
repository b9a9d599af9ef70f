"""A method from another package or from a file is a method like any other."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

from mubench.record import RunRecord
from runner.quick import Quick, arguments, error_line, mubench, quick_run

HERE = Path(__file__).parent
MODULE = HERE / "mubench_example_method.py"
PROJECT = tomllib.loads((HERE / "pyproject.toml").read_text("utf-8"))["project"]
GROUP = "mubench.methods"


def install(target: Path, name: str, version: str, points: dict[str, str]) -> Path:
    """What an installer would leave: the module, and metadata with the entry points."""
    info = target / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8"
    )
    lines = "".join(f"{point} = {place}\n" for point, place in points.items())
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n{lines}", encoding="utf-8")
    shutil.copy(MODULE, target)
    return target


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The example package on the import path: built by pip where its backend is at hand."""
    target = tmp_path_factory.mktemp("site")
    if find_spec("hatchling") and find_spec("pip"):
        source = target / "source"
        source.mkdir()
        for file in (MODULE, HERE / "pyproject.toml"):
            shutil.copy(file, source)
        words = ["--no-index", "--no-deps", "--no-build-isolation", "--target", str(target)]
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "-q"]
        subprocess.run([*pip, *words, str(source)], check=True, timeout=120)
    else:
        install(target, PROJECT["name"], PROJECT["version"], PROJECT["entry-points"][GROUP])
    return {"PYTHONPATH": str(target)}


def test_the_package_is_one_short_file() -> None:
    code = [line for line in MODULE.read_text("utf-8").splitlines() if line.strip()]
    assert len(code) <= 40


def test_list_shows_it_with_its_origin(installed: dict[str, str]) -> None:
    done = mubench("list", "methods", env=installed)
    assert done.returncode == 0, done.stderr
    (row,) = [line for line in done.stdout.splitlines() if "bounded-ascent" in line]
    assert row.split()[-1] == "mubench-example-method"
    assert "bounded-ascent" not in mubench("list", "methods").stdout, "seen without being installed"


def test_show_tells_what_it_is(installed: dict[str, str]) -> None:
    done = mubench("show", "bounded-ascent", env=installed)
    assert done.returncode == 0, done.stderr
    assert "min(nll(y_f), floor)" in done.stdout
    assert "| `floor` | 20.0 |" in done.stdout


def test_it_runs_by_name(installed: dict[str, str], quick: Quick, tmp_path: Path) -> None:
    """Target and gold come from the cache that all methods share."""
    words = arguments("bounded-ascent", quick.store.root, tmp_path, "method.epochs=0.5")
    done = mubench(*words, env=installed)
    assert done.returncode == 0, done.stderr
    (folder,) = tmp_path.iterdir()
    assert "bounded-ascent" in folder.name
    record = RunRecord.model_validate_json((folder / "record.json").read_text("utf-8"))
    assert record.method["formula"].startswith("L = -mean min")
    assert record.spec["method"]["config"]["floor"] == 20.0
    computed = [(stage.kind, stage.role) for stage in record.stages if not stage.cached]
    assert computed == [("unlearn", "method"), ("predict", "method"), ("score", None)]


def test_its_own_keys_are_checked(installed: dict[str, str], tmp_path: Path) -> None:
    words = arguments("bounded-ascent", tmp_path, tmp_path, "method.flor=1")
    line = error_line(mubench(*words, env=installed), 2)
    assert line == "unknown key 'method.flor': did you mean 'method.floor'?"


def test_a_file_runs_without_being_installed(quick: Quick, tmp_path: Path) -> None:
    run = quick_run(
        tmp_path, f"{MODULE}:BoundedAscent", "method.epochs=0.5", cache=quick.store.root
    )
    assert "BoundedAscent" in run.folder.name
    assert run.record.method["name"] == "bounded-ascent"
    assert run.folder.parent == tmp_path / "runs"
    said = (run.folder / "predictions" / "method.jsonl").read_bytes()
    assert said != (run.folder / "predictions" / "target.jsonl").read_bytes()


def test_show_of_a_file() -> None:
    done = mubench("show", f"{MODULE}:BoundedAscent")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("# bounded-ascent: Bounded ascent")


@pytest.mark.parametrize(
    "words", [["list", "methods"], ["show", "npo"], ["plan", "--method", "ga"]]
)
def test_a_built_in_name_cannot_be_taken(tmp_path: Path, words: list[str]) -> None:
    install(tmp_path, "impostor", "1.0", {"manu": "mubench_example_method:BoundedAscent"})
    line = error_line(mubench(*words, env={"PYTHONPATH": str(tmp_path)}), 2)
    assert line.startswith("method 'manu' is claimed by both mubench and impostor")


def test_two_packages_cannot_take_the_same_name(tmp_path: Path) -> None:
    for name in ("first-one", "second-one"):
        install(tmp_path / name, name, "1.0", {"same": "mubench_example_method:BoundedAscent"})
    path = f"{tmp_path / 'first-one'}:{tmp_path / 'second-one'}"
    line = error_line(mubench("list", "methods", env={"PYTHONPATH": path}), 2)
    assert "method 'same'" in line
    assert "first-one" in line
    assert "second-one" in line


def test_a_broken_package_harms_nobody_else(tmp_path: Path) -> None:
    install(tmp_path, "broken", "1.0", {"broken": "not_there_at_all:Method"})
    env = {"PYTHONPATH": str(tmp_path)}
    assert mubench("list", "methods", env=env).returncode == 0
    assert mubench("show", "manu", env=env).returncode == 0
    line = error_line(mubench("show", "broken", env=env), 2)
    assert "not_there_at_all:Method" in line
