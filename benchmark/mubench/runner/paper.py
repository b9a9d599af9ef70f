"""The paper track on one model: ask, keep the replies, give MLLMU-Bench's own numbers."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from mubench.data.load import BenchmarkData
from mubench.hashing import sha
from mubench.tracks import paper

if TYPE_CHECKING:
    from mubench.models.hf_mllm import HFVisionLanguageModel

Report = Callable[[int, int, str], None]


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
