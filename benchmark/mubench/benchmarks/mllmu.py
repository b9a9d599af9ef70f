"""MLLMU-Bench (Liu et al., 2025; arXiv:2410.22108): ``MLLMMU/MLLMU-Bench``.

``Full_Set`` asks about the trained photo, ``Test_Set`` is its generalisation copy, ``Retain_Set``
is the real celebrities in spite of its name, and ``ft_Data`` is what models are trained on: never
the questions that they are then asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from mubench.data.hub import Files
from mubench.data.tables import Person, Tables
from mubench.types import MODALITIES, Example, Modality

from .rows import (
    Cell,
    Pictures,
    check_apart,
    check_count,
    damaged,
    keyed,
    letter,
    members,
    options,
    plain_facts,
    table,
)

RATIOS = {"0.05": "forget_5", "0.1": "forget_10", "0.15": "forget_15"}
#: Rows by config. The ``retain_*`` configs are the others of ``Full_Set`` and are not read.
ROWS = {
    "Full_Set": 500,
    "Test_Set": 500,
    "Retain_Set": 153,
    "ft_Data": 500,
    "forget_5": 25,
    "forget_10": 50,
    "forget_15": 75,
}
#: Questions a row and modality, by task, and what the n-th of them is called.
PER_ROW = {"choice": 5, "generation": 2, "cloze": 2}
_FACTS = {"choice": "mcq", "generation": "gen", "cloze": "cloze"}

_FORMS: dict[Modality, tuple[str, str]] = {
    "image_text": ("Image_Textual_Questions", "Image_Textual"),
    "text": ("Pure_Text_Questions", "Pure_Text"),
}
_TASKS = ("Classification_Task", "Generation_Task", "Mask_Task")
_SETS = {"Full_Set": "seen", "Test_Set": "unseen", "Retain_Set": "celebrity"}


def read(files: Files, rows: Mapping[str, int] = ROWS) -> Tables:
    """The benchmark as published; ``rows``: how many each config must have."""
    pictures = Pictures()
    people: list[Person] = []
    examples: list[Example] = []
    for config, set_ in _SETS.items():
        for id_, row in keyed(table(files.parts[config]), "ID", config, rows):
            images = row["images"].each() if set_ == "unseen" else [row["image"]]
            if not images:
                raise row["images"].bad("has no picture")
            ids = [pictures.add(f"{id_}/{set_}-{n}", cell) for n, cell in enumerate(images)]
            examples += _questions(id_, set_, row, ids)
            if set_ != "unseen":
                people.append(_person(id_, set_, row))
        for task, count in PER_ROW.items():
            found = sum(e.set == set_ and e.task == task for e in examples)
            check_count(config, f"{task} questions", 2 * count * rows[config], found)
    check_apart(people)
    known = {person.id for person in people if person.role == "fictitious"}
    return Tables(
        name="mllmu",
        version=files.repository.revision,
        source=files.source,
        people=people,
        examples=examples,
        train=list(_train(files, rows, known, pictures)),
        images=pictures,
        splits={
            ratio: members(table(files.parts[config], ["ID"]), config, rows, known)
            for ratio, config in RATIOS.items()
        },
    )


def _person(id_: str, set_: str, row: Cell) -> Person:
    facts = plain_facts(row["biography"])
    return Person(
        id=id_,
        name=facts.get("Name", id_),
        role="celebrity" if set_ == "celebrity" else "fictitious",
        portrait="published",
        biography=row["biography"].optional(),
        facts=facts,
        description=(row["question"].optional(), row["answer"].optional()),
    )


def _questions(id_: str, set_: str, row: Cell, images: list[str]) -> Iterator[Example]:
    """The two forms are listed apart: those of equal place and answer are one question."""
    found: dict[Modality, list[Example]] = {modality: [] for modality in MODALITIES}
    for modality, (group, type_) in _FORMS.items():
        asked = [("choice", n, cell) for n, cell in enumerate(row[_TASKS[0]][group].each())]
        for task, column in (("generation", _TASKS[1]), ("cloze", _TASKS[2])):
            typed = [cell for cell in row[column].each() if _type(cell["Type"]) == type_]
            asked += [(task, n, cell) for n, cell in enumerate(typed)]
        for place, (task, n, cell) in enumerate(asked):
            choices: tuple[str, ...] = ()
            if task == "choice":
                choices, answer = options(cell["Options"], letter(cell["Correct_Answer"]))
            else:
                answer = cell["Ground_Truth"].text()
            found[modality].append(
                Example(
                    id=f"{id_}/{set_}/{task}/{_FACTS[task]}-{n}/{modality}",
                    set=set_,
                    task=task,
                    modality=modality,
                    person=id_,
                    fact=f"{_FACTS[task]}-{n}",
                    question=cell["Question"].text(),
                    answer=answer,
                    keyword="" if task == "generation" else answer,
                    image=images[place % len(images)] if modality == "image_text" else None,
                    choices=choices,
                )
            )
    others = {(e.fact, e.answer.casefold()) for e in found["image_text"]}
    for example in (*found["image_text"], *found["text"]):
        if (example.fact, example.answer.casefold()) not in others:
            example = replace(example, fact=f"{example.fact}-text")
        yield example


def _type(cell: Cell) -> str:
    value = cell.text()
    if value not in (known := [type_ for _, type_ in _FORMS.values()]):
        raise cell.bad(f"is '{value}', should be {' or '.join(known)}")
    return value


def _train(
    files: Files, rows: Mapping[str, int], known: set[str], pictures: Pictures
) -> Iterator[Example]:
    trained = set()
    for id_, row in keyed(table(files.parts["ft_Data"]), "ID", "ft_Data", rows):
        if id_ not in known:
            raise row["ID"].bad(f"'{id_}' is not in Full_Set")
        trained.add(id_)
        image = pictures.add(f"{id_}/train", row["image"])
        for n, pair in enumerate(row["metadata"].json().each()):
            yield Example(
                id=f"{id_}/train/generation/qa-{n}/image_text",
                set="people",
                task="generation",
                modality="image_text",
                person=id_,
                fact=f"qa-{n}",
                question=pair["Question"].text(),
                answer=pair["Answer"].text(),
                keyword="",
                image=image,
            )
    if missing := known - trained:
        raise damaged(f"config 'ft_Data' has no row for '{min(missing)}' of Full_Set")
