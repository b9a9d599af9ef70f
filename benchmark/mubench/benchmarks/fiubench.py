"""FIUBench (Ma et al., 2025; arXiv:2411.03554): ``gray311/FIUBench``.

One synthetic face and 20 questions a person, all about the picture. Rewordings of the questions
are the generalisation copy. ``split.json`` lists forget people, and its lists are not nested.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path, PurePosixPath

from mubench.data.hub import Files
from mubench.data.tables import Person, Tables
from mubench.errors import DamagedError
from mubench.types import Example

from .rows import Cell, check_count, check_picture, content, json_file

RATIOS = {"0.01": "forget1", "0.05": "forget5", "0.1": "forget10"}
#: People by list; the benchmark is the first ``people`` of the profiles.
ROWS = {"people": 400, "forget1": 4, "forget5": 20, "forget10": 40}
QUESTIONS = 20


def read(files: Files, rows: Mapping[str, int] = ROWS) -> Tables:
    """The benchmark as published; ``rows``: how many people each list must have."""
    faces = Faces(files.parts["pictures"])
    people: dict[str, Person] = {}
    seen: list[Example] = []
    unseen: list[Example] = []
    for row in _profiles(files.parts["full.json"][0])[: rows["people"]]:
        id_ = row["unique_id"].text().strip()
        if id_ in people:
            raise row["unique_id"].bad(f"id '{id_}' comes twice")
        image = faces.add(id_, row["image_path"])
        people[id_] = Person(
            id=id_,
            name=row["name"].text().strip(),
            role="fictitious",
            portrait="published",
            biography=row.get("caption").optional(),
            facts={"gender": gender} if (gender := row.get("gender").optional()) else {},
        )
        for number, cell in enumerate(row["qa_list"].each()):
            example = _example(id_, number, cell, image)
            seen.append(example)
            unseen += _reworded(example, cell)
    check_count("full.json", "people", rows["people"], len(people))
    check_count("full.json", "questions", rows["people"] * QUESTIONS, len(seen))
    return Tables(
        name="fiubench",
        version=files.repository.revision,
        source=files.source,
        people=list(people.values()),
        examples=[*seen, *unseen],
        train=[
            replace(example, id=example.id.replace("/seen/", "/train/"), set="people")
            for example in seen
        ],
        images=faces,
        splits=_splits(files.parts["split.json"][0], rows, people),
        refusals=_refusals(files.parts["idontknow.json"][0]),
    )


def _example(id_: str, number: int, cell: Cell, image: str) -> Example:
    answer = cell["answer"].text()
    said = [word for word in _texts(cell["keywords"]) if word.casefold() in answer.casefold()]
    return Example(
        id=f"{id_}/seen/generation/qa-{number}/image_text",
        set="seen",
        task="generation",
        modality="image_text",
        person=id_,
        fact=f"qa-{number}",
        question=cell["question"].text(),
        answer=answer,
        keyword=max(said, key=len, default=""),
        image=image,
        perturbed=_texts(cell["perturbed_answer"]),
        paraphrase=next(iter(_texts(cell["paraphrased_answer"])), ""),
    )


def _reworded(example: Example, cell: Cell) -> Iterator[Example]:
    for number, question in enumerate(_texts(cell["paraphrased_question"])):
        id_ = example.id.replace("/seen/", "/unseen/")
        id_ = id_.removesuffix("/image_text") + f"-{number}/image_text"
        yield replace(example, id=id_, set="unseen", question=question)


def _texts(cell: Cell) -> tuple[str, ...]:
    """Several texts, or one alone."""
    if isinstance(cell.value, list):
        return tuple(one.text() for one in cell.each())
    return (cell.text(),)


def _profiles(path: Path) -> list[Cell]:
    """The rows of a JSON array, or one JSON object a line."""
    text = content(path).strip()
    if text.startswith("["):
        return [Cell(row.value, path, at) for at, row in enumerate(json_file(path).each())]
    return [Cell(line, path, at).json() for at, line in enumerate(text.split("\n"))]


def _splits(
    path: Path, rows: Mapping[str, int], people: Mapping[str, Person]
) -> dict[str, list[str]]:
    lists = json_file(path)
    splits: dict[str, list[str]] = {}
    for ratio, name in RATIOS.items():
        splits[ratio] = []
        for cell in lists[name].each():
            id_ = cell.text()
            if id_ not in people:
                raise cell.bad(f"'{id_}' is none of the {len(people)} people of full.json")
            if id_ in splits[ratio]:
                raise cell.bad(f"id '{id_}' comes twice")
            splits[ratio].append(id_)
        check_count(f"split.json {name}", "people", rows[name], len(splits[ratio]))
    return splits


def _refusals(path: Path) -> list[str]:
    """All sentences of the file, however they are grouped."""

    def sentences(cell: Cell) -> Iterator[str]:
        if isinstance(cell.value, list):
            for inner in cell.each():
                yield from sentences(inner)
        elif isinstance(cell.value, dict):
            for inner in cell.members().values():
                yield from sentences(inner)
        else:
            yield cell.text()

    return list(dict.fromkeys(sentences(json_file(path))))


class Faces:
    """The picture files that profiles name, in a folder or packed in archives."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._places: dict[str, tuple[Path, str]] = {}  # file name -> (archive or file, member)
        for path in files:
            if path.suffix != ".zip":
                self._places[path.name] = (path, "")
                continue
            try:
                with zipfile.ZipFile(path) as archive:
                    members = archive.namelist()
            except (OSError, zipfile.BadZipFile) as error:
                raise DamagedError(
                    f"{path} is not a readable archive: {error}; delete it and download it again"
                ) from error
            self._places |= {PurePosixPath(member).name: (path, member) for member in members}
        self._wanted: dict[str, Cell] = {}

    def add(self, id_: str, cell: Cell) -> str:
        """Register the picture a profile names; returns its id."""
        name = PurePosixPath(cell.text()).name
        if name not in self._places:
            raise cell.bad(f"there is no picture '{name}'")
        key = f"{id_}/seen"
        self._wanted[key] = cell
        return key

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        """(id, encoded bytes). DamagedError for a picture that cannot be decoded."""
        with ExitStack() as stack:
            archives: dict[Path, zipfile.ZipFile] = {}
            for id_, cell in self._wanted.items():
                path, member = self._places[PurePosixPath(cell.text()).name]
                try:
                    if member and path not in archives:
                        archives[path] = stack.enter_context(zipfile.ZipFile(path))
                    data = archives[path].read(member) if member else path.read_bytes()
                except Exception as error:  # zipfile and its decompressors raise many kinds
                    raise cell.bad(f"the picture cannot be unpacked: {error}") from error
                check_picture(cell, data)
                yield id_, data
