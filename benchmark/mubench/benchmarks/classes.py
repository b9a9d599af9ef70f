"""Classes with pictures, as questions to a dual encoder: which class, and which pictures.

A class stands for the mean of the normalised features of its wordings, as CLIP_benchmark and
open_clip make zero-shot classifiers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from mubench.types import Candidate, Example

Said = Mapping[str, Sequence[str]]  # what is said of each class
Shown = Mapping[str, Sequence[str]]  # ids of the pictures of each class


def in_words(classes: Iterable[str], wordings: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Every class in every wording, in which ``{c}`` stands for it."""
    return {one: tuple(text.replace("{c}", one) for text in wordings) for one in classes}


def galleries(name: str, said: Said, shown: Shown) -> dict[str, list[Candidate]]:
    """All classes in their wordings, and all pictures: ``NAME classes`` and ``NAME pictures``."""
    return {
        f"{name} classes": [Candidate(one, tuple(texts)) for one, texts in said.items()],
        f"{name} pictures": [
            Candidate(one, images=(image,)) for one, images in shown.items() for image in images
        ],
    }


def zero_shot(name: str, set_: str, person: str, fact: str, shown: Shown) -> Iterator[Example]:
    """Which class of gallery ``NAME classes`` a picture shows; ``person``: see `Example`, the
    picture's own id if empty."""
    for one, images in shown.items():
        for image in images:
            yield Example(
                id=f"{image}/{set_}/zero_shot/{name}",
                set=set_,
                task="zero_shot",
                modality="image_to_text",
                person=person or image,
                fact=fact,
                question="",
                answer=one,
                keyword=one,
                image=image,
                gallery=f"{name} classes",
            )


def retrieval(name: str, set_: str, person: str, fact: str, said: Said) -> Iterator[Example]:
    """Where in gallery ``NAME pictures`` the pictures of a class stand, for each wording."""
    for one, texts in said.items():
        for text in texts:
            yield Example(
                id=f"{person or one}/{set_}/retrieval/{name}/{text}",
                set=set_,
                task="retrieval",
                modality="text_to_image",
                person=person or one,
                fact=fact,
                question=text,
                answer=one,
                keyword=one,
                gallery=f"{name} pictures",
            )


def pair(
    image: str, set_: str, person: str, fact: str, says: str, means: str, number: int = 0
) -> Example:
    """A training pair; captions that say the same have the same keyword, ``means``."""
    return Example(
        id=f"{image}/pair/{fact}/{number}",
        set=set_,
        task="pair",
        modality="image_to_text",
        person=person,
        fact=fact,
        question="",
        answer=says,
        keyword=means,
        image=image,
    )
