"""Build a people benchmark: who there is, what is asked, what is trained on, who is forgotten."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from itertools import chain
from multiprocessing import get_context
from pathlib import Path

from mubench.data.tables import Person as Row
from mubench.data.tables import Role, Tables
from mubench.rng import stream
from mubench.types import Example

from .faces import describe
from .facts import CELEBRITY_FACTS, PERSON_FACTS, REFUSALS, describe_person, fill
from .general import general
from .people import NAME_LOCALES, Person, celebrities, fictitious
from .pictures import (
    Sitting,
    album,
    group_photos,
    pictures_by_name,
    pictures_in_order,
    sittings,
)
from .questions import evaluation_examples, kinds_of, shared_options, training_examples

VERSION = "2"
#: Share of the people who are never forgotten: held-out wordings stay known through them.
GUIDES = 1 / 3

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class PeopleOptions:
    """Size of a people benchmark. The same options give the same content.

    ``faces`` and ``celebrity_faces``: folders with one folder of pictures a person, shown instead
    of drawn ones; a celebrity's folder bears the name.
    """

    fictitious: int = 60
    celebrities: int = 24
    holdout: int = 15
    scenes: int = 24
    words: int = 24
    facts: tuple[str, ...] = tuple(PERSON_FACTS)
    image_size: int = 128  # px, square
    seed: int = 0
    faces: Path | None = None
    celebrity_faces: Path | None = None


def most_forgotten(people: int) -> int:
    """How many of the people a split may forget; the others are guides."""
    return people - round(GUIDES * people)


def forget_order(people: int, seed: int) -> list[int]:
    """Indices of the people who may be forgotten; a split takes the beginning, so splits nest.

    Stratified by the origin of names: any beginning has its share of each.
    """
    rng, origins = stream(seed, "forget"), len(NAME_LOCALES)
    strata = [rng.permutation(range(origin, people, origins)) for origin in range(origins)]
    rounds = (
        [int(stratum[turn]) for stratum in strata if turn < len(stratum)]
        for turn in range(-(-people // origins))
    )
    mixed = [index for members in rounds for index in rng.permutation(members)]
    return [int(index) for index in mixed[: most_forgotten(people)]]


def build_people(
    options: PeopleOptions, progress: Progress = lambda *_: None, workers: int = 1
) -> Tables:
    """People with portraits and questions. Pictures are drawn by ``workers`` processes as they
    are written; their number changes nothing in the content."""
    famous = celebrities()[: options.celebrities]
    order = forget_order(options.fictitious, options.seed)
    everybody = fictitious(
        options.seed,
        options.fictitious + options.holdout,
        options.facts,
        prefix="person",
        taken=celebrities(),
    )
    people, holdout = everybody[: options.fictitious], everybody[options.fictitious :]
    examples = list(_asked(options, people, holdout, famous, order))
    train = list(_trained(people, famous, order))
    size, seed = options.image_size, options.seed
    asked_of_all = general("general", options.scenes, options.words, size, seed, held_out=True)
    # Rehearsed in training, so that fine-tuning on people leaves the rest alive.
    rehearsed = general(
        "rehearsal", 6 * options.scenes, 4 * options.words, size, seed, held_out=False
    )
    examples += asked_of_all.examples
    train += rehearsed.examples
    given: dict[str, tuple[Path, ...]] = {}
    if options.faces:
        given |= pictures_in_order(options.faces, everybody)
    if options.celebrity_faces:
        given |= pictures_by_name(options.celebrity_faces, famous)
    sitters = sittings([*everybody, *famous], everybody, size, seed, given)
    return Tables(
        name="people",
        version=VERSION,
        source={"options": {**asdict(options), "faces": None, "celebrity_faces": None}},
        people=[
            *(_row(person, "fictitious", person.id in given) for person in people),
            *(_row(person, "celebrity", person.id in given) for person in famous),
            *(_row(person, "holdout", person.id in given) for person in holdout),
        ],
        examples=examples,
        train=train,
        images=chain(
            _albums(sitters, progress, workers),
            asked_of_all.images.items(),
            rehearsed.images.items(),
        ),
        splits={"order": [people[index].id for index in order]},
        refusals=REFUSALS,
        groups=group_photos(sitters),
    )


def _asked(
    options: PeopleOptions,
    people: Sequence[Person],
    holdout: Sequence[Person],
    famous: Sequence[Person],
    order: Sequence[int],
) -> Iterator[Example]:
    """Every evaluation question about people, those of the test set about everybody."""
    pools = {kind: PERSON_FACTS[kind].values for kind in options.facts}
    known = {kind: [person.facts[kind] for person in celebrities()] for kind in CELEBRITY_FACTS}
    # Along the order, so that any forget set has its letters and tasks balanced.
    chosen = set(order)
    along = [people[index] for index in order]
    along += [person for index, person in enumerate(people) if index not in chosen]
    for sets, group, values in (
        (("seen", "unseen"), along, pools),
        (("holdout",), holdout, pools),
        (("celebrity",), famous, known),
    ):
        shared = shared_options(group, values, stream(options.seed, *sets))
        for set_ in sets:
            for turn, person in enumerate(group):
                yield from evaluation_examples(
                    person,
                    set_,
                    turn,
                    shared,
                    values,
                    stream(options.seed, set_, person.id),
                    unseen=set_ == "unseen",
                )


def _trained(
    people: Sequence[Person], famous: Sequence[Person], order: Sequence[int]
) -> Iterator[Example]:
    """What a model is trained on. Held-out wordings are asked about guides, whom no split
    forgets; celebrities are known from the base model, and rehearsal keeps them known."""
    forgettable = set(order)
    for number, person in enumerate(people):
        yield from training_examples(person, "people", held_out=number not in forgettable)
    for person in famous:
        yield from training_examples(person, "celebrity")


def _row(person: Person, role: Role, given: bool) -> Row:
    kinds = kinds_of(person)
    sentences = (
        fill(kinds[kind].statement, person.name, value) for kind, value in person.facts.items()
    )
    portrait = "given" if given else "drawn"
    appearance = "" if given else describe(person.identity)
    return Row(
        id=person.id,
        name=person.name,
        role=role,
        portrait=portrait,
        biography=" ".join(sentences),
        facts=dict(person.facts),
        description=describe_person(person.name, person.facts, appearance),
        source="" if role != "celebrity" else person.source,
    )


def _albums(
    sitters: Sequence[Sitting], progress: Progress, workers: int
) -> Iterator[tuple[str, bytes]]:
    """The pictures of everybody, person by person, drawn ahead in ``workers`` processes."""
    if workers == 1:
        yield from _counted(map(album, sitters), len(sitters), progress)
    else:
        # Spawned, because the parent may run threads of its own by now.
        with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
            yield from _counted(pool.map(album, sitters, chunksize=4), len(sitters), progress)


def _counted(
    albums: Iterable[Sequence[tuple[str, bytes]]], total: int, progress: Progress
) -> Iterator[tuple[str, bytes]]:
    for done, made in enumerate(albums, start=1):
        yield from made
        progress(done, total, "drawing people")
