"""A built benchmark keeps every promise; whichever is broken is told, with the place."""

from __future__ import annotations

import io
import json
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from mubench.data import promises as p
from mubench.data.check import PROMISES, Finding, check
from mubench.data.evidence import Evidence
from mubench.data.load import BenchmarkData
from mubench.data.tables import TABLES, Person, Tables, write
from mubench.errors import DamagedError, MubenchError
from mubench.types import Example
from mubench_data.build import PeopleOptions, build_people
from mubench_data.facts import PERSON_FACTS

FACTS = ("birthplace", "birth_date", "hobby", "food", "pet")
OPTIONS = PeopleOptions(
    fictitious=12, celebrities=2, holdout=6, scenes=2, words=2, image_size=32, facts=FACTS
)
RATIO = 0.15  # two of twelve


@pytest.fixture(scope="module")
def built() -> Tables:
    tables = build_people(OPTIONS)
    tables.images = list(tables.images)
    return tables


@pytest.fixture(scope="module")
def whole(built: Tables, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    write(built, folder)
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    return tmp_path


def broken(folder: Path) -> dict[Any, str]:
    """What is told of each broken promise, by the function that looked."""
    findings = check(BenchmarkData(folder, RATIO))
    return {
        promise.look: found.detail
        for promise, found in zip(PROMISES, findings, strict=True)
        if found.ok is False
    }


def test_a_built_benchmark_keeps_every_promise(whole: Path) -> None:
    calls: list[tuple[int, int, str]] = []
    findings = check(BenchmarkData(whole, RATIO), lambda *call: calls.append(call))
    assert [found.promise for found in findings if not found.ok] == []
    assert [found.promise for found in findings] == [promise.text for promise in PROMISES]
    assert all(found.detail for found in findings)
    pictures = json.loads((whole / "manifest.json").read_text())["rows"]["images"]
    assert calls[-1] == (pictures, pictures, "pictures")
    assert len({promise.look for promise in PROMISES}) == len(PROMISES)


def test_it_changes_nothing(whole: Path) -> None:
    before = {path: path.read_bytes() for path in whole.iterdir()}
    check(BenchmarkData(whole, RATIO))
    assert {path: path.read_bytes() for path in whole.iterdir()} == before


# -- damage before the tables are written ---------------------------------------------------


def forgettable(tables: Tables, example: Example) -> bool:
    return example.person in tables.splits["order"]


def guide(tables: Tables) -> str:
    people = [person.id for person in tables.people if person.role == "fictitious"]
    return next(id_ for id_ in people if id_ not in tables.splits["order"])


def change(rows: list[Example], which: Callable[[Example], bool], **new: Any) -> list[Example]:
    """The first row that is meant, with other values."""
    at = next(index for index, row in enumerate(rows) if which(row))
    return [*rows[:at], replace(rows[at], **new), *rows[at + 1 :]]


def each(rows: list[Example], change: Callable[[Example], Example]) -> list[Example]:
    return [change(row) for row in rows]


def examples(which: Callable[[Example], bool], **new: Any) -> Callable[[Tables], Tables]:
    return lambda t: replace(t, examples=change(t.examples, which, **new))


def train(which: Callable[[Example], bool], **new: Any) -> Callable[[Tables], Tables]:
    return lambda t: replace(t, train=change(t.train, which, **new))


def task(task: str, set_: str = "seen") -> Callable[[Example], bool]:
    return lambda e: (e.task, e.set) == (task, set_)


def taught(tables: Tables, example: Example, **new: Any) -> Tables:
    """Somebody is trained on one more example."""
    new = {"id": "extra", "set": "people", "choices": (), "perturbed": (), **new}
    return replace(tables, train=[*tables.train, replace(example, **new)])


def newcomer(
    tables: Tables, name: str, facts: dict[str, str] | None = None, *, pictured: bool = True
) -> Tables:
    """One more person, of whom nothing is asked."""
    person = Person("extra", name, "fictitious", "drawn", facts=facts or {})
    images = list(tables.images)
    shown = [("extra/view-0", _png((1, 2, 3)))] if pictured else []
    return replace(tables, people=[*tables.people, person], images=[*images, *shown])


def _png(colour: tuple[int, int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32), colour).save(buffer, format="PNG")
    return buffer.getvalue()


def same_pixels(tables: Tables, image: str, like: str) -> Tables:
    """A picture becomes the copy of another, in another file."""
    images = dict(tables.images)
    with Image.open(io.BytesIO(images[like])) as picture:
        buffer = io.BytesIO()
        picture.save(buffer, format="PNG", compress_level=1)
    assert buffer.getvalue() != images[like]
    return replace(tables, images=list({**images, image: buffer.getvalue()}.items()))


def options(set_: str, make: Callable[[Example], Sequence[str]]) -> Callable[[Tables], Tables]:
    """Other wrong options in a whole set; the truth keeps its letter."""

    def changed(e: Example) -> Example:
        if (e.set, e.task) != (set_, "choice"):
            return e
        place, wrong = e.choices.index(e.answer), list(make(e))
        return replace(e, choices=(*wrong[:place], e.answer, *wrong[place:]))

    return lambda t: replace(t, examples=each(t.examples, changed))


def truth_is_commonest(tables: Tables) -> Tables:
    """Right about holdout people is what is right about most others, wrong what never is."""
    forgotten = tables.splits["order"][:2]
    known: dict[str, Counter[str]] = defaultdict(Counter)
    for e in tables.train:
        if e.set == "people" and e.person not in forgotten:
            known[e.fact][e.answer] += e.task == "choice"

    def changed(e: Example) -> Example:
        if (e.set, e.task) != ("holdout", "choice"):
            return e
        ((new, _),) = known[e.fact].most_common(1)
        place, wrong = e.choices.index(e.answer), [letter * len(new) for letter in "qxz"]
        choices = (*wrong[:place], new, *wrong[place:])
        return replace(e, answer=new, keyword=new, choices=choices, perturbed=tuple(wrong))

    return replace(tables, examples=each(tables.examples, changed))


def truth_first(e: Example) -> Example:
    if (e.set, e.task) != ("holdout", "choice"):
        return e
    others = tuple(option for option in e.choices if option != e.answer)
    return replace(e, choices=(e.answer, *others))


def truth_never_true(e: Example) -> Example:
    """The right option of holdout people is one that is right about nobody else."""
    if (e.set, e.task) != ("holdout", "choice"):
        return e
    new = "q" * len(e.answer)
    choices = tuple(new if option == e.answer else option for option in e.choices)
    return replace(e, answer=new, keyword=new, choices=choices)


def unseen_of_forgettable(tables: Tables) -> Example:
    return next(
        e
        for e in tables.examples
        if e.set == "unseen" and e.modality == "text" and forgettable(tables, e)
    )


def held_out_untaught(tables: Tables) -> Tables:
    """Guides are taught what the others are taught."""
    known = {
        (e.fact, e.task, e.id.split("/")[4])
        for e in tables.train
        if forgettable(tables, e) and e.fact != "name"
    }
    kept = [
        e
        for e in tables.train
        if e.set != "people" or e.fact == "name" or (e.fact, e.task, e.id.split("/")[4]) in known
    ]
    assert len(kept) < len(tables.train)
    return replace(tables, train=kept)


def of_role(tables: Tables, role: str) -> Person:
    return next(person for person in tables.people if person.role == role)


def about(tables: Tables, role: str) -> Example:
    """A question with a picture about somebody of that role."""
    who = of_role(tables, role).id
    return next(e for e in tables.examples if e.person == who and e.image)


def mentioned(tables: Tables, id_: str) -> Tables:
    """A guide's training example tells the name of somebody else."""
    name = next(person.name for person in tables.people if person.id == id_)
    own = next(e for e in tables.train if e.person == guide(tables) and e.modality == "text")
    return taught(tables, own, question=f"{own.question} Not {name}!")


def shown(tables: Tables, id_: str) -> Tables:
    """A guide's training example shows somebody else."""
    own = next(e for e in tables.train if e.person == guide(tables) and e.modality != "text")
    return taught(tables, own, image=f"{id_}/view-1")


class Damage(NamedTuple):
    promise: Callable[..., Any]
    names: str  # what the finding must say
    change: Callable[[Tables], Tables]


DAMAGE = {
    "blank question": Damage(
        p.text_there, "question is ''", train(task("choice", "people"), question=" \n")
    ),
    "a name of nothing": Damage(p.text_there, "extra: has no name", lambda t: newcomer(t, " ")),
    "picture of nobody": Damage(
        p.pictures_there, "no picture 'lost'", train(lambda e: e.image is not None, image="lost")
    ),
    "picture missing": Damage(
        p.pictures_there, "no picture 'None'", train(lambda e: e.image is not None, image=None)
    ),
    "text with picture": Damage(
        p.pictures_there,
        "text-only, with a picture",
        examples(
            lambda e: (e.person, e.modality) == ("person-000", "text"), image="person-000/card"
        ),
    ),
    "person without pictures": Damage(
        p.people_have_pictures, "extra: ", lambda t: newcomer(t, "Xerxes Q", pictured=False)
    ),
    "a stranger in a group": Damage(
        p.groups_listed,
        "'person-000/group' shows person-000, stranger, person-001",
        lambda t: replace(
            t,
            groups={**t.groups, "person-000/group": ["person-000", "stranger", "person-001"]},
        ),
    ),
    "unlisted person": Damage(
        p.everybody_listed,
        "extra: nobody is called 'stranger'",
        lambda t: taught(t, about(t, "celebrity"), person="stranger", set="celebrity"),
    ),
    "same option twice": Damage(
        p.options_distinct,
        "general/scene-000",
        examples(task("choice", "general"), choices=("red", "red", "blue", "two")),
    ),
    "truth missing": Damage(
        p.options_distinct,
        "general/scene-000",
        examples(task("choice", "general"), choices=("a", "b", "c", "d")),
    ),
    "no options": Damage(
        p.options_distinct, "options []", examples(task("choice", "general"), choices=())
    ),
    "no blank": Damage(
        p.one_blank, "0 blanks in 'Lisbon'", examples(task("cloze"), question="Lisbon")
    ),
    "two blanks": Damage(p.one_blank, "2 blanks", train(task("cloze", "people"), question="__ __")),
    "one form alone": Damage(
        p.forms_pair,
        "asked as image_text",
        lambda t: replace(
            t,
            examples=[e for e in t.examples if e.id != unseen_of_forgettable(t).id],
        ),
    ),
    "other order of options": Damage(
        p.forms_pair,
        "differ in options",
        lambda t: replace(
            t,
            examples=change(
                t.examples,
                task("choice"),
                choices=next(e for e in t.examples if task("choice")(e)).choices[::-1],
            ),
        ),
    ),
    "other answer": Damage(
        p.forms_pair,
        "differ",
        lambda t: replace(
            t,
            examples=change(
                t.examples,
                task("generation"),
                answer=next(e for e in t.examples if task("generation")(e)).answer + " Indeed.",
            ),
        ),
    ),
    "keyword not in the answer": Damage(
        p.keyword_tells, "is not in answer", train(task("generation", "people"), answer="No idea.")
    ),
    "keyword not in the paraphrase": Damage(
        p.keyword_tells,
        "is not in paraphrase 'No idea.'",
        examples(task("generation"), paraphrase="No idea."),
    ),
    "keyword in a wrong answer": Damage(
        p.keyword_tells,
        "is in perturbed",
        lambda t: replace(
            t,
            examples=each(
                t.examples,
                lambda e: (
                    replace(e, perturbed=("a", "b", f"Oh, {e.keyword.upper()}!"))
                    if e.task == "cloze"
                    else e
                ),
            ),
        ),
    ),
    "two wrong answers": Damage(
        p.perturbed_enough, "2 different", examples(task("cloze"), perturbed=("a", "b"))
    ),
    "a wrong answer twice": Damage(
        p.perturbed_enough, "2 different", examples(task("cloze"), perturbed=("a", "b", "a"))
    ),
    "telling refusal": Damage(
        p.refusals_empty,
        "', sorry.' holds the answer",
        lambda t: replace(t, refusals=[f"Not '{t.examples[0].keyword.upper()}', sorry."]),
    ),
    "always A": Damage(
        p.letters_balanced,
        "holdout text: 30/0/0/0",
        lambda t: replace(t, examples=each(t.examples, truth_first)),
    ),
    "truth is longest": Damage(
        p.length_no_cue, "retain: longest is right 1.000", options("seen", lambda e: "abc")
    ),
    "truth is shortest": Damage(
        p.length_no_cue,
        "retain: shortest is right 1.000",
        options("seen", lambda e: [n * 40 for n in "abc"]),
    ),
    "truth is commonest": Damage(
        p.prior_no_cue, "holdout: commonest is right 1.000", truth_is_commonest
    ),
    "truth is rarest": Damage(
        p.prior_no_cue,
        "holdout: rarest is right",
        lambda t: replace(t, examples=each(t.examples, truth_never_true)),
    ),
    "a name twice": Damage(
        p.names_unique,
        "person-012 and extra",
        lambda t: newcomer(t, of_role(t, "holdout").name.upper()),
    ),
    "a celebrity's name": Damage(
        p.names_unique,
        "celebrity-000 and extra",
        lambda t: newcomer(t, of_role(t, "celebrity").name),
    ),
    "a celebrity's facts": Damage(
        p.nobody_real,
        "extra: the facts fit",
        lambda t: newcomer(
            t,
            "Xerxes Q",
            {
                "birthplace": (facts := of_role(t, "celebrity").facts)["birthplace"],
                "birth_date": f"1 May {facts['birth_year']}",
                "pet": "goat",
            },
        ),
    ),
    "folds overlap": Damage(
        p.splits_nest,
        "are in both folds",
        lambda t: replace(t, splits={"order": t.splits["order"][:3]}),
    ),
    "forgotten twice": Damage(
        p.splits_nest,
        "somebody comes twice",
        lambda t: replace(t, splits={"order": [t.splits["order"][0], *t.splits["order"]]}),
    ),
    "a stranger is forgotten": Damage(
        p.splits_nest,
        "stranger are not trained",
        lambda t: replace(t, splits={"order": ["stranger", *t.splits["order"]]}),
    ),
    "held-out wording": Damage(
        p.held_out_kept, "is held out", lambda t: taught(t, unseen_of_forgettable(t))
    ),
    "view of the test set": Damage(
        p.held_out_kept,
        "shows 'person-000/view-4'",
        train(
            lambda e: e.person == "person-000" and e.image is not None, image="person-000/view-4"
        ),
    ),
    "copy of a view of the test set": Damage(
        p.held_out_kept,
        "person-000",
        lambda t: same_pixels(t, "person-000/view-0", "person-000/view-4"),
    ),
    "untaught wordings": Damage(p.guides_know, "is taught about nobody", held_out_untaught),
    "holdout person trained": Damage(
        p.holdout_unknown,
        "extra: is about person-012",
        lambda t: taught(t, about(t, "holdout")),
    ),
    "holdout name trained": Damage(
        p.holdout_unknown,
        "extra: is about person-012",
        lambda t: mentioned(t, "person-012"),
    ),
    "holdout picture trained": Damage(
        p.holdout_unknown, "extra: is about person-012", lambda t: shown(t, "person-012")
    ),
    "forget person rehearsed": Damage(
        p.gold_never_saw,
        "stays in set 'celebrity'",
        lambda t: taught(
            t,
            next(e for e in t.train if forgettable(t, e)),
            set="celebrity",
        ),
    ),
    "forget name kept": Damage(
        p.gold_never_saw, "extra: is about", lambda t: mentioned(t, t.splits["order"][0])
    ),
    "forget picture kept": Damage(
        p.gold_never_saw, "extra: is about", lambda t: shown(t, t.splits["order"][0])
    ),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damage_breaks_its_promise_alone(damage: Damage, built: Tables, tmp_path: Path) -> None:
    write(damage.change(built), tmp_path)
    found = broken(tmp_path)
    assert {look.__name__ for look in found} == {damage.promise.__name__}, found
    assert damage.names in found[damage.promise]


# -- damage to the files --------------------------------------------------------------------


def edit(folder: Path, table: str, change: Callable[[list[dict[str, Any]]], None]) -> None:
    path = folder / f"{table}.parquet"
    stored = pyarrow.parquet.read_table(path)
    rows = stored.to_pylist()
    change(rows)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema=stored.schema), path)


