"""Faces can be told apart from unseen views, and nothing but the face tells who it is."""

from __future__ import annotations

import pytest

from mubench.rng import stream
from mubench_data.faces import sample_identities
from observer import album, corner_hit_rate, hit_rate

pytestmark = pytest.mark.bars

PEOPLE = sample_identities(stream(0, "observed"), 500)


@pytest.fixture(scope="module")
def pictures():
    return album(PEOPLE, views=12, side=48)


def test_an_observer_of_four_views_names_500_people_in_eight_others(pictures):
    assert hit_rate(PEOPLE, pictures) >= 0.95


def test_background_and_light_tell_nothing(pictures):
    assert corner_hit_rate(pictures) <= 2 / len(PEOPLE)
