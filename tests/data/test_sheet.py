"""Contact sheets of any pictures."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from mubench_data.sheet import contact_sheet

RED, BLUE = (250, 10, 10), (10, 10, 250)


def share(sheet: Image.Image, colour: tuple[int, int, int]) -> float:
    """Area of a colour in tiles of 100 x 100 px."""
    return float((np.asarray(sheet) == colour).all(axis=2).sum() / 100**2)


def test_pictures_stand_in_rows_and_columns() -> None:
    red, blue = (Image.new("RGB", (64, 64), colour) for colour in (RED, BLUE))
    sheet = contact_sheet([("Ada", [red, blue]), ("Bo", [blue, blue])], ["one", "two"], tile=100)
    assert share(sheet, RED) == pytest.approx(1, abs=0.02)
    assert share(sheet, BLUE) == pytest.approx(3, abs=0.06)
    found = np.argwhere((np.asarray(sheet) == RED).all(axis=2))
    others = np.argwhere((np.asarray(sheet) == BLUE).all(axis=2))
    assert found[:, 0].min() == others[:, 0].min()
    assert found[:, 1].max() < others[others[:, 0] < found[:, 0].max(), 1].min()


def test_a_picture_keeps_its_shape_and_any_mode_is_taken() -> None:
    wide = Image.new("RGBA", (400, 100), (*RED, 255))
    grey = Image.new("L", (20, 20), 77)
    sheet = contact_sheet([("Ada", [wide, grey])], ["wide", "grey"], tile=100)
    assert share(sheet, RED) == pytest.approx(0.25, abs=0.02)
    assert share(sheet, (77, 77, 77)) == pytest.approx(1, abs=0.02)


def test_missing_pictures_leave_their_place() -> None:
    red = Image.new("RGB", (64, 64), RED)
    sheet = contact_sheet([("Ada", [None, red]), ("Bo", [red])], ["one", "two"], tile=100)
    assert share(sheet, (238, 238, 236)) == pytest.approx(2, abs=0.04)
    with pytest.raises(ValueError, match="'Bo' has 2 pictures for 1 captions"):
        contact_sheet([("Bo", [red, red])], ["one"])


@pytest.mark.parametrize(
    "name", ["", "A" * 10_000, "word " * 2000, "محمد علي", "🦊", "a\nb\tc", "\x00"]
)
def test_any_name_keeps_to_its_column(name: str) -> None:
    red = Image.new("RGB", (64, 64), RED)
    plain, named = (contact_sheet([(n, [red])], ["one"], tile=100) for n in ("", name))
    assert plain.size == named.size
    changed = np.argwhere((np.asarray(plain) != np.asarray(named)).any(axis=2))
    assert changed.size == 0 or (changed[:, 1].max() < 115 and changed[:, 0].min() > 30)
    assert bool(changed.size) == bool(name)
