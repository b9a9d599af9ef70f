"""Which stages a run needs, by content key; what does not apply, and why. Loads no weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mubench.config.schema import BenchmarkSettings, RunSpec
from mubench.errors import UsageError, unknown
from mubench.hashing import code_sha, sha
from mubench.models.load import source_identity
from mubench.registry import METHODS
from mubench.types import MethodInfo

from .store import Store

#: Code that a stage's result depends on; a change of it makes a new key.
CODE: Mapping[str, tuple[str, ...]] = {
    "data": ("mubench_data", "mubench.types", "mubench.rng", "mubench.hashing"),
    "model": (
        "mubench.models",
        "mubench.methods.loops",
        "mubench.runner.stages",
    ),
    "predict": ("mubench.models", "mubench.runner.stages"),
    "score": ("mubench.metrics", "mubench.stats", "mubench.runner.stages"),
}
#: What methods share, beside the modules of their classes.
METHOD_CODE = tuple(
    f"mubench.methods.{name}"
    for name in ("base", "activations", "alternates", "budget", "loops", "masks", "tokens")
)


@dataclass(frozen=True, slots=True)
class Node:
    """One stage: ``role`` says whose (target, gold, method); data and score have none."""

    kind: str
    role: str | None
    key: str
    after: tuple[str, ...] = ()  # keys

    @property
    def label(self) -> str:
        return f"{self.kind} {self.role}" if self.role else self.kind


@dataclass(frozen=True, slots=True)
class Plan:
    """Stages in an order in which they can run; ``run_id`` is the identity of the whole."""

    spec: RunSpec
    run_id: str
    nodes: tuple[Node, ...]
    not_applicable: tuple[tuple[str, str], ...]

    def node(self, kind: str, role: str | None = None) -> Node:
        return next(node for node in self.nodes if (node.kind, node.role) == (kind, role))


def method_info(spec: RunSpec) -> MethodInfo:
    """What the spec's method says of itself."""
    info: MethodInfo = method_class(spec).info
    return info


def method_class(spec: RunSpec) -> Any:
    target = spec.method.target
    if ".py:" in target:
        return METHODS.get(target).load()
    return METHODS.get(spec.method.name).load()


def plan(spec: RunSpec) -> Plan:
    """The stages of one run. UsageError if the method's needs cannot be met by the benchmark."""
    if round(spec.benchmark.forget_ratio * spec.benchmark.fictitious) < 1:
        raise UsageError(
            f"the forget set is empty: benchmark.forget_ratio={spec.benchmark.forget_ratio} of "
            f"{spec.benchmark.fictitious} people is nobody; raise it to at least "
            f"{1 / spec.benchmark.fictitious:.3f}"
        )
    _check_benchmark(spec.benchmark)
    info = method_info(spec)
    options = spec.benchmark.model_dump(exclude={"name", "title"})
    data = Node("data", None, sha({"options": options, "code": code_sha(*CODE["data"])}))
    base = {
        "source": source_identity(spec.model),
        "dtype": spec.model.dtype,
        "training": spec.target.model_dump(),
        "data": data.key,
        "seed": spec.seed,
        "code": code_sha(*CODE["model"]),
    }
    target = Node("train", "target", sha({**base, "role": "target"}), (data.key,))
    gold = Node("train", "gold", sha({**base, "role": "gold"}), (data.key,))
    nodes = [data, target, _predict(spec, target, data), gold, _predict(spec, gold, data)]
    if info.kind != "reference":
        unlearn = Node(
            "unlearn",
            "method",
            sha(
                {
                    "target": target.key,
                    "method": spec.method.name,
                    "config": spec.method.config,
                    "code": _method_code(spec),
                    "seed": spec.seed,
                }
            ),
            (target.key,),
        )
        nodes += [unlearn, _predict(spec, unlearn, data)]
    predicted = tuple(node.key for node in nodes if node.kind == "predict")
    score = Node(
        "score",
        None,
        sha(
            {
                "predictions": predicted,
                "method": info.extra.get("stage", "method"),
                "seed": spec.seed,
                "code": code_sha(*CODE["score"]),
            }
        ),
        predicted,
    )
    nodes.append(score)
    skipped = (("general: generation and cloze", "its questions are choice questions"),)
    run_id = sha({"spec": _identity(spec), "score": score.key})[:12]
    return Plan(spec, run_id, tuple(nodes), skipped)


