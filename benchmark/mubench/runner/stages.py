"""What each stage does. Every function fills a folder of the store and returns its details."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mubench.config.schema import RunSpec
from mubench.data.load import BenchmarkData
from mubench.data.tables import Tables, write
from mubench.errors import RunError
from mubench.metrics import scoring
from mubench.metrics.text import rouge_l
from mubench.record import Cell, PaperCell
from mubench.rng import integer, stream
from mubench.types import SETS, Example, Response, Role

Report = Callable[[int, int, str], None]


def make_data(tables: Tables, folder: Path) -> dict[str, Any]:
    """Write the benchmark's tables into ``folder``."""
    manifest = write(tables, folder)
    return {"content_sha": manifest["content_sha"], "rows": manifest["rows"]}


def train_model(
    spec: RunSpec, role: str, data: BenchmarkData, folder: Path, report: Report
) -> dict[str, Any]:
    """Fine-tune the base on everybody (target) or on all but the forget people (gold)."""
    from mubench.methods import loops
    from mubench.models.load import load_model

    sets = [set_ for set_ in SETS if role == "target" or set_ != "forget"]
    examples = data.train(*sets)
    training = spec.target
    seed_libraries(integer(spec.seed, "train"))
    model = load_model(spec.model, data.image)
    parameters = model.train_scope(training.scope)
    source = loops.epochs(examples, training.batch_size, stream(spec.seed, "train", "batches"))
    settings = loops.LoopSettings.of(training, examples)
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
    return {**details, **_proof(spec, data, target, folder)}


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
    from mubench.models.load import scaled_delta

    kind = scaled_delta(learned, folder, -spec.method.config["scale"])
    shutil.copy(learned / "log.json", folder / "log.json")
    return {"delta": kind, **_proof(spec, data, target, folder)}


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

    seed_libraries(integer(spec.seed, "unlearn"))
    model = load_model(spec.model, data.image, [target])
    context = Context(seed=spec.seed, report=report)
    given = UnlearnData(data.train("forget"), data.train("retain"), data.refusals)
    try:
        getattr(method(method.Config(**spec.method.config)), stage)(model, given, context)
    except RunError as error:
        raise RunError(_keep_last_good(model, context.log, folder, str(error))) from error
    (folder / "log.json").write_text(json.dumps(context.log), encoding="utf-8")
    told = {key: context.log[key] for key in ("scope", "stopped") if key in context.log}
    return {"delta": model.save_delta(folder), **told}


def _proof(spec: RunSpec, data: BenchmarkData, target: Path, folder: Path) -> dict[str, str]:
    """Fingerprints, behaviour included, without and with the delta. RunError if they are equal."""
    from mubench.models.load import load_model

    before = load_model(spec.model, data.image, [target]).fingerprint()
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


def predict(
    spec: RunSpec, data: BenchmarkData, deltas: Sequence[Path], folder: Path, report: Report
) -> dict[str, Any]:
    """Answer every question, unit by unit; goes on after the last whole unit of an interrupted
    attempt. RunError, with all responses kept, if a request failed even alone."""
    from mubench.models.load import load_model
    from mubench.models.packing import units

    path = folder / "responses.jsonl"
    asked = units(data.examples)
    done = _keep_whole_units(path, asked)
    detail: dict[str, Any] = {"questions": len(data.examples), "units": len(asked)}
    failed: list[Response] = []
    if done < len(asked):
        seed_libraries(integer(spec.seed, "predict"))
        model = load_model(spec.model, data.image, deltas, data.gallery)
        answers = model.answers(
            asked,
            max_new_tokens=spec.predict.max_new_tokens,
            batch=spec.predict.batch_size,
            start=done,
        )
        with open(path, "a", encoding="utf-8") as out:
            for number, responses in enumerate(answers, start=done + 1):
                for response in responses:
                    out.write(json.dumps(asdict(response), ensure_ascii=False) + "\n")
                out.flush()
                os.fsync(out.fileno())
                failed += [response for response in responses if response.status == "error"]
                report(number, len(asked), f"unit {number} of {len(asked)}")
        detail |= {"batch_size": spec.predict.batch_size, **model.notes}
    if failed:
        raise RunError(
            f"{len(failed)} of {len(data.examples)} questions got no answer, the first is "
            f"{failed[0].example_id} ({failed[0].error}); the responses are kept in {path}, and "
            "the same command asks again from that question on"
        )
    return detail


def paper_track(
    spec: RunSpec, data: BenchmarkData, deltas: Sequence[Path], folder: Path, report: Report
) -> dict[str, Any]:
    """MLLMU-Bench's own evaluation; goes on after the last reply of an interrupted attempt."""
    from mubench.models.load import load_model
    from mubench.runner.paper import paper_scores

    model = load_model(spec.model, data.image, deltas)
    scores = paper_scores(model, data, spec.seed, folder / "replies.jsonl", report)
    rows = [asdict(score) for score in scores]
    (folder / "scores.json").write_text(json.dumps(rows), encoding="utf-8")
    return {"questions": sum(1 for _ in open(folder / "replies.jsonl", encoding="utf-8"))}


def paper_cells(folders: dict[Role, Path]) -> list[PaperCell]:
    """The three models' numbers side by side."""
    found: dict[tuple[Any, ...], dict[str, float]] = {}
    for role, folder in folders.items():
        for row in json.loads((folder / "scores.json").read_text(encoding="utf-8")):
            key = (row["mode"], row["modality"], row["task"], row["metric"], row["n"])
            found.setdefault(key, {})[role] = row["value"]
    names = ("set", "modality", "task", "metric", "n")
    return [
        PaperCell(**dict(zip(names, key, strict=True)), **values) for key, values in found.items()
    ]


