"""The card tells what is there, in figures counted by hand; no text of the data can spoil it."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from PIL import Image
from rich.console import Console

from mubench.data.card import CONFIGS, Lengths, markdown, statistics, tables, write_card
from mubench.data.load import BenchmarkData
from mubench.data.tables import Person, Tables, write
from mubench.types import Example, Modality
from mubench_data.build import PeopleOptions, build_people

HOSTILE = [
    "[click](https://example.org)",
    "<script>alert(1)</script> & <b>",
    "a | b | c",
    "![x](https://example.org/x.png) `code` **bold** _it_ ~~gone~~ $x^2$",
    "www.example.org http://example.org me@example.org",
    "\\",
    "{{ 7 * 7 }} {% raw %}",
    "# heading",
    "&lt;b&gt; &#60;",
    "محمد علي 🦊 ☃",
]


def png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (200, 30, 30)).save(buffer, format="PNG")
    return buffer.getvalue()


def example(set_: str, task: str, modality: Modality, person: str, answer: str) -> Example:
    return Example(
        id=f"{person}/{set_}/{task}/pet/0/{modality}",
        set=set_,
        task=task,
        modality=modality,
        person=person,
        fact="pet",
        question=f"Q {person}",
        answer=answer,
        keyword=answer,
        image=f"{person}/view-0" if modality == "image_text" else None,
        choices=(answer, "eel") if task == "choice" else (),
    )


def made(folder: Path, name: str = "Ada", source: dict[str, Any] | None = None) -> BenchmarkData:
    """Four trained people and a celebrity, few enough to count."""
    people = [
        Person(
            f"p{number}",
            name if number == 0 else f"N{number}",
            "fictitious",
            "drawn",
            facts={"pet": pet, "food": "pie"},
        )
        for number, pet in enumerate(("cat", "dog", "cat", "cow"))
    ]
    people.append(Person("c0", "Somebody", "celebrity", "given", facts={"field": "physics"}))
    questions = [
        replace(example("seen", "choice", "image_text", "p0", "cat"), question=f"Q {name}"),
        example("seen", "choice", "text", "p0", "cat"),
        example("seen", "choice", "text", "p1", "dog"),
        example("unseen", "generation", "text", "p0", "Ada has a cat."),
        example("unseen", "generation", "text", "p1", "A dog."),
        example("celebrity", "cloze", "text", "c0", "physics"),
    ]
    write(
        Tables(
            name=name,
            version="1",
            source=source
            or {"options": {"fictitious": 4, "facts": ["pet", "food"], "faces": None}},
            people=people,
            examples=questions,
            train=[
                example("people", "choice", "text", "p0", "cat"),
                example("people", "choice", "text", "p3", "cow"),
                example("celebrity", "cloze", "text", "c0", "physics"),
            ],
            images=[("p0/view-0", png()), ("p0/view-1", png()), ("p0/card", png())],
            splits={"order": ["p0", "p1", "p2"]},
        ),
        folder,
    )
    return BenchmarkData(folder, 0.25)


def test_statistics_counted_by_hand(tmp_path: Path) -> None:
    found = statistics(made(tmp_path))
    assert found.people == {"fictitious": 4, "celebrity": 1}
    assert found.facts == {
        ("fictitious", "pet"): (4, 3),
        ("fictitious", "food"): (4, 1),
        ("celebrity", "field"): (1, 1),
    }
    assert found.questions == {
        ("seen", "choice", "image_text"): 1,
        ("seen", "choice", "text"): 2,
        ("unseen", "generation", "text"): 2,
        ("celebrity", "cloze", "text"): 1,
    }
    assert found.training == {("people", "choice", "text"): 2, ("celebrity", "cloze", "text"): 1}
    assert found.answers == {
        "choice": Lengths(1, 1, 1),
        "generation": Lengths(2, 3, 4),
        "cloze": Lengths(1, 1, 1),
    }
    assert found.pictures == {"view": 2, "card": 1}
    assert found.portraits == {"drawn": 4, "given": 1}
    assert found.forgotten == {"0.15": 1}, "5 and 10 % of four people are nobody"


def test_published_splits_are_counted_as_listed(tmp_path: Path) -> None:
    data = made(tmp_path)
    data.forget_ratio = 0.1
    data.manifest["splits"] = {"0.05": ["p0"], "0.1": ["p0", "p1"]}
    assert statistics(data).forgotten == {"0.05": 1, "0.1": 2}


def test_tables_on_screen_show_the_data_s_own_brackets(tmp_path: Path) -> None:
    data = made(tmp_path)
    data.people[0].facts["[red]x[/red]"] = "y"
    console = Console(width=100, record=True, file=io.StringIO())
    for table in tables(data):
        console.print(table)
    text = console.export_text()
    assert "[red]x[/red]" in text
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines()]
    assert ["seen", "choice", "1", "2"] in rows
    assert ["generation", "2", "3", "4"] in rows
    assert ["0.15", "1", "3"] in rows
    assert ["pet", "fictitious", "4", "3"] in rows


# -- the card -------------------------------------------------------------------------------


def front(text: str) -> tuple[dict[str, Any], str]:
    _, head, body = text.split("---\n", 2)
    return yaml.safe_load(head), body


def tokens(body: str) -> list[Any]:
    """Everything in the body, flat: blocks and what is inside them."""
    blocks = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(body)
    return [token for block in blocks for token in (block, *(block.children or []))]


def cells(body: str) -> list[list[str]]:
    """The rows of all tables as they are read."""
    rows: list[list[str]] = []
    for block in MarkdownIt("commonmark").enable("table").parse(body):
        if block.type == "tr_open":
            rows.append([])
        elif block.type == "inline" and block.level == 4 and rows:
            rows[-1].append("".join(child.content for child in block.children or []))
    return rows


def test_the_real_library_loads_every_config(tmp_path: Path) -> None:
    from datasets import get_dataset_config_names, load_dataset

    folder = tmp_path / "data"
    folder.mkdir()
    options = PeopleOptions(
        fictitious=4, celebrities=1, holdout=1, scenes=1, words=1, image_size=32
    )
    manifest = write(build_people(options), folder)
    sheet = Image.new("RGB", (30, 20), "red")
    path = write_card(BenchmarkData(folder, 0.25), folder, {"sheet": sheet, "card": png()})
    assert path == folder / "README.md"
    cache = str(tmp_path / "cache")
    assert get_dataset_config_names(str(folder)) == list(CONFIGS)
    for config in CONFIGS:
        loaded = load_dataset(str(folder), config, split="train", cache_dir=cache)
        assert len(loaded) == manifest["rows"][config], config
    assert loaded[0]["image"].size == (32, 32)
    assert loaded.info.config_name == "images"
    by_default = load_dataset(str(folder), split="train", cache_dir=cache)
    assert "choices" in by_default.features


def test_the_card_says_what_the_tables_hold(tmp_path: Path) -> None:
    data = made(tmp_path)
    red = Image.new("RGB", (30, 20), "red")
    text = write_card(data, tmp_path, {"sheet": red, "group": png()}).read_text()
    head, body = front(text)
    assert head["license"] == "apache-2.0"
    assert head["size_categories"] == ["n<1K"]
    assert "machine-unlearning" in head["tags"]
    rows = cells(body)
    assert ["seen", "choice", "1", "2"] in rows
    assert ["fictitious", "4"] in rows
    assert ["generation", "2", "3", "4"] in rows
    assert ["0.15", "1", "3"] in rows
    assert ["seen", "choice", "image_text", "Q Ada", "cat / eel", "cat"] in rows
    assert data.manifest["content_sha"] in body
    assert (
        "mubench data build people --set benchmark.fictitious=4 --set 'benchmark.facts=[pet, food]'\n"
        in body
    )
    assert "pictures of 4 people are **drawn**" in body
    assert "pictures of 1 people were given" in body
    shown = [token.attrGet("src") for token in tokens(body) if token.type == "image"]
    assert shown == ["pictures/sheet.png", "pictures/group.png"]
    with Image.open(tmp_path / "pictures" / "sheet.png") as picture:
        assert picture.size == (30, 20)
    assert (tmp_path / "pictures" / "group.png").read_bytes() == png()


def test_a_published_card_claims_nothing_of_ours(tmp_path: Path) -> None:
    data = made(tmp_path, "umu", {"repo": "some_body/data", "revision": "abc123", "files": {}})
    head, body = front(write_card(data, tmp_path, {}).read_text())
    assert head["license"] == "other"
    assert "synthetic" not in head["tags"]
    assert "mubench data pull umu --revision abc123\n" in body
    assert "some\\_body/data" in body
    assert "invented people" not in body
    assert not any(token.type == "image" for token in tokens(body))


@pytest.mark.parametrize(
    ("rows", "size"),
    [
        (999, "n<1K"),
        (1000, "1K<n<10K"),
        (99_999, "10K<n<100K"),
        (100_000, "100K<n<1M"),
        (10**6, "1M<n<10M"),
    ],
)
def test_size_categories(tmp_path: Path, rows: int, size: str) -> None:
    data = made(tmp_path)
    data.manifest["rows"]["examples"] = rows
    head, _ = front(write_card(data, tmp_path, {}).read_text())
    assert head["size_categories"] == [size]


def test_a_picture_that_no_card_has(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such picture of a card: portrait"):
        write_card(made(tmp_path), tmp_path, {"portrait": png()})
    assert not (tmp_path / "README.md").exists()


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_show_as_themselves(tmp_path: Path, name: str) -> None:
    plain, hostile = (
        write_card(made(tmp_path, one), tmp_path, {}).read_text() for one in ("Ada", name)
    )
    head, body = front(hostile)
    assert head["pretty_name"] == f"mubench: {name}"
    kinds = [token.type for token in tokens(body) if token.type not in ("text", "text_special")]
    expected = [
        token.type
        for token in tokens(front(plain)[1])
        if token.type not in ("text", "text_special")
    ]
    assert kinds == expected, "no markup but the template's own"
    said = "".join(t.content for t in tokens(body) if t.type in ("text", "text_special"))
    assert said.count(name) >= 3, "the heading, the person and the question"
    links = re.compile(r"\w://|\bwww\.|\w@", re.IGNORECASE)  # what GitHub would link unasked
    assert not links.search(hostile.split("---\n", 2)[2])


@settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(max_size=60))
def test_any_text_in_a_cell_stays_one_line_of_text(text: str) -> None:
    found = tokens(f"| a | b |\n|:--|:--|\n| {markdown(text)} | end |\n")
    assert [t.type for t in found].count("td_open") == 2
    assert [t.content for t in found if t.type == "inline"][-1] == "end"
    inside = {t.type for t in found if not t.type.endswith(("_open", "_close"))}
    assert inside <= {"inline", "text", "text_special"}


def test_what_could_hide_or_reorder_text_is_gone() -> None:
    assert markdown("a\u202eb\nc\x00d\u2028e") == "a b c d e"
    assert len(markdown("x" * 10_000)) < 300
