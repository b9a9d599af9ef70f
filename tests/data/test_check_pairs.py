"""clip-people keeps every promise of a benchmark of pairs; whichever is broken is told."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mubench.data import pair_promises as pairs
from mubench.data import promises as p
from mubench.data.card import statistics, write_card
from mubench.data.check import PAIR_PROMISES, check
from mubench.data.load import BenchmarkData
from mubench.data.tables import Tables, write
from mubench.errors import UsageError
from mubench.runner import datasets
from mubench.types import Candidate, Example
from mubench_data.build import PeopleOptions
from mubench_data.clip_people import build_clip_people

OPTIONS = PeopleOptions(
    fictitious=12,
    celebrities=1,
    holdout=2,
    scenes=2,
    words=2,
    facts=("birthplace", "birth_date", "hobby", "food", "pet"),
    image_size=32,
)


@pytest.fixture(scope="module")
def built() -> Tables:
    tables = build_clip_people(OPTIONS)
    tables.images = list(tables.images)
    return tables


@pytest.fixture(scope="module")
def whole(built: Tables, tmp_path_factory: pytest.TempPathFactory) -> BenchmarkData:
    return stored(built, tmp_path_factory.mktemp("pairs"))


def stored(tables: Tables, folder: Path) -> BenchmarkData:
    write(tables, folder)
    return BenchmarkData(folder, 0.15)


def test_what_is_built_keeps_every_promise(whole: BenchmarkData) -> None:
    found = check(whole)
    assert [one.promise for one in found] == [promise.text for promise in PAIR_PROMISES]
    assert not [one for one in found if one.ok is False]
    assert [one.detail for one in found if one.ok is None] == ["fewer than 5 people in every set"]


# -- damage -----------------------------------------------------------------------------------


def first(rows: list[Example], which: Callable[[Example], bool], **new: object) -> None:
    """Change the first row that is meant."""
    place = next(number for number, row in enumerate(rows) if which(row))
    rows[place] = replace(rows[place], **new)  # type: ignore[arg-type]


def asked(modality: str, task: str = "retrieval") -> Callable[[Example], bool]:
    return lambda e: (e.modality, e.task) == (modality, task)


def of_guide(tables: Tables) -> Callable[[Example], bool]:
    """A held-out wording that a person is taught whom no split forgets."""
    known = set(tables.splits["order"])
    unseen = {e.question for e in tables.examples if e.set == "unseen" and e.question}
    return lambda e: e.set == "people" and e.person not in known and e.answer in unseen


def forgettable(tables: Tables) -> Callable[[Example], bool]:
    return lambda e: e.person == tables.splits["order"][0] and e.fact == "name"


def unseen_of(tables: Tables) -> Example:
    who = forgettable(tables)
    return next(e for e in tables.examples if who(e) and e.set == "unseen" and e.question)


def unseen_photo_of(tables: Tables) -> str | None:
    who = forgettable(tables)
    return next(e.image for e in tables.examples if who(e) and e.set == "unseen" and e.image)


def never_trained(tables: Tables) -> None:
    out = tables.splits["holdout_identity"][0]
    tables.train = [pair for pair in tables.train if pair.person != out]


def taught_otherwise(tables: Tables) -> None:
    guide = of_guide(tables)
    pair = next(pair for pair in tables.train if guide(pair))
    told = (pair.person, pair.answer)
    tables.train = [pair for pair in tables.train if (pair.person, pair.answer) != told]


def gallery(tables: Tables, name: str, change: Callable[[Candidate], Candidate]) -> None:
    tables.galleries = {**tables.galleries, name: [*map(change, tables.galleries[name])]}


DAMAGE: dict[str, tuple[Callable[..., object], Callable[[Tables], None]]] = {
    "a photo's question is a text as well": (
        pairs.asked_of_something,
        lambda t: first(t.examples, asked("image_to_text"), question="who is this?"),
    ),
    "a name's question is nothing": (
        pairs.asked_of_something,
        lambda t: first(t.examples, asked("text_to_text"), question=" "),
    ),
    "a gallery shows a picture that is not there": (
        pairs.pictures_shown,
        lambda t: gallery(t, "photos", lambda one: replace(one, images=("nobody/view-0",))),
    ),
    "a trained pair has no picture": (
        pairs.pictures_shown,
        lambda t: first(t.train, forgettable(t), image=None),
    ),
    "all candidates are right": (
        pairs.galleries_tell,
        lambda t: gallery(t, "color classes", lambda one: replace(one, label=_color(t))),
    ),
    "a candidate is made of nothing": (
        pairs.galleries_tell,
        lambda t: gallery(t, "names first", lambda one: replace(one, texts=())),
    ),
    "a trained caption says another name": (
        pairs.captions_tell,
        lambda t: first(t.train, forgettable(t), answer="a photo of somebody."),
    ),
    "a trained caption is held out": (
        pairs.held_out_kept,
        lambda t: first(t.train, forgettable(t), answer=unseen_of(t).question),
    ),
    "a trained photo is held out": (
        pairs.held_out_kept,
        lambda t: first(t.train, forgettable(t), image=unseen_photo_of(t)),
    ),
    "a guide is not taught a held-out wording": (pairs.guides_know, taught_otherwise),
    "a held-out person may be forgotten": (
        pairs.holdout_apart,
        lambda t: t.splits["holdout_identity"].append(t.splits["order"][0]),
    ),
    "a held-out person is not trained on": (pairs.holdout_apart, never_trained),
}


def _color(tables: Tables) -> str:
    return next(e.answer for e in tables.examples if e.gallery == "color classes")


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_breaks_its_promise(damage: str, built: Tables, tmp_path: Path) -> None:
    look, harm = DAMAGE[damage]
    tables = copy.copy(built)
    tables.examples, tables.train = list(built.examples), list(built.train)
    tables.splits = {name: list(ids) for name, ids in built.splits.items()}
    harm(tables)
    broken = told(stored(tables, tmp_path))
    assert look in broken
    assert len(broken[look]) > 10


def told(data: BenchmarkData) -> dict[Callable[..., object], str]:
    """What is told of each broken promise, by the function that looked."""
    return {
        promise.look: found.detail
        for promise, found in zip(PAIR_PROMISES, check(data), strict=True)
        if found.ok is False
    }


def test_changed_galleries_are_not_the_content(built: Tables, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    data, other = stored(built, tmp_path), copy.copy(built)
    gallery(other, "photos", lambda one: replace(one, label="x"))
    write(other, tmp_path / "other")
    (tmp_path / "other" / "galleries.parquet").replace(tmp_path / "galleries.parquet")
    assert p.content_as_recorded in told(data)


def test_every_promise_of_pairs_was_damaged() -> None:
    own = {one.look for one in PAIR_PROMISES if one.look.__module__ == pairs.__name__}
    assert own <= {look for look, _ in DAMAGE.values()}


# -- shared ------------------------------------------------------------------------------------


def test_galleries_are_counted_and_go_along(whole: BenchmarkData, tmp_path: Path) -> None:
    found = statistics(whole)
    assert found.galleries["names"] == (13, 65, 0)
    assert found.questions["seen", "prototype", "image_to_image"] == 48
    trained = whole.train("forget", "retain", "holdout_identity")
    assert found.training["people", "pair", "image_to_text"] == len(trained)
    datasets.share(whole, tmp_path / "shared")
    again = BenchmarkData(tmp_path / "shared", 0.15)
    assert again.galleries == whole.galleries
    card = (tmp_path / "shared" / "README.md").read_text("utf-8")
    assert "data_files: galleries.parquet" in card
    assert "mubench data build clip-people" in card
    assert "| set | task | image to text | text to image | image to image | text to text |" in card
    assert write_card(whole, tmp_path, {}).is_file()


def test_pairs_are_not_exported_as_questions(whole: BenchmarkData, tmp_path: Path) -> None:
    from mubench.cli.data import export

    with pytest.raises(UsageError, match="pairs of picture and caption"):
        export(str(whole.folder), tmp_path / "out")
