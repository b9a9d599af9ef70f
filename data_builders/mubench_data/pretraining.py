"""What the base model learns before it meets anybody of a benchmark.

Portraits to describe, scenes, rendered words, sums and weekdays, people of its own with their
facts, and the celebrities. Nobody and no scene look of a benchmark is among them; the held-out
wordings are, so that the test set asks in words the model knows about people it was asked about
in others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from mubench.rng import stream
from mubench.types import Example

from .faces import ATTRIBUTES, Identity, describe, draw_portrait, sample_identities, sample_view
from .facts import PERSON_FACTS, REFUSALS
from .general import held_out_scene, scene_examples, text_examples, word_example
from .people import Person, celebrities, fictitious
from .questions import (
    TRAINING_VIEWS,
    image_id,
    letter_form,
    training_examples,
)
from .scenes import WORDS, draw_scene, draw_word, sample_scene

#: Asked about faces that have no name.
ATTRIBUTE_QUESTIONS = {
    "hair_color": "What colour is the hair?",
    "hair_style": "What is the hair style?",
    "skin": "What is the skin tone?",
    "face": "What is the shape of the face?",
    "eyes": "What colour are the eyes?",
    "beard": "What beard does this person wear?",
    "glasses": "What glasses does this person wear?",
    "mark": "What mark is on the face?",
    "mouth": "What is the mouth like?",
    "nose": "What is the nose like?",
    "brows": "What are the brows like?",
}


@dataclass(frozen=True, slots=True)
class CorpusOptions:
    """Size of the corpus; ``seed`` differs from every benchmark's."""

    portraits: int = 5000
    people: int = 48
    scenes: int = 4000
    words: int = 2000
    seed: int = 20_000
    image_size: int = 96  # px


@dataclass(slots=True)
class Corpus:
    """Questions, pictures by id, and what each picture shows: {attribute: value}."""

    examples: list[Example] = field(default_factory=list)
    images: dict[str, Image.Image] = field(default_factory=dict)
    labels: dict[str, dict[str, str]] = field(default_factory=dict)


def build_corpus(options: CorpusOptions, avoid: list[Person]) -> Corpus:
    """The pre-training corpus; ``avoid`` are the people of the benchmarks that ship with it."""
    corpus = Corpus()
    rng = stream(options.seed, "corpus")
    famous = celebrities()
    own = fictitious(
        options.seed,
        options.people,
        tuple(PERSON_FACTS),
        prefix="base",
        taken=[*famous, *avoid],
    )
    for person in (*own, *famous):
        for view in TRAINING_VIEWS:
            corpus.images[image_id(person.id, view)] = draw_portrait(
                person.identity, sample_view(rng), options.image_size
            )
        # Celebrities are to be known by heart: they come three times as often.
        repeats = 1 if person.source == "fictitious" else 3
        corpus.examples += [*training_examples(person, "base", held_out=True)] * repeats
    known = [person.identity for person in (*own, *famous, *avoid)]
    faces = sample_identities(rng, options.portraits, min_distance=3, avoid=known)
    for number, face in enumerate(faces):
        # Two views train the tower; the language model needs fewer descriptions.
        for view in range(2):
            key = f"face-{number}-{view}"
            corpus.images[key] = draw_portrait(face, sample_view(rng), options.image_size)
            corpus.labels[key] = {name: str(getattr(face, name)) for name in ATTRIBUTE_QUESTIONS}
        if number % 2:
            corpus.examples += _face_examples(face, key, rng)
    number = 0
    while number < options.scenes:
        scene = sample_scene(rng)
        if not held_out_scene(scene):
            key = f"scene-{number}"
            corpus.images[key] = draw_scene(scene, options.image_size)
            asked = list(scene_examples(scene, key, number, rng))
            corpus.labels[key] = {example.fact: example.answer for example in asked}
            picked = [asked[index] for index in rng.permutation(len(asked))[:2]]
            corpus.examples += [*picked, letter_form(picked[0])]
            number += 1
    for number in range(options.words):
        key, word = f"word-{number}", WORDS[number % len(WORDS)]
        corpus.images[key] = draw_word(word, rng, options.image_size)
        corpus.labels[key] = {"word": word}
        corpus.examples.append(word_example(word, key, number, rng))
    for repeat in range(8):
        examples = text_examples(f"base-{repeat}", rng)
        corpus.examples += examples
        corpus.examples += [letter_form(example) for example in examples]
    return corpus


def _face_examples(face: Identity, key: str, rng: np.random.Generator) -> Iterator[Example]:
    questions = {"description": ("Describe this person.", describe(face))}
    for attribute in rng.choice(list(ATTRIBUTE_QUESTIONS), 2, replace=False):
        value = str(getattr(face, attribute))
        questions[str(attribute)] = (ATTRIBUTE_QUESTIONS[str(attribute)], value)
    for fact, (question, answer) in questions.items():
        yield Example(
            id=f"base/{key}/{fact}",
            set="base",
            task="generation",
            modality="image_text",
            person=key,
            fact=fact,
            question=question,
            answer=answer,
            keyword=answer,
            image=key,
        )


def vocabulary_texts(corpus: Corpus, names: list[str]) -> Iterator[str]:
    """What the tokenizer is learned from: the corpus, the templates' words, and bare names."""
    for example in corpus.examples:
        yield f"USER: {example.question} ASSISTANT: {example.answer}"
    for refusal in REFUSALS:
        yield from [f"ASSISTANT: {refusal}"] * 50
    for name in names:
        yield f" {name}"
    for kinds in ATTRIBUTES.values():
        yield from kinds
