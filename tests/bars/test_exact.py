"""Two thousand requests a family, answered by the engine as plain batches answer them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from PIL import Image

from models.asking import assert_same, make, plain, run
from mubench.models.behaviours import LogitDifference
from mubench.rng import stream
from mubench.types import Example
from tiny_models import MODALITIES, MORE_FAMILIES

pytestmark = pytest.mark.bars

PEOPLE = 24
FACTS = ("job", "trade", "city", "home", "taste", "habit", "year", "colour", "street", "school")
WORDS = (
    "a baker",
    "a marine pilot",
    "Oslo",
    "the old town",
    "tea",
    "blue",
    "in 1967",
    "by the sea",
)


def picture(name):
    """Noise, in one of several sizes: other numbers of tokens, tiles and splits."""
    rng = stream(0, "exact", name)
    width, height = (int(side) for side in rng.choice([24, 33, 48, 80, 120], size=2))
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype="uint8"))


def requests():
    """Per person and modality 33 choices of two to four options and 11 free questions."""
    rng = stream(0, "exact", "requests")
    made = []
    for person in range(PEOPLE):
        for modality in MODALITIES:
            for number in range(44):
                seen = modality == "image_text"
                words = [
                    str(word) for word in rng.choice(WORDS, size=2 + number % 3, replace=False)
                ]
                who = "this person" if seen else f"person {person}"
                made.append(
                    Example(
                        id=f"{person}/{modality}/{number}",
                        set="general",
                        task="choice" if number % 4 else "generation",
                        modality=modality,
                        person=str(person),
                        fact=FACTS[number % 10],
                        question=f"What is the {FACTS[number % 10]} of {who} in case {number}?",
                        answer=words[0],
                        keyword=words[0],
                        image=f"person {person}" if seen else None,
                        choices=tuple(words) if number % 4 else (),
                    )
                )
    return made


def build(family):
    model = MORE_FAMILIES[family]()
    model.encoder.images = picture
    return model


def drawn(parameters, seed=0):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in parameters:
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)


def with_adapters(family):
    model = build(family)
    drawn(model.train_scope("lora", r=2))
    return model


def with_exemplars(family):
    model = build(family)
    shown = [replace(e, person="shown", image=e.image and "shown") for e in requests()[:88:22]]
    model.encoder.preamble = {m: [e for e in shown if e.modality == m] for m in MODALITIES}
    return model


def with_assistant(family):
    model = build(family)
    assistant = model.first_layers(2 if family == "mllama" else 1)
    drawn(assistant.train_scope("lora", r=2))
    # A filter of 1 subtracts everywhere. A smaller one is a step function of the logits: tokens
    # that tie up to rounding fall on either side of it, in any two batches.
    model.add(LogitDifference(assistant, assistant.depth(), 0.75, filter=1.0))
    return model


@pytest.mark.parametrize(
    ("way", "family"),
    [
        (way, family)
        for way in (build, with_adapters, with_exemplars, with_assistant)
        for family in MORE_FAMILIES
        # Mllama takes no solved examples with pictures: its cross attention takes one picture.
        if (way, family) != (with_exemplars, "mllama")
    ],
)
def test_shared_answers_equal_plain_ones_whatever_the_batch(way, family):
    asked = requests()
    assert len(asked) >= 2000
    model = way(family)
    wanted = plain(model, asked)
    for batch in (1, 3, 16):
        engine = make(way(family))
        found = {one.example_id: one for one in run(engine, asked, batch=batch)}
        assert engine.notes == {}
        assert_same([found[example.id] for example in asked], wanted)
