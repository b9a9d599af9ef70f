"""What a run folder holds beside its record: the answers, what was shown of them, and hashes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from mubench.errors import DamagedError
from mubench.hashing import file_sha
from mubench.record import Artifact
from mubench.report.html import Sample
from mubench.types import ROLES, SETS, Example, Response, Token

RECORD, PRIOR, REPORT, PREDICTIONS = "record.json", "prior.json", "report.html", "predictions"
#: People shown in the page, per set; every question about them is shown.
SAMPLE_PEOPLE = 2


def write_answers(
    folder: Path,
    role: str,
    examples: Sequence[Example],
    responses: Mapping[str, Response],
    scored: Path,
) -> None:
    """One line a question: the example, the response, the scores."""
    lines = (scored / f"{role}.items.jsonl").read_text(encoding="utf-8").splitlines()
    with open(folder / PREDICTIONS / f"{role}.jsonl", "w", encoding="utf-8") as out:
        for example, line in zip(examples, lines, strict=True):
            scores = json.loads(line)
            scores.pop("id")
            response = _values(responses[example.id])
            response.pop("example_id")
            row = {"example": _values(example), "response": response, "scores": scores}
            out.write(json.dumps(row, ensure_ascii=False) + "\n")


def _values(record: Example | Response) -> dict[str, Any]:
    """By field; ``asdict`` would copy every token as well, for three models' answers."""
    return {field.name: getattr(record, field.name) for field in fields(record)}


def read_rows(folder: Path, role: str) -> list[dict[str, Any]]:
    """The lines of ``write_answers``. DamagedError if they cannot be read."""
    path = folder / PREDICTIONS / f"{role}.jsonl"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]
    except (OSError, ValueError) as error:
        raise DamagedError(f"{path} is not readable: {error}") from error


def example_of(row: Mapping[str, Any]) -> Example:
    lists = {key: tuple(value) for key, value in row["example"].items() if isinstance(value, list)}
    return Example(**{**row["example"], **lists})


def response_of(row: Mapping[str, Any]) -> Response:
    values = dict(row["response"])
    tokens = tuple(Token(*token) for token in values.pop("tokens", ()))
    lists = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
    return Response(example_id=row["example"]["id"], tokens=tokens, **{**values, **lists})


def artifacts(folder: Path) -> list[Artifact]:
    """Every file with its hash, but for the record and what is drawn from it."""
    return [
        Artifact(
            path=path.relative_to(folder).as_posix(),
            sha256=file_sha(path),
            bytes=path.stat().st_size,
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in (RECORD, REPORT)
    ]


def samples(folder: Path, png: Callable[[str], bytes | None]) -> list[Sample]:
    """Every question about the first people of each set, with what the three models said."""
    rows = {role: read_rows(folder, role) for role in ROLES}
    shown: dict[str, list[str]] = {set_: [] for set_ in SETS}
    found = []
    for of in zip(*rows.values(), strict=True):
        example = example_of(of[0])
        people = shown.setdefault(example.set, [])
        if example.person not in people:
            if len(people) >= SAMPLE_PEOPLE:
                continue
            people.append(example.person)
        said = {role: _said(example, row["response"]) for role, row in zip(rows, of, strict=True)}
        right = {role: _verdict(row["scores"]) for role, row in zip(rows, of, strict=True)}
        found.append(
            Sample(
                set=example.set,
                modality=example.modality,
                task=example.task,
                question=example.question,
                choices=example.choices,
                answer=example.answer,
                image_png=png(example.image) if example.image else None,
                target=said["target"],
                gold=said["gold"],
                method=said["method"],
                verdicts=right,
                person=example.person,
            )
        )
    return found


def _said(example: Example, response: dict[str, Any]) -> str:
    if not example.choices:
        return str(response["text"])
    means = [
        total / length
        for total, length in zip(response["logprobs"], response["lengths"], strict=True)
    ]
    return example.choices[means.index(max(means))]


def _verdict(scores: dict[str, float]) -> bool | None:
    for name in ("accuracy", "keyword", "match", "r1"):
        if name in scores:
            return scores[name] == 1.0
    return None
