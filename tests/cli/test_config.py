"""Defaults < preset < config file < --set; values keep their type."""

from __future__ import annotations

from pathlib import Path

import pytest

from mubench.config import resolve as module
from mubench.config.resolve import preset, resolve
from mubench.config.schema import Prediction, RunSpec
from mubench.errors import UsageError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "my.yaml"
    path.write_text(
        "target: {epochs: 3, lr: 2.0e-4}\nmethod: {alpha: 0.3}\ngate: {margin: 0.1}\n",
        encoding="utf-8",
    )
    return path


def test_defaults_below_the_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    assert preset("models", "llava-tiny")["predict"]["batch_size"] != Prediction().batch_size
    spec = resolve("manu", "llava-tiny")
    assert spec.predict.batch_size == preset("models", "llava-tiny")["predict"]["batch_size"]
    assert spec.target.weight_decay == 0.01, "a default that the preset leaves alone"


def test_preset_below_the_file(file: Path) -> None:
    spec = resolve("manu", "llava-tiny", file=file)
    assert spec.target.epochs == 3 != preset("models", "llava-tiny")["target"]["epochs"]
    assert spec.target.batch_size == preset("models", "llava-tiny")["target"]["batch_size"]
    assert spec.method.config["alpha"] == 0.3
    assert spec.gate.margin == 0.1


def test_file_below_set(file: Path) -> None:
    spec = resolve("manu", "llava-tiny", file=file, sets=["target.epochs=5", "method.alpha=0.4"])
    assert (spec.target.epochs, spec.method.config["alpha"]) == (5, 0.4)
    assert spec.target.lr == 2e-4, "what --set leaves alone stays as in the file"


def test_last_set_wins() -> None:
    spec = resolve("manu", "llava-tiny", sets=["target.epochs=5", "target.epochs=6"])
    assert spec.target.epochs == 6


def test_a_model_preset_sets_method_defaults_below_the_file(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = module.preset

    def with_methods(kind: str, name: str) -> dict[str, object]:
        found = dict(real(kind, name))
        return (
            {**found, "methods": {"manu": {"alpha": 0.2, "tau": 0.7}}}
            if kind == "models"
            else found
        )

    monkeypatch.setattr(module, "preset", with_methods)
    assert resolve("manu", "llava-tiny").method.config["alpha"] == 0.2
    config = resolve("manu", "llava-tiny", file=file).method.config
    assert (config["alpha"], config["tau"]) == (0.3, 0.7)


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ("target.lr=1e-4", 1e-4),
        ("target.lr=0.0001", 1e-4),
        ("target.epochs=7", 7.0),
        ("target.schedule=linear", "linear"),
        (
            "benchmark.facts=[pet, food, hobby, birthplace, employer]",
            ("pet", "food", "hobby", "birthplace", "employer"),
        ),
        ("model.revision=null", None),
    ],
)
def test_values_keep_their_type(item: str, expected: object) -> None:
    section, key = item.partition("=")[0].split(".")
    spec = resolve("manu", "llava-tiny", sets=[item])
    assert getattr(getattr(spec, section), key) == expected


def test_full_scope_of_a_gradient_method() -> None:
    assert resolve("ga", "llava-tiny").method.config["scope"] == "lora"
    spec = resolve("ga", "llava-tiny", sets=["method.scope=full"])
    assert spec.method.config["scope"] == "full"


def test_value_with_an_equals_sign() -> None:
    spec = resolve("manu", "llava-tiny", sets=["benchmark.title=a=b"])
    assert spec.benchmark.title == "a=b"


def test_a_key_of_another_method_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown key 'method.beta'"):
        resolve("manu", "llava-tiny", sets=["method.beta=1"])


def test_empty_config_file_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("# nothing\n", encoding="utf-8")
    assert resolve("manu", "llava-tiny", file=tmp_path / "empty.yaml") == resolve(
        "manu", "llava-tiny"
    )


def test_resolving_twice_does_not_use_up_the_preset() -> None:
    assert resolve("manu", "llava-tiny") == resolve("manu", "llava-tiny")


def test_a_spec_survives_its_own_json() -> None:
    spec = resolve("manu", "llava-tiny")
    assert RunSpec.model_validate_json(spec.model_dump_json()) == spec


def test_groups_of_settings_are_set_one_by_one(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text("method: {budget: {steps: 9, minutes: 2}}\n", encoding="utf-8")
    sets = ["method.budget.steps=5", "method.budget.peak_gb=1.5"]
    spec = resolve("npo", "llava-tiny", file=path, sets=sets)
    assert spec.method.config["budget"] == {"steps": 5, "minutes": 2, "peak_gb": 1.5}


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("method.budget.step=5", "unknown key 'method.budget.step': .*'method.budget.steps'"),
        ("method.budget.steps=0", r"method.budget.steps=0: input should be greater than 0"),
        ("method.budget=3", "method.budget=3: "),
        ("method.mask=wagel", "method.mask='wagel': input should be 'wagle'"),
        ("method.mask=wagle", r"^method: mask=wagle gates .*: add --set method.scope=full$"),
        ("method..steps=3", r"write section.key=value"),
    ],
)
def test_groups_and_masks_are_checked_in_one_line(item: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        resolve("npo", "llava-tiny", sets=[item])
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("method", ["uld", "sku", "task-arithmetic"])
@pytest.mark.parametrize("item", ["mask=random", "mask_density=0.5", "order=sequential"])
def test_what_is_learned_beside_the_model_takes_neither_mask_nor_order(
    method: str, item: str
) -> None:
    with pytest.raises(UsageError, match="unknown key"):
        resolve(method, "llava-tiny", sets=[f"method.{item}"])
    resolve("npo", "llava-tiny", sets=["method.scope=full", f"method.{item}"])
