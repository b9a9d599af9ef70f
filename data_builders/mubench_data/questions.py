"""Questions about people, for training and for evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from mubench.types import MODALITIES, Example, Modality

from .facts import CELEBRITY_FACTS, PERSON_FACTS, PROMPTS, FactKind, fill
from .people import Person

#: MLLMU-Bench's layout: questions a person and modality, by task.
PER_PERSON = {"choice": 5, "generation": 2, "cloze": 2}
OPTIONS = 4
PERTURBED = 3
#: Views of a face: the first are trained on, the others are for the test set alone.
TRAINING_VIEWS = range(4)
TEST_VIEWS = range(4, 8)


def image_id(person: str, view: int) -> str:
    return f"{person}/view-{view}"


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
        id=f"{person.id}/{set_}/{task}/{fact}/{wording % len(wordings(kind, task))}/{modality}",
        set=set_,
        task=task,
        modality=modality,
        person=person.id,
        fact=fact,
        question=PROMPTS[task].format(q=fill(template, who)),
        answer=fill(kind.statement, who, value) if task == "generation" else value,
        keyword=value,
        paraphrase=fill(kind.restatement, who, value) if task == "generation" else "",
        image=image_id(person.id, view) if modality == "image_text" else None,
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
            id=f"{person.id}/{set_}/name/{shown}",
            set=set_,
            task="generation",
            modality="image_text",
            person=person.id,
            fact="name",
            question="Who is this person?" if shown % 2 else "What is the name of this person?",
            answer=person.name,
            keyword=person.name,
            image=image_id(person.id, shown),
        )


def asked_facts(person: Person, turn: int) -> dict[str, list[str]]:
    """Which facts are asked in which task: ``turn`` rotates them, so that all are asked of many."""
    facts = list(person.facts)
    order = [facts[(turn + step) % len(facts)] for step in range(sum(PER_PERSON.values()))]
    found, start = {}, 0
    for task, count in PER_PERSON.items():
        found[task] = order[start : start + count]
        start += count
    return found


def shared_options(
    people: Sequence[Person],
    pools: Mapping[str, Sequence[str]],
    rng: np.random.Generator,
) -> dict[tuple[str, str], tuple[str, ...]]:
    """Four options for every choice question, by (person id, fact); the truth is one of them.

    People who follow each other are asked with the same four options, which are the truths of
    four of them: whatever value one likes to guess, it is right for one of the four. What no group
    of four can be found for is filled up with other values.
    """
    found: dict[tuple[str, str], list[str]] = {}
    open_groups: dict[str, list[list[str]]] = {}
    for turn, person in enumerate(people):
        for fact in asked_facts(person, turn)["choice"]:
            truth, groups = person.facts[fact], open_groups.setdefault(fact, [])
            group = next((group for group in groups if truth not in group), None)
            if group is None:
                group = []
                groups.append(group)
            group.append(truth)
            found[person.id, fact] = group
            if len(group) == OPTIONS:
                groups.remove(group)
    for fact, groups in open_groups.items():
        for group in groups:
            group += other_values(group, pools[fact], OPTIONS - len(group), rng)
    return {key: tuple(group) for key, group in found.items()}


def evaluation_examples(
    person: Person,
    set_: str,
    turn: int,
    options: Mapping[tuple[str, str], tuple[str, ...]],
    pools: Mapping[str, Sequence[str]],
    rng: np.random.Generator,
    *,
    unseen: bool,
) -> Iterator[Example]:
    """The 18 questions about one person: 5 choice, 2 generation, 2 cloze, in both modalities.

    ``turn`` (the person's place in its set) rotates facts over tasks and the true option over the
    letters. ``unseen`` asks with the held-out wording about a view never trained on.
    """
    for task, facts in asked_facts(person, turn).items():
        for place, fact in enumerate(facts, start=turn):
            kind, truth = kinds_of(person)[fact], person.facts[fact]
            wording = -1 if unseen else place % (len(wordings(kind, task)) - 1)
            views = TEST_VIEWS if unseen else TRAINING_VIEWS
            choices = lettered(truth, options[person.id, fact], place) if task == "choice" else ()
            wrong = other_values([truth], pools[fact], PERTURBED, rng)
            for modality in MODALITIES:
                example = _example(
                    person, set_, task, modality, fact, wording, views[place % len(views)]
                )
                who = "this person" if modality == "image_text" else person.name
                perturbed = (
                    [fill(kind.restatement, who, value) for value in wrong]
                    if task == "generation"
                    else wrong
                )
                yield replace(example, choices=choices, perturbed=tuple(perturbed))


def other_values(
    known: Sequence[str], pool: Sequence[str], count: int, rng: np.random.Generator
) -> list[str]:
    """``count`` different values of a pool that are not ``known``, drawn as often as they occur."""
    others = [value for value in pool if value not in known]
    drawn: list[str] = []
    while len(drawn) < count:
        value = others[int(rng.integers(len(others)))]
        if value not in drawn:
            drawn.append(value)
    return drawn


def lettered(truth: str, options: Sequence[str], place: int) -> tuple[str, ...]:
    """The options with the true one at letter ``place`` modulo 4, the others in turn after it."""
    others = [option for option in options if option != truth]
    shift = place // OPTIONS % len(others)
    others = others[shift:] + others[:shift]
    others.insert(place % OPTIONS, truth)
    return tuple(others)


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
