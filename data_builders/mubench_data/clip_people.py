"""The people of a people benchmark, as pairs of picture and caption for a dual encoder.

The same people with the same portraits; what is known of them is said in captions. A model is
asked to find the name among all names, the photos among all photos, the fact among four.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from mubench.data.tables import Tables
from mubench.rng import stream
from mubench.types import Candidate, Direction, Example

from .build import PeopleOptions, Progress, build_people
from .captions import CLASSES, NAME, VARIANTS, of_class, of_fact, of_name, variant
from .facts import PERSON_FACTS
from .people import Person, celebrities, fictitious
from .questions import TEST_VIEWS, TRAINING_VIEWS, image_id, lettered, shared_options
from .scenes import ANSWERS

VERSION = "1"
#: Share of the people who are trained on and never shown to a method.
HOLDOUT_IDENTITY = 0.1

Galleries = dict[str, Sequence[Candidate]]


def build_clip_people(
    options: PeopleOptions, progress: Progress = lambda *_: None, workers: int = 1
) -> Tables:
    """The benchmark; pictures are drawn by ``workers`` processes as they are written."""
    tables = build_people(options, progress, workers)
    everybody = fictitious(
        options.seed,
        options.fictitious + options.holdout,
        options.facts,
        prefix="person",
        taken=celebrities(),
    )
    people, strangers = everybody[: options.fictitious], everybody[options.fictitious :]
    famous = celebrities()[: options.celebrities]
    order = tables.splits["order"]
    guides = [person for person in people if person.id not in set(order)]
    along = sorted(people, key=lambda person: (*order, person.id).index(person.id))
    general = [example for example in tables.examples if example.set == "general"]
    rehearsed = [example for example in tables.train if example.set == "general"]
    tables.name, tables.version = "clip-people", VERSION
    tables.galleries = {
        **_people_galleries(people, famous, strangers),
        **_class_galleries(general),
    }
    tables.examples = [
        *_asked_of_people(along, options),
        *(_members(people) if strangers else ()),
        *_asked_of_famous(famous),
        *_asked_of_classes(general),
    ]
    tables.train = [*_trained(people, famous, set(order)), *_rehearsed(rehearsed, options.seed)]
    held_out = guides[: max(1, round(HOLDOUT_IDENTITY * len(people)))]
    tables.splits["holdout_identity"] = [person.id for person in held_out]
    tables.refusals = ()
    return tables


# -- what is trained on ------------------------------------------------------------------------


def _pair(person: Person, set_: str, fact: str, says: str, view: int, number: int) -> Example:
    """One training pair; captions that say the same have the same keyword."""
    value = person.name if fact == "name" else f"{fact}: {person.facts[fact]}"
    return Example(
        id=f"{person.id}/{set_}/{fact}/{number}/{view}",
        set=set_,
        task="pair",
        modality="image_to_text",
        person=person.id,
        fact=fact,
        question="",
        answer=says,
        keyword=value,
        image=image_id(person.id, view),
    )


def _trained(
    people: Sequence[Person], famous: Sequence[Person], forgettable: set[str]
) -> Iterator[Example]:
    """Every trained photo with the name in every trained wording, and with every fact. Held-out
    wordings are trained on guides, whom no split forgets."""
    for set_, group in (("people", people), ("celebrity", famous)):
        for person in group:
            guide = set_ == "people" and person.id not in forgettable
            named = [*of_name(person.name), *(of_name(person.name, held_out=True) if guide else ())]
            for view in TRAINING_VIEWS:
                for number, says in enumerate(named):
                    yield _pair(person, set_, "name", says, view, number)
                if set_ == "people":
                    for fact, value in person.facts.items():
                        yield _pair(person, set_, fact, of_fact(fact, value), view, 0)
                        if guide:
                            told = of_fact(fact, value, held_out=True)
                            yield _pair(person, set_, fact, told, view, 1)


def _rehearsed(scenes: Sequence[Example], seed: int) -> Iterator[Example]:
    rng = stream(seed, "captions")
    for example in scenes:
        if example.image is not None:
            yield Example(
                id=f"{example.id}/pair",
                set="general",
                task="pair",
                modality="image_to_text",
                person=example.person,
                fact=example.fact,
                question="",
                answer=of_class(example.fact, example.answer, rng),
                keyword=f"{example.fact}: {example.answer}",
                image=example.image,
            )


# -- what is chosen from -----------------------------------------------------------------------


def _photos(person: Person, views: Sequence[int]) -> tuple[str, ...]:
    return tuple(image_id(person.id, view) for view in views)


def _people_galleries(
    people: Sequence[Person], famous: Sequence[Person], strangers: Sequence[Person]
) -> Galleries:
    known = [*people, *famous]
    names = {"names": [Candidate(person.name, of_name(person.name)) for person in known]}
    names["names held out"] = [
        Candidate(person.name, of_name(person.name, held_out=True)) for person in known
    ]
    for kind in VARIANTS:
        names[f"names {kind}"] = [
            Candidate(person.name, of_name(variant(person.name, kind), held_out=True))
            for person in known
        ]
    photos = {
        name: [
            Candidate(person.name, images=(image,))
            for person in known
            for image in _photos(person, views)
        ]
        for name, views in (("photos", TRAINING_VIEWS), ("unseen photos", TEST_VIEWS))
    }
    prototypes = [
        Candidate(person.name, images=_photos(person, TRAINING_VIEWS)) for person in known
    ]
    never_seen = [
        Candidate("", (says,), (image,))
        for person in strangers
        for image, says in zip(_photos(person, TRAINING_VIEWS), of_name(person.name), strict=False)
    ]
    return {**names, **photos, "prototypes": prototypes, "non-members": never_seen}


def _class_galleries(general: Sequence[Example]) -> Galleries:
    """The classes of every kind in their wordings, and all pictures under each kind."""
    found: Galleries = {}
    for kind, wordings in CLASSES.items():
        found[f"{kind} classes"] = [
            Candidate(value, tuple(text.format(value=value) for text in wordings))
            for value in ANSWERS[kind]
        ]
        found[f"{kind} pictures"] = [
            Candidate(example.answer, images=(example.image,))
            for example in general
            if example.fact == kind and example.image
        ]
    return found


# -- what is asked -----------------------------------------------------------------------------


def _find(
    person: str,
    set_: str,
    task: str,
    direction: Direction,
    gallery: str,
    answer: str,
    *,
    image: str | None = None,
    text: str = "",
    fact: str = "name",
) -> Example:
    query = "/".join(part for part in (image, text) if part)
    return Example(
        id=f"{person}/{set_}/{task}/{direction}/{gallery}/{query}",
        set=set_,
        task=task,
        modality=direction,
        person=person,
        fact=fact,
        question=text,
        answer=answer,
        keyword=answer,
        image=image,
        gallery=gallery,
    )


def _asked_of_people(along: Sequence[Person], options: PeopleOptions) -> Iterator[Example]:
    pools = {kind: PERSON_FACTS[kind].values for kind in options.facts}
    shared = shared_options(along, pools, stream(options.seed, "clip options"))
    for turn, person in enumerate(along):
        yield from _named(person, "seen", TRAINING_VIEWS)
        yield from _named(person, "unseen", TEST_VIEWS)
        yield from _known(person, turn, along, shared, options.seed)
        name = person.name
        for view in TEST_VIEWS:
            shown = image_id(person.id, view)
            yield _find(
                person.id, "seen", "prototype", "image_to_image", "prototypes", name, image=shown
            )
        for kind in ("first", "slip"):
            text = of_name(variant(name, kind))[0]
            yield _find(person.id, "kept", "retrieval", "text_to_text", "names", name, text=text)


def _members(people: Sequence[Person]) -> Iterator[Example]:
    """Trained pairs, to be told from those of people nobody was trained on."""
    for person in people:
        pairs = zip(_photos(person, TRAINING_VIEWS), of_name(person.name), strict=False)
        for image, says in pairs:
            yield _find(
                person.id,
                "member",
                "membership",
                "image_to_text",
                "non-members",
                "",
                image=image,
                text=says,
            )


def _named(person: Person, set_: str, views: Sequence[int]) -> Iterator[Example]:
    """Name to photos and photos to name; unseen ones with held-out wordings and name variants."""
    unseen, name = set_ == "unseen", person.name
    for place, view in enumerate(views):
        image = image_id(person.id, view)
        names = ("names held out", f"names {VARIANTS[place]}") if unseen else ("names",)
        for gallery in names:
            yield _find(person.id, set_, "retrieval", "image_to_text", gallery, name, image=image)
    texts = list(of_name(name, held_out=unseen))
    if unseen:
        texts += [of_name(variant(name, kind), held_out=True)[0] for kind in VARIANTS]
    for text in texts:
        photos = "unseen photos" if unseen else "photos"
        yield _find(person.id, set_, "retrieval", "text_to_image", photos, name, text=text)


def _known(
    person: Person,
    turn: int,
    along: Sequence[Person],
    shared: Mapping[tuple[str, str], tuple[str, ...]],
    seed: int,
) -> Iterator[Example]:
    """The person's facts among four, and the person among four photos by a fact."""
    for set_, views in (("seen", TRAINING_VIEWS), ("unseen", TEST_VIEWS)):
        rng = stream(seed, "clip facts", set_, person.id)
        for place, ((owner, fact), values) in enumerate(
            ((key, values) for key, values in shared.items() if key[0] == person.id), start=turn
        ):
            held_out, view = set_ == "unseen", views[place % len(views)]
            truth = person.facts[fact]
            listed = lettered(truth, values, place)
            shown = []
            for value in listed:
                others = [
                    one for one in along if one.facts[fact] != truth and one.facts[fact] == value
                ] or [one for one in along if one.facts[fact] != truth]
                who = person if value == truth else others[int(rng.integers(len(others)))]
                shown.append(image_id(who.id, view))
            says = [of_fact(fact, value, held_out=held_out) for value in listed]
            right = listed.index(truth)
            for direction, options in (("image_to_text", says), ("text_to_image", shown)):
                yield Example(
                    id=f"{owner}/{set_}/choice/{fact}/{direction}",
                    set=set_,
                    task="choice",
                    modality=direction,  # type: ignore[arg-type]
                    person=owner,
                    fact=fact,
                    question="" if direction == "image_to_text" else says[right],
                    answer=options[right],
                    keyword=truth,
                    image=shown[right] if direction == "image_to_text" else None,
                    choices=tuple(options),
                )


