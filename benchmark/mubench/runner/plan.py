"""Which stages a run needs, by content key; what does not apply, and why. Loads no weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mubench.config.schema import AnyBenchmark, ModelSettings, RunSpec, SalmuSettings
from mubench.errors import UsageError
from mubench.hashing import code_sha, sha
from mubench.models.load import source_identity
from mubench.registry import METHODS
from mubench.types import ROLES, MethodInfo, ModelKind, gold_roles

from .sources import FOLDERS, Size, source
from .store import Store


def _models(*names: str) -> tuple[str, ...]:
    return tuple(f"mubench.models.{name}" for name in names)


_TRAINED_MLLM = _models("hf_mllm", "deltas", "encoding", "layouts")
_MLLM = (
    *_TRAINED_MLLM,
    *_models("behaviours", "components", "decoding", "engine", "gradients", "load", "packing"),
    *_models("protocols", "raw_prompts", "reading", "scorer", "traces"),
)
_CLIP = _models(
    "behaviours", "contrastive", "deltas", "dual_encoder", "open_clip_files", "protocols"
)
#: Code of a kind of model that its training depends on, and its answers.
TRAINED: Mapping[ModelKind, tuple[str, ...]] = {"mllm": _TRAINED_MLLM, "clip": _CLIP}
ANSWERING: Mapping[ModelKind, tuple[str, ...]] = {
    "mllm": _MLLM,
    "clip": (*_CLIP, *_models("load", "packing", "retrieval")),
}
#: Code that a stage's result depends on; a change of it makes a new key.
CODE: Mapping[str, tuple[str, ...]] = {
    "model": (
        "mubench.methods.loops",
        "mubench.runner.stages.flops",
        "mubench.runner.stages.training",
    ),
    "published": ("mubench.runner.stages.published",),
    "predict": ("mubench.runner.stages.prediction",),
    "score": ("mubench.metrics", "mubench.stats", "mubench.runner.stages.scores"),
    "paper": (*_MLLM, "mubench.tracks", "mubench.runner.stages.paper"),
    "salmubench": (*_CLIP, "mubench.tracks.salmubench", "mubench.runner.stages.salmubench"),
    "recovery": (
        *_CLIP,
        *_models("load", "packing", "retrieval"),
        "mubench.methods.loops",
        "mubench.probes.recovery",
        "mubench.runner.stages.prediction",
        "mubench.runner.stages.recovery",
    ),
    "probe": (
        *_MLLM,
        "mubench.probes",
        "mubench.runner.stages.prediction",
        "mubench.runner.stages.probes",
    ),
}
#: The model before any of the people were learned: what an attacker could have for comparison.
BASE = "base"
#: What methods share, beside the modules of their classes.
METHOD_CODE = tuple(
    f"mubench.methods.{name}"
    for name in (
        "base",
        "activations",
        "answers",
        "budget",
        "loops",
        "masks",
        "tokens",
        "vectors",
    )
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


def held_out(spec: RunSpec) -> bool:
    """Whether the method is one more gold model: with several to compare with, ``gold`` is none of
    them, and so shows what retraining once more looks like."""
    return spec.golds > 1 and method_info(spec).extra.get("stage") == "gold"


def published_gold(spec: RunSpec) -> ModelSettings | None:
    """The gold model that was published along with the target, where one was."""
    gold = spec.model.gold
    return None if gold is None else spec.model.model_copy(update={"source": gold, "gold": None})


def method_class(spec: RunSpec) -> Any:
    target = spec.method.target
    if ".py:" in target:
        return METHODS.get(target).load()
    return METHODS.get(spec.method.name).load()


def plan(spec: RunSpec) -> Plan:
    """The stages of one run. UsageError if the method's needs cannot be met by the benchmark."""
    made = source(spec.benchmark)
    made.check()
    made.check_split()
    info = method_info(spec)
    if info.kind != "reference" and spec.model.kind not in info.models:
        raise UsageError(
            f"method '{info.name}' is n/a for {spec.model.name}: it is defined for "
            f"{' and '.join(info.models)} models, and this is of kind {spec.model.kind}"
        )
    if spec.predict.track == "paper" and (reason := info.extra.get("paper_track")):
        raise UsageError(f"predict.track=paper does not go with {info.name}: {reason}")
    asks_pairs = isinstance(spec.benchmark, SalmuSettings)
    if spec.predict.track == "paper" and spec.model.kind == "clip" and not asks_pairs:
        raise UsageError(f"predict.track=paper: {spec.benchmark.name} is no published evaluation")
    if spec.model.kind != "mllm" and (spec.probe.leakage or spec.probe.privacy):
        raise UsageError(
            f"these probes ask questions in words, which a model of kind {spec.model.kind} does "
            "not answer: leave out --probe, or take --probe recovery"
        )
    if spec.probe.recovery and spec.model.kind != "clip":
        raise UsageError("--probe recovery is of dual encoders: a language model has no prototypes")
    if spec.model.kind not in spec.benchmark.models:
        raise UsageError(
            f"benchmark {spec.benchmark.name} asks {' and '.join(spec.benchmark.models)} models, "
            f"and {spec.model.name} is of kind {spec.model.kind}: leave out --benchmark"
        )
    data = data_node(spec.benchmark)
    # The target knows everybody, whoever is to be forgotten: all splits share it.
    split = _split(spec.benchmark)
    base = {
        "source": source_identity(spec.model),
        "dtype": spec.model.dtype,
        "training": spec.target.model_dump(),
        "data": data.key,
        "seed": spec.seed,
        "code": code_sha(*TRAINED[spec.model.kind], *CODE["model"]),
    }
    if gold := published_gold(spec):
        if spec.golds > 1:
            raise UsageError(f"{spec.model.name} was published with one gold model: --golds 1")
        base |= {"gold": source_identity(gold), "published": code_sha(*CODE["published"])}
    target = Node("train", "target", sha({**base, "role": "target"}), (data.key,))
    trained = [target]
    for role in gold_roles(spec.golds):
        trained.append(Node("train", role, sha({**base, "role": role, **split}), (data.key,)))
    if held_out(spec):
        key = sha({**base, "role": gold_roles(spec.golds + 1)[-1], **split})
        trained.append(Node("train", "method", key, (data.key,)))
    nodes = [data, *(node for made in trained for node in (made, _predict(spec, made, data)))]
    if info.kind != "reference":
        config = dict(spec.method.config)
        # A two-stage method's scale enters after its training: a sweep over it trains once.
        scale = config.pop("scale") if info.kind == "two-stage" else None
        work = Node(
            "unlearn" if scale is None else "learn",
            "method",
            sha(
                {
                    "target": target.key,
                    "method": spec.method.name,
                    "config": config,
                    "code": _method_code(spec),
                    "seed": spec.seed,
                    **split,
                }
            ),
            (target.key,),
        )
        nodes.append(work)
        if scale is not None:
            key = sha({"learned": work.key, "scale": scale})
            work = Node("unlearn", "method", key, (target.key, work.key))
            nodes.append(work)
        nodes.append(_predict(spec, work, data))
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
    models: dict[str | None, Node] = {
        n.role: n for n in nodes if n.kind in ("train", "unlearn") and n.role in ROLES
    }
    if spec.predict.track == "paper":
        nodes += [_paper(spec, node, data) for node in models.values()]
    nodes += _probes(spec, info, data, models)
    run_id = sha({"spec": _identity(spec), "score": score.key})[:12]
    return Plan(spec, run_id, tuple(nodes), made.not_asked)


