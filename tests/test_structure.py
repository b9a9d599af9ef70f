"""Tables and files that must agree with each other."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import mubench
from mubench.config.resolve import preset, presets, resolve
from mubench.config.schema import BENCHMARKS, Settings
from mubench.config.search import draw, space
from mubench.registry import METHODS
from mubench.report.method_page import pages
from mubench.rng import stream
from mubench.runner.sources import source
from mubench.types import MethodInfo

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", METHODS.builtin)
def test_registry_target_is_the_method_of_that_name(name: str) -> None:
    made = METHODS.get(name).load()
    assert isinstance(made.info, MethodInfo)
    assert made.info.name == name
    assert issubclass(made.Config, Settings)
    config = made.Config()
    assert callable(getattr(made(config), "unlearn", None)) or made.info.kind == "reference"
    assert made.info.title
    assert made.info.formula
    assert METHODS.builtin[name][1], "no summary for 'mubench list methods'"


@pytest.mark.parametrize("model", presets("models"))
def test_every_model_preset_makes_a_valid_run_of_every_method(model: str) -> None:
    for method in METHODS.builtin:
        spec = resolve(method, model)
        assert spec.model.name == model
        assert spec.benchmark.name == preset("models", model)["benchmark"]


@pytest.mark.parametrize("name", presets("benchmarks"))
def test_every_benchmark_preset_validates(name: str) -> None:
    values = preset("benchmarks", name)
    settings = BENCHMARKS[values["kind"]].model_validate({"name": name, **values})
    source(settings).check()
    source(settings).check_split()
    assert resolve("none", "llava-tiny", name).benchmark == settings


def test_preset_method_sections_name_methods_that_exist() -> None:
    for model, values in presets("models").items():
        assert set(values.get("methods", {})) <= set(METHODS.builtin), model


def test_versions_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["version"] == mubench.__version__


def test_citation_names_the_same_version() -> None:
    found = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text("utf-8"), re.MULTILINE)
    assert found
    assert found[1].strip("\"'") == mubench.__version__


def test_readme_names_the_version_only_if_it_is_right() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    named = re.findall(r"mubench[ =v@]+(\d+\.\d+\.\d+)", text)
    assert set(named) <= {mubench.__version__}


def test_readme_s_commands_name_things_that_exist() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert set(re.findall(r"--model ([a-z][\w.-]*)", text)) <= set(presets("models"))
    assert set(re.findall(r"--benchmark ([a-z][\w.-]*)", text)) <= set(presets("benchmarks"))
    assert "manu" in re.findall(r"--method ([a-z][\w-]*)", text)


def test_method_pages_are_current() -> None:
    """``make method-pages`` makes them."""
    folder = ROOT / "docs" / "methods"
    found = {path.name: path.read_text("utf-8") for path in folder.glob("*.md")}
    assert found == pages()


@pytest.mark.parametrize("name", METHODS.builtin)
def test_what_is_tuned_can_be_drawn_and_is_valid(name: str) -> None:
    config = METHODS.get(name).load().Config
    for key, how in space(config).items():
        for number in range(20):
            value = draw(*how, getattr(config(), key), stream(number, "test"))
            config(**{key: value})
