"""The leakage matrix: every question of the forget set again, by every way to its answer.

An item keeps its fact, task and options on every path, so that paths are compared on the same
questions. A path that the data have nothing for is left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Protocol

from mubench.metrics.scoring import score
from mubench.record import Probe
from mubench.types import ASPECTS, ROLES, Example, Modality, Response, Role

from .cells import Place, Values, paired

#: Names that are offered for "who is this?".
NAMES = 4
#: Where somebody stands in a group photo.
PLACES = ("on the left", "in the middle", "on the right")
#: How questions with a picture call the person.
SHOWN = "this person"


class Data(Protocol):
    """What is looked at of a benchmark (see `mubench.data.load.BenchmarkData`)."""

    @property
    def examples(self) -> Sequence[Example]: ...
    @property
    def people(self) -> Sequence[Any]: ...
    @property
    def groups(self) -> Mapping[str, Sequence[str]]: ...
    def image_ids(self) -> Iterable[str]: ...
    def train(self, *sets: str) -> Sequence[Example]: ...


@dataclass(frozen=True, slots=True)
class Item:
    """One question of the forget set in both forms, and its twins of the test set where there are
    any: another picture and wording, by modality."""

    image: Example
    text: Example
    other: Mapping[str, Example]


@dataclass(frozen=True, slots=True)
class Path:
    """A way to ask: ``ask`` gives the question in another form, None where it cannot be asked."""

    name: str
    title: str
    ask: Callable[[Item, Material], Example | None]


class Material:
    """What probes are made from beside the questions themselves."""

    def __init__(self, data: Data) -> None:
        self.groups = data.groups
        self.pictures = frozenset(data.image_ids())
        self.names = {person.id: person.name for person in data.people}
        self._told: defaultdict[str, dict[str, str]] = defaultdict(dict)
        for example in data.train("forget"):
            if example.task == "generation" and example.image and not self._named(example):
                self._told[example.person].setdefault(example.fact, example.answer)

    def _named(self, example: Example) -> bool:
        """Whether an answer gives the name away."""
        answer = example.answer.casefold()
        return any(word in answer for word in self.names[example.person].casefold().split())

    def description(self, person: str, without: str = "") -> str:
        """What else was taught about somebody, without the name and what holds ``without``."""
        told = self._told[person].values()
        return " ".join(one for one in told if not without or without not in one)


def _described(item: Item, material: Material) -> Example | None:
    known = material.description(item.image.person, item.image.keyword or item.image.answer)
    if not known:
        return None
    question = f"{known} {item.image.question}"
    return replace(item.image, question=question, modality="text", image=None)


def _shown(picture: str) -> Callable[[Item, Material], Example | None]:
    def ask(item: Item, material: Material) -> Example | None:
        image = f"{item.image.person}/{picture}"
        return replace(item.image, image=image) if image in material.pictures else None

    return ask


def _in_a_group(item: Item, material: Material) -> Example | None:
    image = f"{item.image.person}/group"
    if image not in material.groups or SHOWN not in item.image.question.lower():
        return None
    place = PLACES[material.groups[image].index(item.image.person)]
    question = _renamed(item.image.question, f"the person {place}")
    return replace(item.image, question=question, image=image)


def _renamed(question: str, who: str) -> str:
    return question.replace(SHOWN, who).replace(SHOWN.capitalize(), who[0].upper() + who[1:])


def _reworded(modality: Modality) -> Callable[[Item, Material], Example | None]:
    def ask(item: Item, _: Material) -> Example | None:
        own = item.image if modality == "image_text" else item.text
        twin = item.other.get(modality)
        return replace(own, question=twin.question) if twin else None

    return ask


def _another_photo(item: Item, _: Material) -> Example | None:
    twin = item.other.get("image_text")
    return replace(item.image, image=twin.image) if twin else None


#: In the order in which they are shown.
PATHS = (
    Path("image", "trained photo", lambda item, _: item.image),
    Path(
        "image+name",
        "trained photo and the name",
        lambda item, _: replace(item.text, image=item.image.image, modality="image_text"),
    ),
    Path("image-reworded", "trained photo, unseen wording", _reworded("image_text")),
    Path("photo", "another photo", _another_photo),
    Path("sketch", "a drawing of the face", _shown("sketch")),
    Path("card", "an identity card that shows the name", _shown("card")),
    Path("group", "a group photo, by place", _in_a_group),
    Path("name", "the name, no picture", lambda item, _: item.text),
    Path("name-reworded", "the name, unseen wording", _reworded("text")),
    Path("description", "a description without the name", _described),
)
#: Paths backwards: from the picture or the facts to the name.
REVERSE = {
    "whose-portrait": "whose portrait is this",
    "whose-facts": "whose facts are these",
}
TITLES = {**{path.name: path.title for path in PATHS}, **REVERSE}


def items(examples: Sequence[Example]) -> list[Item]:
    """The forget questions that are asked in both modalities, in the order of the examples."""
    found: defaultdict[tuple[str, str, str], dict[tuple[str, str], Example]] = defaultdict(dict)
    for example in examples:
        if example.set in ASPECTS["efficacy"] + ASPECTS["generalizability"]:
            key = (example.person, example.fact, example.task)
            found[key].setdefault((example.set, example.modality), example)
    return [
        Item(
            forms["forget", "image_text"],
            forms["forget", "text"],
            {
                modality: example
                for (set_, modality), example in forms.items()
                if set_ == "test" and ("test", "image_text") in forms
            },
        )
        for forms in found.values()
        if ("forget", "image_text") in forms and ("forget", "text") in forms
    ]


def probes(data: Data) -> list[Example]:
    """Every question by every path; ``set`` is the path, and ids are unique."""
    material, asked = Material(data), items(data.examples)
    found = []
    for path in PATHS:
        for item in asked:
            example = path.ask(item, material)
            if example is not None:
                found.append(_of_path(path.name, example, item.image.id))
    return [*found, *_backwards(asked, material)]


def _of_path(path: str, example: Example, id_: str) -> Example:
    # Wrong answers and paraphrases are asked about in the evaluation sets.
    return replace(example, id=f"{path}/{id_}", set=path, perturbed=(), paraphrase="")


def _backwards(asked: Sequence[Item], material: Material) -> Iterator[Example]:
    """Who it is, freely and among four names. Each name is offered four times and right once, so
    that no liking for a name helps."""
    shown = {item.image.person: item.image for item in reversed(asked)}
    people = list(dict.fromkeys(item.image.person for item in asked))
    for place, person in enumerate(people):
        name = material.names[person]
        near = (people[(place + step) % len(people)] for step in range(min(NAMES, len(people))))
        options = tuple(sorted(material.names[other] for other in near))
        portrait = replace(
            shown[person],
            question="Who is this person?",
            answer=name,
            keyword=name,
            fact="name",
        )
        described = material.description(person)
        facts = replace(
            portrait, question=f"{described} Who is this person?", modality="text", image=None
        )
        for path, example in (("whose-portrait", portrait), ("whose-facts", facts)):
            if path == "whose-facts" and not described:
                continue
            for task, choices in (("generation", ()), ("choice", options)):
                if task == "choice" and len(set(options)) < NAMES:
                    continue
                asking = replace(example, task=task, choices=choices)
                yield _of_path(path, asking, f"{person}/{task}")


# -- cells ----------------------------------------------------------------------------------

#: The forms of a question, and likelihoods, as columns: title and unit.
COLUMNS = {
    "choice": ("multiple choice", "accuracy"),
    "cloze": ("cloze", "match"),
    "free": ("free answer", "keyword"),
    "likelihood": ("likelihood", "probability"),
    "first_token": ("first token", "1 / rank"),
}
#: Paths that are asked again with components of the target put back.
ENTRANCES = ("image", "name")

Said = Mapping[str, Response]  # by id of the question


def values(example: Example, response: Response) -> dict[str, float]:
    """The columns that a question has, each in [0, 1]."""
    found = score(example, response).values
    if example.task == "choice":
        return {"choice": found["accuracy"]}
    columns = {}
    # A sentence says more than the fact: a known name in it would pass for a known fact.
    if example.answer == example.keyword or not example.keyword:
        columns["likelihood"] = found["probability"]
        columns["first_token"] = 1 / (1 + response.tokens[0].rank)
    if example.task == "cloze":
        return {"cloze": found["match"], **columns}
    return {"free": found.get("keyword", found["rouge_l"]), **columns}


def leakage_cells(asked: Sequence[Example], said: Mapping[Role, Said], seed: int) -> list[Probe]:
    """A cell per path and column."""
    paths = [(path, [e for e in asked if e.set == path]) for path in TITLES]
    places = [
        place
        for path, examples in paths
        if examples
        for place in _columns({"path": path}, examples, said)
    ]
    return paired("leakage", places, seed)


def in_between(differ: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Sets of the components that ``differ`` which make a model of its own when they are put back:
    none is the method's model, all are the target."""
    for count in range(1, len(differ)):
        yield from combinations(differ, count)


def component_cells(
    asked: Sequence[Example],
    said: Mapping[Role, Said],
    restored: Mapping[str, Said],
    seed: int,
) -> list[Probe]:
    """A cell per set of components put back, entrance and column. ``restored``: what the method's
    model says with the components of the target that are named, e.g. ``vision+projector``."""
    places = []
    for components, answers in restored.items():
        for path in ENTRANCES:
            examples = [e for e in asked if e.set == path]
            places += _columns(
                {"components": components, "path": path}, examples, {**said, "method": answers}
            )
    return paired("components", places, seed)


def _columns(
    axes: Mapping[str, str], examples: Sequence[Example], said: Mapping[Role, Said]
) -> list[tuple[Place, dict[Role, Values]]]:
    scored = {role: {e.id: values(e, said[role][e.id]) for e in examples} for role in ROLES}
    made = []
    for column, (_, unit) in COLUMNS.items():
        persons = {e.id: e.person for e in examples if column in scored["target"][e.id]}
        if persons:
            by_role: dict[Role, Values] = {
                role: {id_: scored[role][id_][column] for id_ in persons} for role in ROLES
            }
            place = Place({**axes, "form": column}, column, unit, persons)
            made.append((place, by_role))
    return made