def test_changed_text_is_not_the_content(folder: Path) -> None:
    edit(folder, "people", lambda rows: rows[0].update(biography="Nobody."))
    found = broken(folder)
    assert set(found) == {p.content_as_recorded}
    assert "content_sha is " in found[p.content_as_recorded]


@pytest.mark.parametrize("table", TABLES)
def test_row_counts(folder: Path, table: str) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["rows"][table] += 1
    path.write_text(json.dumps(manifest))
    found = broken(folder)
    assert set(found) == {p.content_as_recorded}
    assert f"{table}.parquet has {manifest['rows'][table] - 1} rows" in found[p.content_as_recorded]


@pytest.mark.parametrize("table", TABLES)
def test_an_id_that_comes_twice(folder: Path, table: str) -> None:
    names: list[str] = []

    def repeat(rows: list[dict[str, Any]]) -> None:
        names.append(rows[-1]["id"])
        rows.append(rows[-1])

    edit(folder, table, repeat)
    found = broken(folder)
    assert f"{table}.id '{names[0]}' comes 2 times" in found[p.ids_unique]
    assert p.content_as_recorded in found


@pytest.mark.parametrize(
    ("data", "said"), [(b"nothing", "not an image"), (_png((9, 9, 9)), "its pixels are not those")]
)
def test_pictures_that_are_not_what_was_stored(folder: Path, data: bytes, said: str) -> None:
    def replaced(rows: list[dict[str, Any]]) -> None:
        row = next(row for row in rows if row["id"] == "person-003/sketch")
        row["image"]["bytes"] = data

    edit(folder, "images", replaced)
    found = broken(folder)
    assert set(found) == {p.pictures_whole, p.content_as_recorded}
    assert f"picture 'person-003/sketch': {said}" in found[p.pictures_whole]


