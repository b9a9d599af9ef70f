"""Portraits: who is shown is kept apart from how, and can be seen in a small picture."""

from __future__ import annotations

from dataclasses import fields, replace
from hashlib import sha256

import numpy as np
import pytest

from mubench_data import faces
from mubench_data.faces import ATTRIBUTES, Identity

BASE = Identity(
    skin="fair", face="oval", hair_style="short", hair_color="brown", eyes="brown", brows="thin",
    nose="small", mouth="full", beard="none", glasses="none", mark="none",
)  # fmt: skip
# Smallest visible change: a mean absolute difference over the whole 48 x 48 picture.
MIN_CHANGE = 0.15


def pixels(identity: Identity, view: faces.View, size: int = 48) -> np.ndarray:
    return np.asarray(faces.draw_portrait(identity, view, size), dtype=np.float64)


def test_equal_arguments_give_equal_pixels_and_sizes_are_kept() -> None:
    identity = faces.sample_identities(np.random.default_rng(1), 1)[0]
    view = faces.sample_view(np.random.default_rng(2))
    for size in (32, 48, 224, 336):
        image = faces.draw_portrait(identity, view, size)
        assert image.size == (size, size)
        assert image.mode == "RGB"
        assert image.tobytes() == faces.draw_portrait(identity, view, size).tobytes()


def test_samples_follow_from_the_seed() -> None:
    people = [faces.sample_identities(np.random.default_rng(7), 20) for _ in range(2)]
    assert people[0] == people[1]
    views = [faces.sample_view(np.random.default_rng(7)) for _ in range(2)]
    assert views[0] == views[1]


def test_people_keep_their_distance_from_each_other_and_from_avoided_ones() -> None:
    rng = np.random.default_rng(3)
    known = faces.sample_identities(rng, 20, min_distance=5)
    people = known + faces.sample_identities(rng, 30, min_distance=5, avoid=known)
    for index, person in enumerate(people):
        assert all(faces.distance(person, other) >= 5 for other in people[:index])


def test_an_impossible_request_is_refused() -> None:
    # Three noses at most differ from each other, so four people cannot differ everywhere.
    with pytest.raises(ValueError, match="found only"):
        faces.sample_identities(np.random.default_rng(0), 4, min_distance=len(ATTRIBUTES))
    with pytest.raises(ValueError, match="min_distance"):
        faces.sample_identities(np.random.default_rng(0), 2, min_distance=12)


def test_hidden_attributes_do_not_count() -> None:
    bald = replace(BASE, hair_style="bald")
    assert bald.hair_color == "none"
    assert bald == replace(BASE, hair_style="bald", hair_color="red")
    assert faces.distance(BASE, bald) == 1
    shaded = replace(BASE, glasses="sunglasses")
    assert faces.distance(shaded, replace(shaded, eyes="blue")) == 0
    assert faces.distance(BASE, replace(BASE, eyes="blue", hair_color="red")) == 2


def test_unknown_values_are_refused() -> None:
    with pytest.raises(ValueError, match="nose"):
        replace(BASE, nose="invisible")
    with pytest.raises(ValueError, match="bald"):
        replace(BASE, hair_color="none")
    with pytest.raises(ValueError, match="style"):
        faces.sample_view(np.random.default_rng(0), style="oil")


def test_attributes_list_the_fields_in_order() -> None:
    assert tuple(ATTRIBUTES) == tuple(field.name for field in fields(Identity))


@pytest.mark.parametrize("style", faces.STYLES)
@pytest.mark.parametrize("name", ATTRIBUTES)
def test_every_attribute_value_is_visible_at_48_pixels(name: str, style: str) -> None:
    view = replace(faces.canonical_view(), style=style)
    values = [value for value in ATTRIBUTES[name] if (name, value) != ("hair_color", "none")]
    images = [pixels(replace(BASE, **{name: value}), view) for value in values]
    for index, image in enumerate(images):
        for other in images[:index]:
            assert np.abs(image - other).mean() > MIN_CHANGE


def test_views_change_the_pixels_but_not_the_words() -> None:
    view = faces.canonical_view()
    seen = [pixels(BASE, view)]
    for change in (
        {"yaw": 0.8}, {"tilt": 9.0}, {"expression": -1.0}, {"light": 0.75}, {"light_side": 0.9},
        {"background": (40, 200, 90)}, {"background_pattern": 3}, {"dx": 0.04}, {"dy": 0.03},
        {"zoom": 0.9}, {"clothing": (220, 40, 40)}, {"collar": 2}, {"style": "sketch"},
    ):  # fmt: skip
        image = pixels(BASE, replace(view, **change))
        assert all(np.abs(image - other).mean() > 0.05 for other in seen)
        seen.append(image)
    words = faces.describe(BASE)
    assert words == "A person with an oval face, fair skin, short brown hair and brown eyes."
    assert not any(word in words for word in ("background", "clothes", "smile"))


def test_descriptions_name_what_is_visible() -> None:
    dressed = replace(BASE, glasses="sunglasses", beard="goatee", mark="a scar", hair_style="bald")
    assert faces.describe(dressed) == (
        "A person with an oval face, fair skin, a bald head, sunglasses, a goatee and a scar."
    )
    people = faces.sample_identities(np.random.default_rng(5), 60)
    # Three attributes stay unnamed, so a distance of four always shows in the words.
    assert len({faces.describe(person) for person in people}) == 60


def test_background_is_independent_of_the_person() -> None:
    views = [faces.sample_view(np.random.default_rng(9), style=style) for style in faces.STYLES]
    assert replace(views[1], style="plain") == views[0]
    people = faces.sample_identities(np.random.default_rng(5), 6)
    corners = {tuple(pixels(person, faces.canonical_view())[0, 0]) for person in people}
    assert len(corners) == 1


@pytest.mark.parametrize(
    ("size", "expected"),
    [(48, "208c265a8e75d256"), (64, "f3430dadd38546f7"), (128, "aed0477ef67994cb")],
)
def test_small_portraits_stay_as_shipped_checkpoints_saw_them(size: int, expected: str) -> None:
    rng = np.random.default_rng(11)
    digest = sha256()
    for person in faces.sample_identities(rng, 24):
        for style in faces.STYLES:
            view = faces.sample_view(rng, style=style)
            digest.update(faces.draw_portrait(person, view, size).tobytes())
    assert digest.hexdigest()[:16] == expected


def test_large_portraits_have_smooth_edges() -> None:
    # The halo's rim is nearly level at the top: a stair there is many shades, not two.
    view = replace(
        faces.canonical_view(), background=(0, 0, 0), background_pattern=4, light=1.0, dy=0.2
    )
    for size in (224, 336):
        column = pixels(BASE, view, size)[:, size // 4 : size // 2, 0]
        rim = np.unique(column[(column > 0) & (column < column[size // 4].max())])
        assert len(rim) >= 8
