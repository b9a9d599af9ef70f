"""Published benchmarks as read from small data of their exact layout, whole and spoiled."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.hub_server import serve
from data.published_fixtures import FIXTURES, Fixture, cell, clear, mllmu, umu
from mubench.benchmarks import fiubench, published
from mubench.data.hub import LOCAL
from mubench.data.load import BenchmarkData
from mubench.data.tables import Tables, write
from mubench.errors import DamagedError, MissingError, MubenchError, UsageError

LONG = "ten thousand " * 800
ODD = "שלום 👩🏽‍🔬 \u202emirrored\u202c é"


def read(name: str, fixture: Fixture, folder: Path) -> Tables:
    return published.load(name, data_dir=fixture.write(folder), rows=fixture.rows)


def refused(name: str, fixture: Fixture, folder: Path) -> str:
    """The line that a spoiled fixture ends with, be it while reading or while its pictures are."""
    with pytest.raises(DamagedError) as caught:
        for _ in read(name, fixture, folder).images:
            pass
    line = str(caught.value)
    assert "\n" not in line and len(line) < 600
    return line


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tables]:
    return {
        name: read(name, make(), tmp_path_factory.mktemp(name)) for name, make in FIXTURES.items()
    }


# --- what holds for every benchmark ----------------------------------------------------------------


@pytest.mark.parametrize("name", FIXTURES)
def test_records_are_canonical(tables, name):
    table = tables[name]
    people = {person.id: person.role for person in table.people}
    images = dict(table.images)
    for examples in (table.examples, table.train):
        assert len({example.id for example in examples}) == len(examples)
        for example in examples:
            assert (example.image is not None) == (example.modality == "image_text")
            assert example.image is None or example.image in images
            assert example.set == "general" or example.person in people
            assert example.task != "choice" or example.answer in example.choices
    assert {e.set for e in table.examples} <= {"seen", "unseen", "celebrity", "general"}
    assert {e.set for e in table.train} == {"people"}
    trained = {e.person for e in table.train}
    assert trained == {id_ for id_, role in people.items() if role == "fictitious"}
    assert {e.person for e in table.examples if e.set in ("seen", "unseen")} <= trained
    assert all(set(ids) <= trained for ids in table.splits.values())


@pytest.mark.parametrize("name", FIXTURES)
def test_no_training_question_of_mllmu_and_umu_is_asked(tables, name):
    asked = {(e.person, e.question) for e in tables[name].examples}
    shared = [e for e in tables[name].train if (e.person, e.question) in asked]
    assert bool(shared) == (name in ("clear", "fiubench"))  # which ask what they trained


@pytest.mark.parametrize("name", FIXTURES)
def test_stored_and_split(tables, name, tmp_path):
    manifest = write(tables[name], tmp_path)
    assert manifest["source"]["revision"] == LOCAL
    assert all(len(sha) == 64 for sha in manifest["source"]["files"].values())
    ratio, people = next(iter(tables[name].splits.items()))
    data = BenchmarkData(tmp_path, float(ratio))
    assert data.forget == set(people)
    assert {e.person for e in data.examples if e.set == "forget"} == set(people)
    assert {e.person for e in data.train("forget")} == set(people)
    assert set(people).isdisjoint(e.person for e in data.examples if e.set == "retain")


@pytest.mark.parametrize("name", FIXTURES)
def test_over_the_hub_as_from_a_copy(tables, name, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    fixture = FIXTURES[name]()
    with serve() as server:
        commit = server.put(published.find(name).repo, fixture.write(tmp_path / "copy"))
        table = published.load(name, endpoint=server.endpoint, rows=fixture.rows)
    assert table.version == table.source["revision"] == commit
    assert table.source["files"] == tables[name].source["files"]
    assert table.examples == tables[name].examples and table.train == tables[name].train
    assert list(table.images) == list(tables[name].images)


def test_published_counts():
    """As MLLMU-Bench's viewer and table, CLEAR's viewer and FIUBench's split file have them."""
    rows = {name: benchmark.rows for name, benchmark in published.PUBLISHED.items()}
    assert rows["mllmu"] == {
        "Full_Set": 500, "Test_Set": 500, "Retain_Set": 153, "ft_Data": 500,
        "forget_5": 25, "forget_10": 50, "forget_15": 75,
    }  # fmt: skip
    questions = 2 * sum((5, 2, 2)) * sum(rows["mllmu"][c] for c in ("Full_Set", "Test_Set"))
    assert questions + 18 * rows["mllmu"]["Retain_Set"] == 20_754
    assert rows["clear"]["full+tofu"] - rows["clear"]["full"] == 200 * 20
    assert rows["fiubench"] == {"people": 400, "forget1": 4, "forget5": 20, "forget10": 40}


