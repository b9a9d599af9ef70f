"""How one text is compared with another. Every function takes any string and never raises."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any

_ARTICLES = frozenset({"a", "an", "the"})
#: Texts remembered: every model is compared with the same true answers, and most say them.
_TEXTS = 1 << 16
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
# One decimal point stays ("3.5" must not contain the word "5"); dates such as 1.2.1980 split up.
_DECIMAL = re.compile(r"((?<![\d.])\d+\.\d+(?!\.?\d))")
# Scripts that put no space between words: Thai, Lao, Myanmar, Khmer, kana, Chinese characters.
_UNSPACED = re.compile(
    "([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    "\U00020000-\U0003ffff])"
)


@lru_cache(_TEXTS)
def _words(text: str) -> tuple[str, ...]:
    """Case-folded words of ``text`` without punctuation and symbols, articles included."""
    # Invisible format characters (soft hyphen, joiners) would split words that look the same.
    text = "".join(c for c in text if unicodedata.category(c) != "Cf")
    # One round is not a fixed point for all of Unicode: folding can undo the normal form.
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFD", text).casefold())
    text = unicodedata.normalize("NFKC", text.casefold())
    parts = _DECIMAL.split(_THOUSANDS.sub("", text))
    for i in range(0, len(parts), 2):  # the odd ones are decimals
        # Marks belong to letters: many scripts write their vowels with them.
        parts[i] = "".join(c if unicodedata.category(c)[0] in "LMN" else " " for c in parts[i])
    return tuple("".join(parts).split())


def _units(text: str) -> list[str]:
    """The words of a normalised text; single characters where the script has no spaces."""
    return _UNSPACED.sub(r" \1 ", text).split()


@lru_cache(_TEXTS)
def normalise(text: str) -> str:
    """Case-folded NFKC text without punctuation and English articles, single-spaced.

    Punctuation becomes a space ("Alice's" -> "alice s"), except in 1,000 -> 1000 and 3.5 -> 3.5.
    A text of articles only keeps them: blood type "A" is an answer.
    """
    words = _words(text)
    return " ".join([word for word in words if word not in _ARTICLES] or words)


def exact_match(prediction: str, reference: str) -> bool:
    """Equal after ``normalise``; a reference without letters or digits equals nothing."""
    expected = normalise(reference)
    return bool(expected) and normalise(prediction) == expected


def keyword_match(text: str, keyword: str) -> bool:
    """Whether the words of ``keyword`` stand in ``text`` in a row, as whole words.

    In scripts without spaces between words every character counts as a word.
    """
    wanted, given = (" ".join(["", *_units(normalise(t)), ""]) for t in (keyword, text))
    return bool(wanted.strip()) and wanted in given


@cache
def _rouge() -> Any:
    from nltk.stem.porter import PorterStemmer  # type: ignore[import-untyped,unused-ignore]
    from rouge_score import (  # type: ignore[import-untyped,unused-ignore]
        rouge_scorer,
        tokenizers,
    )

    stem = lru_cache(_TEXTS)(PorterStemmer().stem)

    class Unicode(tokenizers.Tokenizer):  # type: ignore[misc,unused-ignore]
        """As the package's own on ASCII text, which keeps [a-z0-9] only and so drops "京都"."""

        def tokenize(self, text: str) -> list[str]:
            text = unicodedata.normalize("NFKC", text.lower())
            kept = "".join(c if unicodedata.category(c)[0] in "LMN" else " " for c in text)
            return [stem(w) if w.isascii() and len(w) > 3 else w for w in _units(kept)]

    return rouge_scorer.RougeScorer(["rougeL"], tokenizer=Unicode())


@lru_cache(_TEXTS)
def rouge_l(prediction: str, reference: str) -> tuple[float, float]:
    """ROUGE-L (F, recall), both in [0, 1], by ``rouge_score`` with Porter stemming."""
    score = _rouge().score(reference, prediction)["rougeL"]
    return float(score.fmeasure), float(score.recall)