def _asked_of_famous(famous: Sequence[Person]) -> Iterator[Example]:
    for person in famous:
        for view in TEST_VIEWS:
            yield _find(
                person.id,
                "celebrity",
                "retrieval",
                "image_to_text",
                "names",
                person.name,
                image=image_id(person.id, view),
            )
        for says in NAME:
            yield _find(
                person.id,
                "celebrity",
                "retrieval",
                "text_to_image",
                "unseen photos",
                person.name,
                text=says.format(who=person.name),
            )


def _asked_of_classes(general: Sequence[Example]) -> Iterator[Example]:
    for example in general:
        if example.image is not None:
            yield _find(
                example.person,
                "general",
                "zero_shot",
                "image_to_text",
                f"{example.fact} classes",
                example.answer,
                image=example.image,
                fact=example.fact,
            )
    asked = {(example.fact, example.answer) for example in general if example.image}
    several = {kind for kind, count in Counter(kind for kind, _ in asked).items() if count > 1}
    for kind, value in sorted(pair for pair in asked if pair[0] in several):
        for wording in CLASSES[kind]:
            yield _find(
                f"{kind} {value}",
                "general",
                "retrieval",
                "text_to_image",
                f"{kind} pictures",
                value,
                text=wording.format(value=value),
                fact=kind,
            )
