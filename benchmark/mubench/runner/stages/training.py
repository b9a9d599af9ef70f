"""Stages that change weights: train target and gold, learn, unlearn, negate."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from mubench.config.schema import RunSpec
from mubench.data.load import BenchmarkData
from mubench.errors import RunError
from mubench.rng import integer, stream
from mubench.types import SETS

from . import Report, seed_libraries


def train_model(
    spec: RunSpec, role: str, data: BenchmarkData, folder: Path, report: Report
) -> dict[str, Any]:
    """Fine-tune the base on everybody (target) or on all but the forget people (gold)."""
    from mubench.methods import loops
    from mubench.models.load import load_model

    sets = [set_ for set_ in SETS if role == "target" or set_ != "forget"]
    examples = data.train(*sets)
    training = spec.target
    # Further golds differ from the first in what is random alone.
    names = ("train",) if role in ("target", "gold") else ("train", role)
    seed_libraries(integer(spec.seed, *names))
    model = load_model(spec.model, data.image)
    parameters = model.train_scope(training.scope)
    source = loops.epochs(examples, training.batch_size, stream(spec.seed, *names, "batches"))
    counted = data.train(*SETS) if training.same_steps else examples
    settings = loops.LoopSettings.of(training, counted)
    log = loops.train(
        lambda _: {"nll": model.nll(model.encode(next(source)))},
        model,
        parameters,
        settings,
        report,
    )
    kind = model.save_delta(folder)
    return {
        "examples": len(examples),
        "steps": settings.steps,
        "final_loss": log[-1]["nll"],
        "delta": kind,
    }


def unlearn(
    spec: RunSpec,
    method: Any,
    data: BenchmarkData,
    target: Path,
    folder: Path,
    report: Report,
) -> dict[str, Any]:
    """Apply the method to the target and save what changed, then prove that it loads back."""
    details = _apply(spec, method, "unlearn", data, target, folder, report)
    return {**details, **_proof(spec, data, target, folder, details["fingerprint_before"])}


def learn(
    spec: RunSpec,
    method: Any,
    data: BenchmarkData,
    target: Path,
    folder: Path,
    report: Report,
) -> dict[str, Any]:
    """The first stage of a two-stage method: the adapter that is to be subtracted."""
    return _apply(spec, method, "learn", data, target, folder, report)


def negate(
    spec: RunSpec, data: BenchmarkData, target: Path, learned: Path, folder: Path
) -> dict[str, Any]:
    """The second stage: subtract ``scale`` times what was learned; trains nothing."""
    from mubench.models.load import load_model, scaled_delta

    before = load_model(spec.model, data.image, [target]).fingerprint()
    kind = scaled_delta(learned, folder, -spec.method.config["scale"])
    shutil.copy(learned / "log.json", folder / "log.json")
    return {"delta": kind, **_proof(spec, data, target, folder, before)}


def _apply(
    spec: RunSpec,
    method: Any,
    stage: str,
    data: BenchmarkData,
    target: Path,
    folder: Path,
    report: Report,
) -> dict[str, Any]:
    from mubench.methods.base import Context, UnlearnData
    from mubench.models.load import load_model

    from .flops import counting

    seed_libraries(integer(spec.seed, "unlearn"))
    model = load_model(spec.model, data.image, [target])
    before = model.fingerprint()
    context = Context(seed=spec.seed, report=report)
    given = UnlearnData(data.train("forget"), data.train("retain"), data.refusals)
    try:
        with counting() as flops:
            getattr(method(method.Config(**spec.method.config)), stage)(model, given, context)
    except RunError as error:
        raise RunError(_keep_last_good(model, context.log, folder, str(error))) from error
    (folder / "log.json").write_text(json.dumps(context.log), encoding="utf-8")
    told = {key: context.log[key] for key in ("scope", "stopped") if key in context.log}
    return {
        "delta": model.save_delta(folder),
        "fingerprint_before": before,
        "flops": flops.total,
        **told,
    }


def _proof(
    spec: RunSpec, data: BenchmarkData, target: Path, folder: Path, before: str
) -> dict[str, str]:
    """Fingerprints, behaviour included, without and with the delta. RunError if they are equal."""
    from mubench.models.load import load_model

    after = load_model(spec.model, data.image, [target, folder]).fingerprint()
    if after == before:
        raise RunError(f"{spec.method.name} changed nothing in the model")
    return {"fingerprint_before": before, "fingerprint_after": after}


def _keep_last_good(model: Any, log: dict[str, Any], folder: Path, failure: str) -> str:
    """Keep what a failed method had reached beside its stage; returns the failure and where."""
    kept = folder.with_name(f"{folder.name.removesuffix('.partial')}.failed")
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir()
    if model.save_delta(kept) == "none":
        shutil.rmtree(kept)
        return failure
    (kept / "log.json").write_text(json.dumps({**log, "failed": failure}), encoding="utf-8")
    return f"{failure}; the last good state is kept in {kept}"
