"""A sample of a run's answers, asked of its model again."""

from __future__ import annotations

from pathlib import Path

from mubench.config.schema import RunSpec
from mubench.data.load import BenchmarkData
from mubench.errors import UsageError
from mubench.record import RunRecord
from mubench.rng import stream
from mubench.types import Response

from .rescore import StoredRun
from .store import Store

#: Nats a token by which a log-probability may differ on another machine, and in half precision.
TOLERANCE = {"float32": 1e-3, "float16": 0.05, "bfloat16": 0.2}


def ask_again(folder: Path, count: int, store: Store) -> list[str]:
    """Where the method's model no longer answers as stored, one line each. UsageError where its
    stages are not in the cache."""
    from mubench.models.load import load_model

    run = StoredRun(folder)
    spec = RunSpec.model_validate(run.record.spec)
    data_folder = _stage(run.record, store, "data", None)
    of = spec.benchmark
    data = BenchmarkData(data_folder, of.forget_ratio, of.fold, of.scope)
    deltas = _deltas(run.record, store)
    rng = stream(spec.seed, "verify")
    count = min(count, len(run.examples))
    chosen = [run.examples[i] for i in sorted(rng.permutation(len(run.examples))[:count].tolist())]
    model = load_model(spec.model, data.image, deltas, data.gallery)
    found = model.respond(chosen, max_new_tokens=spec.predict.max_new_tokens)
    stored = run.responses["method"]
    return [
        f"'{one.example_id}' {problem}"
        for one in found
        if (problem := _apart(stored[one.example_id], one, TOLERANCE[spec.model.dtype]))
    ]


def _deltas(record: RunRecord, store: Store) -> list[Path]:
    """What the method's model consists of beside the base."""
    reference = (record.method.get("extra") or {}).get("stage")
    kinds = {(stage.kind, stage.role) for stage in record.stages}
    if ("train", "method") in kinds:
        return [_stage(record, store, "train", "method")]
    if reference:
        return [_stage(record, store, "train", reference)]
    return [_stage(record, store, "train", "target"), _stage(record, store, "unlearn", "method")]


def _stage(record: RunRecord, store: Store, kind: str, role: str | None) -> Path:
    key = next((s.key for s in record.stages if (s.kind, s.role) == (kind, role)), "")
    if not key or not store.has(kind, key):
        name = f"{kind} {role}" if role else kind
        raise UsageError(
            f"'{name}' of this run is not in the cache {store.root}: run it again, or --cache ..."
        )
    return store.read(kind, key).folder


def _apart(stored: Response, found: Response, tolerance: float) -> str:
    if stored.text != found.text and tolerance == TOLERANCE["float32"]:
        return f"is now answered '{found.text}', was '{stored.text}'"
    for one, other, length in zip(stored.logprobs, found.logprobs, stored.lengths, strict=True):
        if not abs(one - other) <= tolerance * length:
            return f"has now log-probability {other:.4f}, had {one:.4f}"
    return ""
