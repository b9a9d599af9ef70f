"""Rules about the source of methods: short, no torch at import, no devices or precision."""

from __future__ import annotations

import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mubench import methods
from mubench.methods import dual
from mubench.registry import METHODS

FOLDER = Path(methods.__file__).parent
ENTRIES = METHODS.entries()


def file_of(entry):
    return entry.target.split(":")[0].removeprefix("mubench.methods.").replace(".", "/")


FILES = sorted({file_of(entry) for entry in ENTRIES.values()})
#: Losses on answers. Those on pairs alone (``dual/``) hold their closed forms as well.
LOSS_FILES = sorted(
    {
        file_of(entry)
        for entry in ENTRIES.values()
        if entry.load().info.kind == "gradient" and "/" not in file_of(entry)
    }
)


def test_the_lists_are_what_they_should_be():
    assert {"ga", "grad_diff", "idk", "kl_min", "npo", "simnpo", "rmu", "wagle"} <= set(LOSS_FILES)
    assert not {"manu", "manu_official", "references"} & set(LOSS_FILES)
    assert {*LOSS_FILES, "manu", "manu_official", "references"} <= set(FILES)
    assert {"sku", "task_arithmetic", "mip_editor"} <= set(FILES)
    assert {"uld", "guard", "icul", "output_filter"} <= set(FILES)


@pytest.mark.parametrize("name", LOSS_FILES)
def test_a_loss_takes_at_most_forty_lines(name):
    assert len((FOLDER / f"{name}.py").read_text(encoding="utf-8").splitlines()) <= 40


@pytest.mark.parametrize("name", FILES)
def test_methods_leave_devices_and_precision_alone(name):
    text = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    forbidden = r"\.to\(|\.cuda\(|\.half\(|\.bfloat16\(|autocast|GradScaler|device\s*="
    assert not re.findall(forbidden, text)


def test_methods_import_without_torch():
    paths = [*methods.__path__, *dual.__path__]
    names = [
        module.module_finder.path.replace(str(FOLDER), "mubench.methods").replace("/", ".")
        + f".{module.name}"
        for module in pkgutil.iter_modules(paths)
    ]
    names.remove("mubench.methods.loops")  # the loop itself, imported when a run starts
    assert len(names) >= len(FILES)
    code = (
        "import importlib, sys\n"
        f"for name in {names}: importlib.import_module(name)\n"
        "heavy = {'torch', 'transformers', 'peft', 'accelerate'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", sorted(ENTRIES))
def test_what_a_method_says_of_itself(name):
    method = ENTRIES[name].load()
    assert method.info.name == name
    assert method.info.title
    assert method.info.formula
    assert method.info.paper or method.info.kind == "reference"
    method(method.Config())  # every setting has a default
    assert (method.info.weight_access == "n/a") == (method.info.kind == "inference")
