"""The dataset card: what a stored benchmark holds, in figures and in words."""

from __future__ import annotations

import io
import re
import shlex
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from mubench.types import DIRECTIONS, TASKS, Direction, Example, Modality
from mubench.types import SETS as LEARNED

from .load import BenchmarkData
from .splits import RATIOS, forget_count, forget_people, ratio_key

if TYPE_CHECKING:
    from PIL import Image
    from rich.table import Table

#: Tables that ``datasets.load_dataset(folder, name)`` reads; the first one is read by default.
CONFIGS = ("examples", "train", "people", "images")
#: Pictures that a card can show.
CAPTIONS: Mapping[str, str] = {
    "sheet": "Contact sheet: one person a row, one picture a column.",
    "card": "An identity card: the name is printed in the picture.",
    "group": "A group photo: one person with two others.",
}
#: Characters of a sample question or answer that are shown.
SHOWN = 240
#: What each stored set is.
SETS: Mapping[str, str] = {
    "seen": "trained people, picture and wording as trained",
    "unseen": "trained people, picture and wording kept from training",
    "holdout": "people like them whom nobody is trained on",
    "celebrity": "real public figures",
    "kept": "trained people, by name alone",
    "member": "trained pairs, to be told from those of holdout people",
    "general": "no people: shapes, words, sums",
}


@dataclass(frozen=True, slots=True)
class Lengths:
    """Words of the answers to one task."""

    least: int
    median: float
    most: int


@dataclass(frozen=True, slots=True)
class Statistics:
    """Counts of a stored benchmark, whoever is forgotten.

    ``facts``: number of people and of different values, by kind of fact and role. ``questions``
    and ``training``: examples by set, task and modality. ``pictures``: by kind, from their ids.
    ``forgotten``: how many people each ratio of the split forgets. ``galleries``: candidates, and
    how many texts and pictures they are made of.
    """

    people: Mapping[str, int]
    facts: Mapping[tuple[str, str], tuple[int, int]]
    questions: Mapping[tuple[str, str, Modality | Direction], int]
    training: Mapping[tuple[str, str, Modality | Direction], int]
    answers: Mapping[str, Lengths]
    pictures: Mapping[str, int]
    portraits: Mapping[str, int]
    forgotten: Mapping[str, int]
    galleries: Mapping[str, tuple[int, int, int]]


def statistics(data: BenchmarkData) -> Statistics:
    """Count what there is. Reads the tables but decodes no picture."""
    values: dict[tuple[str, str], list[str]] = {}
    for person in data.people:
        for kind, value in person.facts.items():
            values.setdefault((person.role, kind), []).append(value)
    said = [e for e in data.stored if e.modality != "text_to_image"]  # there, pictures answer
    words = {task: sorted(len(e.answer.split()) for e in said if e.task == task) for task in TASKS}
    trained = data.train(*LEARNED)
    kept = {"celebrity", "general"}
    return Statistics(
        people=Counter(person.role for person in data.people),
        facts={key: (len(all_), len(set(all_))) for key, all_ in values.items()},
        questions=Counter((e.set, e.task, e.modality) for e in data.stored),
        training=Counter(
            (e.set if e.set in kept else "people", e.task, e.modality) for e in trained
        ),
        answers={
            task: Lengths(found[0], median(found), found[-1])
            for task, found in words.items()
            if found
        },
        pictures=Counter(re.sub(r"-\d+$", "", id_.split("/")[-1]) for id_ in data.image_ids()),
        portraits=Counter(person.portrait for person in data.people),
        forgotten=_forgotten(data),
        galleries={
            name: (len(rows), sum(len(r.texts) for r in rows), sum(len(r.images) for r in rows))
            for name, rows in data.galleries.items()
        },
    )


def _forgotten(data: BenchmarkData) -> dict[str, int]:
    splits = data.manifest["splits"]
    known = [person.id for person in data.people if person.role == "fictitious"]
    if "order" not in splits:
        ratios = [name for name in splits if name.replace(".", "", 1).isdecimal()]
        return {ratio: len(splits[ratio]) for ratio in ratios}
    counts = {ratio: forget_count(ratio, len(known)) for ratio in RATIOS}
    return {
        ratio_key(ratio): len(forget_people(splits, known, ratio, "test"))
        for ratio, count in counts.items()
        if 0 < count <= len(splits["order"])
    }