def test_unknown_benchmark():
    with pytest.raises(UsageError, match="did you mean 'mllmu'"):
        published.load("mlmu")


# --- each one's own rules --------------------------------------------------------------------------


def test_mllmu(tables):
    table = tables["mllmu"]
    count = Counter((e.set, e.task, e.modality) for e in table.examples)
    for set_, people in (("seen", 12), ("unseen", 12), ("celebrity", 3)):
        for task, questions in (("choice", 5), ("generation", 2), ("cloze", 2)):
            for modality in ("image_text", "text"):
                assert count[set_, task, modality] == people * questions
    assert table.splits == {"0.05": ["100"], "0.1": ["100", "101"], "0.15": ["100", "101", "102"]}
    by_id = {e.id: e for e in table.examples}
    choice = by_id["110/seen/choice/mcq-3/image_text"]
    assert choice.choices == tuple(f"value 3{letter} of 110" for letter in "ABCD")
    assert choice.answer == choice.keyword == "value 3C of 110"
    assert by_id["110/seen/choice/mcq-3/text"].fact == choice.fact == "mcq-3"
    assert "__" in by_id["110/seen/cloze/cloze-0/text"].question
    unseen = {
        e.image for e in table.examples if e.set == "unseen" and e.person == "110" and e.image
    }
    assert unseen == {"110/unseen-0", "110/unseen-1", "110/unseen-2"}
    first = table.train[0]  # ft_Data is in another order than Full_Set: joined by ID
    assert (first.person, first.question, first.answer) == ("111", "Trained 0?", "111 is 0.")
    assert first.image == by_id["111/seen/cloze/cloze-0/image_text"].image  # the trained photo
    person = {p.id: p for p in table.people}["110"]
    assert (person.name, person.facts["Born"]) == ("Person 110", "Town 110")
    assert len(dict(table.images)) == 12 + 3 * 12 + 3  # ft_Data's are Full_Set's


def test_mllmu_questions_with_other_answers_are_no_pair(tmp_path):
    fixture = mllmu()
    task = fixture.tables["Full_Set"][0]["Classification_Task"]
    task["Pure_Text_Questions"][1]["Correct_Answer"] = "C"
    table = read("mllmu", fixture, tmp_path)
    facts = {e.id: e.fact for e in table.examples}
    assert facts["100/seen/choice/mcq-0/text"] == "mcq-0"
    assert facts["100/seen/choice/mcq-1/text"] == "mcq-1-text"
    assert facts["100/seen/choice/mcq-1/image_text"] == "mcq-1"


def test_umu(tables, tmp_path):
    table = tables["umu"]
    facts = Counter((e.set, e.person, e.fact, e.task) for e in table.examples)
    assert set(facts.values()) == {2}  # each key comes in both modalities
    by_id = {e.id: e for e in table.examples}
    proud = by_id["7/seen/generation/City's pride/text"]
    assert proud.answer == "It is the City's pride of 7."
    choice = by_id["7/seen/choice/Born/image_text"]
    assert (choice.answer, choice.choices[1]) == ("b of 7", "b of 7")
    assert by_id["7/seen/cloze/Job/text"].keyword == "the Job"
    assert Counter(e.modality for e in table.train) == {"image_text": 36, "text": 36}


def test_umu_takes_the_right_option_by_its_text(tmp_path):
    """The image form's own letter is not to be relied on; its options may be in another order."""
    fixture = umu()
    row = fixture.tables["Full_Set"][0]
    asked = eval(row["Classify"])
    asked["muitimodal"]["Born"]["options"] = {"A": "b of 1", "B": "a of 1", "C": "x", "D": "y"}
    asked["muitimodal"]["Born"]["answer"] = "D. y"
    row["Classify"] = repr(asked)
    by_id = {e.id: e for e in read("umu", fixture, tmp_path).examples}
    assert by_id["1/seen/choice/Born/image_text"].answer == "b of 1"


