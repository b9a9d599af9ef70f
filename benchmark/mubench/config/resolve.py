"""From names, a config file and ``--set`` to one RunSpec: defaults < preset < file < set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from mubench.errors import UsageError, unknown
from mubench.registry import METHODS

from .schema import (
    BENCHMARKS,
    AnyBenchmark,
    Gate,
    MethodSettings,
    ModelSettings,
    Prediction,
    Probing,
    RunSpec,
    TargetTraining,
)

#: Beside ``benchmark`` and ``method``, whose schema depends on what is named.
SECTIONS: Mapping[str, type[BaseModel]] = {
    "model": ModelSettings,
    "target": TargetTraining,
    "gate": Gate,
    "predict": Prediction,
    "probe": Probing,
}
NAMES = ("benchmark", *SECTIONS, "method")


@cache
def presets(kind: str) -> dict[str, dict[str, Any]]:
    """All presets of a kind (``models`` or ``benchmarks``) that ship with the package."""
    folder = files("mubench.config").joinpath("presets", kind)
    found = {}
    for file in folder.iterdir():
        if file.name.endswith(".yaml"):
            found[file.name.removesuffix(".yaml")] = yaml.safe_load(file.read_text("utf-8"))
    return dict(sorted(found.items()))


def preset(kind: str, name: str) -> dict[str, Any]:
    known = presets(kind)
    if name not in known:
        raise unknown(kind.removesuffix("s"), name, known, f"(see: mubench list {kind})")
    return known[name]


def read_file(path: Path) -> dict[str, Any]:
    """A YAML config file with the sections of RunSpec."""
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise UsageError(f"cannot read config file {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(
            f"config file {path} is not YAML: {' '.join(str(error).split())}"
        ) from error
    if not isinstance(value, dict) or not all(isinstance(part, dict) for part in value.values()):
        raise UsageError(f"config file {path} must hold sections: {', '.join(NAMES)}")
    return value


def parse_sets(items: Iterable[str]) -> dict[str, dict[str, Any]]:
    """``section.key=value`` items (or ``section.group.key``); values are read as YAML scalars."""
    sections: dict[str, dict[str, Any]] = {}
    for item in items:
        path, equals, value = item.partition("=")
        section, *keys = path.split(".")
        if not equals or not keys or not all(keys):
            raise UsageError(f"--set {item}: write section.key=value, e.g. --set method.lr=1e-4")
        try:
            found: Any = _scalar(value)
            for key in reversed(keys):
                found = {key: found}
            sections[section] = merged(sections.get(section, {}), found)
        except yaml.YAMLError as error:
            raise UsageError(f"--set {item}: the value is not readable") from error
    return sections


def _scalar(text: str) -> Any:
    value = yaml.safe_load(text)
    if isinstance(value, str):
        try:  # YAML 1.1 reads 1e-4 as a string
            return float(value)
        except ValueError:
            return value
    return value


def resolve(
    method: str,
    model: str,
    benchmark: str | None = None,
    *,
    seed: int = 0,
    golds: int = 1,
    file: Path | None = None,
    sets: Iterable[str] = (),
) -> RunSpec:
    """The frozen specification of a run. Raises UsageError with a suggestion for unknown names."""
    model_preset = dict(preset("models", model))
    layers = _layers(file, sets)
    methods = model_preset.pop("methods", {})
    bases: dict[str, dict[str, Any]] = {
        "target": model_preset.pop("target"),
        "predict": model_preset.pop("predict", {}),
        "gate": model_preset.pop("gate", {}),
        "model": {"name": model, **model_preset},
        "probe": {},
    }
    parts: dict[str, Any] = {
        section: _validated(section, schema, bases[section], layers)
        for section, schema in SECTIONS.items()
    }
    entry = METHODS.get(method)
    made = entry.load()
    if missing := [name for name in ("info", "Config") if not hasattr(made, name)]:
        raise UsageError(f"{entry.target} is no method: it has no {', '.join(missing)}")
    config = _validated("method", made.Config, methods.get(entry.name, {}), layers)
    return RunSpec(
        **parts,
        benchmark=_benchmark(benchmark or str(model_preset["benchmark"]), layers),
        method=MethodSettings(name=entry.name, target=entry.target, config=config.model_dump()),
        seed=seed,
        golds=golds,
    )


def resolve_benchmark(name: str, sets: Iterable[str] = ()) -> AnyBenchmark:
    """The settings of a benchmark alone."""
    return _benchmark(name, _layers(None, sets))


def _benchmark(name: str, layers: list[dict[str, Any]]) -> AnyBenchmark:
    chosen = {"name": name, **preset("benchmarks", name)}
    schema = BENCHMARKS[chosen["kind"]]
    made: AnyBenchmark = _validated("benchmark", schema, chosen, layers)
    return made


def _layers(file: Path | None, sets: Iterable[str]) -> list[dict[str, Any]]:
    layers = [read_file(file) if file else {}, parse_sets(sets)]
    for layer in layers:
        for section in layer:
            if section not in NAMES:
                raise unknown("section", section, NAMES)
    return layers


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """``above`` over ``below``, group by group."""
    both = {
        key: merged(below[key], value)
        for key, value in above.items()
        if isinstance(value, Mapping) and isinstance(below.get(key), Mapping)
    }
    return {**below, **above, **both}


def _validated(
    section: str, schema: type[BaseModel], base: dict[str, Any], layers: list[dict[str, Any]]
) -> Any:
    values = dict(base)
    for layer in layers:
        values = merged(values, layer.get(section, {}))
    _check_keys(section, schema, values)
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        message = first["msg"].removeprefix("Value error, ")
        if not first["loc"]:  # about several keys together: the message names them
            raise UsageError(f"{section}: {message}") from error
        where = ".".join(str(part) for part in (section, *first["loc"]))
        raise UsageError(f"{where}={first['input']!r}: {message.lower()}") from error


def _check_keys(section: str, schema: type[BaseModel], values: Mapping[str, Any]) -> None:
    """UsageError for a key that is not there, however deep, with the closest one."""
    for key, value in values.items():
        if key not in schema.model_fields:
            raise unknown(
                "key", f"{section}.{key}", [f"{section}.{name}" for name in schema.model_fields]
            )
        kind = schema.model_fields[key].annotation
        if isinstance(value, Mapping) and isinstance(kind, type) and issubclass(kind, BaseModel):
            _check_keys(f"{section}.{key}", kind, value)