# -- on screen ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Grid:
    """A table of the card, in Markdown and on screen alike; after ``words`` columns, numbers."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: int = 1

    def lines(self) -> Raw:
        """The table in Markdown."""
        rule = [":--" if number < self.words else "--:" for number in range(len(self.columns))]
        rows = [self.columns, *self.rows]
        head, *body = ("| " + " | ".join(map(markdown, row)) + " |\n" for row in rows)
        return Raw("".join([head, f"|{'|'.join(rule)}|\n", *body]))


def grids(found: Statistics) -> list[Grid]:
    """The statistics as tables."""
    return [
        Grid("People", ("role", "people"), _counted(found.people)),
        Grid(
            "Facts",
            ("fact", "about", "people", "different values"),
            [
                (kind, role, str(people), str(values))
                for (role, kind), (people, values) in found.facts.items()
            ],
            words=2,
        ),
        _examples_grid("Questions", found.questions),
        _examples_grid("Training examples", found.training),
        Grid(
            "Words in an answer",
            ("task", "least", "median", "most"),
            [
                (task, str(of.least), f"{of.median:g}", str(of.most))
                for task, of in found.answers.items()
            ],
        ),
        Grid(
            "Galleries",
            ("gallery", "candidates", "texts", "pictures"),
            [(name, *map(str, counts)) for name, counts in found.galleries.items()],
        ),
        Grid("Pictures", ("kind", "pictures"), _counted(found.pictures)),
        Grid(
            "Forget sets",
            ("forget ratio", "forgotten", "retained"),
            [
                (ratio, str(count), str(found.people.get("fictitious", 0) - count))
                for ratio, count in found.forgotten.items()
            ],
        ),
    ]


def tables(data: BenchmarkData) -> list[Table]:
    """The statistics as tables for the screen."""
    from rich.table import Table
    from rich.text import Text

    made = []
    for grid in grids(statistics(data)):
        if not grid.rows:
            continue
        table = Table(title=grid.title, title_justify="left")
        for number, column in enumerate(grid.columns):
            table.add_column(column, justify="left" if number < grid.words else "right")
        for row in grid.rows:
            table.add_row(*(Text(_plain(cell)) for cell in row))  # no markup in data
        made.append(table)
    return made


def _counted(counts: Mapping[str, int]) -> list[tuple[str, str]]:
    return [(key, str(count)) for key, count in counts.items()]


def _examples_grid(title: str, counts: Mapping[tuple[str, str, Modality | Direction], int]) -> Grid:
    rows = list(dict.fromkeys((set_, task) for set_, task, _ in counts))
    asked = {form for _, _, form in counts}
    pairs: dict[Modality | Direction, str] = {
        form: form.replace("_", " ") for form in DIRECTIONS if form in asked
    }
    forms = pairs or {"image_text": "image+text", "text": "text-only"}
    return Grid(
        title,
        ("set", "task", *forms.values()),
        [(*row, *(str(counts.get((*row, form), 0)) for form in forms)) for row in rows],
        words=2,
    )


# -- in Markdown ----------------------------------------------------------------------------


def write_card(
    data: BenchmarkData, folder: Path, pictures: Mapping[str, Image.Image | bytes]
) -> Path:
    """Write ``README.md``, with YAML front matter, and the pictures into ``folder``.

    ``pictures``: RGB images or the bytes of PNG files, by a name in ``CAPTIONS``; they become
    ``pictures/NAME.png``. ValueError for another name, OSError if the folder cannot be written.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    if unknown := pictures.keys() - CAPTIONS.keys():
        raise ValueError(f"no such picture of a card: {', '.join(sorted(unknown))}")
    for name, picture in pictures.items():
        path = folder / "pictures" / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(picture if isinstance(picture, bytes) else _png(picture))
    environment = Environment(
        loader=PackageLoader("mubench.data", "templates"),
        undefined=StrictUndefined,
        # Whatever is not escaped by now is escaped where it is shown.
        finalize=lambda value: markdown(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    source, found = data.manifest["source"], statistics(data)
    sample = next((e.person for e in data.stored if e.set == "seen"), "")
    text = environment.get_template("card.md.j2").render(
        front=Raw(front_matter(data)),
        name=data.manifest["name"],
        version=data.manifest["version"],
        content_sha=data.manifest["content_sha"],
        built="options" in source,
        repo=str(source.get("repo", "")),
        command=Raw(command(data)),
        sets={name: SETS[name] for name in SETS if any(e.set == name for e in data.stored)},
        paired=data.asks_pairs,
        portraits=found.portraits,
        grids=grids(found),
        person=next((person for person in data.people if person.id == sample), None),
        samples=list(samples(data, sample)),
        captions=[(name, CAPTIONS[name]) for name in CAPTIONS if name in pictures],
    )
    path = folder / "README.md"
    path.write_text(text, encoding="utf-8")
    return path


class Raw(str):
    """Text that stands in the card as it is."""


def markdown(text: str) -> Raw:
    """Text that shows as itself on one line of Markdown, in a table as well.

    Nothing in it becomes a link, a heading, HTML or a formula; control characters, which could
    reorder or hide what stands beside them, become spaces.
    """
    return Raw(re.sub(r"([\\`*_{}\[\]<>()#+=|~$&!:@.\-])", r"\\\1", _plain(text)))


def _plain(text: str) -> str:
    """One line without control characters, not too long."""
    marks = ("Cc", "Cs", "Zl", "Zp")
    hidden = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    kept = (" " if unicodedata.category(c) in marks or c in hidden else c for c in text)
    line = " ".join("".join(kept).split())
    return line if len(line) <= SHOWN else f"{line[:SHOWN]}…"


def front_matter(data: BenchmarkData) -> str:
    """The YAML that the Hub and ``datasets`` read."""
    import yaml

    built = "options" in data.manifest["source"]
    kinds = ["synthetic"] if built else []
    return yaml.safe_dump(
        {
            "pretty_name": f"mubench: {_plain(data.manifest['name'])}",
            "license": "apache-2.0" if built else "other",
            "language": ["en"],
            "task_categories": ["zero-shot-image-classification"]
            if data.asks_pairs
            else ["visual-question-answering", "question-answering"],
            "tags": ["machine-unlearning", "multimodal", "privacy", *kinds],
            "size_categories": [_size(data.manifest["rows"]["examples"])],
            "configs": [
                {
                    "config_name": name,
                    "data_files": f"{name}.parquet",
                    **({} if number else {"default": True}),
                }
                for number, name in enumerate(
                    (*CONFIGS, "galleries") if data.asks_pairs else CONFIGS
                )
            ],
        },
        sort_keys=False,
        allow_unicode=True,
    )


def _size(rows: int) -> str:
    """The Hub's names of sizes."""
    for least, most in (("n", "1K"), ("1K", "10K"), ("10K", "100K"), ("100K", "1M")):
        if rows < int(most.replace("K", "000").replace("M", "000000")):
            return f"{least}<n<{most}" if least != "n" else "n<1K"
    return "1M<n<10M"


def command(data: BenchmarkData) -> str:
    """The command line that makes the same tables again."""
    source = data.manifest["source"]
    name = _plain(data.manifest["name"])
    if "options" not in source:
        revision = _plain(str(source.get("revision", "")))
        return shlex.join(["mubench", "data", "pull", name, "--revision", revision])
    words = ["mubench", "data", "build", name if data.asks_pairs else "people"]
    for key, value in source["options"].items():
        if value is not None:
            shown = f"[{', '.join(map(str, value))}]" if isinstance(value, list) else str(value)
            words += ["--set", _plain(f"benchmark.{key}={shown}")]
    return shlex.join(words)


def samples(data: BenchmarkData, person: str) -> Iterator[Example]:
    """One question about a person for every set, task and modality."""
    shown: set[tuple[Any, ...]] = set()
    for example in data.stored:
        key = (example.set, example.task, example.modality)
        if example.person == person and key not in shown:
            shown.add(key)
            yield example


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
