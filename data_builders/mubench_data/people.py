"""Who the people are: names, faces and facts, drawn from a seed."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files

import numpy as np

from mubench.rng import integer, stream

from .faces import Identity, sample_identities
from .facts import PERSON_FACTS

#: Locales whose names are written in plain Latin letters often enough to fill every benchmark.
NAME_LOCALES = ("en_US", "en_GB", "en_IN", "es_ES", "it_IT", "de_DE", "nl_NL", "pt_BR")

#: All celebrities wear the faces of this seed, whatever the benchmark: a model's base knows them.
CELEBRITY_SEED = 1867


@dataclass(frozen=True, slots=True)
class Person:
    """A person of a benchmark. ``facts`` maps a fact kind to its bare value."""

    id: str
    name: str
    identity: Identity
    facts: Mapping[str, str]
    source: str = "fictitious"


def celebrities() -> list[Person]:
    """The curated public figures, each fact with its source. Their portraits are drawn."""
    text = files("mubench_data").joinpath("celebrities.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    faces = sample_identities(stream(CELEBRITY_SEED, "celebrity-faces"), len(rows))
    return [
        Person(
            id=f"celebrity-{number:03d}",
            name=row.pop("name"),
            source=row.pop("source"),
            identity=face,
            facts=row,
        )
        for number, (row, face) in enumerate(zip(rows, faces, strict=True))
    ]


def fictitious(
    seed: int,
    count: int,
    kinds: Sequence[str],
    *,
    prefix: str,
    taken: Iterable[Person] = (),
    groups: Sequence[Sequence[int]] = (),
) -> list[Person]:
    """``count`` invented people with unique names and faces.

    Facts are drawn independently of name and face. Within each of the ``groups`` (indices that
    split the people, e.g. forget and retain) every value of a pool is used equally often, so that
    the answers of one group are no hint about the other's. Without groups, draws are uniform.
    Names and faces of ``taken`` people are avoided.
    """
    taken = list(taken)
    rng = stream(seed, prefix, "people")
    names = _names(integer(seed, prefix, "names"), count, {person.name for person in taken})
    faces = sample_identities(rng, count, avoid=[person.identity for person in taken])
    columns = {kind: rng.choice(PERSON_FACTS[kind].values, count).tolist() for kind in kinds}
    for group in groups:
        for kind in kinds:
            for index, value in zip(
                group, _evenly(rng, PERSON_FACTS[kind].values, len(group)), strict=True
            ):
                columns[kind][index] = value
    return [
        Person(
            id=f"{prefix}-{number:03d}",
            name=names[number],
            identity=faces[number],
            facts={kind: columns[kind][number] for kind in kinds},
        )
        for number in range(count)
    ]


def _evenly(rng: np.random.Generator, values: Sequence[str], count: int) -> list[str]:
    """``count`` draws in random order in which no value is more than one ahead of another."""
    rounds = [rng.permutation(len(values)) for _ in range(-(-count // len(values)))]
    return [values[index] for index in rng.permutation(np.concatenate(rounds)[:count])]


def _names(seed: int, count: int, taken: set[str]) -> list[str]:
    """Unique first + last names; neither part is shared with another person of the same draw."""
    from faker import Faker  # slow to import

    makers = [Faker(locale) for locale in NAME_LOCALES]
    for offset, maker in enumerate(makers):
        maker.seed_instance(seed + offset)
    used = {part for name in taken for part in name.split()}
    names: list[str] = []
    while len(names) < count:
        maker = makers[len(names) % len(makers)]
        first, last = maker.first_name(), maker.last_name()
        plain = f"{first}{last}".isascii() and f"{first}{last}".isalpha()
        if plain and first not in used and last not in used and first != last:
            used |= {first, last}
            names.append(f"{first} {last}")
    return names