def data_node(settings: AnyBenchmark) -> Node:
    """The stage that makes a benchmark's tables."""
    return Node("data", None, sha(source(settings).identity()))


def _split(benchmark: AnyBenchmark) -> dict[str, Any]:
    """Who is forgotten, and what of them."""
    return {"ratio": benchmark.forget_ratio, "fold": benchmark.fold, "scope": benchmark.scope}


def _predict(spec: RunSpec, model: Node, data: Node) -> Node:
    return Node(
        "predict",
        model.role,
        sha(
            {
                "model": model.key,
                "data": data.key,
                "split": _split(spec.benchmark),
                "settings": spec.predict.model_dump(exclude={"track"}),
                "code": code_sha(*ANSWERING[spec.model.kind], *CODE["predict"]),
            }
        ),
        (model.key, data.key),
    )


def _paper(spec: RunSpec, model: Node, data: Node) -> Node:
    key = {
        "model": model.key,
        "data": data.key,
        "split": _split(spec.benchmark),
        "seed": spec.seed,
        "code": code_sha(*CODE["paper" if spec.model.kind == "mllm" else "salmubench"]),
    }
    return Node("paper", model.role, sha(key), (model.key, data.key))


def _probes(spec: RunSpec, info: MethodInfo, data: Node, models: Mapping[Any, Node]) -> list[Node]:
    """The stages of the probes that are asked for, one a model."""
    base = {
        "data": data.key,
        "split": _split(spec.benchmark),
        "settings": spec.predict.model_dump(exclude={"track"}),
        "seed": spec.seed,
        "code": code_sha(*CODE["probe"]),
    }

    def node(kind: str, role: str | None, *after: Node) -> Node:
        keys = [one.key for one in after]
        return Node(kind, role, sha({**base, "kind": kind, "models": keys}), (*keys, data.key))

    found = []
    if spec.probe.leakage:
        found += [node("leakage", role, model) for role, model in models.items()]
        if info.kind != "reference" and info.weight_access == "measured":
            found.append(node("components", "method", models["target"], models["method"]))
    if spec.probe.privacy:
        start = {"source": source_identity(spec.model), "dtype": spec.model.dtype}
        key = sha({**base, "kind": "privacy", "models": start})
        found.append(Node("privacy", BASE, key, (data.key,)))
        found += [node("privacy", role, model) for role, model in models.items()]
    if spec.probe.recovery:
        base |= {"training": spec.target.model_dump(), "code": code_sha(*CODE["recovery"])}
        found += [node("recovery", role, model) for role, model in models.items()]
    return found


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
    for key in (
        *FOLDERS,
        "utility",
    ):  # what they hold is in the data's key; where they lie says nothing
        value["benchmark"].pop(key, None)
    for key in ("examples_per_second", "speed_note", "parameters"):
        value["model"].pop(key)
    value["method"].pop("target")
    if spec.model.gold is None:
        value["model"].pop("gold")
    if not spec.probe.recovery:
        value["probe"].pop("recovery")
    return value