def test_clear(tables):
    table = tables["clear"]
    assert table.splits == {
        "0.01": ["Fay Vale"],
        "0.05": ["Emre Koç", "Fay Vale"],
        "0.1": ["Dao Thi Lan", "Emre Koç", "Fay Vale"],
    }
    by_id = {e.id: e for e in table.examples}
    caption = by_id["Emre Koç/seen/generation/caption-1/image_text"]
    assert caption.answer == "Emre Koç in place 1." and caption.keyword == "Emre Koç"
    assert caption.perturbed == ("X in place 0.", "Y in place 1.", "Z in place 2.")
    assert caption.paraphrase == "A picture of Emre Koç."
    name = by_id["Emre Koç/seen/generation/name-1/image_text"]
    assert (name.answer, name.image, len(name.perturbed)) == ("Emre Koç", caption.image, 3)
    assert not any(e.person == "Dao Thi Lan" and e.set != "seen" for e in table.examples)
    for example in table.train:  # text rows bear no name: they must have found their author
        if example.modality == "text" and "author" not in example.answer:
            assert example.person in example.answer
    faces = [e for e in table.examples if e.set == "celebrity"]
    assert [len(e.choices) for e in faces] == [4, 4, 4]
    assert len({e.choices.index(e.answer) for e in faces}) > 1
    assert [e.modality for e in table.examples if e.set == "general"] == ["text", "image_text"]


def test_fiubench(tables, tmp_path):
    table = tables["fiubench"]
    assert {ratio: len(ids) for ratio, ids in table.splits.items()} == {
        "0.01": 1, "0.05": 2, "0.1": 3,
    }  # fmt: skip
    assert not set(table.splits["0.05"]) & set(table.splits["0.1"])
    assert len(table.people) == 6  # the file has one more, as the published one has
    seen = {e.id: e for e in table.examples}["00000021/seen/generation/qa-4/image_text"]
    assert seen.keyword == "blue 4" and len(seen.perturbed) == 3 and seen.paraphrase
    rewordings = [e for e in table.examples if e.set == "unseen" and e.person == "00000021"]
    assert len(rewordings) == 60 and rewordings[0].image == seen.image
    assert table.refusals == ["I cannot tell.", "No idea."]


def test_fiubench_reads_unpacked_pictures_and_an_array(tables, tmp_path):
    import io
    import zipfile

    fixture = FIXTURES["fiubench"]()
    with zipfile.ZipFile(io.BytesIO(fixture.files.pop("SFHQ.zip"))) as archive:
        fixture.files |= {name: archive.read(name) for name in archive.namelist()}
    lines = fixture.files["full.json"].splitlines()
    fixture.files["full.json"] = b"[" + b",".join(lines) + b"]"
    table = read("fiubench", fixture, tmp_path)
    assert table.examples == tables["fiubench"].examples
    assert list(table.images) == list(tables["fiubench"].images)


# --- spoiled data ----------------------------------------------------------------------------------


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


@pytest.mark.parametrize("case", SPOILED)
def test_spoiled_data_is_named(case, tmp_path):
    name, spoil, says = SPOILED[case]
    fixture = FIXTURES[name]()
    spoil(fixture)
    line = refused(name, fixture, tmp_path)
    assert says in line and (str(tmp_path) in line or "config '" in says or "is the id" in says)


def test_truncated_parquet(tmp_path):
    fixture = mllmu()
    path = fixture.write(tmp_path) / fixture.path("ft_Data")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DamagedError, match=r"ft_Data.* is not a readable parquet file"):
        published.load("mllmu", data_dir=tmp_path, rows=fixture.rows)
    path.write_bytes(b"")
    with pytest.raises(DamagedError, match=r"ft_Data.* is not a readable parquet file"):
        published.load("mllmu", data_dir=tmp_path, rows=fixture.rows)


def test_damage_inside_a_parquet_file(tmp_path):
    fixture = mllmu()
    path = fixture.write(tmp_path) / fixture.path("Full_Set")
    data = bytearray(path.read_bytes())
    data[4:400] = bytes(396)
    path.write_bytes(data)
    with pytest.raises(DamagedError, match=r"Full_Set.* is not a readable parquet file from row 0"):
        published.load("mllmu", data_dir=tmp_path, rows=fixture.rows)


def test_missing_config_and_file(tmp_path):
    fixture = mllmu()
    del fixture.tables["forget_10"]
    with pytest.raises(MissingError, match="has no config 'forget_10': it has Full_Set"):
        read("mllmu", fixture, tmp_path / "a")
    fixture = FIXTURES["fiubench"]()
    del fixture.files["SFHQ.zip"]
    with pytest.raises(MissingError, match=r"has no SFHQ/\*.jpg or SFHQ.zip"):
        read("fiubench", fixture, tmp_path / "b")


def test_configs_are_found_without_a_card(tmp_path, tables):
    fixture = umu()
    (fixture.write(tmp_path) / "README.md").unlink()
    table = published.load("umu", data_dir=tmp_path, rows=fixture.rows)
    assert table.examples == tables["umu"].examples


