"""Pictures with captions: what the base dual encoder learns before it meets anybody of a benchmark.

Faces and what can be seen of them, scenes, rendered words, the celebrities, and people of its own
by name. Nobody and no scene look of a benchmark is among them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from PIL import Image

from mubench.rng import stream

from .captions import of_class, of_face, of_fact, of_name, of_scene
from .faces import draw_portrait, sample_identities, sample_view
from .facts import PERSON_FACTS
from .general import held_out_scene
from .people import Person, celebrities, fictitious
from .scenes import WORDS, draw_scene, draw_word, sample_scene

#: Captions that are written for one subject.
WORDINGS = 8


@dataclass(frozen=True, slots=True)
class PairOptions:
    """Size of the corpus; ``seed`` differs from every benchmark's."""

    faces: int = 2000
    views: int = 4  # pictures of a face
    people: int = 200
    scenes: int = 3000
    words: int = 1600
    seed: int = 20_000
    image_size: int = 96  # px


@dataclass(slots=True)
class PairCorpus:
    """Subjects: the ids of their pictures, and captions of which each is right for all of them."""

    images: dict[str, Image.Image] = field(default_factory=dict)
    subjects: list[tuple[list[str], list[str]]] = field(default_factory=list)

    def add(self, name: str, pictures: list[Image.Image], captions: list[str]) -> None:
        ids = [f"{name}/{number}" for number in range(len(pictures))]
        self.images |= dict(zip(ids, pictures, strict=True))
        self.subjects.append((ids, list(dict.fromkeys(captions))))


def build_pairs(options: PairOptions, avoid: list[Person]) -> PairCorpus:
    """The corpus; ``avoid`` are the people of the benchmarks that ship with mubench."""
    corpus, rng, size = PairCorpus(), stream(options.seed, "pairs"), options.image_size
    famous, views = celebrities(), range(options.views)
    kinds = tuple(PERSON_FACTS)
    own = fictitious(options.seed, options.people, kinds, prefix="base", taken=[*famous, *avoid])
    for person in (*own, *famous):
        told = [*of_name(person.name), *of_name(person.name, held_out=True)]
        if person.source == "fictitious":
            for fact, value in person.facts.items():
                told += [of_fact(fact, value), of_fact(fact, value, held_out=True)]
        shown = [draw_portrait(person.identity, sample_view(rng), size) for _ in views]
        corpus.add(person.id, shown, told)
    known = [person.identity for person in (*own, *famous, *avoid)]
    faces = sample_identities(rng, options.faces, min_distance=3, avoid=known)
    for number, face in enumerate(faces):
        shown = [draw_portrait(face, sample_view(rng), size) for _ in views]
        corpus.add(f"face-{number}", shown, [of_face(face, rng) for _ in range(WORDINGS)])
    number = 0
    while number < options.scenes:
        scene = sample_scene(rng)
        if not held_out_scene(scene):
            told = [of_scene(scene, rng) for _ in range(WORDINGS)]
            corpus.add(f"scene-{number}", [draw_scene(scene, size)], told)
            number += 1
    for number in range(options.words):
        word = WORDS[number % len(WORDS)]
        told = [of_class("word", word, rng) for _ in range(WORDINGS)]
        corpus.add(f"word-{number}", [draw_word(word, rng, size)], told)
    return corpus
