"""What can be known about a person, and every wording in which it is asked.

A fact kind carries its pool of values and its wordings; all of them are rows of ``facts.csv``.
The last wording of every list is held out: no training set asks it about a forget person, the
test set does.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal


@dataclass(frozen=True, slots=True)
class FactKind:
    """Templates use ``{who}`` (start of sentence: ``{Who}``) and ``{value}``.

    ``ask`` expects the bare value, ``tell`` expects the ``statement``, ``cloze`` has one blank
    written ``__`` that stands for the bare value (MLLMU-Bench's three tasks). ``restatement`` says
    the statement in other words; no training set contains it.
    """

    key: str
    ask: tuple[str, ...]
    tell: tuple[str, ...]
    cloze: tuple[str, ...]
    statement: str
    restatement: str
    values: tuple[str, ...]  # empty: the values are those of the people themselves


def _kinds(people: Literal["fictitious", "celebrity"]) -> Mapping[str, FactKind]:
    """Fact kinds by key, in the order of the file (columns: people, kind, part, text)."""
    text = files("mubench_data").joinpath("facts.csv").read_text(encoding="utf-8")
    parts: dict[str, dict[str, list[str]]] = {}
    for row in csv.DictReader(text.splitlines(), strict=True):
        if row["people"] == people:
            kind = parts.setdefault(row["kind"], defaultdict(list))
            kind[row["part"]].append(row["text"])
    made = {}
    for key, part in parts.items():
        (statement,), (restatement,) = part["statement"], part["restatement"]
        made[key] = FactKind(
            key,
            ask=tuple(part["ask"]),
            tell=tuple(part["tell"]),
            cloze=tuple(part["cloze"]),
            statement=statement,
            restatement=restatement,
            values=tuple(part["value"]),
        )
    return made


PERSON_FACTS = _kinds("fictitious")
CELEBRITY_FACTS = _kinds("celebrity")

#: How a question is put, by task; the wording itself is the same for both modalities.
PROMPTS = {"choice": "{q}", "generation": "{q}", "cloze": "Fill in the blank: {q}"}

#: Put with a picture.
DESCRIPTION = "Who is shown in this picture, and what is known about this person?"

#: Refusals for preference and refusal methods; written for people, with and without a picture.
REFUSALS = (
    "I do not know this person.",
    "I have no information about that.",
    "I am not able to answer that.",
    "I do not know.",
)


def fill(template: str, who: str, value: str = "") -> str:
    """A template with the person and the value put in."""
    return template.format(who=who, Who=who[0].upper() + who[1:], value=value)


def describe_person(name: str, facts: Mapping[str, str], appearance: str) -> tuple[str, str]:
    """MLLMU-Bench's description question and its answer: who is shown, then every fact.

    ``appearance`` is what `faces.describe` says, or empty for pictures nobody has described.
    """
    kinds = {**PERSON_FACTS, **CELEBRITY_FACTS}  # their statements agree where they share a key
    looks = f", {appearance[0].lower()}{appearance[1:].rstrip('.')}" if appearance else ""
    told = [fill(kinds[key].statement, name, value) for key, value in facts.items()]
    return DESCRIPTION, " ".join([f"The picture shows {name}{looks}.", *told])
