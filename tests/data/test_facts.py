"""Wordings fill and fit their task; pools hold no cue; what the base model learned is unchanged."""

from __future__ import annotations

from collections import Counter
from string import Formatter

import pytest

from mubench.hashing import sha
from mubench.metrics.text import keyword_match
from mubench_data.celebrities import load_table
from mubench_data.facts import CELEBRITY_FACTS, PERSON_FACTS, FactKind, describe_person, fill
from mubench_data.people import fictitious

FIRST = ("birthplace", "occupation", "hobby", "food", "pet", "employer")
PERSON_KINDS = [pytest.param(kind, id=kind.key) for kind in PERSON_FACTS.values()]
KINDS = [
    *PERSON_KINDS,
    *(pytest.param(kind, id=f"celebrity-{kind.key}") for kind in CELEBRITY_FACTS.values()),
]


def blanks(template: str) -> list[str]:
    return [name for _, name, _, _ in Formatter().parse(template) if name is not None]


def wordings(kind: FactKind) -> list[str]:
    return [*kind.ask, *kind.tell, *kind.cloze]


def test_the_wordings_and_pools_of_the_shipped_base_model_are_unchanged() -> None:
    kinds = [*(PERSON_FACTS[key] for key in FIRST), *CELEBRITY_FACTS.values()]
    learned = [[k.key, k.ask, k.tell, k.cloze, k.statement, k.values] for k in kinds]
    assert sha(learned) == "1a94ff2ce092ed98bc920c26711b7f34817b490e9f0ee385febe5165c6ba0ec2"


def test_there_are_fifteen_kinds_or_more_and_those_of_people_mini_come_first() -> None:
    assert tuple(PERSON_FACTS)[:6] == FIRST
    assert len(PERSON_FACTS) >= 15
    assert all(key == kind.key for key, kind in PERSON_FACTS.items())
    assert tuple(CELEBRITY_FACTS) == ("birth_year", "birthplace", "country", "field", "work")


@pytest.mark.parametrize("kind", KINDS)
def test_there_are_enough_wordings_and_values(kind: FactKind) -> None:
    counts = (len(kind.ask), len(kind.tell), len(kind.cloze))
    if kind in CELEBRITY_FACTS.values():
        assert (counts, kind.values) == ((2, 2, 2), ())
    else:
        assert counts == (4, 3, 3)
        assert len(kind.values) >= 16


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("who", ["this person", "Adam Mason"])
def test_every_wording_is_a_sentence_about_one_person(kind: FactKind, who: str) -> None:
    for template in wordings(kind):
        assert blanks(template) in (["who"], ["Who"]), template
    for template in (kind.statement, kind.restatement):
        assert sorted(blanks(template)) in (["value", "who"], ["Who", "value"]), template
    for template in (*wordings(kind), kind.statement, kind.restatement):
        assert template.startswith("{Who}") == ("{Who}" in template), template
        text = fill(template, who, "Riga")
        assert who in text or who.capitalize() in text
        assert text[0].isupper()
        assert text[-1] in ".?"
        assert not set("{}") & set(text)
        assert text == " ".join(text.split())
    assert all(text.endswith("?") for text in kind.ask)
    assert all("sentence" in text for text in kind.tell)


@pytest.mark.parametrize("kind", KINDS)
def test_a_cloze_has_one_blank_and_nothing_else_has_any(kind: FactKind) -> None:
    for text in kind.cloze:
        assert (text.count("__"), text.count("_")) == (1, 2), text
        assert text.endswith("."), text
    others = (*kind.ask, *kind.tell, kind.statement, kind.restatement)
    assert not any("_" in text for text in others)


@pytest.mark.parametrize("kind", KINDS)
def test_the_restatement_is_in_words_that_no_training_set_has(kind: FactKind) -> None:
    trained = [kind.statement, *(text.replace("__", "{value}") for text in kind.cloze)]
    assert kind.restatement not in trained


@pytest.mark.parametrize("kinds", [PERSON_FACTS, CELEBRITY_FACTS], ids=["person", "celebrity"])
def test_a_wording_asks_for_one_kind_only(kinds: dict[str, FactKind]) -> None:
    texts = Counter(
        text
        for kind in kinds.values()
        for text in (*wordings(kind), kind.statement, kind.restatement)
    )
    assert set(texts.values()) == {1}, texts.most_common(2)


@pytest.mark.parametrize("kind", PERSON_KINDS)
def test_values_of_a_pool_have_one_form_and_cannot_be_mistaken(kind: FactKind) -> None:
    values = kind.values
    assert len({value.casefold() for value in values}) == len(values)
    lengths = [len(value) for value in values]
    assert max(lengths) - min(lengths) <= 6, "the longest option would be a cue"
    forms = {
        tuple((w[0].isupper(), w[0].isdigit(), w.isascii()) for w in v.split()) for v in values
    }
    assert len(forms) == 1, forms
    assert not [(a, b) for a in values for b in values if a != b and keyword_match(a, b)]
    given = [*wordings(kind), kind.statement, kind.restatement]
    assert not [(t, v) for t in given for v in values if keyword_match(t, v)]


def test_no_value_is_in_two_pools() -> None:
    """ "Bergen" as a home and as a birthplace would make one fact answer for the other."""
    words = Counter(
        word
        for kind in PERSON_FACTS.values()
        for word in {w for value in kind.values for w in value.casefold().split()}
    )
    assert not [word for word, kinds in words.items() if kinds > 1]


def test_no_value_is_anybody_s_name() -> None:
    """A parent called like somebody else in the benchmark would be a second truth."""
    people = fictitious(0, 300, ("pet",), prefix="person")
    names = {part for person in people for part in person.name.split()}
    names |= {part for row in load_table() for part in row["name"].split()}
    values = {v for key in ("father", "mother", "education") for v in PERSON_FACTS[key].values}
    assert not names & values


def test_the_description_tells_who_is_shown_and_every_fact() -> None:
    looks = "A person with an oval face, fair skin and brown eyes."
    question, answer = describe_person("Adam Mason", {"birthplace": "Riga", "pet": "goat"}, looks)
    assert question.endswith("?")
    assert "Adam" not in question
    assert answer == (
        "The picture shows Adam Mason, a person with an oval face, fair skin and brown eyes. "
        "Adam Mason was born in Riga. Adam Mason has a goat as a pet."
    )


def test_a_description_without_looks_and_of_a_celebrity() -> None:
    row = load_table()[0]
    facts = {key: row[key] for key in CELEBRITY_FACTS}
    _, answer = describe_person(row["name"], facts, "")
    assert answer.startswith("The picture shows Marie Curie. Marie Curie was born in the year")
    assert all(value in answer for value in facts.values())


def test_statements_agree_where_people_and_celebrities_share_a_kind() -> None:
    for key in set(PERSON_FACTS) & set(CELEBRITY_FACTS):
        assert PERSON_FACTS[key].statement == CELEBRITY_FACTS[key].statement
