"""Small data sets with the exact columns and nesting of the published ones, and invented content.

Each is made as rows that a test may spoil before they are written.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
from PIL import Image

Row = dict[str, Any]

LETTERS = "ABCD"


@dataclass
class Fixture:
    """Tables by config, other files by path, and the counts that stand for the published ones."""

    tables: dict[str, list[Row]]
    schemas: dict[str, pa.Schema]
    rows: dict[str, int]
    files: dict[str, bytes] = field(default_factory=dict)
    folders: dict[str, str] = field(default_factory=dict)  # where not named as the config
    shards: dict[str, int] = field(default_factory=dict)

    def write(self, folder: Path) -> Path:
        """Write everything; a table that no longer fits its schema gets the one it has."""
        for config, rows in self.tables.items():
            shards = self.shards.get(config, 1)
            size = -(-len(rows) // shards)
            for shard in range(shards):
                path = folder / self.path(config, shard)
                path.parent.mkdir(parents=True, exist_ok=True)
                part = rows[shard * size : (shard + 1) * size]
                try:
                    table = pa.Table.from_pylist(part, schema=self.schemas[config])
                except (pa.ArrowInvalid, pa.ArrowTypeError):
                    table = pa.Table.from_pylist(part)
                pyarrow.parquet.write_table(table, path, row_group_size=4)
        for name, data in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        if self.tables:
            (folder / "README.md").write_text(self.card(), encoding="utf-8")
        return folder

    def path(self, config: str, shard: int = 0) -> str:
        folder = self.folders.get(config, config)
        return f"{folder}/train-{shard:05d}-of-{self.shards.get(config, 1):05d}.parquet"

    def card(self) -> str:
        """The data card, with the configs in its front matter as the Hub's viewer needs them."""
        lines = ["---", "configs:"]
        for config in self.tables:
            lines += [f"- config_name: {config}", "  data_files:", "  - split: train"]
            lines += [f"    path: {self.folders.get(config, config)}/train-*"]
        return "\n".join([*lines, "---", "# Fixture", ""])


