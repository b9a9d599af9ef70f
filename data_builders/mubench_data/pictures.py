"""The pictures of a person: eight views, a sketch, a card with the name, a group photo."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps

from mubench.errors import DamagedError, UsageError
from mubench.rng import stream

from .faces import draw_portrait, sample_view
from .faces.card import draw_id_card, print_card
from .faces.group import draw_group, sample_group_views
from .faces.view import View
from .people import Person
from .questions import TEST_VIEWS, TRAINING_VIEWS, image_id

VIEWS = len(TRAINING_VIEWS) + len(TEST_VIEWS)
#: Pictures for leakage probes, beside the views; no question of the usual sets shows them.
PROBES = ("sketch", "card", "group")
GIVEN_TYPES = (".png", ".jpg", ".jpeg", ".webp")


@dataclass(frozen=True, slots=True)
class Sitting:
    """What one person's pictures are made from; ``given`` are the user's own, if any."""

    person: Person
    companions: tuple[Person, ...]
    size: int
    seed: int
    given: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Probes:
    """How the pictures for leakage probes are taken. ``place`` in the group: 0 left to 2 right."""

    sketch: View
    card: View
    place: int
    group: tuple[View, ...]

    @classmethod
    def of(cls, sitting: Sitting) -> Probes:
        rng = stream(sitting.seed, "probes", sitting.person.id)
        return cls(
            sample_view(rng, style="sketch"),
            sample_view(rng),
            int(rng.integers(3)),
            sample_group_views(rng),
        )


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def sittings(
    people: Sequence[Person],
    companions: Sequence[Person],
    size: int,
    seed: int,
    given: Mapping[str, tuple[Path, ...]],
) -> list[Sitting]:
    """What is to be drawn of ``people``, two of the ``companions`` beside each in a group photo.

    ``given``: the user's own pictures by person, shown instead of drawn ones.
    """
    made = []
    for person in people:
        others = [other for other in companions if other.id != person.id]
        two = stream(seed, "companions", person.id).permutation(len(others))[:2]
        beside = tuple(others[index] for index in two)
        made.append(Sitting(person, beside, size, seed, given.get(person.id, ())))
    return made


def group_photos(sitters: Sequence[Sitting]) -> dict[str, list[str]]:
    """Who stands in each group photo, from left to right, by the picture's id."""
    return {
        f"{sitting.person.id}/group": [person.id for person in _together(sitting)]
        for sitting in sitters
        if not sitting.given
    }


def _together(sitting: Sitting) -> list[Person]:
    people = list(sitting.companions)
    people.insert(Probes.of(sitting).place, sitting.person)
    return people


def pictures_in_order(folder: Path, people: Sequence[Person]) -> dict[str, tuple[Path, ...]]:
    """Own pictures of invented people: one sub-folder each, in order of name.

    UsageError if there are too few folders, or too few pictures in one.
    """
    folders = sorted(path for path in folder.iterdir() if path.is_dir())
    if len(folders) < len(people):
        raise UsageError(
            f"{folder} holds {len(folders)} people, one folder each: {len(people)} wanted"
        )
    return {person.id: _files(own) for person, own in zip(people, folders, strict=False)}


def pictures_by_name(folder: Path, people: Sequence[Person]) -> dict[str, tuple[Path, ...]]:
    """Own pictures of people who exist: the sub-folder is called as they are; others are drawn.

    UsageError if it is nobody's, or if a folder holds too few pictures.
    """
    named = {path.name.casefold(): path for path in folder.iterdir() if path.is_dir()}
    found = {
        person.id: _files(named[person.name.casefold()])
        for person in people
        if person.name.casefold() in named
    }
    if not found:
        raise UsageError(f"{folder} holds no folder with a celebrity's name, as '{people[0].name}'")
    return found


def _files(folder: Path) -> tuple[Path, ...]:
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in GIVEN_TYPES)
    least = len(TRAINING_VIEWS) + 1
    if len(files) < least:
        raise UsageError(
            f"{folder} holds {len(files)} pictures ({', '.join(GIVEN_TYPES)}): at least {least} "
            f"wanted, {least - 1} to train on and one kept for the test set"
        )
    return tuple(files[:VIEWS])


def album(sitting: Sitting) -> list[tuple[str, bytes]]:
    """All pictures of one person as (id, PNG), square, ``size`` px."""
    return [(id_, png(picture)) for id_, picture in _pictures(sitting)]


def _pictures(sitting: Sitting) -> Iterator[tuple[str, Image.Image]]:
    person, size, probes = sitting.person, sitting.size, Probes.of(sitting)
    views = stream(sitting.seed, "views", person.id)
    for view in range(VIEWS):
        if sitting.given:
            picture = _given(sitting.given, view, size)
        else:
            picture = draw_portrait(person.identity, sample_view(views), size)
        if view == 0:
            first = picture
        yield image_id(person.id, view), picture
    if sitting.given:
        # Of the user's own photos there is no drawing style, and no group can be posed for.
        yield f"{person.id}/card", print_card(first, person.name, probes.card, size)
        return
    yield f"{person.id}/sketch", draw_portrait(person.identity, probes.sketch, size)
    yield f"{person.id}/card", draw_id_card(person.identity, person.name, probes.card, size)
    together = [other.identity for other in _together(sitting)]
    yield f"{person.id}/group", draw_group(together, probes.group, size)


def _given(files: Sequence[Path], view: int, size: int) -> Image.Image:
    """A picture of the user's own; where there are too few, those of the test set come again."""
    if view not in TRAINING_VIEWS:
        spare = len(files) - len(TRAINING_VIEWS)
        view = len(TRAINING_VIEWS) + (view - len(TRAINING_VIEWS)) % spare
    try:
        with Image.open(files[view]) as picture:
            return ImageOps.fit(ImageOps.exif_transpose(picture).convert("RGB"), (size, size))
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise DamagedError(f"{files[view]} is not an image: {error}") from error
