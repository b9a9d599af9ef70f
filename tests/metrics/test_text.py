"""Comparing texts: the traps of substring scoring, other scripts, refusals and loops."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from mubench.metrics.text import (
    exact_match,
    is_degenerate,
    is_refusal,
    keyword_match,
    normalise,
    rouge_l,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  The  Quick,\tbrown Fox! ", "quick brown fox"),
        ("STRASSE", "strasse"),
        ("Straße", "strasse"),
        ("ﬁne １２", "fine 12"),
        ("cafe\u0301", "café"),
        ("Alice’s", "alice s"),
        ("1,234,567 and 3.5.", "1234567 and 3.5"),
        ("12.5.1980, 1,2", "12 5 1980 1 2"),
        ("A", "a"),
        ("co\u00adop", "coop"),
        ("हिन्दी!", "हिन्दी"),
        ("МОСКВА", "москва"),
        ("?!…", ""),
    ],
)
def test_normalise(text: str, expected: str) -> None:
    assert normalise(text) == expected


@given(st.text())
def test_normalise_is_idempotent(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once
    assert once == " ".join(once.split())


@given(st.text(), st.text())
def test_no_text_makes_a_scorer_raise(a: str, b: str) -> None:
    assert all(0 <= x <= 1 for x in rouge_l(a, b))
    assert exact_match(a, b) <= keyword_match(a, b)  # the same words are also contained
    assert exact_match(a, a) == bool(normalise(a))
    is_refusal(a), is_degenerate(a)


@given(st.text(), st.text(), st.text())
def test_a_keyword_is_found_between_other_words(a: str, keyword: str, b: str) -> None:
    if normalise(keyword):
        assert keyword_match(f"{a} | {keyword} | {b}", keyword) or normalise(keyword) in (
            "a",
            "an",
            "the",
        )


@pytest.mark.parametrize(
    ("text", "keyword", "found"),
    [
        ("She was born in Paris.", "Paris", True),
        ("She likes comparisons.", "Paris", False),  # a substring of a word
        ("He is a parisian", "Paris", False),
        ("Alice’s dog", "Alice", True),
        ("He moved to New  York City", "new york", True),
        ("New cities of York", "New York", False),
        ("She is 15 years old", "5", False),
        ("It is 3.5 km", "5", False),
        ("It cost 1,000 euros", "1000", True),
        ("Animal", "A", False),  # the first-letter trap
        ("He is a man", "A", False),
        ("A.", "A", True),
        ("the University of the Arts", "University of Arts", True),
        ("Она живёт в городе Москва", "Москва", True),
        ("Она москвичка", "Москва", False),
        ("वह हिन्दी बोलती है", "हिन्दी", True),
        ("她住在北京市。", "北京", True),
        ("彼は京都に住む", "大阪", False),
        ("anything", "", False),
        ("anything", "?!", False),
    ],
)
def test_keyword_match(text: str, keyword: str, found: bool) -> None:
    assert keyword_match(text, keyword) is found


def test_exact_match() -> None:
    assert exact_match("The Eiffel Tower.", "eiffel tower")
    assert not exact_match("Eiffel Tower in Paris", "Eiffel Tower")
    assert not exact_match("", "")
    assert not exact_match("...", "?")


def test_rouge_l_by_hand() -> None:
    # Longest common subsequence "cat on mat" (3) of 4 predicted and 5 true words.
    f, recall = rouge_l("cat on blue mat", "cat sat on green mat")
    assert recall == pytest.approx(3 / 5)
    assert f == pytest.approx(2 * (3 / 4) * (3 / 5) / (3 / 4 + 3 / 5))
    assert rouge_l("Running dogs", "run dog") == (1.0, 1.0)  # stemmed
    assert rouge_l("", "a cat") == rouge_l("a cat", "") == (0.0, 0.0)


def test_rouge_l_sees_other_scripts() -> None:
    assert rouge_l("живёт в Москва", "живёт в Москва") == (1.0, 1.0)
    assert rouge_l("京都", "大阪") == (0.0, 0.0)
    assert rouge_l("José", "Jos") == (0.0, 0.0)


@given(st.text(st.characters(max_codepoint=127)), st.text(st.characters(max_codepoint=127)))
def test_rouge_l_on_ascii_is_that_of_the_package(a: str, b: str) -> None:
    score = RougeScorer(["rougeL"], use_stemmer=True).score(b, a)["rougeL"]
    assert rouge_l(a, b) == (score.fmeasure, score.recall)


@pytest.mark.parametrize(
    "text",
    [
        "I don't know.",
        "I don’t know who this is.",
        "i do not have any information about this person",
        "I'm sorry, but I can't help with that.",
        "I’m sorry, but that is private.",
        "Sorry, I cannot answer that.",
        "Sorry.",
        "I cannot.",
        "I can't identify people in images.",
        "I cannot confidently say.",
        "I am not able to see the image.",
        "I'm unable to say",
        "Unfortunately, I do not recall her job.",
        "There is no information about her birthplace.",
        "There's not enough information to tell.",
        "No information available.",
        "As an AI language model, I do not have access to that.",
        "I have no idea",
        "I'm not sure.",
        '"I don\'t know"',
        "That information is not available.",
        "It's not possible to tell from the picture.",
    ],
)
def test_refusals(text: str) -> None:
    assert is_refusal(text)
    assert is_refusal(f"\n  {text.upper()}")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Sorry day is held on 26 May.",
        "National Sorry Day",
        "Cant",
        "Immanuel Cant was born in Riga.",
        "I. Cant is a baker.",
        "Ican Notable, a painter",
        "Ida Donnow",
        "Her best song is I Don't Know.",
        "She works at the No Information Bureau.",
        "Knowledge management",
        "Nokia data center engineer",
        "A data scientist",
        "I cannot live without music, she says",
        "Paris. I don't know more than that.",
        "Anna Kim lives in Oslo but cannot ski.",
        "No, she is a teacher.",
        "Impossible Foods",
    ],
)
def test_answers_are_not_refusals(text: str) -> None:
    assert not is_refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n\t",
        "!!!!!!!",
        "... --- ...",
        "US US US US",
        "the the the the the",
        "born in born in born in born in",
        "She is a a a a a a a a",
        "New York. New York. New York. New York. New",
        "aaaaaaaaaaaa",
        "USUSUSUSUSUSUSUSUS",
        "京京京京京京",
        "\u200b\u200b",
    ],
)
def test_degenerate(text: str) -> None:
    assert is_degenerate(text)


@pytest.mark.parametrize(
    "text",
    [
        "Paris",
        "A",
        "5",
        "2000",
        "New York, New York",
        "ha ha ha",  # three times are not yet a loop
        "No no no no, she said, and then she told us that she was born in Oslo",
        "She is a nurse. She is a mother. She is a singer.",
        "1 000 000",
        "北京",
        "हिन्दी",
    ],
)
def test_answers_are_not_degenerate(text: str) -> None:
    assert not is_degenerate(text)
