"""UMU-Bench (NeurIPS 2025 Datasets and Benchmarks): ``linbojunzi/UMU-bench``.

Every question comes in both modalities under one key, which is the ``fact`` here. Its columns are
texts that hold Python literals, and spell the image+text form "muitimodal".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mubench.data.hub import Files
from mubench.data.tables import Person, Tables
from mubench.types import Example, Modality

from .rows import Cell, Pictures, check_apart, keyed, letter, members, options, plain_facts, table

RATIOS = {"0.05": "forget_5", "0.1": "forget_10", "0.15": "forget_15"}
#: Rows by config. The ``retain_*`` configs are the others of ``Full_Set`` and are not read.
ROWS = {"Full_Set": 500, "Real_Person_Set": 153, "forget_5": 25, "forget_10": 50, "forget_15": 75}

_FORMS: dict[str, Modality] = {"muitimodal": "image_text", "unimodal": "text"}
_TASKS = {"choice": "Classify", "cloze": "Cloze", "generation": "Generation"}
_TRAIN: dict[str, Modality] = {"MM_QA": "image_text", "UM_QA": "text"}
_SETS = {"Full_Set": "seen", "Real_Person_Set": "celebrity"}


def read(files: Files, rows: Mapping[str, int] = ROWS) -> Tables:
    """The benchmark as published; ``rows``: how many each config must have."""
    pictures = Pictures()
    people: list[Person] = []
    examples: list[Example] = []
    train: list[Example] = []
    for config, set_ in _SETS.items():
        for id_, row in keyed(table(files.parts[config]), "ID", config, rows):
            image = pictures.add(f"{id_}/{set_}", row["image"])
            examples += _questions(id_, set_, row, image)
            if set_ == "seen":
                train += _train(id_, row, image)
            facts = plain_facts(row["Biography"])
            people.append(
                Person(
                    id=id_,
                    name=facts.get("Name", id_),
                    role="fictitious" if set_ == "seen" else "celebrity",
                    portrait="published",
                    biography=row["Biography"].optional(),
                    facts=facts,
                )
            )
    check_apart(people)
    known = {person.id for person in people if person.role == "fictitious"}
    return Tables(
        name="umu",
        version=files.repository.revision,
        source=files.source,
        people=people,
        examples=examples,
        train=train,
        images=pictures,
        splits={
            ratio: members(table(files.parts[config], ["ID"]), config, rows, known)
            for ratio, config in RATIOS.items()
        },
    )


def _questions(id_: str, set_: str, row: Cell, image: str) -> Iterator[Example]:
    for task, column in _TASKS.items():
        asked = row[column].literal()
        forms = {modality: asked[form].members() for form, modality in _FORMS.items()}
        for modality, keys in forms.items():
            for key, cell in keys.items():
                if key not in forms["text"]:
                    raise cell.bad("has no text-only form")
                choices: tuple[str, ...] = ()
                if task == "choice":
                    choices, answer = _options(cell, forms["text"][key])
                else:
                    answer = cell["answer"].text()
                yield Example(
                    id=f"{id_}/{set_}/{task}/{key}/{modality}",
                    set=set_,
                    task=task,
                    modality=modality,
                    person=id_,
                    fact=key,
                    question=cell["question"].text(),
                    answer=answer,
                    keyword="" if task == "generation" else answer.rstrip(". "),
                    image=image if modality == "image_text" else None,
                    choices=choices,
                )


def _options(cell: Cell, text_only: Cell) -> tuple[tuple[str, ...], str]:
    """Options of a question and the right one, which the text-only form tells for both forms.

    UMU-Bench's own evaluation reads the letter there, too.
    """
    right = letter(text_only["answer"])
    choices, answer = options(cell["options"], right)
    truth = options(text_only["options"], right)[1]
    return choices, truth if truth in choices else answer


def _train(id_: str, row: Cell, image: str) -> Iterator[Example]:
    for column, modality in _TRAIN.items():
        pairs = row[column].literal()
        for key, question in pairs["question"].members().items():
            yield Example(
                id=f"{id_}/train/generation/{key}/{modality}",
                set="people",
                task="generation",
                modality=modality,
                person=id_,
                fact=key,
                question=question.text(),
                answer=_answer(pairs["answer"], key, question).text(),
                keyword="",
                image=image if modality == "image_text" else None,
            )


def _answer(answers: Cell, key: str, question: Cell) -> Cell:
    found = answers.members().get(key)
    if found is None:
        raise question.bad("has no answer")
    return found
