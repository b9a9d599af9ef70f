"""The observer of tests/bars in small: faces are recognised, their surroundings are not."""

from __future__ import annotations

import numpy as np
import pytest

from mubench.rng import stream
from mubench_data.faces import sample_identities
from observer import SEEN, album, corner_hit_rate, hit_rate

PEOPLE = sample_identities(stream(0, "observed"), 60)


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return album(PEOPLE, views=8, side=32)


def test_most_of_60_people_are_recognised_in_unseen_views(pictures: np.ndarray) -> None:
    assert hit_rate(PEOPLE, pictures, epochs=20) >= 0.7


def test_the_corners_of_a_picture_tell_nothing() -> None:
    # Cheap pictures, so many views: expected are 24 right guesses of 1,440.
    assert corner_hit_rate(album(PEOPLE, views=28, side=16)) <= 2 / len(PEOPLE)


def test_backgrounds_that_betray_the_person_are_noticed(pictures: np.ndarray) -> None:
    tints = np.random.default_rng(0).integers(0, 256, (len(PEOPLE), 1, 1, 1, 3))
    tinted = ((pictures.astype(int) + tints) // 2).astype(np.uint8)
    assert corner_hit_rate(tinted) > 4 / len(PEOPLE)


def test_light_that_betrays_the_person_is_noticed(pictures: np.ndarray) -> None:
    gains = np.linspace(0.2, 1.0, len(PEOPLE))[:, None, None, None, None]
    assert corner_hit_rate((pictures * gains).astype(np.uint8)) > 2 / len(PEOPLE)


def test_people_who_change_between_the_views_are_not_recognised(pictures: np.ndarray) -> None:
    swapped = pictures.copy()
    swapped[:, SEEN:] = np.roll(swapped[:, SEEN:], 1, axis=0)
    assert hit_rate(PEOPLE, swapped, epochs=5) <= 4 / len(PEOPLE)
