"""Colours and outlines that the drawings are made of."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Colour = tuple[int, int, int]
Points = NDArray[np.float64]  # (n, 2): x, y in canvas units

_ANGLES = np.linspace(0.0, 2 * math.pi, 40, endpoint=False)
CIRCLE: Points = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """`share` of the second colour in the first."""
    r, g, b = (round(a + (c - a) * share) for a, c in zip(first, second, strict=True))
    return (r, g, b)


def ellipse(cx: float, cy: float, rx: float, ry: float) -> Points:
    return CIRCLE * (rx, ry) + (cx, cy)


def curve(points: Sequence[tuple[float, float]], steps: int = 8) -> Points:
    """A smooth line (Catmull-Rom) through `points`."""
    knots = np.array([points[0], *points, points[-1]], dtype=np.float64)
    t = np.linspace(0.0, 1.0, steps, endpoint=False)[:, None]
    a, b, c, d = (knots[i : len(knots) - 3 + i, None] for i in range(4))
    smooth = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    return np.concatenate([smooth.reshape(-1, 2), knots[-1:]])