@dataclass(frozen=True, slots=True)
class Estimate:
    """``seconds`` is None where no speed was ever measured for the model."""

    seconds: float | None
    memory_gb: float


def estimate(spec: RunSpec, store: Store, made: Plan) -> dict[str, Estimate]:
    """Time and memory per stage that is not cached yet, by key; rough, from stated assumptions.

    Memory: weights, and for full training gradients and two moments in float32.
    """
    expected = source(spec.benchmark).size()
    size = {"float32": 4, "bfloat16": 2, "float16": 2}[spec.model.dtype]
    weights = spec.model.parameters * size / 2**30
    training = weights * (4 if spec.target.scope == "full" else 1.3)
    two_stage = any(node.kind == "learn" for node in made.nodes)
    memory = {
        "data": 0.3,
        "train": training,
        "learn": training,
        "unlearn": weights * 1.2 if two_stage else training,
        "predict": weights * 1.2,
        "paper": weights * 1.2,
        "leakage": weights * 1.2,
        "components": weights * 2.2,
        "privacy": weights * 1.5,
        "recovery": training,
    }
    speed = spec.model.examples_per_second
    found: dict[str, Estimate] = {}
    for node in made.nodes:
        if store.has(node.kind, node.key):
            continue
        seconds: float | None = 5.0
        if node.kind not in ("data", "score", "unlearn") or (
            node.kind == "unlearn" and not two_stage
        ):
            seconds = _examples(spec, node, expected) / speed if speed and expected else None
        found[node.key] = Estimate(seconds, memory.get(node.kind, 0.3))
    return found


def _examples(spec: RunSpec, node: Node, size: Size) -> float:
    """How many examples a stage reads, those of several epochs as often."""
    if node.kind == "predict":
        return size.questions
    if node.kind in ("leakage", "components", "privacy"):
        return 15 * size.forget * size.questions
    if node.kind == "paper":  # decodes 50 tokens a question, one after the other
        return 50 * size.questions
    if node.kind in ("learn", "unlearn"):
        return 2 * size.train * size.forget * float(spec.method.config.get("epochs", 1))
    return size.train * (1 if node.role == "target" else 1 - size.forget) * spec.target.epochs
