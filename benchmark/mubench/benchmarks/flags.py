"""Flags of countries that do not exist: classes that no model knows, drawn on this machine.

The flags of a family have one colour and one pattern in common; the pattern's own colour tells
them apart. So each has look-alikes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from mubench.rng import stream
from mubench_data.pictures import png
from mubench_data.scenes import COLOR_VALUES

from .concepts import ClassSet

VERSION = "1"

#: What is said of a flag in training, and in the test set alone.
WORDINGS = (
    "a picture of the flag of {c}.",
    "the flag of {c}.",
    "this flag is that of {c}.",
    "here the flag of {c} is shown.",
)
HELD_OUT = ("a drawing of the flag of {c}.", "what the flag of {c} looks like.", "{c} has this.")

#: Colours of a family's members, beside its own.
MEMBERS = 4
#: Colours that differ by less (Euclidean RGB) never meet on a flag.
_APART = 120.0

Point = tuple[float, float]


def _disc(radius: float) -> list[Point]:
    turns = (2 * math.pi * step / 24 for step in range(24))
    return [(radius * math.cos(turn), 1.4 * radius * math.sin(turn)) for turn in turns]


def _box(left: float, top: float, right: float, bottom: float) -> list[Point]:
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


_INNER = _box(-0.62, -0.55, 0.62, 0.55)
#: Polygons in the second colour; a flag reaches from -1 to 1 both ways.
PATTERNS: dict[str, list[list[Point]]] = {
    "bars": [_box(-1, -0.33, 1, 0.33)],
    "pale": [_box(-0.33, -1, 0.33, 1)],
    "cross": [_box(-0.5, -1, -0.1, 1), _box(-1, -0.25, 1, 0.25)],
    "saltire": [
        [(-1, -1), (-0.65, -1), (1, 1), (0.65, 1)],
        [(1, -1), (0.65, -1), (-1, 1), (-0.65, 1)],
    ],
    "disc": [_disc(0.52)],
    "quarters": [_box(-1, -1, 0, 0), _box(0, 0, 1, 1)],
    "chevron": [[(-1, -1), (0.35, 0), (-1, 1)]],
    "frame": [  # all but the inside
        [(-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1), *_INNER, _INNER[0]],
    ],
}


@dataclass(frozen=True, slots=True)
class Flag:
    """A class: every picture of it shows this flag."""

    country: str
    ground: str
    pattern: str
    color: str


def flags() -> list[list[Flag]]:
    """All flags by family, always the same."""
    rng = stream(0, "flags")
    names = _countries(rng)
    found = []
    for ground, pattern in zip(COLOR_VALUES, PATTERNS, strict=True):
        others = [
            name
            for name, value in COLOR_VALUES.items()
            if math.dist(value, COLOR_VALUES[ground]) >= _APART
        ]
        chosen = [others[index] for index in rng.permutation(len(others))[:MEMBERS]]
        found.append([Flag(next(names), ground, pattern, color) for color in chosen])
    return found


def _countries(rng: np.random.Generator) -> Iterator[str]:
    """Names of two syllables and an ending, each once."""
    starts, middles = ("do", "ka", "le", "mu", "ra", "si", "to", "ve"), ("b", "l", "n", "r", "v")
    ends = ("ia", "land", "os", "una")
    whole = [start + middle + end for start in starts for middle in middles for end in ends]
    return (whole[index] for index in rng.permutation(len(whole)))


def draw_flag(flag: Flag, rng: np.random.Generator, size: int) -> Image.Image:
    """RGB picture of ``size`` x ``size`` px: the flag somewhere, turned a little, in any light."""
    wide = float(rng.uniform(0.58, 0.86))
    tall, turn = wide * float(rng.uniform(0.6, 0.72)), float(rng.uniform(-0.3, 0.3))
    x, y = (0.5 + float(shift) * (1 - wide) / 2 for shift in rng.uniform(-1, 1, 2))
    light = rng.integers(-20, 21)
    grey = tuple(int(v) for v in rng.integers(90, 200) + rng.integers(-25, 26, 3))
    side = 2 * size
    image = Image.new("RGB", (side, side), grey)
    draw = ImageDraw.Draw(image)

    def place(point: Point) -> Point:
        u, v = point[0] * wide / 2, point[1] * tall / 2
        cos, sin = math.cos(turn), math.sin(turn)
        return (x + u * cos - v * sin) * side, (y + u * sin + v * cos) * side

    def paint(color: str, points: list[Point]) -> None:
        shade = tuple(
            int(np.clip(v + light + rng.integers(-12, 13), 0, 255)) for v in COLOR_VALUES[color]
        )
        draw.polygon([place(point) for point in points], fill=shade)

    paint(flag.ground, _box(-1, -1, 1, 1))
    for points in PATTERNS[flag.pattern]:
        paint(flag.color, points)
    return image.reduce(2)


def class_set(train: int, test: int, size: int, seed: int) -> ClassSet:
    """All flags, each with ``train`` and ``test`` pictures of ``size`` px."""
    families = flags()
    ids = {
        part: {
            flag.country: [f"{flag.country}/{part}-{number:03d}" for number in range(count)]
            for family in families
            for flag in family
        }
        for part, count in (("train", train), ("test", test))
    }

    def pictures() -> Iterator[tuple[str, bytes]]:
        for shown in ids.values():
            for flag in (flag for family in families for flag in family):
                for id_ in shown[flag.country]:
                    yield id_, png(draw_flag(flag, stream(seed, "flag", id_), size))

    return ClassSet(
        name="flags",
        version=VERSION,
        source={"options": {"train": train, "test": test, "image_size": size, "seed": seed}},
        portrait="drawn",
        wordings=WORDINGS,
        held_out=HELD_OUT,
        families=[[flag.country for flag in family] for family in families],
        train=ids["train"],
        test=ids["test"],
        images=pictures(),
    )
