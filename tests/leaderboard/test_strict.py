"""Numbers as everybody reads them alike, however they are written."""

from __future__ import annotations

import json

import pytest

from mubench.leaderboard.strict import Refusal, parse


@pytest.mark.parametrize(
    "text",
    [
        *("1e309", "1E309", "-1e+400", "0.1e0400", "9" * 5000, "9" * 400 + ".5", "-" + "9" * 22),
        *("1" + "0" * 21 + "1", "2" * 300 + "e99", "NaN", "Infinity", "-Infinity"),
    ],
)
def test_what_is_no_number_or_out_of_range_is_refused(text: str) -> None:
    with pytest.raises(Refusal, match=r"out of range|is no number"):
        parse(f'{{"a": [{text}]}}'.encode(), "record.json")


@pytest.mark.parametrize(
    "text", ["1e-999", "1.5e+21", "1e99", "0." + "3" * 40, "1" + "0" * 21, "-" + "9" * 21, "0"]
)
def test_every_other_number_is_read(text: str) -> None:
    assert parse(f'[{text}, "1e999"]'.encode(), "record.json") == [json.loads(text), "1e999"]
    assert parse(f'[{text}, "0e9"]'.encode(), "record.json") == [json.loads(text), "0e9"]
