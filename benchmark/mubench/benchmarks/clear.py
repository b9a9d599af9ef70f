"""CLEAR (Dontsov et al., 2025; arXiv:2410.18057): ``therem/CLEAR``.

TOFU's 200 invented authors, with faces; a person's id is the name. CLEAR publishes captions and
names of pictures, but no questions about them: those are worded here. Pictures are asked about
where CLEAR publishes wrong answers to compare with; text questions are asked about everybody.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from mubench.data.hub import Files
from mubench.data.tables import Person, Tables
from mubench.types import Example

from .rows import Cell, Pictures, check_apart, check_count, table

RATIOS = {"0.01": "forget01", "0.05": "forget05", "0.1": "forget10"}
#: Rows by config. The ``retain*`` configs are the others of ``full`` and are not read.
ROWS = {
    "full": 3768,
    "full+tofu": 7768,
    "forget01_perturbed": 35,
    "forget05_perturbed": 188,
    "forget10_perturbed": 378,
    "retain_perturbed": 395,
    "forget01+tofu": 75,
    "forget05+tofu": 388,
    "forget10+tofu": 779,
    "real_faces": 151,
    "real_world": 367,
}
#: TOFU asks so many questions about an author, one author after the other.
QUESTIONS = 20

DESCRIBE = "Describe this picture."
NAME = "What is the name of the person in this picture?"


def read(files: Files, rows: Mapping[str, int] = ROWS) -> Tables:
    """The benchmark as published; ``rows``: how many each config must have."""
    pictures = Pictures()
    trained: dict[tuple[str, str], Example] = {}  # by name and caption
    numbers: Counter[str] = Counter()
    for row in _rows(files, "full", rows):
        name, caption = _name(row), row["caption"].text()
        image = pictures.add(f"{name}/seen-{numbers[name]}", row["image"])
        # Two pictures of a person may have one caption; the first is the one it leads to.
        again = (name, caption) in trained
        trained[name, f"{caption} {image}" if again else caption] = _described(
            name, numbers[name], image, caption
        )
        numbers[name] += 1
    names = list(numbers)
    authors = _authors(files, rows, names)
    texts = [_asked(name, n, row) for name in names for n, row in enumerate(authors[name])]
    splits, shown = _evaluated(files, rows, trained)
    _check_splits(files, rows, splits, authors)
    real = [*_real_faces(files, rows, pictures), *_real_world(files, rows, pictures)]
    famous = dict.fromkeys(example.person for example in real if example.set == "celebrity")
    people = [Person(name, name, "fictitious", "published") for name in names]
    people += [Person(name, name, "celebrity", "published") for name in famous]
    check_apart(people)
    return Tables(
        name="clear",
        version=files.repository.revision,
        source=files.source,
        people=people,
        examples=[*shown, *texts, *real],
        train=[
            replace(example, id=example.id.replace("/seen/", "/train/"), set="people")
            for example in (*trained.values(), *texts)
        ],
        images=pictures,
        splits=splits,
    )


def _rows(
    files: Files, config: str, rows: Mapping[str, int], columns: Sequence[str] | None = None
) -> Iterator[Cell]:
    found = 0
    for row in table(files.parts[config], columns):
        found += 1
        yield row
    check_count(config, "rows", rows[config], found)


def _name(row: Cell) -> str:
    return row["name"].text().strip()


def _seen(name: str, fact: str, question: str, answer: str, keyword: str) -> Example:
    return Example(
        id=f"{name}/seen/generation/{fact}/text",
        set="seen",
        task="generation",
        modality="text",
        person=name,
        fact=fact,
        question=question,
        answer=answer,
        keyword=keyword,
    )


def _shown(example: Example, image: str) -> Example:
    id_ = example.id.removesuffix("text") + "image_text"
    return replace(example, id=id_, modality="image_text", image=image)


def _described(name: str, number: int, image: str, caption: str) -> Example:
    keyword = name if name.casefold() in caption.casefold() else ""
    return _shown(_seen(name, f"caption-{number}", DESCRIBE, caption, keyword), image)


def _asked(name: str, number: int, row: Cell) -> Example:
    return _seen(name, f"qa-{number}", row["question"].text(), row["answer"].text(), "")


def _authors(files: Files, rows: Mapping[str, int], names: Sequence[str]) -> dict[str, list[Cell]]:
    """Text questions by person. Their rows have no picture and name nobody in a column.

    They are taken in blocks of ``QUESTIONS``, and blocks are matched with people so that as many
    questions as possible say the name of their person.
    """
    import numpy as np
    from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped,unused-ignore]

    asked = list(_texts(files, "full+tofu", rows))
    check_count("full+tofu", "text questions", QUESTIONS * len(names), len(asked))
    blocks = [asked[at : at + QUESTIONS] for at in range(0, len(asked), QUESTIONS)]
    said = np.zeros((len(blocks), len(names)))
    for number, block in enumerate(blocks):
        lines = [" ".join(_pair(row)).casefold() for row in block]
        everything = " ".join(lines)
        for place, name in enumerate(names):
            words = name.casefold().split()
            said[number, place] = sum(name.casefold() in line for line in lines)
            said[number, place] += sum(word in everything for word in words) / len(words)
    found = {}
    for number, place in zip(*linear_sum_assignment(said, maximize=True), strict=True):
        if said[number, place] < 0.5:
            raise blocks[number][0]["question"].bad(
                f"this question and the {QUESTIONS - 1} after it say the name of nobody in 'full'"
            )
        found[names[place]] = blocks[number]
    return found


def _texts(files: Files, config: str, rows: Mapping[str, int]) -> Iterator[Cell]:
    """The rows without a picture."""
    columns = ["image.path", "question", "answer"]
    return (row for row in _rows(files, config, rows, columns) if row["image"].value is None)


def _pair(row: Cell) -> tuple[str, str]:
    return row["question"].text(), row["answer"].text()


def _evaluated(
    files: Files, rows: Mapping[str, int], trained: Mapping[tuple[str, str], Example]
) -> tuple[dict[str, list[str]], list[Example]]:
    """Forget people by ratio, and the questions about pictures that have wrong answers."""
    columns = ("caption", "name", "perturbed_captions", "paraphrased_caption", "perturbed_names")
    splits: dict[str, list[str]] = {}
    found: dict[tuple[str, str], list[Example]] = {}
    for ratio, forget in {**RATIOS, "": "retain"}.items():
        people = []
        for row in _rows(files, f"{forget}_perturbed", rows, columns):
            name, caption = key = _name(row), row["caption"].text()
            if key not in trained:
                raise row["caption"].bad(f"'{caption[:60]}' is no caption of {name} in 'full'")
            people.append(name)
            if key in found:
                continue
            described = trained[key]
            asked = _seen(name, described.fact.replace("caption", "name"), NAME, name, name)
            found[key] = [
                replace(
                    described,
                    perturbed=_all(row["perturbed_captions"]),
                    paraphrase=row["paraphrased_caption"].text(),
                ),
                replace(
                    _shown(asked, described.image or ""), perturbed=_all(row["perturbed_names"])
                ),
            ]
        if ratio:
            splits[ratio] = list(dict.fromkeys(people))
    return splits, [example for pair in found.values() for example in pair]


def _all(cell: Cell) -> tuple[str, ...]:
    return tuple(one.text() for one in cell.each())


def _check_splits(
    files: Files,
    rows: Mapping[str, int],
    splits: Mapping[str, Sequence[str]],
    authors: Mapping[str, Sequence[Cell]],
) -> None:
    """The text questions of a forget config must be those about its people."""
    for ratio, forget in RATIOS.items():
        expected = {_pair(row) for name in splits[ratio] for row in authors[name]}
        for row in _texts(files, f"{forget}+tofu", rows):
            if _pair(row) not in expected:
                raise row["question"].bad(f"is about nobody in '{forget}_perturbed'")


def _real_faces(files: Files, rows: Mapping[str, int], pictures: Pictures) -> Iterator[Example]:
    for row in _rows(files, "real_faces", rows):
        name = row["answer"].text().strip()
        asked = _seen(name, f"name-{row.row}", NAME, name, name)
        image = pictures.add(f"{name}/celebrity-{row.row}", row["image"])
        yield _choice(asked, "celebrity", row, image)


def _real_world(files: Files, rows: Mapping[str, int], pictures: Pictures) -> Iterator[Example]:
    for row in _rows(files, "real_world", rows):
        name, (question, answer) = f"world-{row.row}", _pair(row)
        asked = _seen(name, "world", question, answer.strip(), answer.strip())
        shown = row.get("image").value is not None
        image = pictures.add(f"{name}/general", row["image"]) if shown else None
        yield _choice(asked, "general", row, image)


def _choice(example: Example, set_: str, row: Cell, image: str | None) -> Example:
    """The published options, with the right one among them at a place that varies."""
    choices = list(dict.fromkeys(option.strip() for option in _all(row["options"])))
    if example.answer not in choices:
        choices.insert(row.row % (len(choices) + 1), example.answer)
    if len(choices) < 2:
        raise row["options"].bad("has no wrong option")
    id_ = example.id.replace("/seen/generation/", f"/{set_}/choice/")
    example = replace(example, id=id_, set=set_, task="choice", choices=tuple(choices))
    return _shown(example, image) if image else example
