"""Who the people are: names, faces and facts, drawn from a seed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mubench.rng import integer, stream

from .celebrities import load_table
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
    rows = load_table()
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
) -> list[Person]:
    """``count`` invented people with unique names and faces; more people leave the first as is.

    Facts are drawn independently of name, face and each other person: then what retained people
    answer says nothing about anybody's answer, whoever is forgotten. (Dealt out evenly, the value
    that retained people have most would be the one that forgotten people have least.) Names and
    faces of ``taken`` people are avoided.
    """
    taken = list(taken)
    names = _names(integer(seed, prefix, "names"), count, {person.name for person in taken})
    faces = sample_identities(
        stream(seed, prefix, "people"), count, avoid=[person.identity for person in taken]
    )
    facts: list[dict[str, str]] = [{} for _ in range(count)]
    for kind in kinds:
        values = PERSON_FACTS[kind].values
        drawn = stream(seed, prefix, "facts", kind).integers(len(values), size=count)
        for known, index in zip(facts, drawn, strict=True):
            known[kind] = values[index]
    return [
        Person(id=f"{prefix}-{number:03d}", name=names[number], identity=faces[number], facts=known)
        for number, known in enumerate(facts)
    ]


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