def _keep_whole_units(path: Path, units: Sequence[Sequence[Example]]) -> int:
    """Cut what is torn, and what follows the first failed request, off an interrupted log;
    returns how many whole units it holds."""
    if not path.exists():
        return 0
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
    done = used = 0
    for unit in units:
        part = lines[used : used + len(unit)]
        if not _answers(part, unit):
            break
        used += len(unit)
        done += 1
    path.write_text("".join(f"{line}\n" for line in lines[:used]), encoding="utf-8")
    return done


def _answers(lines: Sequence[str], unit: Sequence[Example]) -> bool:
    try:
        rows = [json.loads(line) for line in lines]
        found = [(row["example_id"], row["status"]) for row in rows]
    except (ValueError, TypeError, KeyError):
        return False
    return found == [(example.id, "ok") for example in unit]


def read_responses(folder: Path) -> dict[str, Response]:
    """Responses by example id."""
    found = {}
    for line in (folder / "responses.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        for name in ("logprobs", "lengths", "ranks"):
            row[name] = tuple(row[name])
        found[row["example_id"]] = Response(**row)
    return found


def item_scores(data: BenchmarkData, folder: Path) -> dict[str, scoring.ItemScore]:
    """Every example's scores from the stored responses."""
    responses = read_responses(folder)
    missing = [example.id for example in data.examples if example.id not in responses]
    if missing:
        raise RunError(f"{folder} lacks {len(missing)} responses, the first is {missing[0]}")
    return {example.id: scoring.score(example, responses[example.id]) for example in data.examples}


def score(
    spec: RunSpec, data: BenchmarkData, predictions: dict[Role, Path], folder: Path, report: Report
) -> dict[str, Any]:
    """Cells with intervals and gaps, from stored predictions alone."""
    scores = {role: item_scores(data, path) for role, path in predictions.items()}
    report(1, 2, "intervals")
    cells = scoring.build_cells(data.examples, scores, answer_prior(data), spec.seed)
    text = "".join(cell.model_dump_json() + "\n" for cell in cells)
    (folder / "cells.jsonl").write_text(text, encoding="utf-8")
    for role, found in scores.items():
        lines = (json.dumps({"id": key, **item.values}) for key, item in found.items())
        (folder / f"{role}.items.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    report(2, 2, "intervals")
    return {"cells": len(cells)}


def answer_prior(data: BenchmarkData) -> dict[str, float]:
    """The best accuracy without knowing the person, per choice question about trained people."""
    answers: dict[str, dict[str, str]] = {}
    for example in data.train("retain"):
        answers.setdefault(example.fact, {})[example.person] = example.keyword
    asked = [
        example
        for example in data.examples
        if example.task == "choice" and example.set in ("forget", "test", "retain")
    ]
    return scoring.answer_prior(asked, {fact: list(of.values()) for fact, of in answers.items()})


def read_cells(folder: Path) -> list[Cell]:
    lines = (folder / "cells.jsonl").read_text(encoding="utf-8").splitlines()
    return [Cell.model_validate_json(line) for line in lines]


def check_gate(spec: RunSpec, data: BenchmarkData, predicted: Path) -> None:
    """RunError unless the target knows the forget people clearly better than a guess.

    Judged by choice accuracy; where a benchmark has no choice questions, by R@1 in a gallery, or
    by ROUGE-L, for which the guess is what a retained person's answer to such a question would
    score.
    """
    scores = item_scores(data, predicted)
    asked = [e for e in data.examples if e.set == "forget"]
    metric, judged = "accuracy", [e for e in asked if e.task == "choice"]
    if judged:
        prior = answer_prior(data)
        guesses = [prior[e.id] for e in judged]
    elif judged := [e for e in asked if e.task == "retrieval"]:
        metric, guesses = "r1", [_blind(data, e) for e in judged]
    else:
        metric, judged = "rouge_l", [e for e in asked if e.task == "generation"]
        guesses = _borrowed_answers(spec, data, judged)
    known = sum(scores[e.id].values[metric] for e in judged) / len(judged)
    guess = sum(guesses) / len(guesses)
    if known < guess + spec.gate.margin:
        raise RunError(
            f"the target never learned the forget people: {metric} {known:.2f}, a guess gives "
            f"{guess:.2f}, wanted is {spec.gate.margin:.2f} more; train longer "
            "(--set target.epochs=...) or lower --set gate.margin=..."
        )


def _blind(data: BenchmarkData, example: Example) -> float:
    """R@1 of a guess: the share of right candidates."""
    labels = [candidate.label for candidate in data.gallery(example.gallery)]
    return labels.count(example.answer) / len(labels)


def _borrowed_answers(spec: RunSpec, data: BenchmarkData, asked: Sequence[Example]) -> list[float]:
    """ROUGE-L of what a random retained person answers, to the same question where there is one."""
    rng = stream(spec.seed, "gate")
    kept = [e for e in data.examples if e.set == "retain" and e.task == "generation"]
    found = []
    for example in asked:
        alike = [e for e in kept if (e.fact, e.modality) == (example.fact, example.modality)]
        pool = alike or kept
        borrowed = pool[int(rng.integers(len(pool)))].answer
        found.append(rouge_l(borrowed, example.answer)[0])
    return found


def seed_libraries(seed: int) -> None:
    """Seed torch's generators; every other draw has its own named stream."""
    import torch

    torch.manual_seed(seed % 2**63)
