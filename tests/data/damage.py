"""Ways to break one promise of a built benchmark, before its tables are written."""

from __future__ import annotations

import io
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from PIL import Image

from mubench.data import promises as p
from mubench.data.tables import Person, Tables
from mubench.types import Example


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
    shown = [("extra/view-0", png((1, 2, 3)))] if pictured else []
    return replace(tables, people=[*tables.people, person], images=[*images, *shown])


def png(colour: tuple[int, int, int]) -> bytes:
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
