"""A user's own pictures: shown as they are, split as drawn ones, and refused where they are too few."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.built import SMALL, make
from mubench.errors import DamagedError, UsageError
from mubench_data.build import build_people
from mubench_data.pictures import VIEWS


def own_pictures(folder: Path, people: int, each: int) -> Path:
    for person in range(people):
        (folder / f"p{person}").mkdir(parents=True)
        for number in range(each):
            colour = (20 * person, 30 * number, 99)
            Image.new("RGB", (60, 40), colour).save(folder / f"p{person}" / f"{number}.jpg")
    return folder


def test_own_pictures_are_shown_and_the_test_set_s_are_never_trained_on(tmp_path: Path) -> None:
    faces = own_pictures(tmp_path / "faces", 7, 5)
    (tmp_path / "data").mkdir()
    made = make(replace(SMALL, faces=faces), tmp_path / "data")
    assert {person.portrait for person in made.people} == {"given", "drawn"}
    with Image.open(io.BytesIO(made.images["person-002/view-1"])) as picture:
        assert picture.size == (48, 48)
        assert np.abs(np.array(picture)[24, 24].astype(int) - (40, 30, 99)).max() < 8
    views = [made.images[f"person-002/view-{view}"] for view in range(VIEWS)]
    assert not set(views[:4]) & set(views[4:])


@pytest.mark.parametrize(
    ("people", "each", "said"), [(3, 5, "holds 3 people"), (7, 4, "holds 4 pictures")]
)
def test_too_few_own_pictures(tmp_path: Path, people: int, each: int, said: str) -> None:
    faces = own_pictures(tmp_path / "faces", people, each)
    with pytest.raises(UsageError, match=said):
        list(build_people(replace(SMALL, faces=faces)).images)


def test_an_own_picture_that_is_no_picture(tmp_path: Path) -> None:
    faces = own_pictures(tmp_path / "faces", 7, 5)
    (faces / "p3" / "2.jpg").write_bytes(b"nothing")
    with pytest.raises(DamagedError, match=r"p3/2\.jpg is not an image"):
        list(build_people(replace(SMALL, faces=faces)).images)