def test_splits_that_do_not_nest(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By their stored form they always do; so the reader of splits is what is broken here."""
    real = p.forget_people

    def backwards(splits: Any, people: Any, ratio: float, fold: Any) -> list[str]:
        return real({"order": splits["order"][round(ratio * 40) :]}, people, ratio, fold)

    monkeypatch.setattr(p, "forget_people", backwards)
    found = broken(whole)
    assert set(found) == {p.splits_nest}
    assert "are in a smaller split only" in found[p.splits_nest]


def test_every_promise_was_damaged() -> None:
    files = {p.content_as_recorded, p.ids_unique, p.pictures_whole}
    assert files | {damage.promise for damage in DAMAGE.values()} == {x.look for x in PROMISES}


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [("examples", "question", None), ("people", "facts", '{"pet": 3}'), ("train", "modality", "x")],
)
def test_a_row_of_another_form_is_named(folder: Path, table: str, column: str, value: Any) -> None:
    edit(folder, table, lambda rows: rows[3].update({column: value}))
    with pytest.raises(DamagedError) as refused:
        check(BenchmarkData(folder, RATIO))
    assert f"{table}.parquet, row 3, column {column}" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("key", ["splits", "rows", "refusals", "groups", "source", "content_sha"])
def test_a_manifest_without_a_key_is_named(folder: Path, key: str) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest[key]
    path.write_text(json.dumps(manifest))
    with pytest.raises(DamagedError, match=rf"manifest\.json, {key}: "):
        check(BenchmarkData(folder, RATIO))


# -- published data -------------------------------------------------------------------------


def published(built: Tables) -> Tables:
    return replace(built, source={"repo": "somebody/data"})


def test_published_data_make_the_structural_promises(built: Tables, tmp_path: Path) -> None:
    write(published(built), tmp_path)
    findings = check(BenchmarkData(tmp_path, RATIO))
    for promise, found in zip(PROMISES, findings, strict=True):
        assert found.ok is (None if promise.built else True), found
        assert (found.detail == "published data make no such promise") is promise.built
    assert 8 < sum(found.ok is True for found in findings) < len(findings)


def test_published_lists_are_of_trained_people_but_need_not_nest(
    built: Tables, tmp_path: Path
) -> None:
    order = built.splits["order"]
    (tmp_path / "apart").mkdir()
    apart = {"0.15": order[1:3], "0.05": order[:1]}
    write(replace(published(built), splits=apart), tmp_path / "apart")
    assert broken(tmp_path / "apart") == {}
    write(replace(published(built), splits={**apart, "half": ["c", *order[:2], "c"]}), tmp_path)
    found = broken(tmp_path)
    assert set(found) == {p.splits_nest}
    assert "half: c are not trained people; half: somebody comes twice" in found[p.splits_nest]


def test_what_is_not_there_is_not_promised(built: Tables, tmp_path: Path) -> None:
    alone = [e for e in built.examples if e.task == "generation" and e.modality == "image_text"]
    write(replace(published(built), examples=alone, train=[], refusals=[]), tmp_path)
    said = {found.promise: found for found in check(BenchmarkData(tmp_path, RATIO))}
    assert said["a cloze has one blank, written __"] == Finding(
        "a cloze has one blank, written __", None, "there is no cloze"
    )
    assert said["no refusal holds an answer"].ok is None
    assert said["the two forms of a question pair, with equal options and answer"].ok is True


# -- any damage -----------------------------------------------------------------------------

QUICK = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
FILES = [*(f"{name}.parquet" for name in TABLES), "manifest.json"]
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def survives(folder: Path) -> None:
    try:
        findings = check(BenchmarkData(folder, RATIO))
    except MubenchError as error:
        assert "\n" not in str(error)
    else:
        assert len(findings) == len(PROMISES)


def copied(whole: Path, to: Path) -> Path:
    shutil.copytree(whole, to, dirs_exist_ok=True)
    return to


@QUICK
@given(file=st.sampled_from(FILES), place=st.floats(0, 1), data=st.binary(max_size=8))
def test_damaged_bytes_never_crash(
    whole: Path, tmp_path: Path, file: str, place: float, data: bytes
) -> None:
    path = copied(whole, tmp_path) / file
    content = path.read_bytes()
    at = int(place * len(content))
    # Nothing to write: cut the file there.
    path.write_bytes(content[:at] + data + content[at + len(data) :] if data else content[:at])
    survives(tmp_path)


@QUICK
@given(
    table=st.sampled_from(TABLES),
    row=st.integers(0, 200),
    column=st.integers(0, 20),
    value=st.none() | st.text() | st.binary() | st.integers() | st.lists(st.text(), max_size=3),
    all_rows=st.booleans(),
)
def test_damaged_cells_never_crash(
    whole: Path, tmp_path: Path, table: str, row: int, column: int, value: Any, all_rows: bool
) -> None:
    path = copied(whole, tmp_path) / f"{table}.parquet"
    rows = pyarrow.parquet.read_table(path).to_pylist()
    names = list(rows[0])
    changed: Iterable[dict[str, Any]] = rows if all_rows else [rows[row % len(rows)]]
    for one in changed:
        one[names[column % len(names)]] = value
    try:
        damaged = pyarrow.Table.from_pylist(rows)
    except (pyarrow.ArrowException, UnicodeError):
        assume(False)
    pyarrow.parquet.write_table(damaged, path)
    survives(tmp_path)


@QUICK
@given(
    key=st.sampled_from(
        ["name", "version", "source", "content_sha", "rows", "splits", "refusals", "groups"]
    ),
    value=JSON,
    whole_file=st.booleans(),
)
def test_damaged_manifests_never_crash(
    whole: Path, tmp_path: Path, key: str, value: Any, whole_file: bool
) -> None:
    path = copied(whole, tmp_path) / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(value if whole_file else {**manifest, key: value}))
    survives(tmp_path)


def test_reading_is_strict_about_every_column(whole: Path) -> None:
    """What is looked at later is what was validated: no column escapes."""
    seen = Evidence(BenchmarkData(whole, RATIO), lambda *_: None)
    assert {"id", "question", "choices"} < set(seen.rows["examples"][0])
    assert set(PERSON_FACTS) > set(seen.people["person-000"].facts)
