"""What any dual encoder should still do: sets of pictures that have nothing to do with who or what
is forgotten, asked as set ``general``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from mubench.data.tables import Tables
from mubench.errors import UsageError
from mubench.rng import stream
from mubench.types import Candidate, Example

from .classes import galleries, pair, retrieval, zero_shot


@dataclass(frozen=True, slots=True)
class Utility:
    """Questions with their galleries and pictures; ``train`` is rehearsed by target and gold.

    ``source``: where a published set comes from; its questions have its ``name`` as fact.
    """

    name: str
    examples: Sequence[Example]
    galleries: Mapping[str, Sequence[Candidate]]
    images: Iterable[tuple[str, bytes]]
    train: Sequence[Example] = field(default=())
    source: dict[str, Any] = field(default_factory=dict)


def add(tables: Tables, more: Iterable[Utility]) -> Tables:
    """The benchmark, asked of more. UsageError if two sets have one name."""
    for one in more:
        if both := tables.galleries.keys() & one.galleries.keys():
            raise UsageError(f"benchmark.utility: two sets are called '{one.name}' ({min(both)})")
        if one.source:
            known = tables.source.get("utility", {})
            tables.source = {**tables.source, "utility": {**known, one.name: one.source}}
        tables.examples = [*tables.examples, *one.examples]
        tables.train = [*tables.train, *one.train]
        tables.galleries = {**tables.galleries, **one.galleries}
        tables.images = chain(tables.images, one.images)
    return tables


def scenes(count: int, words: int, size: int, seed: int) -> Utility:
    """Shapes, colours, counts, places and written words, drawn on this machine (``size`` px).

    Scenes of other looks are rehearsed, so that training on something else leaves the rest alive.
    """
    from mubench_data.captions import CLASSES, of_class
    from mubench_data.general import general
    from mubench_data.scenes import ANSWERS

    asked = general("general", count, words, size, seed, held_out=True)
    rehearsed = general("rehearsal", 6 * count, 4 * words, size, seed, held_out=False)
    examples: list[Example] = []
    found: dict[str, Sequence[Candidate]] = {}
    for kind, wordings in CLASSES.items():
        said = {one: [text.format(value=one) for text in wordings] for one in ANSWERS[kind]}
        shown: dict[str, list[str]] = defaultdict(list)
        for example in asked.examples:
            if example.fact == kind and example.image:
                shown[example.answer].append(example.image)
        found |= galleries(kind, said, shown)
        examples += zero_shot(kind, "general", "", kind, shown)
        if len(shown) > 1:
            examples += retrieval(kind, "general", "", kind, {one: said[one] for one in shown})
    rng = stream(seed, "rehearsed captions")
    train = [
        pair(
            example.image,
            "general",
            example.person,
            example.fact,
            of_class(example.fact, example.answer, rng),
            f"{example.fact}: {example.answer}",
        )
        for example in rehearsed.examples
        if example.image
    ]
    pictures = chain(asked.images.items(), rehearsed.images.items())
    return Utility("scenes", examples, found, pictures, train)
