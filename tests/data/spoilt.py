"""Ways to spoil small data of the published layouts, and the line that each is refused with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from data.published_fixtures import Fixture, cell


def _spoil(config: str, row: int, change: Callable[[dict[str, Any]], None]):
    return lambda fixture: change(fixture.tables[config][row])


def _set(*path: Any, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(row: Any) -> None:
        for key in path[:-1]:
            row = row[key]
        row[path[-1]] = to

    return change


def _literal(column: str, *path: Any, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(row: dict[str, Any]) -> None:
        value = eval(row[column])
        _set(*path, to=to)(value)
        row[column] = repr(value)

    return change


def _drop(config: str):
    def change(fixture: Fixture) -> None:
        del fixture.tables[config][-1]

    return change


QUESTIONS = ("Classification_Task", "Pure_Text_Questions")
SPOILED = {
    "no picture": (
        "mllmu",
        _spoil("Full_Set", 2, _set("image", to=None)),
        "Full_Set/train-00000-of-00001.parquet, row 2, column image: has no picture",
    ),
    "not a picture": (
        "mllmu",
        _spoil("Test_Set", 8, _set("images", 1, to={"bytes": b"no picture", "path": None})),
        "Test_Set/train-00001-of-00002.parquet, row 2, column images[1]: is not a picture",
    ),
    "half a picture": (
        "umu",
        lambda f: f.tables["Real_Person_Set"][1]["image"].update(bytes=cell(9)["bytes"][:60]),
        "Real_Person_Set/train-00000-of-00001.parquet, row 1, column image: is not a picture",
    ),
    "no pictures": (
        "mllmu",
        _spoil("Test_Set", 0, _set("images", to=[])),
        "row 0, column images: has no picture",
    ),
    "letter of no option": (
        "mllmu",
        _spoil("Full_Set", 1, _set(*QUESTIONS, 3, "Correct_Answer", to="E")),
        "row 1, column Classification_Task.Pure_Text_Questions[3].Options: the right answer is 'E'",
    ),
    "letter of an empty option": (
        "mllmu",
        _spoil("Retain_Set", 0, _set(*QUESTIONS, 0, "Options", "D", to="")),
        "the right answer is 'D', but the options are A, B, C",
    ),
    "id twice": (
        "mllmu",
        _spoil("Full_Set", 5, _set("ID", to="100")),
        "row 5, column ID: id '100' comes twice",
    ),
    "celebrity is a fictitious id": (
        "mllmu",
        _spoil("Retain_Set", 0, _set("ID", to="104")),
        "'104' is the id of a fictitious person and of a celebrity",
    ),
    "forget stranger": (
        "mllmu",
        _spoil("forget_5", 0, _set("ID", to="c1")),
        "forget_5/train-00000-of-00001.parquet, row 0, column ID: 'c1' is not in Full_Set",
    ),
    "trained stranger": (
        "mllmu",
        _spoil("ft_Data", 0, _set("ID", to="777")),
        "ft_Data/train-00000-of-00001.parquet, row 0, column ID: '777' is not in Full_Set",
    ),
    "line break in an id": (
        "mllmu",
        _spoil("forget_5", 0, _set("ID", to="a\n\u202eb")),
        "row 0, column ID: 'a  b' is not in Full_Set",
    ),
    "person without training": (
        "mllmu",
        lambda f: (f.tables["ft_Data"].pop(), f.rows.update(ft_Data=11)),
        "config 'ft_Data' has no row for '100' of Full_Set",
    ),
    "rows missing": (
        "mllmu",
        _drop("Retain_Set"),
        "config 'Retain_Set': 3 rows were published, but 2 are there",
    ),
    "questions missing": (
        "mllmu",
        lambda f: f.tables["Test_Set"][0]["Mask_Task"].pop(),
        "config 'Test_Set': 48 cloze questions were published, but 47 are there",
    ),
    "another type": (
        "mllmu",
        _spoil("Full_Set", 0, _set("Mask_Task", 0, "Type", to="Audio")),
        "column Mask_Task[0].Type: is 'Audio', should be Image_Textual or Pure_Text",
    ),
    "training is no JSON": (
        "mllmu",
        _spoil("ft_Data", 3, _set("metadata", to="[{'Question': 1}]")),
        "ft_Data/train-00000-of-00001.parquet, row 3, column metadata: is not JSON",
    ),
    "training without answer": (
        "mllmu",
        _spoil("ft_Data", 3, _set("metadata", to='[{"Question": "Q?"}]')),
        "row 3, column metadata[0].Answer: is missing",
    ),
    "training answer NaN": (
        "mllmu",
        _spoil("ft_Data", 3, _set("metadata", to='[{"Question": "Q?", "Answer": NaN}]')),
        "row 3, column metadata[0].Answer: should be a text, is NaN",
    ),
    "training answer of too many digits": (
        "umu",
        _spoil(
            "Full_Set",
            0,
            _set("UM_QA", to="{'question': {1: 'Q?'}, 'answer': {1: 0x%s}}" % ("f" * 9999)),
        ),
        "row 0, column UM_QA.answer.1: is not a text that can be stored: ValueError",
    ),
    "half a character in a key": (
        "umu",
        _spoil("Full_Set", 0, _set("Cloze", to=r"{'unimodal': {'\ud800': {}}, 'muitimodal': {}}")),
        "row 0, column Cloze.unimodal.a name: is not a text that can be stored",
    ),
    "NaN ids": (
        "mllmu",
        lambda f: [row.update(ID=float("nan")) for row in f.tables["forget_5"]],
        "row 0, column ID: should be a text, is NaN",
    ),
    "no column": (
        "mllmu",
        lambda f: (
            [row.pop("Mask_Task") for row in f.tables["Full_Set"]]
            and f.schemas.update(Full_Set=None)
        ),
        "column Mask_Task: is missing",
    ),
    "not a Python literal": (
        "umu",
        _spoil("Full_Set", 4, _set("Cloze", to="{'unimodal': open('x')}")),
        "Full_Set/train-00000-of-00001.parquet, row 4, column Cloze: is not a Python literal",
    ),
    "no text-only form": (
        "umu",
        _spoil("Full_Set", 0, _literal("Generation", "muitimodal", "New", to={})),
        "row 0, column Generation.muitimodal.New: has no text-only form",
    ),
    "no modality": (
        "umu",
        _spoil("Full_Set", 0, _set("Generation", to="{'unimodal': {}}")),
        "row 0, column Generation.muitimodal: is missing",
    ),
    "no training answer": (
        "umu",
        _spoil("Full_Set", 0, _literal("MM_QA", "answer", to={})),
        "row 0, column MM_QA.question.Born: has no answer",
    ),
    "letter of no option in UMU": (
        "umu",
        _spoil("Full_Set", 0, _literal("Classify", "unimodal", "Job", "answer", to="F. none")),
        "column Classify.muitimodal.Job.options: the right answer is 'F'",
    ),
    "caption of no picture": (
        "clear",
        _spoil("forget05_perturbed", 0, _set("caption", to="Another caption.")),
        "'Another caption.' is no caption of Emre Koç in 'full'",
    ),
    "question about a stranger": (
        "clear",
        lambda f: f.tables["forget10+tofu"][-1].update(question="Who is Ada Vale?"),
        "forget10+tofu/train-00000-of-00001.parquet, row 65, column question: is about nobody in "
        "'forget10_perturbed'",
    ),
    "nobody's questions": (
        "clear",
        lambda f: [
            row.update(question="What?", answer="Nothing.") for row in f.tables["full+tofu"][12:32]
        ],
        "row 12, column question: this question and the 19 after it say the name of nobody",
    ),
    "no wrong option": (
        "clear",
        _spoil("real_world", 1, _set("options", to=["thing 1"])),
        "real_world/train-00000-of-00001.parquet, row 1, column options: has no wrong option",
    ),
    "celebrity is an author": (
        "clear",
        _spoil("real_faces", 0, _set("answer", to="Fay Vale")),
        "'Fay Vale' is the id of a fictitious person and of a celebrity",
    ),
    "no such person": (
        "fiubench",
        lambda f: f.files.update({"split.json": b'{"forget1": ["123"]}'}),
        "split.json, row 0, column forget1[0]: '123' is none of the 6 people of full.json",
    ),
    "no such picture": (
        "fiubench",
        lambda f: f.files.update(
            {"full.json": f.files["full.json"].replace(b"pt1_00000014", b"pt1_gone")}
        ),
        "full.json, row 2, column image_path: there is no picture 'SFHQ_pt1_gone.jpg'",
    ),
    "truncated archive": (
        "fiubench",
        lambda f: f.files.update({"SFHQ.zip": f.files["SFHQ.zip"][:200]}),
        "SFHQ.zip is not a readable archive",
    ),
    "broken member": (
        "fiubench",
        lambda f: f.files.update({"SFHQ.zip": f.files["SFHQ.zip"].replace(b"JFIF", b"JUNK", 1)}),
        "full.json, row 0, column image_path: the picture cannot be unpacked",
    ),
    "truncated line": (
        "fiubench",
        lambda f: f.files.update({"full.json": f.files["full.json"][:-9]}),
        "full.json, row 6: is not JSON",
    ),
    "fewer people": (
        "fiubench",
        lambda f: f.rows.update(people=9),
        "config 'full.json': 9 people were published, but 7 are there",
    ),
}
