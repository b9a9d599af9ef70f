"""A small built benchmark, and models that are planted: known answers instead of weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from mubench.data.load import BenchmarkData
from mubench.data.tables import write
from mubench.probes.leakage import Said, probes
from mubench.probes.privacy import Seen, questions
from mubench.types import Example, Response, Token
from mubench_data.build import PeopleOptions, build_people

OPTIONS = PeopleOptions(
    fictitious=32, celebrities=1, holdout=8, scenes=1, words=1, image_size=48,
    facts=("birthplace", "occupation", "hobby", "food", "pet", "employer"),
)  # fmt: skip


_FOLDER = TemporaryDirectory(prefix="mubench-probes-")  # until the tests end
write(build_people(OPTIONS), Path(_FOLDER.name))
DATA = BenchmarkData(Path(_FOLDER.name), 0.375)
ASKED = probes(DATA)
PEOPLE = questions(DATA, 0)
_MEMBERS = {example.id for example in PEOPLE.members}


def answered(example: Example, known: bool) -> Response:
    """What a model says that knows the answer, or one that has never heard of the person."""
    if example.choices:
        truth = example.choices.index(example.answer)
        liked = truth if known else (truth + 1) % len(example.choices)
        logprobs = tuple(-1.0 if n == liked else -9.0 for n in range(len(example.choices)))
        return Response(example.id, "ok", logprobs, (2,) * len(logprobs))
    text = example.answer if known else "I believe it is Paris."
    first = Token(-0.1, 0, -1.0, 0.5) if known else Token(-3.0, 11, -1.0, 0.5)
    logprob = -0.5 if known else -12.0
    return Response(
        example.id, "ok", (logprob,), (4,), text=text, finished=True, tokens=(first, first)
    )


def model(knows: Callable[[Example], bool]) -> Said:
    """What a model says by every path that knows the answers to these questions."""
    return {example.id: answered(example, knows(example)) for example in ASKED}


def seen(members: float, others: float = -4.0, seed: int = 0) -> dict[str, Seen]:
    """Four tokens and an end token of about these mean log-probabilities, for every question."""
    rng = np.random.default_rng(seed)
    found = {}
    for example in PEOPLE.all:
        values = (members if example.id in _MEMBERS else others) - rng.random(5)
        tokens = tuple(Token(float(v), int(v < -1.5), -1.0, 0.5) for v in values)
        found[example.id] = Seen(tokens, gradient=float(-values.mean()))
    return found


#: By every path, and token by token: a model that knows the people, and one that does not.
TARGET, GOLD = model(lambda _: True), model(lambda _: False)
KNOWING, IGNORANT, BASE = seen(-0.2, seed=2), seen(-4.0, seed=1), seen(-4.0, seed=3)
