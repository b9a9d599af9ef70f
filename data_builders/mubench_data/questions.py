"""Questions about people and scenes, for training and for the evaluation sets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from mubench.types import MODALITIES, Example, Modality

from .facts import CELEBRITY_FACTS, PERSON_FACTS, PROMPTS, FactKind, fill
from .people import Person
from .scenes import ANSWERS, Scene, scene_questions

#: MLLMU-Bench's layout: questions a person and modality, by task.
PER_PERSON = {"choice": 5, "generation": 2, "cloze": 2}
OPTIONS = 4
#: Views of a face: these are trained on, every later one is for the test set alone.
TRAINING_VIEWS = range(4)
TEST_VIEW = 4

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def image_id(person: Person, view: int) -> str:
    return f"{person.id}/view-{view}"


def kinds_of(person: Person) -> Mapping[str, FactKind]:
    """The wordings that fit a person: fictitious people and celebrities have different facts."""
    return PERSON_FACTS if person.source == "fictitious" else CELEBRITY_FACTS


def wordings(kind: FactKind, task: str) -> tuple[str, ...]:
    """All wordings of one task; the last one is held out of training."""
    return {"choice": kind.ask, "generation": kind.tell, "cloze": kind.cloze}[task]


def _example(
    person: Person, set_: str, task: str, modality: Modality, fact: str, wording: int, view: int
) -> Example:
    kind = kinds_of(person)[fact]
    value = person.facts[fact]
    who = "this person" if modality == "image_text" else person.name
    template = wordings(kind, task)[wording]
    return Example(
        id=f"{set_}/{person.id}/{task}/{fact}/{wording % len(wordings(kind, task))}/{modality}",
        set=set_,
        task=task,
        modality=modality,
        person=person.id,
        fact=fact,
        question=PROMPTS[task].format(q=fill(template, who)),
        answer=fill(kind.statement, who, value) if task == "generation" else value,
        keyword=value,
        image=image_id(person, view) if modality == "image_text" else None,
    )


def training_examples(person: Person, set_: str, *, held_out: bool = False) -> Iterator[Example]:
    """Every fact in every task, wording and modality; pictures rotate through the training views.

    Held-out wordings are left out unless ``held_out`` is given, as for people whom the test set
    does not ask about. Image+text only: who is shown.
    """
    view = 0
    for fact, kind in kinds_of(person).items():
        if fact not in person.facts:
            continue
        for task in PROMPTS:
            for wording in range(len(wordings(kind, task)) - (not held_out)):
                for modality in MODALITIES:
                    yield _example(
                        person,
                        set_,
                        task,
                        modality,
                        fact,
                        wording,
                        TRAINING_VIEWS[view % len(TRAINING_VIEWS)],
                    )
                view += 1
    for shown in TRAINING_VIEWS:
        yield Example(
            id=f"{set_}/{person.id}/name/{shown}",
            set=set_,
            task="generation",
            modality="image_text",
            person=person.id,
            fact="name",
            question="Who is this person?" if shown % 2 else "What is the name of this person?",
            answer=person.name,
            keyword=person.name,
            image=image_id(person, shown),
        )


def evaluation_examples(
    person: Person,
    set_: str,
    number: int,
    pools: Mapping[str, Sequence[str]],
    rng: np.random.Generator,
    *,
    unseen: bool,
) -> Iterator[Example]:
    """The 18 questions about one person: 5 choice, 2 generation, 2 cloze, in both modalities.

    ``number`` (the person's place in its set) rotates facts over tasks and the true option over
    the letters. ``unseen`` asks with the held-out wording about a view never trained on.
    """
    facts = list(person.facts)
    order = [facts[(number + step) % len(facts)] for step in range(sum(PER_PERSON.values()))]
    start = 0
    for task, count in PER_PERSON.items():
        for place, fact in enumerate(order[start : start + count]):
            trained = len(wordings(kinds_of(person)[fact], task)) - 1
            wording = -1 if unseen else (number + place) % trained
            view = TEST_VIEW if unseen else TRAINING_VIEWS[(number + place) % len(TRAINING_VIEWS)]
            options = (
                choose_options(person.facts[fact], pools[fact], number + place, rng)
                if task == "choice"
                else ()
            )
            for modality in MODALITIES:
                example = _example(person, set_, task, modality, fact, wording, view)
                yield replace(example, choices=options)
        start += count


def choose_options(
    truth: str, pool: Sequence[str], place: int, rng: np.random.Generator
) -> tuple[str, ...]:
    """The true value at letter ``place`` modulo 4, among three other values of its pool."""
    others = sorted(set(pool) - {truth})
    options = [str(other) for other in rng.choice(others, OPTIONS - 1, replace=False)]
    options.insert(place % OPTIONS, truth)
    return tuple(options)


def scene_examples(
    scene: Scene, id_: str, set_: str, number: int, rng: np.random.Generator
) -> Iterator[Example]:
    """Choice questions about one scene: general ability that has nothing to do with people."""
    for place, (kind, question, answer) in enumerate(scene_questions(scene)):
        yield _general(set_, id_, kind, question, answer, ANSWERS[kind], number + place, rng, id_)


def word_example(word: str, id_: str, set_: str, number: int, rng: np.random.Generator) -> Example:
    """Reading one rendered word."""
    question = "Which word is written here?"
    return _general(set_, id_, "word", question, word, ANSWERS["word"], number, rng, id_)


def text_examples(set_: str, rng: np.random.Generator) -> list[Example]:
    """General ability without a picture: small sums and the days of the week."""
    examples = []
    for a in range(6):
        for b in range(6):
            if a + b < len(NUMBERS):
                question = f"What is {NUMBERS[a]} plus {NUMBERS[b]}?"
                answer = NUMBERS[a + b]
                examples.append(
                    _general(
                        set_, f"sum-{a}-{b}", "sum", question, answer, NUMBERS, a + b, rng, None
                    )
                )
    for place, day in enumerate(DAYS):
        question = f"Which day comes after {day}?"
        answer = DAYS[(place + 1) % len(DAYS)]
        examples.append(
            _general(set_, f"day-{place}", "day", question, answer, DAYS, place, rng, None)
        )
    return examples


def _general(
    set_: str,
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
        id=f"{set_}/{id_}/choice/{fact}/0/{modality}",
        set=set_,
        task="choice",
        modality=modality,
        person=id_,
        fact=fact,
        question=question,
        answer=answer,
        keyword=answer,
        image=image,
        choices=choose_options(answer, pool, place, rng),
    )


def letter_form(example: Example) -> Example:
    """A choice question with its options listed, answered by a letter."""
    listed = " ".join(
        f"{letter}. {option}" for letter, option in zip("ABCD", example.choices, strict=True)
    )
    letter = "ABCD"[example.choices.index(example.answer)]
    return replace(
        example,
        id=f"{example.id}/letter",
        task="generation",
        question=f"{example.question} {listed}. Answer with a letter.",
        answer=letter,
        keyword=letter,
        choices=(),
    )
