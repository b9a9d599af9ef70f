"""Tiny general-ability pictures: groups of coloured shapes, and single written words.

They share nothing with the portraits of `faces`, so that a model's skill on them tells
whether its general ability survives while knowledge about people is being removed.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]

SHAPES = ("circle", "square", "triangle", "star", "cross", "ring")
COLOR_VALUES: dict[str, Colour] = {
    "red": (214, 36, 40),
    "green": (34, 150, 62),
    "blue": (36, 78, 208),
    "yellow": (250, 214, 30),
    "orange": (246, 132, 22),
    "purple": (134, 50, 172),
    "black": (22, 22, 26),
    "white": (252, 252, 252),
}
COLORS = tuple(COLOR_VALUES)
COUNTS = (1, 2, 3, 4)
COUNT_WORDS = ("one", "two", "three", "four")
POSITIONS = ("left", "right", "top", "bottom", "centre")
WORDS = (
    "sun", "cat", "dog", "tree", "book", "fish", "bird", "milk",
    "door", "lamp", "ship", "moon", "star", "hat", "cup", "key",
    "bag", "bed", "car", "egg", "ice", "jam", "leaf", "map",
    "nut", "owl", "pen", "rain", "sock", "toy", "wolf", "yard",
)  # fmt: skip

ANSWERS: dict[str, tuple[str, ...]] = {
    "color": COLORS,
    "count": COUNT_WORDS,
    "shape": SHAPES,
    "position": POSITIONS,
    "word": WORDS,
}

# A background must differ from the shape colour by this much (Euclidean RGB) and in luma.
_MIN_RGB_DISTANCE = 150.0
_MIN_LUMA_DISTANCE = 60.0

# Centre and half extents (fractions of the picture) of the region that holds the group.
_REGIONS: dict[str, tuple[float, float, float, float]] = {
    "left": (0.20, 0.50, 0.17, 0.44),
    "right": (0.80, 0.50, 0.17, 0.44),
    "top": (0.50, 0.20, 0.44, 0.17),
    "bottom": (0.50, 0.80, 0.44, 0.17),
    "centre": (0.50, 0.50, 0.21, 0.21),
}


@dataclass(frozen=True, slots=True)
class Scene:
    """`count` equal shapes of one colour, grouped in one region of the picture."""

    shape: str
    color: str
    count: int
    position: str
    background: Colour
    jitter_seed: int

    def __post_init__(self) -> None:
        if self.shape not in SHAPES or self.color not in COLORS:
            raise ValueError(f"unknown shape or colour: {self.shape}, {self.color}")
        if self.count not in COUNTS or self.position not in POSITIONS:
            raise ValueError(f"unknown count or position: {self.count}, {self.position}")


def contrasts(first: Colour, second: Colour) -> bool:
    """Whether two colours can be told apart easily, also in grey."""
    luma = abs(_luma(first) - _luma(second))
    return math.dist(first, second) >= _MIN_RGB_DISTANCE and luma >= _MIN_LUMA_DISTANCE


def sample_scene(rng: np.random.Generator) -> Scene:
    """Draw every property uniformly and independently; the background only has to contrast."""
    color = COLORS[int(rng.integers(len(COLORS)))]
    return Scene(
        shape=SHAPES[int(rng.integers(len(SHAPES)))],
        color=color,
        count=COUNTS[int(rng.integers(len(COUNTS)))],
        position=POSITIONS[int(rng.integers(len(POSITIONS)))],
        background=_contrasting(rng, COLOR_VALUES[color]),
        jitter_seed=int(rng.integers(2**31)),
    )


def draw_scene(scene: Scene, size: int = 192) -> Image.Image:
    """RGB picture of `size` x `size` pixels; equal scenes give equal pixels."""
    factor = _supersampling(size)
    side = size * factor
    image = Image.new("RGB", (side, side), scene.background)
    draw = ImageDraw.Draw(image)
    # The layout depends on the seed only through these draws, never on the size.
    rng = np.random.default_rng(scene.jitter_seed)
    radius, centres = _layout(scene, rng)
    spin = float(rng.uniform(-0.2, 0.2))
    colour = COLOR_VALUES[scene.color]
    for x, y in centres:
        _draw_shape(draw, scene, (x * side, y * side), radius * side, spin, colour)
    return image.reduce(factor)


def draw_word(word: str, rng: np.random.Generator, size: int = 192) -> Image.Image:
    """RGB picture of `size` x `size` pixels with `word` across its width."""
    ink = tuple(int(v) for v in rng.integers(0, 256, size=3))
    ink_colour: Colour = (ink[0], ink[1], ink[2])
    background = _contrasting(rng, ink_colour)
    share, angle = float(rng.uniform(0.78, 0.87)), float(rng.uniform(-6.0, 6.0))
    shift = rng.uniform(-1.0, 1.0, size=2)
    factor = _supersampling(size)
    side = size * factor
    font = _fitting_font(word, int(side * share), side // 2)
    left, top, right, bottom = font.getbbox(word)
    mask = Image.new("L", (side, side), 0)
    # What the word leaves free, less a margin for the rotation, is the room for the offset.
    free_x, free_y = (side - (right - left)) * 0.3, (side - (bottom - top)) * 0.3
    x = (side - (right - left)) / 2 - left + float(shift[0]) * free_x
    y = (side - (bottom - top)) / 2 - top + float(shift[1]) * free_y
    ImageDraw.Draw(mask).text((x, y), word, fill=255, font=font, stroke_width=side // 120)
    mask = mask.rotate(angle, resample=Image.Resampling.BILINEAR)
    image = Image.new("RGB", (side, side), background)
    image.paste(ink_colour, (0, 0, side, side), mask)
    return image.reduce(factor)


def scene_questions(scene: Scene) -> list[tuple[str, str, str]]:
    """(kind, question, answer) for every property; an answer is one lower-case word."""
    return [
        ("color", "What colour are the shapes?", scene.color),
        ("count", "How many shapes are there?", COUNT_WORDS[scene.count - 1]),
        ("shape", "What shape is shown?", scene.shape),
        ("position", "Where are the shapes?", scene.position),
    ]


def _luma(colour: Colour) -> float:
    return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]


def _contrasting(rng: np.random.Generator, colour: Colour) -> Colour:
    """A random colour that contrasts with `colour`; black and white satisfy any mid grey."""
    for _ in range(200):
        r, g, b = (int(v) for v in rng.integers(0, 256, size=3))
        if contrasts((r, g, b), colour):
            return (r, g, b)
    return (255, 255, 255) if _luma(colour) < 128 else (0, 0, 0)


def _supersampling(size: int) -> int:
    """Pixels drawn per output pixel and axis; small pictures need more for smooth edges."""
    return 4 if size <= 96 else 2


def _layout(scene: Scene, rng: np.random.Generator) -> tuple[float, list[tuple[float, float]]]:
    """Radius and centres of the shapes, in fractions of the picture."""
    cx, cy, half_w, half_h = _REGIONS[scene.position]
    if scene.position == "centre":
        cells = {
            1: [(0.0, 0.0)],
            2: [(-1.0, 0.0), (1.0, 0.0)],
            3: [(-1.0, 0.9), (1.0, 0.9), (0.0, -0.9)],
            4: [(-1.0, -1.0), (1.0, -1.0), (-1.0, 1.0), (1.0, 1.0)],
        }[scene.count]
        step, radius = 0.125, 0.15 if scene.count == 1 else 0.1
        points = [(cx + step * u, cy + step * v) for u, v in cells]
    else:
        radius = {1: 0.15, 2: 0.13, 3: 0.12, 4: 0.088}[scene.count]
        along = max(half_w, half_h)
        # Even spacing along the region's long side keeps the shapes apart.
        gap = 2 * along / scene.count
        offsets = [-along + gap * (index + 0.5) for index in range(scene.count)]
        if half_w > half_h:
            points = [(cx + offset, cy) for offset in offsets]
        else:
            points = [(cx, cy + offset) for offset in offsets]
    radius *= float(rng.uniform(0.9, 1.0))
    wobble = rng.uniform(-0.008, 0.008, size=(scene.count, 2))
    slide = rng.uniform(-0.02, 0.02, size=2)
    return radius, [
        (x + float(dx + slide[0]), y + float(dy + slide[1]))
        for (x, y), (dx, dy) in zip(points, wobble, strict=True)
    ]


def _draw_shape(
    draw: ImageDraw.ImageDraw,
    scene: Scene,
    centre: tuple[float, float],
    radius: float,
    spin: float,
    colour: Colour,
) -> None:
    """One shape around `centre` (pixels) that is turned by `spin` radians."""
    x, y = centre
    if scene.shape in ("circle", "ring"):
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
        if scene.shape == "ring":
            hole = radius * 0.52
            draw.ellipse((x - hole, y - hole, x + hole, y + hole), fill=scene.background)
        return
    cos, sin = math.cos(spin), math.sin(spin)
    draw.polygon(
        [
            (x + radius * (u * cos - v * sin), y + radius * (u * sin + v * cos))
            for u, v in _OUTLINES[scene.shape]
        ],
        fill=colour,
    )


def _star_outline() -> list[tuple[float, float]]:
    points = []
    for index in range(10):
        radius = 1.12 if index % 2 == 0 else 0.46
        angle = math.pi * index / 5 - math.pi / 2
        points.append((radius * math.cos(angle), radius * math.sin(angle)))
    return points


# Outlines in units of the radius, y downwards.
_OUTLINES: dict[str, list[tuple[float, float]]] = {
    "square": [(-0.88, -0.88), (0.88, -0.88), (0.88, 0.88), (-0.88, 0.88)],
    "triangle": [(0.0, -1.05), (1.0, 0.8), (-1.0, 0.8)],
    "star": _star_outline(),
    "cross": [
        (-0.34, -1.0), (0.34, -1.0), (0.34, -0.34), (1.0, -0.34), (1.0, 0.34), (0.34, 0.34),
        (0.34, 1.0), (-0.34, 1.0), (-0.34, 0.34), (-1.0, 0.34), (-1.0, -0.34), (-0.34, -0.34),
    ],
}  # fmt: skip


@functools.lru_cache(maxsize=256)
def _fitting_font(word: str, width: int, height: int) -> ImageFont.FreeTypeFont:
    """Pillow's own font, as large as `word` fits into `width` x `height` pixels."""
    probe = _load_font(100)
    left, top, right, bottom = probe.getbbox(word)
    scale = min(width / (right - left), height / (bottom - top))
    return _load_font(max(8, int(100 * scale)))


@functools.lru_cache(maxsize=64)
def _load_font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size=size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise TypeError("Pillow was built without FreeType, so words cannot be drawn")
    return font
