"""The record: what is written comes back, and what cannot be right is refused."""

from __future__ import annotations

import json
import math

import pytest
from pydantic import ValidationError

from mubench.record import Cell, RunRecord, Value
from report.report_fixtures import cells, hostile_record, record


@pytest.mark.parametrize("make", [record, hostile_record])
def test_json_round_trip(make):
    run = make()
    text = run.model_dump_json()
    assert RunRecord.model_validate_json(text) == run
    assert RunRecord.model_validate_json(text).model_dump_json() == text


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_none_are_refused(bad):
    with pytest.raises(ValidationError):
        Value(value=bad)
    with pytest.raises(ValidationError):
        Value(value=0.0, low=bad)
    text = json.dumps(record().model_dump() | {"cells": [{"target": {"value": bad}}]})
    with pytest.raises(ValidationError):
        RunRecord.model_validate_json(text)


def test_unknown_keys_are_refused_at_every_level():
    data = record().model_dump()
    with pytest.raises(ValidationError, match="extra"):
        RunRecord.model_validate(data | {"score": 1})
    with pytest.raises(ValidationError, match="extra"):
        Cell.model_validate(cells()[0].model_dump() | {"stars": 5})
    with pytest.raises(ValidationError):
        RunRecord.model_validate(data | {"schema_version": 1})


def test_empty_cells_are_refused():
    for field in ("n", "persons"):
        with pytest.raises(ValidationError):
            Cell.model_validate(cells()[0].model_dump() | {field: 0})
