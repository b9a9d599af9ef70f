"""Who is shown: eleven named attributes, and people drawn at random who differ in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "skin": ("pale", "fair", "olive", "tan", "brown", "dark"),
    "face": ("round", "oval", "square", "long"),
    "hair_style": ("bald", "short", "curly", "long", "bun", "mohawk", "bob", "afro", "spiky"),
    "hair_color": (
        "black", "brown", "blond", "red", "grey", "white", "blue", "green", "none",
    ),
    "eyes": ("brown", "blue", "green", "grey"),
    "brows": ("thin", "thick", "slanted"),
    "nose": ("small", "long", "wide"),
    "mouth": ("thin", "full", "wide"),
    "beard": ("none", "moustache", "full beard", "goatee"),
    "glasses": ("none", "round glasses", "square glasses", "sunglasses"),
    "mark": ("none", "freckles", "a scar", "a mole", "earrings"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Identity:
    """Who is shown; every field holds one of `ATTRIBUTES`."""

    skin: str
    face: str
    hair_style: str
    hair_color: str  # "none" exactly for bald people
    eyes: str
    brows: str
    nose: str
    mouth: str
    beard: str
    glasses: str
    mark: str

    def __post_init__(self) -> None:
        if self.hair_style == "bald":
            # One spelling per appearance, so that equality means looking the same.
            object.__setattr__(self, "hair_color", "none")
        elif self.hair_color == "none":
            raise ValueError("only bald people have no hair colour")
        for name, allowed in ATTRIBUTES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {allowed}, not {getattr(self, name)!r}")


def distance(first: Identity, second: Identity) -> int:
    """Number of attributes that visibly differ.

    Baldness makes the hair colour invisible and sunglasses hide the eyes, so neither counts
    when one of the two people hides it.
    """
    codes = _encode([first, second])
    return int(_distances(codes[:1], codes[1])[0])


def sample_identities(
    rng: np.random.Generator,
    count: int,
    *,
    min_distance: int = 4,
    avoid: Sequence[Identity] = (),
) -> list[Identity]:
    """`count` people who differ in `min_distance` attributes from each other and from `avoid`.

    Raises ValueError when no further person is found.
    """
    if not 1 <= min_distance <= len(ATTRIBUTES):
        raise ValueError(f"min_distance must be in 1..{len(ATTRIBUTES)}")
    taken = np.empty((len(avoid) + count, len(ATTRIBUTES)), dtype=np.int8)
    taken[: len(avoid)] = _encode(avoid)
    used = len(avoid)
    people: list[Identity] = []
    failures = 0
    while len(people) < count:
        person = _random_identity(rng)
        code = _encode([person])[0]
        if used and int(_distances(taken[:used], code).min()) < min_distance:
            failures += 1
            if failures > 3000:
                raise ValueError(
                    f"found only {len(people)} of {count} people at distance {min_distance}"
                )
            continue
        failures = 0
        taken[used] = code
        used += 1
        people.append(person)
    return people


def describe(identity: Identity) -> str:
    """One sentence about what can be seen; it leaves out brows, nose and mouth."""
    if identity.hair_style == "bald":
        hair = "a bald head"
    else:
        hair = {
            "bun": "{} hair in a bun", "mohawk": "a {} mohawk", "bob": "a {} bob",
            "afro": "a {} afro",
        }.get(identity.hair_style, identity.hair_style + " {} hair")  # fmt: skip
        hair = hair.format(identity.hair_color)
    article = "an" if identity.face == "oval" else "a"
    parts = [f"{article} {identity.face} face", f"{identity.skin} skin", hair]
    if identity.glasses != "sunglasses":
        parts.append(f"{identity.eyes} eyes")
    if identity.glasses != "none":
        parts.append(identity.glasses)
    if identity.beard != "none":
        parts.append(f"a {identity.beard}")
    if identity.mark != "none":
        parts.append(identity.mark)
    return f"A person with {', '.join(parts[:-1])} and {parts[-1]}."


def _random_identity(rng: np.random.Generator) -> Identity:
    # "none", the last hair colour, follows from baldness.
    values = ATTRIBUTES | {"hair_color": ATTRIBUTES["hair_color"][:-1]}
    return Identity(**{name: v[int(rng.integers(len(v)))] for name, v in values.items()})


def _encode(people: Sequence[Identity]) -> NDArray[np.int8]:
    """(n, attributes) indices into `ATTRIBUTES`."""
    rows = [[ATTRIBUTES[f.name].index(getattr(p, f.name)) for f in fields(p)] for p in people]
    return np.array(rows, dtype=np.int8).reshape(len(people), len(ATTRIBUTES))


def _distances(codes: NDArray[np.int8], code: NDArray[np.int8]) -> NDArray[np.int64]:
    """(n,) visible differences between each row of `codes` and `code`."""
    names = tuple(ATTRIBUTES)
    different = codes != code
    for hidden, cover, value in (
        ("hair_color", "hair_style", "bald"),
        ("eyes", "glasses", "sunglasses"),
    ):
        column, index = names.index(cover), ATTRIBUTES[cover].index(value)
        covered = (codes[:, column] == index) | (code[column] == index)
        different[:, names.index(hidden)] &= ~covered
    return np.asarray(different.sum(axis=1), dtype=np.int64)
