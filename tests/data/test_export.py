"""Our people in MLLMU-Bench's layout: its configs, columns and nesting, and what they say of whom."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from mubench.data.load import BenchmarkData
from mubench.data.tables import write
from mubench.errors import DamagedError, OutputError, UsageError
from mubench.tracks import paper
from mubench_data.build import PeopleOptions, build_people
from mubench_data.export import FILE, export_mllmu

OPTIONS = PeopleOptions(fictitious=24, celebrities=3, holdout=1, scenes=1, words=1, image_size=32)
RATIO = 0.15
ROWS = {
    "Full_Set": 24,
    "Test_Set": 24,
    "forget_5": 1,
    "forget_10": 2,
    "forget_15": 4,
    "retain_95": 23,
    "retain_90": 22,
    "retain_85": 20,
    "Retain_Set": 3,
    "ft_Data": 24,
}
TASKS = ("Classification_Task", "Generation_Task", "Mask_Task")
COLUMNS = ["ID", "Directory", "biography", "question", "answer", *TASKS]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> BenchmarkData:
    folder = tmp_path_factory.mktemp("data")
    write(build_people(OPTIONS), folder)
    return BenchmarkData(folder, RATIO)


@pytest.fixture(scope="module")
def exported(data: BenchmarkData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "mllmu"
    export_mllmu(data, folder)
    return folder


@pytest.fixture(scope="module")
def frames(exported: Path) -> dict[str, pd.DataFrame]:
    return {config: pd.read_parquet(exported / config / FILE) for config in ROWS}


def pixels(data: bytes) -> tuple[tuple[int, int], bytes]:
    with Image.open(io.BytesIO(data)) as image:
        return image.size, image.convert("RGB").tobytes()


def test_nothing_but_the_configs_and_a_card(exported: Path) -> None:
    assert sorted(
        path.relative_to(exported).as_posix() for path in exported.rglob("*.*")
    ) == sorted(["README.md", *(f"{config}/{FILE}" for config in ROWS)])
    assert [path.name for path in exported.parent.iterdir()] == ["mllmu"]


def test_rows_and_columns(frames: dict[str, pd.DataFrame]) -> None:
    assert {config: len(frame) for config, frame in frames.items()} == ROWS
    for config, frame in frames.items():
        expected = {
            "ft_Data": ["image", "ID", "metadata"],
            "Test_Set": ["images", *COLUMNS],
        }.get(config, ["image", *COLUMNS])
        assert list(frame.columns) == expected, config


def test_load_dataset_finds_every_config_and_its_pictures(exported: Path, tmp_path: Path) -> None:
    from datasets import Image as ImageFeature
    from datasets import get_dataset_config_names, load_dataset

    assert sorted(get_dataset_config_names(str(exported))) == sorted(ROWS)
    for config, rows in ROWS.items():
        loaded = load_dataset(str(exported), config, cache_dir=str(tmp_path / "hf"))
        assert list(loaded) == ["train"]
        assert loaded["train"].num_rows == rows
        row = loaded["train"][0]
        if config == "Test_Set":
            assert isinstance(loaded["train"].features["images"].feature, ImageFeature)
            assert [picture.size for picture in row["images"]] == [(32, 32)] * 4
        else:
            assert isinstance(loaded["train"].features["image"], ImageFeature)
            assert row["image"].size == (32, 32)


def test_ids_are_numbers_and_celebrities_go_on(frames: dict[str, pd.DataFrame]) -> None:
    assert list(frames["Full_Set"].ID) == [str(n) for n in range(1, 25)]
    assert list(frames["Retain_Set"].ID) == ["25", "26", "27"]
    for config in ("Test_Set", "ft_Data"):
        assert list(frames[config].ID) == list(frames["Full_Set"].ID)
    everybody = pd.concat([frames["Full_Set"], frames["Retain_Set"]], ignore_index=True)
    for frame in frames.values():
        for _, row in frame.iterrows():
            if "Directory" in row:
                assert everybody.Directory[int(row.ID) - 1] == row.Directory


def test_splits_are_the_benchmark_s_own_and_nested(
    data: BenchmarkData, frames: dict[str, pd.DataFrame]
) -> None:
    everybody, smaller = set(frames["Full_Set"].Directory), set()
    for percent in (5, 10, 15):
        forget = set(frames[f"forget_{percent}"].Directory)
        assert forget == BenchmarkData(data.folder, percent / 100).forget
        assert smaller < forget
        assert set(frames[f"retain_{100 - percent}"].Directory) == everybody - forget
        smaller = forget


def test_every_row_is_the_full_set_s(frames: dict[str, pd.DataFrame]) -> None:
    full = {row.ID: json.dumps(plain(row), default=str) for _, row in frames["Full_Set"].iterrows()}
    for config in ROWS:
        if config.startswith(("forget", "retain")):
            for _, row in frames[config].iterrows():
                assert json.dumps(plain(row), default=str) == full[row.ID]


def plain(value: Any) -> Any:
    """Arrays as lists, all the way down."""
    if isinstance(value, pd.Series):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    return [plain(part) for part in value] if hasattr(value, "tolist") else value


def test_questions_are_the_benchmark_s(
    data: BenchmarkData, frames: dict[str, pd.DataFrame]
) -> None:
    forms = {"image_text": "Image_Textual", "text": "Pure_Text"}
    for config, set_ in (("Full_Set", "seen"), ("Test_Set", "unseen"), ("Retain_Set", "celebrity")):
        for _, row in frames[config].iterrows():
            own = [e for e in data.stored if (e.set, e.person) == (set_, row.Directory)]
            choice, generation, cloze = (plain(row[task]) for task in TASKS)
            assert list(choice) == ["Image_Textual_Questions", "Pure_Text_Questions"]
            for modality, form in forms.items():
                asked = choice[f"{form}_Questions"]
                expected = [e for e in own if (e.task, e.modality) == ("choice", modality)]
                assert len(asked) == len(expected) == 5
                for question, example in zip(asked, expected, strict=True):
                    assert list(question) == ["Question", "Options", "Correct_Answer"]
                    assert question["Question"] == example.question
                    assert list(question["Options"]) == ["A", "B", "C", "D"]
                    assert tuple(question["Options"].values()) == example.choices
                    assert question["Options"][question["Correct_Answer"]] == example.answer
            for asked, task in ((generation, "generation"), (cloze, "cloze")):
                expected = [e for e in own if e.task == task]
                assert [list(question) for question in asked] == [
                    ["Type", "Question", "Ground_Truth"]
                ] * 4
                assert [tuple(question.values()) for question in asked] == [
                    (forms[e.modality], e.question, e.answer) for e in expected
                ]
            assert all("__" in question["Question"] for question in cloze)


def test_pictures_are_those_that_the_paper_track_shows(
    data: BenchmarkData, frames: dict[str, pd.DataFrame]
) -> None:
    by_id = {example.id: example for example in data.examples}
    row_of = {
        set_: {row.Directory: row for _, row in frames[config].iterrows()}
        for set_, config in (
            ("forget", "forget_15"),
            ("retain", "retain_85"),
            ("celebrity", "Retain_Set"),
            ("test", "Test_Set"),
        )
    }
    shown = 0
    for request in paper.requests(data.examples, [p.id for p in data.people], 0):
        if request.images:
            example = by_id[request.example_id]
            row = row_of[example.set][example.person]
            pictures = row["images"] if example.set == "test" else [row["image"]]
            assert data.png(request.images[-1]) in [picture["bytes"] for picture in pictures]
            shown += 1
    assert shown > 100


def test_test_set_shows_pictures_that_no_training_shows(
    data: BenchmarkData, frames: dict[str, pd.DataFrame]
) -> None:
    trained = {data.png(e.image) for e in data.train("forget", "retain") if e.image}
    for _, row in frames["Test_Set"].iterrows():
        assert [picture["bytes"] for picture in row["images"]] == [
            data.png(f"{row.Directory}/view-{view}") for view in range(4, 8)
        ]
        assert not trained & {picture["bytes"] for picture in row["images"]}
    for _, row in frames["ft_Data"].iterrows():
        assert row["image"]["bytes"] in trained
        assert pixels(row["image"]["bytes"])[0] == (32, 32)


def test_biography_and_training_conversations_are_json(
    data: BenchmarkData, frames: dict[str, pd.DataFrame]
) -> None:
    people = {person.id: person for person in data.people}
    for config in ("Full_Set", "Retain_Set"):
        for _, row in frames[config].iterrows():
            person, biography = people[row.Directory], json.loads(row.biography)
            assert biography["Name"] == person.name
            assert biography["Born"] == person.facts["birthplace"]
            assert set(person.facts.values()) <= {v for v in biography.values() if v is not None
                                                  and not isinstance(v, dict)}  # fmt: skip
            assert biography["appearance_detail"]["answer"] == row.answer
            assert (row.question, row.answer) == tuple(person.description)
    assert "Employment" in json.loads(frames["Full_Set"].biography[0])
    for _, row in frames["ft_Data"].iterrows():
        pairs = json.loads(row.metadata)
        own = frames["Full_Set"].Directory[int(row.ID) - 1]
        expected = {(e.question, e.answer) for e in data.train("forget", "retain")
                    if e.person == own and e.modality == "image_text"}  # fmt: skip
        assert all(list(pair) == ["Question", "Answer"] for pair in pairs)
        assert {(pair["Question"], pair["Answer"]) for pair in pairs} == expected
        assert len(pairs) == len(expected) > 14


def test_same_bytes_twice(data: BenchmarkData, exported: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    again.mkdir()  # empty: may be there
    export_mllmu(data, again)
    for path in exported.rglob("*.*"):
        assert (again / path.relative_to(exported)).read_bytes() == path.read_bytes(), path


def test_progress_counts_all_rows(data: BenchmarkData, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    export_mllmu(data, tmp_path / "out", lambda done, total, _: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1] == (sum(ROWS.values()), sum(ROWS.values()))


def changed(data: BenchmarkData, **parts: Any) -> Any:
    names = ("manifest", "people", "stored", "train", "png")
    return SimpleNamespace(**({name: getattr(data, name) for name in names} | parts))


def test_a_folder_with_something_in_it_is_left_alone(data: BenchmarkData, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(OutputError, match="is not empty"):
        export_mllmu(data, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_published_benchmark_is_not_exported(data: BenchmarkData, tmp_path: Path) -> None:
    manifest = {**data.manifest, "splits": {"0.05": ["1"]}}
    with pytest.raises(UsageError, match="is published already"):
        export_mllmu(changed(data, manifest=manifest), tmp_path / "out")


def test_too_few_people_for_a_split(data: BenchmarkData, tmp_path: Path) -> None:
    people = [p for p in data.people if p.role == "fictitious"][:10]
    with pytest.raises(UsageError, match="forget_5 of 10 people is nobody"):
        export_mllmu(changed(data, people=people), tmp_path / "out")


@pytest.mark.parametrize("broken", ["question", "option", "picture"])
def test_nothing_half_written_is_left(data: BenchmarkData, tmp_path: Path, broken: str) -> None:
    stored, last = list(data.stored), "person-023"
    png = data.png
    if broken == "question":
        stored.remove(next(e for e in stored if e.person == last and e.task == "cloze"))
        message = "'person-023' has 3 cloze questions in set 'seen'"
    elif broken == "option":
        place = next(n for n, e in enumerate(stored) if e.person == last and e.task == "choice")
        stored[place] = replace(stored[place], answer="none of them")
        message = f"'{stored[place].id}' has not four options"
    else:
        png = lambda id_: data.png(f"{id_}/gone" if id_ == f"{last}/view-7" else id_)  # noqa: E731
        message = "has no picture 'person-023/view-7/gone'"
    with pytest.raises(DamagedError, match=message):
        export_mllmu(changed(data, stored=stored, png=png), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
