"""Requests by the hundred for tiny models, and their answers shared and plain."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mubench.models.engine import Engine
from mubench.models.packing import units
from tiny_models import MODALITIES, PEOPLE, choice, of_modality

#: Nats a token, in float32.
TOLERANCE = 1e-4


def questions(count=24):
    """Choice questions by the dozen on every person, in both modalities, and free ones."""
    verbs = ("job", "trade", "city", "home", "taste", "habit", "year", "colour")
    made = []
    for number in range(count):
        modality = MODALITIES[number % 2]
        person = list(PEOPLE)[number // 2 % 4]
        about = f"What is the {verbs[number // 8 % 8]} in case {number // 64}?"
        base = choice(person, modality)
        options = base.choices[number % 4 :] + base.choices[: number % 4]
        made.append(
            replace(base, id=f"{number}", question=about, choices=options[: 2 + number % 3])
        )
    return made


def plain(model, asked, tokens=8):
    found = {}
    for modality in MODALITIES:
        mine = of_modality(asked, modality)
        for part in ([e for e in mine if e.choices], [e for e in mine if not e.choices]):
            for start in range(0, len(part), 32):
                answered = model.plain(part[start : start + 32], tokens)
                found |= {one.example_id: one for one in answered}
    return [found[example.id] for example in asked]


def assert_same(found, wanted):
    for one, other in zip(found, wanted, strict=True):
        assert one.status == "ok", one.error
        assert one.example_id == other.example_id
        assert one.lengths == other.lengths
        for a, b, length in zip(one.logprobs, other.logprobs, one.lengths, strict=True):
            assert abs(a - b) <= TOLERANCE * length
        best = [max(range(len(o.logprobs)), key=o.logprobs.__getitem__) for o in (one, other)]
        assert best[0] == best[1]
        assert (one.text, one.finished) == (other.text, other.finished)
        assert len(one.tokens) == len(other.tokens)
        for token, twin in zip(one.tokens, other.tokens, strict=True):
            assert abs(token.rank - twin.rank) <= 2  # rivals may be as likely to the last digit
            own, others = token._replace(rank=0), twin._replace(rank=0)
            assert tuple(own) == pytest.approx(tuple(others), abs=TOLERANCE)


def flat(found):
    return [response for unit in found for response in unit]


def make(model, **options):
    """An engine on the model as it is, unchecked unless a test asks for it."""
    return Engine(model.reader(), model.plain, **({"check": False} | options))


def run(engine, asked, batch=4, tokens=8, start=0):
    return flat(engine.answers(units(asked), max_new_tokens=tokens, batch=batch, start=start))
