"""A photo of three people, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PIL import Image

from .identity import Identity
from .portrait import draw_people
from .view import View, sample_view

# Place (shift in fractions of the picture) and scale; the middle one stands in front.
_PLACES = ((-0.315, -0.02, 0.53), (0.0, 0.05, 0.57), (0.315, -0.02, 0.53))
_BACK_TO_FRONT = (0, 2, 1)


def sample_group_views(rng: np.random.Generator) -> tuple[View, ...]:
    """Three views of one photo from left to right: one setting, each with an own pose and dress."""
    setting = sample_view(rng)
    return tuple(
        replace(
            sample_view(rng),
            light=setting.light,
            light_side=setting.light_side,
            background=setting.background,
            background_pattern=setting.background_pattern,
            dx=dx + float(rng.uniform(-0.015, 0.015)),
            dy=dy + float(rng.uniform(-0.02, 0.02)),
            zoom=zoom * float(rng.uniform(0.96, 1.04)),
        )
        for dx, dy, zoom in _PLACES
    )


def draw_group(
    identities: Sequence[Identity], views: Sequence[View], size: int = 192
) -> Image.Image:
    """RGB picture of `size` x `size` pixels of three people, named from left to right.

    `views` come from `sample_group_views`. Equal arguments give equal pixels. Raises ValueError
    unless there are three of both.
    """
    people = list(zip(identities, views, strict=True))
    if len(people) != len(_PLACES):
        raise ValueError(f"a group photo shows three people, not {len(people)}")
    return draw_people([people[place] for place in _BACK_TO_FRONT], size)