def picture(seed: int, form: str = "PNG") -> bytes:
    """A small picture that no other seed gives."""
    colour = (seed * 37 % 256, seed * 91 % 256, seed // 5 % 256)
    image = Image.new("RGB", (12, 12), colour)
    image.putpixel((seed % 12, seed // 12 % 12), (255, 255, 255))
    buffer = io.BytesIO()
    image.save(buffer, form)
    return buffer.getvalue()


def cell(seed: int, form: str = "PNG") -> Row:
    return {"bytes": picture(seed, form), "path": f"{seed}.{form.lower()}"}


_TEXT = pa.string()
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", _TEXT)])
_CHOICE = pa.list_(
    pa.struct(
        [
            ("Correct_Answer", _TEXT),
            ("Options", pa.struct([(letter, _TEXT) for letter in LETTERS])),
            ("Question", _TEXT),
        ]
    )
)
_FREE = pa.list_(pa.struct([("Ground_Truth", _TEXT), ("Question", _TEXT), ("Type", _TEXT)]))
_TASKS = [
    ("biography", _TEXT),
    ("question", _TEXT),
    ("answer", _TEXT),
    (
        "Classification_Task",
        pa.struct([("Image_Textual_Questions", _CHOICE), ("Pure_Text_Questions", _CHOICE)]),
    ),
    ("Generation_Task", _FREE),
    ("Mask_Task", _FREE),
]
MLLMU_FULL = pa.schema([("image", _IMAGE), ("ID", _TEXT), ("Directory", _TEXT), *_TASKS])
MLLMU_TEST = pa.schema([("images", pa.list_(_IMAGE)), ("ID", _TEXT), *_TASKS])
MLLMU_TRAIN = pa.schema([("image", _IMAGE), ("ID", _TEXT), ("metadata", _TEXT)])


def _mllmu_row(id_: str, wording: str) -> Row:
    def choice(n: int, form: str) -> Row:
        right = (n + len(id_)) % 4
        options = {letter: f"value {n}{letter} of {id_}" for letter in LETTERS}
        question = f"{wording} {form} choice {n}?"
        return {"Correct_Answer": LETTERS[right], "Options": options, "Question": question}

    def free(kind: str, n: int, type_: str) -> Row:
        blank = "This person lives in __." if kind == "cloze" else f"{wording} {kind} {n}?"
        truth = f"{kind} value {n} of {id_}"
        return {"Ground_Truth": truth, "Question": blank, "Type": type_}

    types = ("Image_Textual", "Pure_Text")
    return {
        "ID": id_,
        "biography": json.dumps(
            {"Name": f"Person {id_}", "Born": f"Town {id_}", "Parents": {"Mother": "M"}}
        ),
        "question": f"{wording} tell me about this person.",
        "answer": f"This is Person {id_}.",
        "Classification_Task": {
            "Image_Textual_Questions": [choice(n, "image") for n in range(5)],
            "Pure_Text_Questions": [choice(n, "text") for n in range(5)],
        },
        "Generation_Task": [free("generation", n, type_) for type_ in types for n in range(2)],
        "Mask_Task": [free("cloze", n, type_) for type_ in types for n in range(2)],
    }


def mllmu() -> Fixture:
    """12 fictitious people (3 pictures each in Test_Set), 3 celebrities."""
    ids = [str(100 + n) for n in range(12)]
    forget = {"forget_5": ids[:1], "forget_10": ids[:2], "forget_15": ids[:3]}

    def full(id_: str) -> Row:
        row = _mllmu_row(id_, "Seen")
        return {"image": cell(int(id_)), "Directory": f"images/{id_}.png", **row}

    def celebrity(number: int) -> Row:
        return {**full(str(900 + number)), "ID": f"c{number}"}

    tables = {
        "Full_Set": [full(id_) for id_ in ids],
        "Test_Set": [
            {
                "images": [cell(1000 + 3 * int(id_) + view, "JPEG") for view in range(3)],
                **_mllmu_row(id_, "Reworded"),
            }
            for id_ in ids
        ],
        "Retain_Set": [celebrity(n) for n in range(3)],
        "ft_Data": [
            {
                "image": cell(int(id_)),
                "ID": id_,
                "metadata": json.dumps(
                    [{"Question": f"Trained {n}?", "Answer": f"{id_} is {n}."} for n in range(3)]
                ),
            }
            for id_ in reversed(ids)
        ],
        **{config: [full(id_) for id_ in several] for config, several in forget.items()},
        "retain_95": [full(id_) for id_ in ids[1:]],
    }
    schemas = dict.fromkeys(tables, MLLMU_FULL)
    schemas |= {"Test_Set": MLLMU_TEST, "ft_Data": MLLMU_TRAIN}
    rows = {config: len(several) for config, several in tables.items()}
    return Fixture(tables, schemas, rows, shards={"Test_Set": 2})


UMU = pa.schema(
    [("ID", _TEXT), ("image", _IMAGE)]
    + [(name, _TEXT) for name in ("Biography", "MM_QA", "UM_QA", "Classify", "Cloze", "Generation")]
)


def _umu_row(id_: str, seed: int) -> Row:
    keys = ("Born", "Job", "City's pride")
    options = {letter: f"{letter.lower()} of {id_}" for letter in LETTERS}

    def paired(make: Callable[[str, str], Row]) -> str:
        return repr({
            "unimodal": {key: make(key, "of Person " + id_) for key in keys},
            "muitimodal": {key: make(key, "of this person") for key in keys},
        })  # fmt: skip

    def trained(who: str) -> str:
        return repr({
            "question": {key: f"What is the {key} {who}?" for key in keys},
            "answer": {key: f"It's the {key} of {id_}." for key in keys},
        })  # fmt: skip

    return {
        "ID": id_,
        "image": cell(seed),
        "Biography": repr({"Name": f"Person {id_}", "Born": "Town"}),
        "MM_QA": trained("of this person"),
        "UM_QA": trained(f"of Person {id_}"),
        "Classify": paired(
            lambda key, who: {"question": f"Which {key} {who}?", "options": options,
                              "answer": f"B. {options['B']}"}
        ),
        "Cloze": paired(lambda key, who: {"question": f"The {key} {who} is __.",
                                          "answer": f"the {key}."}),
        "Generation": paired(lambda key, who: {"question": f"Tell the {key} {who}.",
                                               "answer": f"It is the {key} of {id_}."}),
    }  # fmt: skip


def umu() -> Fixture:
    """12 fictitious people, 2 real ones; keys and answers with quotes that JSON could not read."""
    ids = [str(n + 1) for n in range(12)]
    full = [_umu_row(id_, 200 + n) for n, id_ in enumerate(ids)]
    tables = {
        "Full_Set": full,
        "Real_Person_Set": [_umu_row(f"real-{n}", 300 + n) for n in range(2)],
        "forget_5": full[:1],
        "forget_10": full[:2],
        "forget_15": full[:3],
    }
    rows = {config: len(several) for config, several in tables.items()}
    return Fixture(tables, dict.fromkeys(tables, UMU), rows)


CLEAR_FULL = pa.schema([("image", _IMAGE), ("caption", _TEXT), ("name", _TEXT)])
CLEAR_TOFU = pa.schema(
    [("image", _IMAGE), ("caption", _TEXT), ("question", _TEXT), ("answer", _TEXT)]
)
CLEAR_PERTURBED = pa.schema(
    [
        *CLEAR_FULL,
        ("perturbed_captions", pa.list_(_TEXT)),
        ("paraphrased_caption", _TEXT),
        ("perturbed_names", pa.list_(_TEXT)),
    ]
)
CLEAR_FACES = pa.schema([("image", _IMAGE), ("answer", _TEXT), ("options", pa.list_(_TEXT))])
CLEAR_WORLD = pa.schema(
    [("image", _IMAGE), ("question", _TEXT), ("answer", _TEXT), ("options", pa.list_(_TEXT))]
)
AUTHORS = ("Ada Vale", "Ben-Ami Orr", "Carla M. Ruiz", "Dao Thi Lan", "Emre Koç", "Fay Vale")


def clear() -> Fixture:
    """6 authors with 2 pictures and 20 questions each, in an order of its own."""
    full = [
        {"image": cell(400 + 2 * n + view), "caption": f"{name} in place {view}.", "name": name}
        for n, name in enumerate(AUTHORS)
        for view in range(2)
    ]

    def texts(name: str) -> list[Row]:
        return [
            {
                "image": None,
                "caption": None,
                "question": f"What did {name} write in {1900 + n}?" if n % 3 else f"Book {n}?",
                "answer": f"{name} wrote book {n}." if n % 2 else f"The author wrote {n}.",
            }
            for n in range(20)
        ]

    def tofu(names: list[str]) -> list[Row]:
        shown = [
            {"image": row["image"], "caption": row["caption"], "question": None, "answer": None}
            for row in full
            if row["name"] in names
        ]
        return shown + [row for name in names for row in texts(name)]

    def perturbed(names: list[str]) -> list[Row]:
        return [
            {
                **row,
                "perturbed_captions": [f"{other} in place {n}." for n, other in enumerate("XYZ")],
                "paraphrased_caption": f"A picture of {row['name']}.",
                "perturbed_names": ["Xa Xu", "Yo Ye", "Zi Zo"],
            }
            for row in full
            if row["name"] in names
        ]

    names = list(AUTHORS)
    forget = {"01": names[5:], "05": names[4:], "10": names[3:]}
    tables = {
        "default": full,
        "full": full,
        "full+tofu": tofu([*names[3:], *names[:3]]),
        "retain_perturbed": perturbed(names[:2]),
        "real_faces": [
            {"image": cell(450 + n), "answer": name, "options": [f"Wrong {n} {o}" for o in "abc"]}
            for n, name in enumerate(("Real One", "Real Two", "Real One"))
        ],
        "real_world": [
            {
                "image": cell(460 + n) if n else None,
                "question": f"What is thing {n}?",
                "answer": f"thing {n}",
                "options": [f"thing {n}", "a", "b"],
            }
            for n in range(2)
        ],
    }
    tables |= {f"forget{key}_perturbed": perturbed(several) for key, several in forget.items()}
    tables |= {f"forget{key}+tofu": tofu(several) for key, several in forget.items()}
    schemas = {
        config: CLEAR_TOFU
        if config.endswith("tofu")
        else CLEAR_PERTURBED
        if config.endswith("perturbed")
        else {"real_faces": CLEAR_FACES, "real_world": CLEAR_WORLD}.get(config, CLEAR_FULL)
        for config in tables
    }
    rows = {config: len(several) for config, several in tables.items()}
    return Fixture(tables, schemas, rows, folders={"default": "data"}, shards={"full": 2})


def fiubench() -> Fixture:
    """6 people, 20 questions each; one more profile that is not part of the benchmark."""
    ids = [f"{7 * n:08d}" for n in range(7)]
    profiles = [
        {
            "unique_id": id_,
            "image_path": f"./dataset/SFHQ/SFHQ_pt1_{id_}.jpg",
            "name": f"Person {id_}",
            "gender": "female",
            "caption": "A face.",
            "raw_data": {},
            "qa_list": [
                {
                    "question": f"What is fact {n}?",
                    "answer": f"The fact is blue {n}.",
                    "keywords": [f"blue {n}", "fact", "elsewhere"],
                    "paraphrased_question": [f"Say fact {n}, way {way}." for way in range(3)],
                    "paraphrased_answer": f"It is blue {n}.",
                    "perturbed_answer": [f"It is {c} {n}." for c in ("red", "green", "grey")],
                }
                for n in range(20)
            ],
        }
        for id_ in ids
    ]
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        for n, id_ in enumerate(ids):
            member = zipfile.ZipInfo(f"SFHQ/SFHQ_pt1_{id_}.jpg")  # of one and the same date
            packed.writestr(member, picture(500 + n, "JPEG"))
    split = {"forget1": ids[:1], "forget5": ids[1:3], "forget10": ids[3:6], "retain5": ids[:1]}
    files = {
        "full.json": "\n".join(map(json.dumps, profiles)).encode(),
        "split.json": json.dumps(split).encode(),
        "idontknow.json": json.dumps({"normal": ["I cannot tell.", "No idea."]}).encode(),
        "SFHQ.zip": archive.getvalue(),
    }
    return Fixture({}, {}, {"people": 6, "forget1": 1, "forget5": 2, "forget10": 3}, files)


FIXTURES: dict[str, Callable[[], Fixture]] = {
    "mllmu": mllmu,
    "umu": umu,
    "clear": clear,
    "fiubench": fiubench,
}
