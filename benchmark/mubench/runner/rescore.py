"""Everything a run says, computed again from its stored answers: no model, no benchmark, no torch.

``recompute`` is the function; ``rescore`` writes what it finds, ``verify`` compares.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mubench.errors import DamagedError, MubenchError, UsageError
from mubench.hashing import file_sha
from mubench.metrics.assessment import assess, item_scores
from mubench.metrics.scoring import ItemScore
from mubench.record import Assessment, Probe, RunRecord
from mubench.report.html import render_html
from mubench.types import Example, Response, gold_roles

from .folder import (
    PREDICTIONS,
    PRIOR,
    RECORD,
    REPORT,
    artifacts,
    example_of,
    read_rows,
    response_of,
    samples,
)
from .probe_answers import stored

#: Largest difference between a number and its recomputation: rounding of another machine.
TOLERANCE = 1e-9


def read_record(folder: Path) -> RunRecord:
    """The record of a run folder, or of its record file. UsageError, DamagedError if it is none."""
    path = folder / RECORD if folder.is_dir() else folder
    try:
        return RunRecord.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"no run at {folder}: {path} cannot be read") from error
    except (ValidationError, UnicodeDecodeError) as error:
        first = str(error).splitlines()[0]
        raise DamagedError(f"{path} is not a run record: {first}") from error


@dataclass(frozen=True)
class StoredRun:
    """A run folder as it was written; nothing of it is computed again before it is asked for."""

    folder: Path

    @cached_property
    def record(self) -> RunRecord:
        return read_record(self.folder)

    @property
    def roles(self) -> tuple[str, ...]:
        """All models with answers: target, method, golds."""
        golds = gold_roles(int(self.record.spec.get("golds", 1)))
        return ("target", *golds, "method")

    @cached_property
    def rows(self) -> dict[str, list[dict[str, Any]]]:
        return {role: read_rows(self.folder, role) for role in self.roles}

    @cached_property
    def examples(self) -> list[Example]:
        return _parsed(self.folder, example_of, self.rows["target"])

    @cached_property
    def responses(self) -> dict[str, dict[str, Response]]:
        found = {}
        for role, rows in self.rows.items():
            responses = _parsed(self.folder, response_of, rows)
            found[role] = {response.example_id: response for response in responses}
        return found

    @cached_property
    def stored_scores(self) -> dict[str, dict[str, Mapping[str, float]]]:
        """Item scores as they were written, by role and example."""
        return {
            role: {row["example"]["id"]: row["scores"] for row in rows}
            for role, rows in self.rows.items()
        }

    @cached_property
    def scores(self) -> dict[str, dict[str, ItemScore]]:
        """Item scores computed again."""
        return {
            role: item_scores(self.examples, responses)
            for role, responses in self.responses.items()
        }

    @cached_property
    def prior(self) -> dict[str, float]:
        path = self.folder / PRIOR
        try:
            found: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DamagedError(f"{path} is not readable: {error}") from error
        return found

    @cached_property
    def assessment(self) -> Assessment:
        """Cells, label, signals, forget quality and warnings from the stored answers."""
        seed = self.record.spec["seed"]
        return assess(self.examples, self.responses, self.scores, self.prior, seed)

    @cached_property
    def probes(self) -> list[Probe]:
        """The cells of the probes that were asked for, from their stored answers."""
        return stored(self.folder, self.record).cells(self.record.spec["seed"])


def _parsed(folder: Path, parse: Callable[[Any], Any], rows: list[dict[str, Any]]) -> list[Any]:
    try:
        return [parse(row) for row in rows]
    except (KeyError, TypeError) as error:
        raise DamagedError(f"{folder / PREDICTIONS} does not hold answers: {error}") from error


def recompute(folder: Path) -> Assessment:
    """Cells, label, signals, forget quality and warnings from the answers in a run folder."""
    return StoredRun(folder).assessment


def rescore(folder: Path, png: Callable[[str], bytes | None]) -> RunRecord:
    """Score the stored answers again and write scores, record and page; returns the new record.

    ``png`` gives the pictures of the page, as far as there are any.
    """
    run = StoredRun(folder)
    for role, rows in run.rows.items():
        scores = run.scores[role]
        lines = [
            json.dumps({**row, "scores": scores[row["example"]["id"]].values}, ensure_ascii=False)
            for row in rows
        ]
        _replace(folder / PREDICTIONS / f"{role}.jsonl", "\n".join(lines) + "\n")
    found = {**dict(run.assessment), "probes": run.probes, "artifacts": artifacts(folder)}
    record = run.record.model_copy(update=found)
    _replace(folder / RECORD, record.model_dump_json(indent=2) + "\n")
    _replace(folder / REPORT, render_html(record, samples(folder, png)))
    return record


def _replace(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def verify(folder: Path) -> list[str]:
    """What is wrong with a run folder, one line each; nothing if all is as the record says."""
    run = StoredRun(folder)
    said = _changed_files(folder, run.record)
    try:
        for role in run.roles:
            for id_, stored in run.stored_scores[role].items():
                if not alike(dict(stored), dict(run.scores[role][id_].values)):
                    said.append(f"{role}: the scores of '{id_}' are not those of its answer")
        claimed = Assessment.model_validate(
            {name: getattr(run.record, name) for name in Assessment.model_fields}
        )
        said += differences(claimed, run.assessment)
        return said + differing("probes", *_plain(run.record.probes, run.probes))
    except (MubenchError, KeyError) as error:
        return [*said, f"it cannot be scored again: {error}"]


def _changed_files(folder: Path, record: RunRecord) -> list[str]:
    listed = {artifact.path: artifact for artifact in record.artifacts}
    said = []
    for name, artifact in listed.items():
        path = folder / name
        if not path.is_file():
            said.append(f"{name} is missing")
        elif file_sha(path) != artifact.sha256:
            said.append(f"{name} is not what was written")
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    extra = sorted(there - set(listed) - {RECORD, REPORT})
    return said + [f"{name} is not part of the run" for name in extra]


def differences(claimed: Assessment, found: Assessment) -> list[str]:
    """One line for each statement that the answers do not bear out."""
    one, other = claimed.model_dump(), found.model_dump()
    return [line for name in one for line in differing(name, one[name], other[name])]


def differing(name: str, claimed: Any, found: Any) -> list[str]:
    """The same for one part of a record."""
    if isinstance(claimed, list) and len(claimed) == len(found):
        pairs = zip(claimed, found, strict=True)
        return [f"{name}: {_told(a, b)}" for a, b in pairs if not alike(a, b)]
    return [] if alike(claimed, found) else [f"{name}: other ones when computed again"]


def _plain(*probes: Sequence[Probe]) -> list[list[dict[str, Any]]]:
    return [[probe.model_dump() for probe in some] for some in probes]


def _told(claimed: Any, found: Any) -> str:
    """Which entry of a list it is, and what about it is wrong."""
    if not isinstance(claimed, dict):
        return f"'{claimed}' is '{found}' when computed again"
    keys = ("probe", "set", "modality", "task", "axes", "metric", "name")
    which = " ".join(_word(claimed[key]) for key in keys if key in claimed)
    wrong = next(key for key in found if not alike(claimed.get(key), found[key]))
    return f"{which}: {wrong} is {claimed.get(wrong)}, computed again {found[wrong]}"


def _word(value: Any) -> str:
    return " ".join(map(str, value.values())) if isinstance(value, dict) else str(value)


def alike(claimed: Any, computed: Any) -> bool:
    """Equal but for the last digits of numbers."""
    if isinstance(computed, dict):
        return (
            isinstance(claimed, dict)
            and claimed.keys() == computed.keys()
            and all(alike(claimed[key], part) for key, part in computed.items())
        )
    if isinstance(computed, list | tuple):
        return (
            isinstance(claimed, list | tuple)
            and len(claimed) == len(computed)
            and all(map(alike, claimed, computed))
        )
    if isinstance(computed, float) and isinstance(claimed, float):
        return math.isclose(claimed, computed, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return type(claimed) is type(computed) and bool(claimed == computed)
