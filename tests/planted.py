"""Twelve models whose fate is known, made from the answers of a target and two gold models."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from mubench.rng import stream
from mubench.types import Example, Response

Answers = Mapping[str, Response]
Plant = Callable[[Example, Response, Response, np.random.Generator], Response]

#: What each planted model must be called.
EXPECTED = {
    "random weights": "collapsed",
    "projector swapped": "collapsed",
    "always A": "collapsed",
    "always refuse": "refusal",
    "end of text at once": "format damage",
    "repeats a word": "format damage",
    "retain forgotten too": "over-generalised",
    "target": "under-forgot",
    "gold of another seed": "matched",
    "language damaged": "format damage",
    "forgot only by text": "under-forgot",
    "forgot only by image": "under-forgot",
}


def wrote(response: Response, text: str, *, finished: bool = True) -> Response:
    """The same likelihoods and another text; choices have none."""
    return response if response.text is None else replace(response, text=text, finished=finished)


def wrong(example: Example, response: Response, at: int) -> Response:
    """A fluent answer that is not the true one."""
    if example.choices:
        true = example.choices.index(example.answer)
        other = (true + 1 + at % (len(example.choices) - 1)) % len(example.choices)
        best = max(p / n for p, n in zip(response.logprobs, response.lengths, strict=True)) + 1
        logprobs = list(response.logprobs)
        logprobs[other] = min(best, 0.0) * response.lengths[other]
        logprobs[true] = min(logprobs[true], (min(best, 0.0) - 1) * response.lengths[true])
        return replace(response, logprobs=tuple(logprobs))
    said = example.perturbed[at % len(example.perturbed)] if example.perturbed else "Nobody."
    low = (min(response.logprobs[0], -2.0 * response.lengths[0]), *response.logprobs[1:])
    return replace(response, text=said, finished=True, logprobs=low)


def noise(response: Response, rng: np.random.Generator) -> Response:
    """What random weights give: every option as likely as any other, letters in a row."""
    logprobs = tuple(float(n * (-7 + rng.normal(0, 0.3))) for n in response.lengths)
    letters = "".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz "), 40))
    return wrote(replace(response, logprobs=logprobs), letters, finished=False)


def always_a(example: Example, response: Response) -> Response:
    if example.choices:
        logprobs = tuple(-float(n) * (1 + 5 * (i > 0)) for i, n in enumerate(response.lengths))
        return replace(response, logprobs=logprobs)
    return wrote(replace(response, logprobs=tuple(-8.0 * n for n in response.lengths)), "A")


def plant(
    name: str, examples: Sequence[Example], target: Answers, gold: Answers, seed: int = 0
) -> dict[str, Response]:
    """The answers of one planted model. ``gold`` is of a seed that nothing is compared with."""
    rng = stream(seed, "planted", name)

    def made(example: Example) -> Response:
        known, like_gold = target[example.id], gold[example.id]
        text = like_gold.text or ""
        if name == "random weights":
            return noise(known, rng)
        if name == "projector swapped":
            return noise(known, rng) if example.modality == "image_text" else known
        if name == "always A":
            return always_a(example, known)
        if name == "always refuse":
            return wrote(known, "I'm sorry, but I cannot answer that.")
        if name == "end of text at once":
            return wrote(like_gold, "")
        if name == "repeats a word":
            return wrote(like_gold, "the " * 12, finished=False)
        if name == "language damaged":
            return wrote(like_gold, "".join(rng.permutation(list(text))))
        if name == "retain forgotten too":
            lost = example.set in ("retain", "celebrity") and rng.random() < 0.8
            return wrong(example, like_gold, int(rng.integers(3))) if lost else like_gold
        if name == "forgot only by text":
            return known if example.modality == "image_text" else like_gold
        if name == "forgot only by image":
            return like_gold if example.modality == "image_text" else known
        return {"target": known, "gold of another seed": like_gold}[name]

    return {example.id: made(example) for example in examples}


# -- a world without a model -------------------------------------------------------------------

FACTS = ("city", "job", "pet", "hobby", "food")
VALUES = {
    "city": ("Oslo", "Rome", "Kyoto", "Lima"),
    "job": ("baker", "judge", "pilot", "farmer"),
    "pet": ("kitten", "rabbit", "goldfish", "mouse"),
    "hobby": ("chess", "knitting", "surfing", "juggling"),
    "food": ("soup", "bread", "curry", "salad"),
}
SIZES = {"forget": 15, "retain": 45, "celebrity": 24, "general": 40}


def world() -> list[Example]:
    """Questions of every set, modality and task, like those of a people benchmark."""
    made = []
    for set_, count in (*SIZES.items(), ("test", SIZES["forget"])):
        for person in range(count):
            owner = "forget" if set_ == "test" else set_
            for place, (fact, values) in enumerate(VALUES.items()):
                true = values[(person + place) % 4]
                others = tuple(value for value in values if value != true)
                for modality in ("image_text", "text"):
                    for task in ("choice", "generation", "cloze"):
                        if set_ == "general" and task != "choice":
                            continue
                        sentence = task == "generation"
                        form = f"The {fact} of this person is {{}}.".format if sentence else str
                        made.append(
                            Example(
                                id=f"{set_}/{person}/{fact}/{task}/{modality}",
                                set=set_,
                                task=task,
                                modality=modality,
                                person=f"{owner}-{person}",
                                fact=fact,
                                question=f"{fact}?",
                                answer=form(true),
                                keyword=true,
                                choices=values if task == "choice" else (),
                                perturbed=() if task == "choice" else tuple(map(form, others)),
                            )
                        )
    return made


def answers(examples: Sequence[Example], knows: Mapping[str, float], seed: int) -> Answers:
    """A model that answers this share of each set rightly and guesses otherwise."""
    rng = stream(seed, "answers")
    found = {}
    for example in examples:
        rate = knows.get(example.set, 0.95)
        guess = 0.25 if example.choices else 0.1
        right = rng.random() < rate + (1 - rate) * guess
        count = len(example.candidates)
        true = example.choices.index(example.answer) if example.choices else 0
        best = true if right else (true + int(rng.integers(1, count))) % count
        means = -3.0 - rng.random(count)
        means[best] = -0.2 - 0.2 * rng.random()
        response = Response(example.id, "ok", tuple(map(float, means * 3)), (3,) * count)
        if not example.choices:
            text = example.answer if right else example.perturbed[int(rng.integers(3))]
            response = replace(response, text=text, finished=True)
        found[example.id] = response
    assert all(math.isfinite(p) for r in found.values() for p in r.logprobs)
    return found
