"""The paper stage: ask one model as MLLMU-Bench does, keep the replies, give its numbers."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mubench.config.schema import RunSpec
from mubench.data.load import BenchmarkData
from mubench.hashing import sha
from mubench.record import PaperCell
from mubench.tracks import paper

from . import Report

if TYPE_CHECKING:
    from mubench.models.hf_mllm import HFVisionLanguageModel


def paper_track(
    spec: RunSpec, data: BenchmarkData, deltas: Sequence[Path], folder: Path, report: Report
) -> dict[str, Any]:
    """MLLMU-Bench's own evaluation; goes on after the last reply of an interrupted attempt."""
    from mubench.models.load import load_model

    model = load_model(spec.model, data.image, deltas)
    scores = paper_scores(model, data, spec.seed, folder / "replies.jsonl", report)
    rows = [asdict(score) for score in scores]
    (folder / "scores.json").write_text(json.dumps(rows), encoding="utf-8")
    return {"questions": len((folder / "replies.jsonl").read_text("utf-8").splitlines())}


def paper_cells(folders: dict[str, Path]) -> list[PaperCell]:
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


def paper_scores(
    model: HFVisionLanguageModel,
    data: BenchmarkData,
    seed: int,
    path: Path,
    report: Report = lambda *_: None,
) -> list[paper.PaperScore]:
    """The scores of ``model`` on all sets of ``data`` under its forget ratio.

    ``path``: one JSON line a reply. What an interrupted attempt with the same prompts left there
    is taken up; it must be the same model's. ``seed`` draws exemplars and test pictures.
    """
    from mubench.models.raw_prompts import continue_prompt, family

    habits = paper.HABITS.get(family(model), paper.Habits())
    people = [person.id for person in data.people]
    requests = paper.requests(data.examples, people, seed, habits)
    replies = _keep(path, requests)
    with open(path, "a", encoding="utf-8") as out:
        for number, request in enumerate(requests[len(replies) :], start=len(replies) + 1):
            whole = continue_prompt(model, request.prompt, request.images, request.max_new_tokens)
            replies.append(paper.reply(whole))
            line = {"example_id": request.example_id, "request": _key(request), "text": replies[-1]}
            out.write(json.dumps(line, ensure_ascii=False) + "\n")
            out.flush()
            os.fsync(out.fileno())
            report(number, len(requests), f"prompt {number} of {len(requests)}")
    texts = {request.example_id: text for request, text in zip(requests, replies, strict=True)}
    return paper.summary(data.examples, texts)


def _key(request: paper.PaperRequest) -> str:
    return sha(asdict(request))


def _keep(path: Path, requests: Sequence[paper.PaperRequest]) -> list[str]:
    """The replies that stand in the file for the first requests; all else in it is cut off."""
    lines = path.read_text("utf-8", errors="replace").split("\n")[:-1] if path.exists() else []
    replies: list[str] = []
    for line, request in zip(lines, requests, strict=False):
        try:
            row = json.loads(line)
            if row["request"] != _key(request):
                break
            replies.append(row["text"])
        except (ValueError, KeyError, TypeError):  # torn or not ours
            break
    path.write_text("".join(f"{line}\n" for line in lines[: len(replies)]), encoding="utf-8")
    return replies
