"""The predict stage: every question to one model, unit by unit, and its log of responses."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mubench.config.schema import RunSpec
from mubench.data.load import BenchmarkData
from mubench.errors import RunError
from mubench.rng import integer
from mubench.types import Example, Response, Token

from . import Report, seed_libraries

if TYPE_CHECKING:
    from mubench.models.protocols import TrainableModel


def predict(
    spec: RunSpec, data: BenchmarkData, deltas: Sequence[Path], folder: Path, report: Report
) -> dict[str, Any]:
    """Answer every question of the evaluation sets."""
    from mubench.models.load import load_model

    return ask(
        spec,
        data.examples,
        lambda: load_model(spec.model, data.image, deltas, data.gallery),
        folder,
        report,
    )


def ask(
    spec: RunSpec,
    examples: Sequence[Example],
    load: Callable[[], TrainableModel],
    folder: Path,
    report: Report,
    *,
    max_new_tokens: int | None = None,
) -> dict[str, Any]:
    """Answer questions unit by unit; goes on after the last whole unit of an interrupted attempt.
    ``max_new_tokens``: where answers may be shorter than usual. RunError, with all responses kept,
    if a request failed even alone."""
    from mubench.models.packing import units

    path = folder / "responses.jsonl"
    asked = units(examples)
    done = _keep_whole_units(path, asked)
    detail: dict[str, Any] = {"questions": len(examples), "units": len(asked)}
    failed: list[Response] = []
    if done < len(asked):
        seed_libraries(integer(spec.seed, "predict"))
        model = load()
        answers = model.answers(
            asked,
            max_new_tokens=max_new_tokens or spec.predict.max_new_tokens,
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
            f"{len(failed)} of {len(examples)} questions got no answer, the first is "
            f"{failed[0].example_id} ({failed[0].error}); the responses are kept in {path}, and "
            "the same command asks again from that question on"
        )
    return detail


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
        row["tokens"] = tuple(Token(*token) for token in row["tokens"])
        found[row["example_id"]] = Response(**row)
    return found
