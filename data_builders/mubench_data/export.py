"""Write a built benchmark in MLLMU-Bench's own layout, so that scripts made for that run on it.

Layout: ``MLLMMU/MLLMU-Bench`` on the Hugging Face Hub (Liu et al., 2025; arXiv:2410.22108).
"""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from mubench.data.splits import RATIOS, forget_count
from mubench.errors import DamagedError, OutputError, UsageError
from mubench.types import Example

#: Questions a row, by task: half with the picture, half without.
PER_ROW = {"choice": 10, "generation": 4, "cloze": 4}
FILE = "train-00000-of-00001.parquet"
#: Rows that are held in memory at a time: one of the test set carries all unseen pictures.
ROWS_AT_ONCE = 32

_LETTERS = "ABCD"
_FORMS = {"image_text": "Image_Textual", "text": "Pure_Text"}
#: Names of the facts that published code looks up in ``biography``.
_PUBLISHED = {"birthplace": "Born", "occupation": "Employment"}


class _Person(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def role(self) -> str: ...
    @property
    def portrait(self) -> str: ...
    @property
    def facts(self) -> Mapping[str, str]: ...
    @property
    def description(self) -> Sequence[str]: ...


class Data(Protocol):
    """What is read of a stored benchmark (`mubench.data.load.BenchmarkData`)."""

    @property
    def manifest(self) -> dict[str, Any]: ...
    @property
    def people(self) -> Sequence[_Person]: ...
    @property
    def stored(self) -> Sequence[Example]: ...
    def train(self, *sets: str) -> Sequence[Example]: ...
    def png(self, image: str) -> bytes: ...


Row = dict[str, Any]
_Configs = dict[str, tuple[list[_Person], Callable[[_Person], Row]]]


def export_mllmu(
    data: Data, folder: Path, progress: Callable[[int, int, str], None] = lambda *_: None
) -> None:
    """Write the ten configs of MLLMU-Bench into ``folder``, which must be empty or new.

    IDs are numbers: fictitious people 1..N in stored order, so that ``int(ID) - 1`` is the row in
    ``Full_Set``; celebrities go on from there. ``Directory`` holds our own person id. Raises
    UsageError for a benchmark that was not built here or is too small for a 5 % split,
    DamagedError for a person without the usual 10 + 4 + 4 questions, OutputError if the folder
    cannot be written.
    """
    configs = _configs(data)
    if folder.exists() and any(folder.iterdir()):
        raise OutputError(f"{folder} is not empty: give another folder, or remove it")
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    total, done = sum(len(people) for people, _ in configs.values()), 0
    try:
        for config, (people, make) in configs.items():
            (partial / config).mkdir(parents=True)
            schema = _schema(config)
            for written in _write(map(make, people), schema, partial / config / FILE):
                progress(done + written, total, config)
            done += len(people)
        (partial / "README.md").write_text(_card(data, configs), encoding="utf-8")
        if folder.exists():
            folder.rmdir()
        partial.replace(folder)
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _configs(data: Data) -> _Configs:
    """The people of every config, and what makes their rows."""
    splits = data.manifest["splits"]
    if "order" not in splits:
        raise UsageError(
            f"'{data.manifest['name']}' is published already: only benchmarks that were built "
            "here are exported"
        )
    people = {
        role: [person for person in data.people if person.role == role]
        for role in ("fictitious", "celebrity")
    }
    fictitious = people["fictitious"]
    rows = _Rows(data, [*fictitious, *people["celebrity"]])
    configs: _Configs = {
        "Full_Set": (fictitious, rows.seen),
        "Test_Set": (fictitious, rows.unseen),
        "Retain_Set": (people["celebrity"], rows.celebrity),
        "ft_Data": (fictitious, rows.training),
    }
    for ratio in RATIOS:
        percent = round(100 * ratio)
        forget = set(splits["order"][: forget_count(ratio, len(fictitious))])
        if not forget:
            raise UsageError(
                f"forget_{percent} of {len(fictitious)} people is nobody: build more people"
            )
        configs[f"forget_{percent}"] = ([p for p in fictitious if p.id in forget], rows.seen)
        others = [p for p in fictitious if p.id not in forget]
        configs[f"retain_{100 - percent}"] = (others, rows.seen)
    return configs


class _Rows:
    """One person to one row. Pictures are read when a row is made."""

    def __init__(self, data: Data, people: Sequence[_Person]) -> None:
        self.data = data
        self.number = {person.id: str(place) for place, person in enumerate(people, start=1)}
        self.asked: defaultdict[tuple[str, str], list[Example]] = defaultdict(list)
        for example in data.stored:
            self.asked[example.set, example.person].append(example)
        self.trained: defaultdict[str, list[Example]] = defaultdict(list)
        for example in data.train("forget", "retain"):
            if example.image is not None:
                self.trained[example.person].append(example)

    def seen(self, person: _Person) -> Row:
        return {"image": self._pictures("seen", person)[0], **self._row("seen", person)}

    def unseen(self, person: _Person) -> Row:
        return {"images": self._pictures("unseen", person), **self._row("unseen", person)}

    def celebrity(self, person: _Person) -> Row:
        return {"image": self._pictures("celebrity", person)[0], **self._row("celebrity", person)}

    def training(self, person: _Person) -> Row:
        """Everything that is asked of the picture in training, each question once."""
        pairs = dict.fromkeys((e.question, e.answer) for e in self.trained[person.id])
        return {
            "image": self._pictures("seen", person)[0],
            "ID": self.number[person.id],
            "metadata": _json([{"Question": q, "Answer": a} for q, a in pairs]),
        }

    def _pictures(self, set_: str, person: _Person) -> list[Row]:
        """The pictures that the questions of a set show, by view."""
        ids = {e.image for e in self.asked[set_, person.id] if e.image is not None}
        if not ids:
            raise DamagedError(f"'{person.id}' has no picture in set '{set_}'")
        return [{"bytes": self.data.png(id_), "path": None} for id_ in sorted(ids)]

    def _row(self, set_: str, person: _Person) -> Row:
        by_task: dict[str, list[Example]] = {
            task: [e for e in self.asked[set_, person.id] if e.task == task] for task in PER_ROW
        }
        for task, count in PER_ROW.items():
            if len(by_task[task]) != count:
                raise DamagedError(
                    f"'{person.id}' has {len(by_task[task])} {task} questions in set '{set_}', "
                    f"MLLMU-Bench has {count}"
                )
        question, answer = person.description
        return {
            "ID": self.number[person.id],
            "Directory": person.id,
            "biography": _biography(person),
            "question": question,
            "answer": answer,
            "Classification_Task": {
                f"{form}_Questions": [_choice(e) for e in by_task["choice"] if e.modality == key]
                for key, form in _FORMS.items()
            },
            "Generation_Task": [_free(e) for e in by_task["generation"]],
            "Mask_Task": [_free(e) for e in by_task["cloze"]],
        }


def _choice(example: Example) -> Row:
    if len(example.choices) != len(_LETTERS) or example.answer not in example.choices:
        raise DamagedError(f"'{example.id}' has not four options with the answer among them")
    return {
        "Question": example.question,
        "Options": dict(zip(_LETTERS, example.choices, strict=True)),
        "Correct_Answer": _LETTERS[example.choices.index(example.answer)],
    }


def _free(example: Example) -> Row:
    return {
        "Type": _FORMS[example.modality],
        "Question": example.question,
        "Ground_Truth": example.answer,
    }


def _biography(person: _Person) -> str:
    facts = {
        _PUBLISHED.get(kind, kind.replace("_", " ").capitalize()): value
        for kind, value in person.facts.items()
    }
    question, answer = person.description
    detail = {"question": question, "answer": answer}
    return _json({"Name": person.name, **facts, "appearance_detail": detail})


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _schema(config: str) -> Any:
    """The published columns, as an arrow schema that carries the ``datasets`` features."""
    from datasets import Features, Image, List, Value

    text = Value("string")
    if config == "ft_Data":
        return Features({"image": Image(), "ID": text, "metadata": text}).arrow_schema
    options = dict.fromkeys(_LETTERS, text)
    choice = {"Question": text, "Options": options, "Correct_Answer": text}
    free = {"Type": text, "Question": text, "Ground_Truth": text}
    features = {
        **({"images": List(Image())} if config == "Test_Set" else {"image": Image()}),
        **dict.fromkeys(("ID", "Directory", "biography", "question", "answer"), text),
        "Classification_Task": {f"{form}_Questions": List(choice) for form in _FORMS.values()},
        "Generation_Task": List(free),
        "Mask_Task": List(free),
    }
    return Features(features).arrow_schema


def _write(rows: Iterable[Row], schema: Any, path: Path) -> Iterator[int]:
    """Write rows as they come; yields how many are written so far."""
    import pyarrow  # type: ignore[import-untyped,unused-ignore]
    import pyarrow.parquet  # type: ignore[import-untyped,unused-ignore]

    written, rows = 0, iter(rows)
    # Pictures are compressed already.
    with pyarrow.parquet.ParquetWriter(path, schema, compression="none") as writer:
        while group := list(islice(rows, ROWS_AT_ONCE)):
            writer.write_table(pyarrow.Table.from_pylist(group, schema=schema))
            written += len(group)
            yield written


def _card(data: Data, configs: _Configs) -> str:
    """Front matter that lets ``load_dataset`` find the configs, and what is in them."""
    front = "".join(
        f"- config_name: {config}\n  data_files:\n"
        f"  - split: train\n    path: {config}/train-*.parquet\n"
        for config in configs
    )
    rows = "".join(f"| `{config}` | {len(people)} |\n" for config, (people, _) in configs.items())
    manifest = data.manifest
    portraits = " or ".join(
        sorted({person.portrait for people, _ in configs.values() for person in people})
    )
    return f"""---
configs:
{front}---
# {manifest["name"]}, in the layout of MLLMU-Bench

Fictitious people and public figures of mubench's own, written with the configs, columns and
nesting of MLLMU-Bench (arXiv:2410.22108). The questions and pictures are not those of that
benchmark, and neither are the numbers measured on them. Pictures of people are {portraits}.

Content: `{manifest["content_sha"]}`, version {manifest["version"]}.

| config | people |
|---|---|
{rows}
`Retain_Set` holds the public figures. `Test_Set` asks in other words, about pictures that no
training shows. `forget_5`, `forget_10` and `forget_15` are nested.
"""