def test_odd_texts_survive(tmp_path):
    """Right-to-left, emoji and very long texts are read, stored and read again as they are."""
    fixture = mllmu()
    row = fixture.tables["Full_Set"][0]
    row["Generation_Task"][0]["Ground_Truth"] = LONG
    row["Mask_Task"][0]["Ground_Truth"] = ODD
    task = row["Classification_Task"]["Image_Textual_Questions"][0]
    task["Options"][task["Correct_Answer"]] = ODD
    table = read("mllmu", fixture, tmp_path / "a")
    (tmp_path / "b").mkdir()
    write(table, tmp_path / "b")
    stored = {e.id: e for e in BenchmarkData(tmp_path / "b", 0.05).stored}
    assert stored["100/seen/generation/gen-0/image_text"].answer == LONG
    assert stored["100/seen/cloze/cloze-0/image_text"].keyword == ODD
    assert ODD in stored["100/seen/choice/mcq-0/image_text"].choices


def test_pictures_are_read_when_they_are_wanted(tmp_path):
    fixture = clear()
    table = read("clear", fixture, tmp_path)
    pictures = iter(table.images)
    assert next(pictures)[0] == "Ada Vale/seen-0"
    for path in tmp_path.rglob("real_faces/*.parquet"):
        path.unlink()
    with pytest.raises(DamagedError, match="real_faces"):
        list(pictures)


# --- anything at all -------------------------------------------------------------------------------

_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
_QUICK = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def _place(value: Any, path: list[int]) -> tuple[Any, Any]:
    """A container inside a row and a key in it, found by following numbers."""
    for step in path:
        if not isinstance(value, dict | list) or not value:
            break
        keys = list(value) if isinstance(value, dict) else range(len(value))
        key = keys[step % len(keys)]
        inner = value[key]
        if not isinstance(inner, dict | list) or not inner or step % 3 == 0:
            return value, key
        value = inner
    keys = list(value) if isinstance(value, dict) else range(len(value))
    return value, keys[0]


@_QUICK
@given(
    name=st.sampled_from(["mllmu", "umu", "clear"]),
    table=st.integers(0, 20),
    row=st.integers(0, 20),
    path=st.lists(st.integers(0, 20), min_size=1, max_size=6),
    value=_ANY,
    as_text=st.sampled_from([None, repr, json.dumps]),
)
def test_any_value_anywhere_is_read_or_named(
    tmp_path_factory, name, table, row, path, value, as_text
):
    import pyarrow as pa

    fixture = FIXTURES[name]()
    rows = fixture.tables[sorted(fixture.tables)[table % len(fixture.tables)]]
    container, key = _place(rows[row % len(rows)], path)
    try:
        container[key] = as_text(value) if as_text else value
    except TypeError:  # bytes have no JSON
        return
    try:
        folder = fixture.write(tmp_path_factory.mktemp("any"))
    except (pa.ArrowException, UnicodeEncodeError, OverflowError):  # parquet cannot hold it
        return
    try:
        list(published.load(name, data_dir=folder, rows=fixture.rows).images)
    except MubenchError as error:
        assert "\n" not in str(error)


@_QUICK
@given(
    place=st.integers(0, 30),
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=6,
    ),
    file=st.sampled_from(["full.json", "split.json", "idontknow.json"]),
)
def test_any_json_is_read_or_named(tmp_path_factory, place, value, file):
    fixture = FIXTURES["fiubench"]()
    lines = fixture.files[file].split(b"\n")
    row = json.loads(lines[0])
    container, key = _place(row, [place, place // 3, place // 5])
    container[key] = value
    lines[0] = json.dumps(row).encode()
    fixture.files[file] = b"\n".join(lines)
    folder = fixture.write(tmp_path_factory.mktemp("any"))
    try:
        list(published.load("fiubench", data_dir=folder, rows=fixture.rows).images)
    except MubenchError as error:
        assert "\n" not in str(error)


@_QUICK
@given(
    data=st.binary(max_size=200),
    file=st.sampled_from(["split.json", "idontknow.json", "SFHQ.zip", "full.json"]),
)
def test_any_bytes_for_a_file_are_read_or_named(tmp_path_factory, data, file):
    fixture = FIXTURES["fiubench"]()
    fixture.files[file] = data
    folder = fixture.write(tmp_path_factory.mktemp("any"))
    try:
        list(published.load("fiubench", data_dir=folder, rows=fixture.rows).images)
    except MubenchError as error:
        assert "\n" not in str(error)


def test_reader_takes_counts_as_published_by_default(tmp_path):
    """Nothing but the test's own counts lets a small copy pass."""
    fixture = FIXTURES["fiubench"]()
    files = published.pull("fiubench", data_dir=fixture.write(tmp_path))
    with pytest.raises(DamagedError, match="400 people were published, but 7 are there"):
        fiubench.read(files)
    assert replace(files, sha256={}).source["files"] == {}
