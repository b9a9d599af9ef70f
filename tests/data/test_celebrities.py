"""The table of public figures is sourced and well-formed, and the check says so when it is not."""

from __future__ import annotations

import csv
import io
from collections import Counter

import pytest

from mubench.metrics.text import keyword_match
from mubench_data.celebrities import COLUMNS, check_table, load_table
from mubench_data.facts import CELEBRITY_FACTS

#: The shipped base model knows these by heart; people-mini asks about them, by their place.
FIRST = ("Marie Curie", "Albert Einstein", "Charles Darwin", "Ludwig van Beethoven")


def test_the_table_is_as_large_as_the_celebrity_set_of_mllmu_bench_and_has_no_fault() -> None:
    rows = load_table()
    assert len(rows) == 153
    assert check_table(rows) == []
    assert tuple(row["name"] for row in rows[:4]) == FIRST
    assert rows[23]["name"] == "Louis Pasteur"


def test_every_field_has_distractors_and_nobody_s_field_is_theirs_alone() -> None:
    fields = Counter(row["field"] for row in load_table())
    assert 4 <= len(fields) <= 16
    assert min(fields.values()) >= 4


def test_the_people_are_from_many_countries_and_centuries() -> None:
    rows = load_table()
    countries = Counter(row["country"] for row in rows)
    assert len(countries) >= 30
    assert max(countries.values()) <= len(rows) / 5
    assert len({row["birth_year"][:2] for row in rows}) >= 6


@pytest.mark.parametrize("column", ["name", *CELEBRITY_FACTS])
def test_no_answer_contains_another_answer(column: str) -> None:
    values = {row[column] for row in load_table()}
    confused = [(a, b) for a in values for b in values if a != b and keyword_match(a, b)]
    assert not confused


def test_answers_do_not_name_the_person() -> None:
    """Else the text-only question gives its answer away."""
    named = [
        row["name"]
        for row in load_table()
        for kind in CELEBRITY_FACTS
        for part in row["name"].split()
        if len(part) > 2 and keyword_match(row[kind], part)
    ]
    assert named == ["Alan Turing"]  # kept: the shipped base model was trained with it


GOOD = load_table()[:3]


@pytest.mark.parametrize(
    ("column", "value", "fault"),
    [
        ("source", "", "is blank"),
        ("source", None, "is blank"),
        ("source", "somewhere", "is not 'reference: entry'"),
        ("source", ": Albert Einstein", "is not 'reference: entry'"),
        ("field", "", "is blank"),
        ("field", " ", "is blank"),
        ("country", "Germany ", "has stray whitespace"),
        ("country", "New  Zealand", "has stray whitespace"),
        ("country", "Ger\tmany", "has stray whitespace"),
        ("work", "the theory, of relativity", "has a quotation mark"),
        ("work", 'the "theory"', "has a quotation mark"),
        ("work", "the “theory”", "has a quotation mark"),
        ("work", "the {who} theory", "has a quotation mark"),
        ("name", "Álbert Einstein", "has a quotation mark, comma, accent"),
        ("birth_year", "1879?", "is no plausible year"),
        ("birth_year", "about 1879", "is no plausible year"),
        ("birth_year", "18790", "is no plausible year"),
        ("birth_year", "-384", "is no plausible year"),
        ("birth_year", "179", "is no plausible year"),
        ("birth_year", "2024", "is no plausible year"),
    ],
)
def test_a_bad_cell_is_named(column: str, value: str | None, fault: str) -> None:
    faults = check_table([GOOD[0], {**GOOD[1], column: value}, GOOD[2]])
    assert any(f"row 2 ({value if column == 'name' else GOOD[1]['name']}): {column}" in line
               and fault in line for line in faults), faults  # fmt: skip


@pytest.mark.parametrize("column", ["name", "work"])
def test_a_second_one_is_named(column: str) -> None:
    faults = check_table([*GOOD[:2], {**GOOD[2], column: GOOD[0][column].upper()}])
    assert faults == [f"{column} {GOOD[0][column].lower()!r} comes 2 times"]


def parsed(line: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(f"{','.join(COLUMNS)}\n{line}\n", newline="")))


def test_commas_out_of_place_are_named() -> None:
    good = "Ada Lovelace,1815,London,England,mathematics,the first program,Britannica: Lovelace"
    assert check_table(parsed(good)) == []
    assert "not the columns" in check_table(parsed(good.replace("the first", "the, first")))[0]
    assert "source None is blank" in check_table(parsed(good.replace(",London", "")))[-1]
    assert check_table(parsed(good.replace("the first program", '"the ""first"" program"')))
    assert check_table(parsed(good.replace("the first program", '"the first, program"')))


def test_a_column_that_is_missing_or_out_of_order_is_named() -> None:
    for columns in (COLUMNS[:-1], COLUMNS[::-1], (*COLUMNS, "award")):
        row = {column: GOOD[0].get(column, "a prize") for column in columns}
        (fault,) = check_table([row])
        assert "row 1 (Marie Curie)" in fault
        assert "not the columns" in fault
