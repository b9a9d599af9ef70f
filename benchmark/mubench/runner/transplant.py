"""Does forgetting in an image encoder survive in the multimodal model that was built on it?

The multimodal model gets the tower that the run's target had, and is trained on the people as any
target is, its tower frozen. Then the unlearned tower takes its place. Gold is trained on the same
tower and never told of the forget people: what the tower knows cannot be read without names.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from mubench.config.resolve import resolve
from mubench.config.schema import RunSpec
from mubench.errors import MissingError, UsageError
from mubench.hashing import code_sha, sha
from mubench.methods import transplant as method
from mubench.models.load import load_model, source_identity
from mubench.record import RunRecord

from .execute import execute, stage
from .plan import Node, plan
from .store import Store

#: In the folder of a graft; the model's own holds nothing else, for its files are its identity.
TOWER, MODEL = "tower.safetensors", "model"
#: What must be equal for both benchmarks to hold the same people with the same faces.
SAME = ("fictitious", "celebrities", "holdout", "seed", "image_size", "faces", "celebrity_faces")


def transplant(
    record: RunRecord,
    into: str,
    store: Store,
    out: Path,
    console: Console,
    *,
    benchmark: str | None = None,
    sets: Sequence[str] = (),
) -> Path:
    """Run the multimodal model with the record's towers; returns the run's folder.

    UsageError where the record is of no dual encoder or the people are others, MissingError where
    the cache no longer holds what the record's run left.
    """
    spec = RunSpec.model_validate(record.spec)
    if spec.model.kind != "clip":
        raise UsageError(f"{spec.model.name} is no dual encoder: transplant takes runs of those")
    name = spec.method.name
    target = _folder(record, store, "train", "target")
    kinds = {"gold": ("train", "gold"), "none": ("train", "target")}
    changed = _folder(record, store, *kinds.get(name, ("unlearn", "method")))
    chain = [changed] if name in kinds else [target, changed]
    base = resolve("none", into, benchmark, seed=spec.seed, sets=sets)
    _check_people(spec, base)
    graft = _stage(store, spec, base, [target], console)
    tower = _stage(store, spec, base, chain, console)
    made = resolve(
        f"{Path(method.__file__)}:Transplant",
        into,
        benchmark,
        seed=spec.seed,
        sets=[
            f"benchmark.forget_ratio={spec.benchmark.forget_ratio}",
            f"benchmark.fold={spec.benchmark.fold}",
            *sets,
            f"model.source={graft / MODEL}",
            f"method.tower={tower / TOWER}",
            f"method.method={name}",
        ],
    )
    named = made.method.model_copy(update={"name": f"transplant-{name}"})
    return execute(plan(made.model_copy(update={"method": named})), store, out, console)


def _folder(record: RunRecord, store: Store, kind: str, role: str) -> Path:
    for one in record.stages:
        if (one.kind, one.role) == (kind, role):
            if store.has(kind, one.key):
                return store.read(kind, one.key).folder
            break
    raise MissingError(
        f"the cache {store.root} does not hold '{kind} {role}' of run {record.run_id}: repeat its "
        "command, then this one"
    )


def _check_people(spec: RunSpec, base: RunSpec) -> None:
    for key in SAME:
        theirs, ours = (getattr(one.benchmark, key, None) for one in (spec, base))
        if theirs != ours:
            raise UsageError(
                f"{spec.benchmark.name} and {base.benchmark.name} do not hold the same people: "
                f"{key} is {theirs} and {ours}; choose another with --benchmark"
            )


def _stage(
    store: Store, spec: RunSpec, base: RunSpec, deltas: Sequence[Path], console: Console
) -> Path:
    """A folder with the tower after these deltas, and the multimodal base with it in place."""
    from safetensors.torch import save_file

    def build(folder: Path, _: Any) -> dict[str, Any]:
        from mubench.models.towers import to_transformers

        encoder = load_model(spec.model, None, deltas)
        tower = to_transformers(encoder.model.visual.state_dict())
        into = load_model(base.model, None)
        method.put_in(into.model, tower)
        into.save(folder / MODEL)
        save_file({name: value.contiguous() for name, value in tower.items()}, folder / TOWER)
        return {"tensors": len(tower)}

    key = {
        "encoder": source_identity(spec.model),
        "deltas": [delta.name for delta in deltas],  # folders of the store are named by content
        "into": source_identity(base.model),
        "code": code_sha("mubench.methods.transplant", "mubench.models.towers"),
    }
    node = Node("graft", None, sha(key))
    return stage(store, node, build, console).folder
