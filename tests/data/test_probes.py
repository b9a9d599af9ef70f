"""Identity cards and group photos: the name can be read, everybody is there, nothing else is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from mubench_data import faces
from mubench_data.faces.card import draw_id_card, print_card
from mubench_data.faces.group import draw_group, sample_group_views

PEOPLE = faces.sample_identities(np.random.default_rng(1), 4)
FLAT = replace(faces.canonical_view(), background=(10, 20, 30), clothing=(200, 40, 40))


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image, dtype=np.float64)


def ink(image: Image.Image) -> int:
    """Nearly black pixels of the lower third, where a card has its name."""
    lower = pixels(image)[2 * image.height // 3 :]
    return int((np.abs(lower - (24, 26, 34)).max(axis=2) < 40).sum())


@pytest.mark.parametrize("size", [48, 224, 336])
def test_equal_arguments_give_equal_cards(size: int) -> None:
    view = faces.sample_view(np.random.default_rng(2))
    cards = [draw_id_card(PEOPLE[0], "Ada Lovelace", view, size) for _ in range(2)]
    assert cards[0].size == (size, size)
    assert cards[0].mode == "RGB"
    assert cards[0].tobytes() == cards[1].tobytes()


def test_a_card_shows_the_name_the_face_and_the_view() -> None:
    card = pixels(draw_id_card(PEOPLE[0], "Ada Lovelace", FLAT, 224))
    named = np.abs(card - pixels(draw_id_card(PEOPLE[0], "Eda Lovelace", FLAT, 224))).max(axis=2)
    rows = np.flatnonzero(named.max(axis=1) > 60)
    assert rows.size and rows.min() > 0.6 * 224, "the name stands below the photo"
    other = np.abs(card - pixels(draw_id_card(PEOPLE[1], "Ada Lovelace", FLAT, 224))).max(axis=2)
    rows = np.flatnonzero(other.max(axis=1) > 60)
    assert rows.size and rows.max() < 0.7 * 224, "a face changes the photo only"
    assert tuple(card[0, 0]) == FLAT.background


@pytest.mark.parametrize(
    "name",
    ["Li", "Marie Skłodowska-Curie", "Anneliese van den Boogaard", "Frédéric Chopin",
     "Christopher Wolfeschlegelsteinhausen", "Pablo Diego José Francisco de Paula Juan Ruiz"],
)  # fmt: skip
def test_names_are_printed_within_the_card(name: str) -> None:
    view = replace(FLAT, background=(255, 255, 255), clothing=(255, 255, 255))
    card = draw_id_card(PEOPLE[0], name, view, 224)
    assert ink(card) > 60
    # The card reaches from 36 to 188 px; a name that touches its edge was cut off there.
    assert ink(card.crop((0, 0, 42, 224))) == ink(card.crop((182, 0, 224, 224))) == 0


def test_an_accent_is_printed() -> None:
    cards = [draw_id_card(PEOPLE[0], name, FLAT, 224).tobytes() for name in ("Rene", "René")]
    assert cards[0] != cards[1]


@pytest.mark.parametrize(
    ("name", "said"), [("  ", "needs a name"), ("Ada 🦊", "🦊"), ("a" * 10_000, "too long")]
)
def test_names_that_cannot_be_printed_are_refused(name: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        draw_id_card(PEOPLE[0], name, FLAT, 224)


def test_a_card_takes_any_photo() -> None:
    card = pixels(print_card(Image.new("RGB", (50, 50), (1, 250, 2)), "Ada", FLAT, 224))
    assert (np.abs(card - (1, 250, 2)).max(axis=2) < 3).mean() > 0.15


def test_a_group_photo_has_one_setting_and_three_poses() -> None:
    views = sample_group_views(np.random.default_rng(3))
    assert views == sample_group_views(np.random.default_rng(3))
    settings = [(v.background, v.background_pattern, v.light, v.light_side) for v in views]
    assert settings[0] == settings[1] == settings[2]
    assert len({view.yaw for view in views}) == len({view.clothing for view in views}) == 3
    photos = [draw_group(PEOPLE[:3], views, 224) for _ in range(2)]
    assert photos[0].size == (224, 224)
    assert photos[0].tobytes() == photos[1].tobytes()


@pytest.mark.parametrize("place", [0, 1, 2])
def test_everybody_stands_in_their_place(place: int) -> None:
    views = sample_group_views(np.random.default_rng(3))
    group = list(PEOPLE[:3])
    before = pixels(draw_group(group, views, 224))
    group[place] = PEOPLE[3]
    changed = (np.abs(pixels(draw_group(group, views, 224)) - before).max(axis=2) > 30).sum(axis=0)
    middle = (changed * np.arange(224)).sum() / changed.sum() / 224
    assert abs(middle - (0.185, 0.5, 0.815)[place]) < 0.08


def test_nobody_floats_above_the_lower_edge() -> None:
    views = sample_group_views(np.random.default_rng(5))
    views = tuple(replace(view, background=(0, 255, 0), light=1.0) for view in views)
    photo = pixels(draw_group(PEOPLE[:3], views, 224))
    assert not (photo[-1] == (0, 255, 0)).all(axis=1).any()


def test_a_group_has_three_people() -> None:
    with pytest.raises(ValueError, match="three people, not 2"):
        draw_group(PEOPLE[:2], sample_group_views(np.random.default_rng(3))[:2], 48)
