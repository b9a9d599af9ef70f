"""Classes to forget: of any set of pictures with classes, the benchmark that removes some of them.

The unit of every interval is the class. Near-miss classes, which look like a forgotten one, are
trained on and shown to no method (set ``holdout_identity``). Asked is in a closed set, with the
forgotten names in the list, and in an open one, without: one look-alike of every family. There the
target says what it would if the name did not exist, which is the masked-label reference of DELETE
(CVPR 2025).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mubench.data.tables import Person, Tables
from mubench.errors import UsageError
from mubench.rng import stream
from mubench.types import Candidate, Example

from .classes import Shown, galleries, in_words, pair, retrieval, zero_shot

VERSION = "1"
#: A forgotten class with fewer test pictures says nothing, nor do fewer classes: no interval can
#: be had from them (`mubench.stats.clustered`).
FEWEST_PICTURES = 50
FEWEST_CLASSES = 5
#: Wordings a trained picture comes with.
CAPTIONS = 4
SEEN, UNSEEN = "trained", "unseen"


@dataclass(frozen=True, slots=True)
class ClassSet:
    """Pictures with classes, wherever they come from.

    ``wordings`` are those of training and of its questions, ``held_out`` those of the test set; in
    both ``{c}`` stands for the class. ``families``: classes that look alike; a class in none has no
    near-miss. ``train`` and ``test``: ids of the pictures of each class.
    """

    name: str
    version: str
    source: dict[str, Any]
    portrait: str  # drawn or published
    wordings: Sequence[str]
    held_out: Sequence[str]
    families: Sequence[Sequence[str]]
    train: Shown
    test: Shown
    images: Iterable[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class Roles:
    """Which classes a split may forget, in order; the near-miss of each; those that stay."""

    order: tuple[str, ...]
    near: dict[str, str]
    stay: tuple[str, ...]


def roles(
    classes: Sequence[str], families: Sequence[Sequence[str]], eligible: Collection[str], seed: int
) -> Roles:
    """Of the ``eligible``, half of every family may be forgotten, one of each family in turn, so
    that any beginning of the order has its share of all; the other half holds the near-misses. Of
    classes without a family, half may be forgotten."""
    rng = stream(seed, "classes")
    alone = sorted({*classes} - {one for family in families for one in family})
    single = [alone[i] for i in rng.permutation(len(alone))]
    go = [[one for one in single if one in eligible][: len(single) // 2]] if single else []
    near: dict[str, str] = {}
    for family in families:
        mixed = [family[i] for i in rng.permutation(len(family))]
        chosen = [one for one in mixed if one in eligible][: len(mixed) // 2]
        others = [one for one in mixed if one not in chosen]
        near |= dict(zip(chosen, others, strict=False))
        go.append(chosen)
    turns = range(max(len(part) for part in go))
    rounds = ([part[turn] for part in go if turn < len(part)] for turn in turns)
    order = tuple(group[i] for group in rounds for i in rng.permutation(len(group)))
    return Roles(order, near, tuple(one for one in classes if one not in order))


def build(of: ClassSet, seed: int) -> Tables:
    """The benchmark. UsageError if too few classes have test pictures enough to be forgotten."""
    classes = list(of.train)
    eligible = {one for one in classes if len(of.test.get(one, ())) >= FEWEST_PICTURES}
    parts = roles(classes, of.families, eligible, seed)
    if len(parts.order) < FEWEST_CLASSES:
        raise UsageError(
            f"{len(parts.order)} classes of {of.name} can be forgotten: a forgotten class needs "
            f"{FEWEST_PICTURES} test pictures, and fewer than {FEWEST_CLASSES} say nothing"
        )
    said, asked = in_words(classes, of.wordings), in_words(classes, of.held_out)
    ids = {one: f"class-{number:03d}" for number, one in enumerate(classes)}
    # Pictures that are in no trained pair, with the words of one.
    strangers = {
        f"non-members {one}": [Candidate("", (said[one][0],), (image,)) for image in images]
        for one, images in of.test.items()
    }
    means = [Candidate(one, images=tuple(images)) for one, images in of.train.items()]
    return Tables(
        name=of.name,
        version=of.version,
        source=of.source,
        people=[
            Person(ids[one], one, "fictitious", of.portrait, facts={"class": one})
            for one in classes
        ],
        examples=[e for one in classes for e in _asked(of, one, ids[one], parts, said, asked)],
        train=list(_trained(of, ids, said, seed)),
        images=of.images,
        splits={
            "order": [ids[one] for one in parts.order],
            **{f"near {ids[one]}": [ids[near]] for one, near in parts.near.items()},
        },
        galleries={
            **galleries(SEEN, said, of.train),
            **galleries(UNSEEN, asked, of.test),
            "prototypes": means,
            **strangers,
        },
    )


def _asked(
    of: ClassSet,
    one: str,
    person: str,
    parts: Roles,
    said: dict[str, tuple[str, ...]],
    asked: dict[str, tuple[str, ...]],
) -> Iterator[Example]:
    """Everything about one class. Retained ones are asked what the test set asks of others
    (stored set ``kept``)."""
    shown, new = {one: of.train[one]}, {one: of.test.get(one, ())}
    yield from zero_shot(SEEN, "member", person, "class", shown)
    yield from retrieval(SEEN, "member", person, "class", {one: said[one]})
    for set_ in ("unseen", "kept"):
        yield from zero_shot(UNSEEN, set_, person, "class", new)
        yield from retrieval(UNSEEN, set_, person, "class", {one: asked[one]})
    yield from (_read(person, one, text) for text in asked[one])
    for image in new[one]:
        yield _looked_up(person, one, image)
        if one in parts.near:
            options = {near: asked[near][0] for near in _look_alikes(of, one, parts)}
            yield _without_the_name(person, parts.near[one], image, options)
    for image in shown[one]:
        yield _member(person, one, said[one][0], image)


def _read(person: str, one: str, text: str) -> Example:
    """A held-out wording among all classes in trained ones: the text tower alone."""
    return Example(
        id=f"{person}/kept/read/{text}",
        set="kept",
        task="retrieval",
        modality="text_to_text",
        person=person,
        fact="class",
        question=text,
        answer=one,
        keyword=one,
        gallery=f"{SEEN} classes",
    )


def _looked_up(person: str, one: str, image: str) -> Example:
    """An unseen picture among the means of the trained pictures of every class."""
    return Example(
        id=f"{image}/prototype",
        set="seen",
        task="prototype",
        modality="image_to_image",
        person=person,
        fact="class",
        question="",
        answer=one,
        keyword=one,
        image=image,
        gallery="prototypes",
    )


def _look_alikes(of: ClassSet, one: str, parts: Roles) -> Iterator[str]:
    """The near-miss of ``one``, and one of every other family."""
    for family in of.families:
        near = [parts.near[other] for other in family if other in parts.near]
        if near:
            yield parts.near[one] if one in family else near[0]


def _without_the_name(person: str, near: str, image: str, options: Mapping[str, str]) -> Example:
    """Open set: the near-miss is right."""
    return Example(
        id=f"{image}/choice/open",
        set="unseen",
        task="choice",
        modality="image_to_text",
        person=person,
        fact="near class",
        question="",
        answer=options[near],
        keyword=near,
        image=image,
        choices=tuple(options.values()),
    )


def _member(person: str, one: str, text: str, image: str) -> Example:
    """A trained pair, to be told from new pictures of the class with the same words."""
    return Example(
        id=f"{image}/membership",
        set="member",
        task="membership",
        modality="image_to_text",
        person=person,
        fact="class",
        question=text,
        answer="",
        keyword="",
        image=image,
        gallery=f"non-members {one}",
    )


def _trained(
    of: ClassSet, ids: dict[str, str], said: dict[str, tuple[str, ...]], seed: int
) -> Iterator[Example]:
    """Every trained picture with some of the wordings, drawn by ``seed``."""
    rng = stream(seed, "captions")
    for one, images in of.train.items():
        for image in images:
            chosen = rng.permutation(len(said[one]))[:CAPTIONS]
            for number in sorted(int(index) for index in chosen):
                yield pair(image, "people", ids[one], "class", said[one][number], one, number)
