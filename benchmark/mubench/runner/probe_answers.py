"""What probes asked and what the models said: kept in the run folder, and the cells from that.

probes/leakage.questions.jsonl.gz    the questions, by every path
probes/leakage.<role>.jsonl.gz       what a model said, a line a question
probes/components.<set>.jsonl.gz     what the method's model said at the entrances, with these
                                     components of the target put back
probes/privacy.questions.jsonl.gz    about forget and holdout people, and with swapped pictures
probes/privacy.<role>.jsonl.gz       how a model (``base`` too) saw the true answers
probes/recovery.questions.jsonl.gz   among prototypes, and after relearning
probes/recovery.<role>.jsonl.gz      the ranks of what is right
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from mubench.errors import DamagedError
from mubench.models.layouts import COMPONENTS
from mubench.probes.leakage import (
    ENTRANCES,
    Said,
    component_cells,
    in_between,
    leakage_cells,
)
from mubench.probes.privacy import Questions, Seen, is_swapped, privacy_cells
from mubench.probes.recovery import recovery_cells
from mubench.record import Probe, RunRecord
from mubench.types import ROLES, Example, Response, Role

from .plan import BASE

#: The folder, and how the file of the questions ends.
FOLDER, QUESTIONS = "probes", "questions"
#: What cells need of an answer; of its tokens, the first alone.
_KEPT = ("status", "logprobs", "lengths", "text", "finished")
_EXAMPLE, _RESPONSE, _SEEN = TypeAdapter(Example), TypeAdapter(Response), TypeAdapter(Seen)
#: Rows of a file by its name, e.g. ``leakage.method``.
Rows = Callable[[str], Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Leakage:
    """``differ``: components that method and target do not share; None where none can be put back.
    ``restored``: answers with some of those put back, where that makes a model of its own."""

    asked: Sequence[Example]
    said: Mapping[Role, Said]
    differ: Sequence[str] | None = None
    restored: Mapping[str, Said] = field(default_factory=dict)

    @property
    def entrances(self) -> list[Example]:
        return [example for example in self.asked if example.set in ENTRANCES]

    def cells(self, seed: int) -> list[Probe]:
        found = leakage_cells(self.asked, self.said, seed)
        if self.differ is None:
            return found
        by_components = self._by_components(self.differ)
        return found + component_cells(self.asked, self.said, by_components, seed)

    def _by_components(self, differ: Sequence[str]) -> dict[str, Said]:
        """What the method's model says by the components put back, none to all."""
        found: dict[str, Said] = {}
        for count in range(len(COMPONENTS) + 1):
            for some in combinations(COMPONENTS, count):
                changed = [component for component in some if component in differ]
                if not changed:
                    said = self.said["method"]
                elif len(changed) == len(differ):
                    said = self.said["target"]
                else:
                    said = self.restored["+".join(changed)]
                found["+".join(some) or "none"] = said
        return found


@dataclass(frozen=True, slots=True)
class Privacy:
    """``seen`` is by role, and of the base model."""

    asked: Questions
    seen: Mapping[str, Mapping[str, Seen]]

    def cells(self, seed: int) -> list[Probe]:
        by_role: dict[Role, Mapping[str, Seen]] = {role: self.seen[role] for role in ROLES}
        return privacy_cells(self.asked, by_role, self.seen[BASE], seed)


