"""General ability that has nothing to do with people: scenes, written words, sums, days."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from mubench.hashing import sha
from mubench.rng import stream
from mubench.types import Example, Modality

from .pictures import png
from .questions import OPTIONS, lettered, other_values
from .scenes import ANSWERS, WORDS, Scene, draw_scene, draw_word, sample_scene, scene_questions

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass(frozen=True, slots=True)
class General:
    """Questions and the pictures they show, by id, as PNG."""

    examples: list[Example] = field(default_factory=list)
    images: dict[str, bytes] = field(default_factory=dict)


def general(name: str, scenes: int, words: int, size: int, seed: int, *, held_out: bool) -> General:
    """``scenes`` scenes and ``words`` words of ``size`` px, and all sums and days.

    ``name`` keeps the pictures of evaluation and training apart; ``held_out`` scenes have a look
    that training never shows.
    """
    rng = stream(seed, name)
    made = General()
    number = 0
    while number < scenes:
        scene = sample_scene(rng)
        if held_out_scene(scene) == held_out:
            id_ = f"{name}/scene-{number:03d}"
            made.examples.extend(scene_examples(scene, id_, number, rng))
            made.images[id_] = png(draw_scene(scene, size))
            number += 1
    for number in range(words):
        id_, word = f"{name}/word-{number:03d}", WORDS[number % len(WORDS)]
        made.examples.append(word_example(word, id_, number, rng))
        made.images[id_] = png(draw_word(word, rng, size))
    made.examples.extend(text_examples(name, rng))
    return made


def held_out_scene(scene: Scene) -> bool:
    """Whether a scene's look is kept for benchmarks and never used in pre-training (1 in 6)."""
    return int(sha([scene.shape, scene.color, scene.count])[:8], 16) % 6 == 0


def scene_examples(
    scene: Scene, id_: str, number: int, rng: np.random.Generator
) -> Iterator[Example]:
    """Choice questions about one scene: general ability that has nothing to do with people."""
    for place, (kind, question, answer) in enumerate(scene_questions(scene)):
        yield _general(id_, kind, question, answer, ANSWERS[kind], number + place, rng, id_)


def word_example(word: str, id_: str, number: int, rng: np.random.Generator) -> Example:
    """Reading one rendered word."""
    question = "Which word is written here?"
    return _general(id_, "word", question, word, ANSWERS["word"], number, rng, id_)


def text_examples(name: str, rng: np.random.Generator) -> list[Example]:
    """General ability without a picture: small sums and the days of the week."""
    examples = []
    for a in range(6):
        for b in range(6):
            if a + b < len(NUMBERS):
                question = f"What is {NUMBERS[a]} plus {NUMBERS[b]}?"
                answer = NUMBERS[a + b]
                id_ = f"{name}/sum-{a}-{b}"
                examples.append(_general(id_, "sum", question, answer, NUMBERS, a + b, rng, None))
    for place, day in enumerate(DAYS):
        question = f"Which day comes after {day}?"
        answer = DAYS[(place + 1) % len(DAYS)]
        id_ = f"{name}/day-{place}"
        examples.append(_general(id_, "day", question, answer, DAYS, place, rng, None))
    return examples


def _general(
    id_: str,
    fact: str,
    question: str,
    answer: str,
    pool: Sequence[str],
    place: int,
    rng: np.random.Generator,
    image: str | None,
) -> Example:
    modality: Modality = "text" if image is None else "image_text"
    return Example(
        id=f"{id_}/choice/{fact}/0/{modality}",
        set="general",
        task="choice",
        modality=modality,
        person=id_,
        fact=fact,
        question=question,
        answer=answer,
        keyword=answer,
        image=image,
        choices=lettered(answer, [answer, *other_values([answer], pool, OPTIONS - 1, rng)], place),
    )