_SORRY = r"(?:i(?:'m| am) (?:so |very |really )?)?sorry"
_LEAD = rf"(?:(?:well|unfortunately|apologies|{_SORRY})\b[,.:; -]*)?"
_BUT = r"(?:(?:but|however|as an ai(?: language)? model|as of (?:now|my last \w+))\b[, ]*)?"
_ACT = (
    r"(?:answer|assist|help|provide|give|tell|say|speak|share|disclose|reveal|discuss|comply|"
    r"determine|identify|recogni[sz]e|confirm|verify|find|see|view|recall|remember|know|access|"
    r"respond|guess|be (?:sure|certain)|do (?:that|this)|fulfil)"
)
_CANNOT = r"(?:cannot|can ?not|can't|could not|couldn't|will not|won't)"
_NOTHING = r"(?:information|details|data|records?|knowledge)"
_REFUSALS = (
    rf"i {_CANNOT} (?:\w+ly )?{_ACT}\b",
    rf"i {_CANNOT}\s*(?:[.!,]|$)",
    r"i(?:'m| am) (?:unable|not (?:able|sure|certain|aware|familiar|allowed|permitted))\b",
    r"i (?:do|did)(?: not|n't) (?:\w+ly )?"
    r"(?:know|have|hold|recall|remember|recogni[sz]e|possess)\b",
    rf"i (?:have|possess) no (?:\w+ )?(?:idea|clue|memory|recollection|{_NOTHING})\b",
    r"i(?:'ve| have) (?:never|not) (?:heard|learned|been (?:told|given|trained))\b",
    r"i haven't (?:heard|learned|been (?:told|given|trained))\b",
    r"i(?:'d| would) (?:rather|prefer) not\b",
    rf"(?:there(?:'s| is| are) )?(?:no|not enough|insufficient) (?:\w+ )?{_NOTHING}\b",
    rf"(?:this|that|the|such) {_NOTHING} (?:is|was|are) (?:not |un)(?:available|known|provided)\b",
    r"(?:it|that|this)(?:'s| is) (?:not possible|impossible|beyond|outside) (?:to|my|what i)\b",
    r"as an ai(?: language)? (?:model|assistant)\b",
)
_REFUSAL = re.compile(
    rf"\W*(?:{_LEAD}{_BUT}(?:{'|'.join(_REFUSALS)})"
    rf"|{_SORRY},? (?:but|i|we)\b|{_SORRY}\W*$)"
)
_CURLY = str.maketrans({"\u2018": "'", "\u2019": "'", "\u02bc": "'", "`": "'", "\u00b4": "'"})


def is_refusal(text: str) -> bool:
    """Whether ``text`` opens as an English refusal or a statement of not knowing.

    Only the opening counts: an answer that doubts itself later has still been given.
    """
    return _REFUSAL.match(" ".join(text.translate(_CURLY).casefold().split())) is not None


def _longest_run(items: Sequence[str], size: int) -> int:
    """Most neighbouring ``items`` that are one block of ``size`` said again and again."""
    best = run = 0
    for i in range(size, len(items)):
        run = run + 1 if items[i] == items[i - size] else 0
        best = max(best, run)
    return best + size if best else 0


@lru_cache(_TEXTS)
def is_degenerate(text: str) -> bool:
    """Whether ``text`` is no answer at all: empty, without letters and digits, or one endless loop.

    A loop is a block of 1 to 4 words said at least 4 times in a row, or a block of 1 to 4
    characters at least 8 times, that makes up more than half of the text.
    """
    words = _units(" ".join(_words(text)))
    if not any(c.isalnum() for word in words for c in word):
        return True
    for items, repeats in ((words, 4), (list("".join(words)), 8)):
        for size in range(1, 5):
            run = _longest_run(items, size)
            if run >= repeats * size and 2 * run > len(items):
                return True
    return False
