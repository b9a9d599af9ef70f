"""Pictures with captions: what the base dual encoder learns before it meets anybody of a benchmark.

Faces and what can be seen of them, scenes, rendered words, the celebrities, and people of its own
by name. Nobody and no scene look of a benchmark is among them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from mubench.rng import stream

from .captions import of_class, of_face, of_name, of_scene
from .faces import draw_portrait, sample_identities, sample_view
from .general import held_out_scene
from .people import Person, celebrities, fictitious
from .scenes import WORDS, draw_scene, draw_word, sample_scene


@dataclass(frozen=True, slots=True)
class PairOptions:
    """Size of the corpus; ``seed`` differs from every benchmark's."""

    faces: int = 3000
    views: int = 4  # pictures of a face
    people: int = 200
    scenes: int = 3000
    words: int = 1600
    seed: int = 20_000
    image_size: int = 96  # px


@dataclass(slots=True)
class PairCorpus:
    """Pictures by id, and the captions that are right for each."""

    images: dict[str, Image.Image] = field(default_factory=dict)
    captions: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def add(self, id_: str, image: Image.Image, captions: tuple[str, ...]) -> None:
        self.images[id_] = image
        self.captions[id_] = captions


def build_pairs(options: PairOptions, avoid: list[Person]) -> PairCorpus:
    """The corpus; ``avoid`` are the people of the benchmarks that ship with mubench."""
    corpus, rng, size = PairCorpus(), stream(options.seed, "pairs"), options.image_size
    famous = celebrities()
    own = fictitious(options.seed, options.people, (), prefix="base", taken=[*famous, *avoid])
    for person in (*own, *famous):
        named = (*of_name(person.name), *of_name(person.name, held_out=True))
        for view in range(options.views):
            picture = draw_portrait(person.identity, sample_view(rng), size)
            corpus.add(f"{person.id}/{view}", picture, named)
    known = [person.identity for person in (*own, *famous, *avoid)]
    for number, face in enumerate(
        sample_identities(rng, options.faces, min_distance=3, avoid=known)
    ):
        told = tuple(of_face(face, rng) for _ in range(8))
        for view in range(options.views):
            corpus.add(f"face-{number}/{view}", draw_portrait(face, sample_view(rng), size), told)
    for id_, picture, captions in _general(options, rng):
        corpus.add(id_, picture, captions)
    return corpus


def _general(
    options: PairOptions, rng: np.random.Generator
) -> Iterator[tuple[str, Image.Image, tuple[str, ...]]]:
    number = 0
    while number < options.scenes:
        scene = sample_scene(rng)
        if not held_out_scene(scene):
            captions = tuple(dict.fromkeys(of_scene(scene, rng) for _ in range(8)))
            yield f"scene-{number}", draw_scene(scene, options.image_size), captions
            number += 1
    for number in range(options.words):
        word = WORDS[number % len(WORDS)]
        captions = tuple(dict.fromkeys(of_class("word", word, rng) for _ in range(8)))
        yield f"word-{number}", draw_word(word, rng, options.image_size), captions