def _check_benchmark(settings: BenchmarkSettings) -> None:
    """UsageError for settings from which no benchmark can be built."""
    from mubench_data.facts import PERSON_FACTS
    from mubench_data.questions import PER_PERSON

    if round(settings.forget_ratio * settings.fictitious) >= settings.fictitious:
        raise UsageError(
            f"the retain set is empty: benchmark.forget_ratio={settings.forget_ratio} of "
            f"{settings.fictitious} people is everybody; lower it"
        )
    for kind in settings.facts:
        if kind not in PERSON_FACTS:
            raise unknown("fact in benchmark.facts", kind, PERSON_FACTS)
    wanted = max(PER_PERSON.values())
    if settings.facts and len(set(settings.facts)) < wanted:
        raise UsageError(
            f"benchmark.facts: {wanted} different facts at least, else a question comes twice"
        )


def _predict(spec: RunSpec, model: Node, data: Node) -> Node:
    return Node(
        "predict",
        model.role,
        sha(
            {
                "model": model.key,
                "data": data.key,
                "settings": spec.predict.model_dump(),
                "code": code_sha(*CODE["predict"]),
            }
        ),
        (model.key, data.key),
    )


def _method_code(spec: RunSpec) -> str:
    from pathlib import Path

    from mubench.hashing import file_sha

    module = spec.method.target.rpartition(":")[0]
    if module.endswith(".py"):
        return file_sha(Path(module))
    own = {kind.__module__ for kind in method_class(spec).__mro__ if kind.__module__ != "builtins"}
    return code_sha(*sorted(own), *METHOD_CODE)


def _identity(spec: RunSpec) -> dict[str, Any]:
    value = spec.model_dump(mode="json")
    for section in ("model", "benchmark"):
        value[section].pop("title")
    for key in ("examples_per_second", "speed_note", "parameters"):
        value["model"].pop(key)
    value["method"].pop("target")
    return value


@dataclass(frozen=True, slots=True)
class Estimate:
    """``seconds`` is None where no speed was ever measured for the model."""

    seconds: float | None
    memory_gb: float


def estimate(spec: RunSpec, store: Store, made: Plan) -> dict[str, Estimate]:
    """Time and memory per stage that is not cached yet, by key; rough, from stated assumptions.

    Training examples: 7 wordings a fact and modality and 4 names a person. Memory: weights, and
    for full training gradients and two moments in float32.
    """
    benchmark = spec.benchmark
    people = benchmark.fictitious + benchmark.celebrities
    examples = people * (14 * max(len(benchmark.facts), 1) + 4)
    forget = round(benchmark.forget_ratio * benchmark.fictitious) / people
    questions = 18 * (people + benchmark.forget_ratio * benchmark.fictitious)
    size = {"float32": 4, "bfloat16": 2, "float16": 2}[spec.model.dtype]
    weights = spec.model.parameters * size / 2**30
    training = weights * (4 if spec.target.scope == "full" else 1.3)
    speed = spec.model.examples_per_second
    found: dict[str, Estimate] = {}
    for node in made.nodes:
        if store.has(node.kind, node.key):
            continue
        share = 1 - forget if node.role == "gold" else 1.0
        work, memory = {
            "data": (0.0, 0.3),
            "train": (examples * share * spec.target.epochs, training),
            "unlearn": (
                2 * examples * forget * float(spec.method.config.get("epochs", 1)),
                training,
            ),
            "predict": (questions, weights * 1.2),
            "score": (0.0, 0.3),
        }[node.kind]
        seconds = work / speed if speed and work else (5.0 if not work else None)
        found[node.key] = Estimate(seconds, memory)
    return found