@dataclass(frozen=True, slots=True)
class Recovery:
    """What the three models find among prototypes, and after relearning."""

    asked: Sequence[Example]
    said: Mapping[Role, Said]

    def cells(self, seed: int) -> list[Probe]:
        return recovery_cells(self.asked, self.said, seed)


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers of the probes that were asked for."""

    leakage: Leakage | None = None
    privacy: Privacy | None = None
    recovery: Recovery | None = None

    def cells(self, seed: int) -> list[Probe]:
        asked = (self.leakage, self.privacy, self.recovery)
        return [cell for one in asked if one for cell in one.cells(seed)]


# -- written ----------------------------------------------------------------------------------


def write(folder: Path, answers: Answers) -> None:
    """Put the answers into a run folder; nothing where no probe was asked for."""
    for name, rows in _files(answers):
        path = folder / FOLDER / f"{name}.jsonl.gz"
        path.parent.mkdir(exist_ok=True)
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        path.write_bytes(gzip.compress(text.encode(), 9, mtime=0))


def _files(answers: Answers) -> Iterator[tuple[str, Iterable[Any]]]:
    if leakage := answers.leakage:
        yield f"leakage.{QUESTIONS}", map(asdict, leakage.asked)
        for role, said in leakage.said.items():
            yield f"leakage.{role}", (_answer(said[e.id]) for e in leakage.asked)
        for some, said in leakage.restored.items():
            yield f"components.{some}", (_answer(said[e.id]) for e in leakage.entrances)
    if privacy := answers.privacy:
        yield f"privacy.{QUESTIONS}", map(asdict, privacy.asked.all)
        for role, seen in privacy.seen.items():
            yield f"privacy.{role}", (asdict(seen[e.id]) for e in privacy.asked.all)

    if recovery := answers.recovery:
        yield f"recovery.{QUESTIONS}", map(asdict, recovery.asked)
        for role, said in recovery.said.items():
            yield f"recovery.{role}", ({"ranks": said[e.id].ranks} for e in recovery.asked)


def _answer(response: Response) -> dict[str, Any]:
    kept = {name: getattr(response, name) for name in _KEPT}
    return {**kept, "tokens": response.tokens[:1]}


# -- read -------------------------------------------------------------------------------------


def stored(folder: Path, record: RunRecord) -> Answers:
    """The answers in a run folder. DamagedError where they are not there or not readable."""

    def rows(name: str) -> list[Any]:
        path = folder / FOLDER / f"{name}.jsonl.gz"
        try:
            return [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
        except (OSError, EOFError, ValueError) as error:
            raise DamagedError(f"{path} is not readable: {error}") from error

    def questions(kind: str) -> list[Example]:
        return _parsed(f"{kind}.{QUESTIONS}", _EXAMPLE, rows(f"{kind}.{QUESTIONS}"))

    return read(record, questions, rows)


def read(record: RunRecord, questions: Callable[[str], Sequence[Example]], rows: Rows) -> Answers:
    """The answers to the ``questions`` (of each by its name) of the probes that the
    record's configuration asks for. DamagedError where they do not fit."""
    wanted = dict(record.spec.get("probe") or {})
    leakage = privacy = None
    if wanted.get("leakage"):
        asked = questions("leakage")
        differ = _differ(record)
        leakage = Leakage(asked, {role: _said(f"leakage.{role}", asked, rows) for role in ROLES})
        if differ is not None:
            names = ["+".join(some) for some in in_between(differ)]
            at = leakage.entrances
            restored = {name: _said(f"components.{name}", at, rows) for name in names}
            leakage = Leakage(asked, leakage.said, differ, restored)
    if wanted.get("privacy"):
        all_ = questions("privacy")
        seen = {role: _seen(f"privacy.{role}", all_, rows) for role in (*ROLES, BASE)}
        privacy = Privacy(Questions.of(all_), seen)
    recovery = None
    if wanted.get("recovery"):
        asked = questions("recovery")
        places = {role: _places(f"recovery.{role}", asked, rows) for role in ROLES}
        recovery = Recovery(asked, places)
    return Answers(leakage, privacy, recovery)


def _differ(record: RunRecord) -> list[str] | None:
    """Which components differ between method and target, as the stage that compared them says."""
    told = [stage.detail.get("differ") for stage in record.stages if stage.kind == "components"]
    if not told:
        return None
    (differ, *_) = told
    if not isinstance(differ, list) or differ != [one for one in COMPONENTS if one in differ]:
        raise DamagedError(f"record.json names no components that differ: {differ!r:.60}")
    return differ


def _said(name: str, asked: Sequence[Example], rows: Rows) -> dict[str, Response]:
    found = _lines(name, len(asked), rows, {*_KEPT, "tokens"})
    lines = [{**row, "example_id": example.id} for row, example in zip(found, asked, strict=True)]
    said = _parsed(name, _RESPONSE, lines)
    for example, response in zip(asked, said, strict=True):
        if not example.choices and not response.tokens:
            raise DamagedError(f"{FOLDER}/{name}: the answer to '{example.id}' has no first token")
    return {response.example_id: response for response in said}


def _places(name: str, asked: Sequence[Example], rows: Rows) -> dict[str, Response]:
    found = _lines(name, len(asked), rows, {"ranks"})
    lines = [
        {**row, "example_id": example.id, "status": "ok"}
        for row, example in zip(found, asked, strict=True)
    ]
    said = _parsed(name, _RESPONSE, lines)
    for response in said:
        if not response.ranks or min(response.ranks) < 1:
            raise DamagedError(f"{FOLDER}/{name}: '{response.example_id}' has no rank from 1 on")
    return {response.example_id: response for response in said}


def _seen(name: str, asked: Sequence[Example], rows: Rows) -> dict[str, Seen]:
    parsed = _parsed(name, _SEEN, _lines(name, len(asked), rows, {"tokens", "gradient"}))
    found = {example.id: seen for example, seen in zip(asked, parsed, strict=True)}
    for id_, seen in found.items():
        if len(seen.tokens) < 2:
            raise DamagedError(f"{FOLDER}/{name}: '{id_}' needs a token of the answer and its end")
    if len({seen.gradient is None for id_, seen in found.items() if not is_swapped(id_)}) > 1:
        raise DamagedError(f"{FOLDER}/{name}: some answers have a gradient norm, others none")
    return found


def _lines(name: str, count: int, rows: Rows, keys: set[str]) -> Sequence[dict[str, Any]]:
    found = rows(name)
    if len(found) != count:
        raise DamagedError(f"{FOLDER}/{name} has {len(found)} rows for {count} questions")
    if any(not isinstance(row, dict) or row.keys() != keys for row in found):
        raise DamagedError(f"{FOLDER}/{name}: rows need just {', '.join(sorted(keys))}")
    return found


def _parsed(name: str, kind: TypeAdapter[Any], rows: Sequence[Any]) -> list[Any]:
    try:
        return [kind.validate_python(row) for row in rows]
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "a row"
        raise DamagedError(f"{FOLDER}/{name}: {where}: {first['msg']}") from error
