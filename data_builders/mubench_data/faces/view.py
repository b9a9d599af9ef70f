"""How a person is shown: pose, light, clothes, background and drawing style."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .shapes import Colour

STYLES = ("plain", "sketch")
PATTERN_COUNT = 5  # plain, horizon, stripes, dots, halo
_COLLAR_COUNT = 3  # crew neck, V neck, shirt collar


@dataclass(frozen=True, slots=True)
class View:
    """How a person is shown; independent of who it is."""

    yaw: float  # -1..1, positive turns the face towards the right edge
    tilt: float  # degrees, positive leans clockwise
    expression: float  # -1 frown .. 1 smile
    light: float  # brightness, 0.7..1.3
    light_side: float  # -1 lit from the left .. 1 lit from the right
    background: Colour
    background_pattern: int  # 0..PATTERN_COUNT - 1
    dx: float  # shift in fractions of the picture
    dy: float
    zoom: float  # 1 = the canonical size
    clothing: Colour
    collar: int  # 0..2
    style: str = "plain"

    def __post_init__(self) -> None:
        if self.style not in STYLES:
            raise ValueError(f"style must be one of {STYLES}, not {self.style!r}")


def sample_view(rng: np.random.Generator, *, style: str = "plain") -> View:
    """A random pose, light, background and dress."""
    return View(
        yaw=float(rng.uniform(-1.0, 1.0)),
        tilt=float(rng.uniform(-11.0, 11.0)),
        expression=float(rng.uniform(-1.0, 1.0)),
        light=float(rng.uniform(0.75, 1.2)),
        light_side=float(rng.uniform(-1.0, 1.0)),
        background=_random_colour(rng),
        background_pattern=int(rng.integers(PATTERN_COUNT)),
        dx=float(rng.uniform(-0.04, 0.04)),
        dy=float(rng.uniform(-0.03, 0.03)),
        zoom=float(rng.uniform(0.9, 1.06)),
        clothing=_random_colour(rng),
        collar=int(rng.integers(_COLLAR_COUNT)),
        style=style,
    )


def canonical_view() -> View:
    """Frontal, neutral and evenly lit."""
    return View(
        yaw=0.0, tilt=0.0, expression=0.2, light=1.0, light_side=-0.4,
        background=(176, 202, 214), background_pattern=0, dx=0.0, dy=0.0, zoom=1.0,
        clothing=(92, 108, 140), collar=0,
    )  # fmt: skip


def _random_colour(rng: np.random.Generator) -> Colour:
    r, g, b = (int(value) for value in rng.integers(40, 246, size=3))
    return (r, g, b)
