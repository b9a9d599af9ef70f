"""Published benchmarks as read from small data of their exact layout, whole and spoiled."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from data.hub_server import serve
from data.published_fixtures import FIXTURES, Fixture, clear, mllmu, umu
from data.spoilt import SPOILED
from mubench.benchmarks import fiubench, published
from mubench.data.hub import LOCAL
from mubench.data.load import BenchmarkData
from mubench.data.tables import Tables, write
from mubench.errors import DamagedError, MissingError, UsageError

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


def test_reader_takes_counts_as_published_by_default(tmp_path):
    """Nothing but the test's own counts lets a small copy pass."""
    fixture = FIXTURES["fiubench"]()
    files = published.pull("fiubench", data_dir=fixture.write(tmp_path))
    with pytest.raises(DamagedError, match="400 people were published, but 7 are there"):
        fiubench.read(files)
    assert replace(files, sha256={}).source["files"] == {}
