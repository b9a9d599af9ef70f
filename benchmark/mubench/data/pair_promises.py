"""What a benchmark of pairs of picture and caption promises, where that is not what one of
questions in words does (`promises`). Whatever is right for a question is a caption or a picture.
"""

from __future__ import annotations

from collections.abc import Iterator

from mubench.types import Example

from .evidence import Evidence
from .promises import Look, _unless, holds


def asked_of_something(seen: Evidence) -> Iterator[Look]:
    """A picture is the question, or a text is; membership asks whether both belong together."""
    for example in seen.stored:
        begins = "image" if example.modality.startswith("image") else "text"
        both = example.task == "membership"
        yield _unless(
            (bool(example.question.strip()) == (both or begins == "text"))
            and (bool(example.image) == (both or begins == "image")),
            f"{example.id}: asks {example.modality} with picture '{example.image}' and text "
            f"'{example.question}'",
        )
    for pair in seen.train:
        yield _unless(bool(pair.answer.strip()), f"train {pair.id}: has no caption")
    for person in seen.people.values():
        yield _unless(bool(person.name.strip()), f"{person.id}: has no name")


def pictures_shown(seen: Evidence) -> Iterator[Look]:
    """In questions, in what they choose from and in training pairs."""
    for example in seen.all:
        shown = [example.image] if example.image or example.task == "pair" else []
        if example.modality == "text_to_image":
            shown += example.choices
        for image in shown:
            yield _unless(image in seen.pixels, f"{example.id}: no picture '{image}'")
    for row in seen.galleries:
        for image in row["images"]:
            there = image in seen.pixels
            yield _unless(there, f"gallery '{row['gallery']}': no picture '{image}'")


def galleries_tell(seen: Evidence) -> Iterator[Look]:
    """Of a question, the gallery holds something right and something wrong."""
    labels = {name: [row["label"] for row in rows] for name, rows in seen.by_gallery.items()}
    for row in seen.galleries:
        filled = bool(row["texts"] or row["images"])
        yield _unless(filled, f"gallery '{row['gallery']}': '{row['label']}' is empty")
    for example in seen.stored:
        if example.gallery and example.task != "membership":
            found = labels.get(example.gallery, [])
            right = found.count(example.answer)
            yield _unless(
                0 < right < len(found),
                f"{example.id}: {right} of {len(found)} are right in gallery '{example.gallery}'",
            )


def captions_tell(seen: Evidence) -> Iterator[Look]:
    """A trained caption says its name or value; of four captions, the true one alone does."""
    for pair in seen.train:
        value = pair.keyword.removeprefix(f"{pair.fact}: ")
        said = holds(pair.answer, value)
        yield _unless(said, f"train {pair.id}: '{value}' is not in caption '{pair.answer}'")
    for example in seen.stored:
        if example.task == "choice" and example.modality == "image_to_text":
            saying = [text for text in example.choices if holds(text, example.keyword)]
            yield _unless(
                saying == [example.answer],
                f"{example.id}: {len(saying)} options say '{example.keyword}'",
            )


def held_out_kept(seen: Evidence) -> Iterator[Look]:
    """Captions and photos of people who may be forgotten: trained, or kept for the test set."""
    unseen = [e for e in seen.stored if e.set == "unseen" and e.person in seen.forgettable]
    kept = {(e.person, text) for e in unseen for text in right(seen, e)}
    for pair in seen.train:
        if pair.person in seen.forgettable:
            asked = (pair.person, pair.answer) in kept
            yield _unless(not asked, f"train {pair.id}: '{pair.answer}' is held out")
    photos = {seen.pixels.get(e.image) for e in seen.stored if e.set == "unseen" and e.image}
    for pair in seen.train:
        shown = seen.pixels.get(pair.image or "") in photos
        yield _unless(not shown, f"train {pair.id}: shows '{pair.image}', kept for the test set")


def guides_know(seen: Evidence) -> Iterator[Look]:
    """People whom no split forgets keep every held-out wording known; that names can be written
    in other ways, nobody is taught."""
    taught = {(pair.person, pair.answer) for pair in seen.train}
    for example in seen.stored:
        person = seen.people.get(example.person)
        if person and person.role == "fictitious" and person.id not in seen.forgettable:
            for text in right(seen, example) if example.set == "unseen" else ():
                if example.fact != "name" or holds(text, person.name):
                    known = (person.id, text) in taught
                    yield _unless(known, f"{person.id}: was never taught '{text}'")


def holdout_apart(seen: Evidence) -> Iterator[Look]:
    """Those whom no method is shown are trained on, and in no split."""
    for id_ in seen.manifest.splits.get("holdout_identity", ()):
        trained = any(pair.person == id_ for pair in seen.train)
        yield _unless(trained, f"{id_}: is held out and never trained on")
        yield _unless(id_ not in seen.forgettable, f"{id_}: is held out and may be forgotten")


def right(seen: Evidence, example: Example) -> list[str]:
    """The texts that are right for a question, whichever way it asks."""
    if example.question:
        return [example.question]
    if example.choices:
        return [example.answer]
    rows = seen.by_gallery.get(example.gallery, ())
    return [text for row in rows if row["label"] == example.answer for text in row["texts"]]
