"""``mubench data check``: prove every promise of a stored benchmark. Reads, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mubench.errors import UsageError
from mubench.stats.bootstrap import MIN_PERSONS

from . import pair_promises as pairs
from . import promises as p
from .evidence import Evidence, Progress
from .load import BenchmarkData

#: Broken places that are told of each promise; the others are counted.
TOLD = 3


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of a promise. ``ok`` is None where it does not apply; ``detail`` says why."""

    promise: str
    ok: bool | None
    detail: str


@dataclass(frozen=True, slots=True)
class Promise:
    """A promise in words, and what looks whether it holds.

    ``built``: only benchmarks that are built here make it. ``without``: why there may be nothing
    to look at.
    """

    text: str
    look: Callable[[Evidence], Iterator[p.Look]]
    built: bool = False
    without: str = "there is nothing of the kind"

    def prove(self, seen: Evidence) -> Finding:
        """Look at everything that the promise is about."""
        if self.built and not seen.built:
            return Finding(self.text, None, "published data make no such promise")
        count, broken = 0, 0
        wrong: list[str] = []
        found: list[str] = []
        for look in self.look(seen):
            count += 1
            broken += bool(look.wrong)
            if look.wrong and len(wrong) < TOLD:
                wrong.append(look.wrong)
            if look.found:
                found.append(look.found)
        if not count:
            return Finding(self.text, None, self.without)
        if broken:
            more = "; ..." if broken > len(wrong) else ""
            return Finding(self.text, False, f"{broken} of {count}: {'; '.join(wrong)}{more}")
        return Finding(self.text, True, "; ".join(found) or f"{count:,} looked at")


_CONTENT = Promise("content and row counts are what the manifest says", p.content_as_recorded)
_IDS = Promise("ids are unique", p.ids_unique)
_PICTURES = Promise("every picture decodes to the pixels that were stored", p.pictures_whole)
_SHOWN = Promise("everybody has a picture", p.people_have_pictures)
_LISTED = Promise("everybody who is asked about is listed", p.everybody_listed)
_GROUPS = Promise(
    "a group photo shows three people, who are listed", p.groups_listed, without="none"
)
_OPTIONS = Promise("options are distinct, the truth is one of them", p.options_distinct)
_CUES = (
    Promise("the true letters are balanced", p.letters_balanced, True),
    Promise(
        "an option's length tells nothing",
        p.length_no_cue,
        True,
        f"fewer than {MIN_PERSONS} people in every set",
    ),
    Promise(
        "what is right about others tells nothing",
        p.prior_no_cue,
        True,
        f"fewer than {MIN_PERSONS} people in every set",
    ),
)
_PEOPLE = (
    Promise("names are unique, and none invented is a celebrity's", p.names_unique, True),
    Promise(
        "the facts of nobody invented fit a celebrity",
        p.nobody_real,
        True,
        "no two facts are told of both",
    ),
    Promise(
        "splits are of trained people, and nest; the dev fold is of others",
        p.splits_nest,
        without="there are too few people for a split",
    ),
)
_UNKNOWN = (
    Promise("holdout people are never trained on", p.holdout_unknown, True),
    Promise("gold's training holds nothing about forget people", p.gold_never_saw),
)
#: Of benchmarks that ask questions in words.
PROMISES = (
    _CONTENT,
    _IDS,
    Promise("no question, answer or name is empty", p.text_there),
    _PICTURES,
    Promise("image+text questions have a picture, text-only ones have none", p.pictures_there),
    _SHOWN,
    _LISTED,
    _GROUPS,
    _OPTIONS,
    Promise("a cloze has one blank, written __", p.one_blank, without="there is no cloze"),
    Promise("the two forms of a question pair, with equal options and answer", p.forms_pair),
    Promise("the keyword is in every right answer and in no wrong one", p.keyword_tells, True),
    Promise(f"there are {p.PERTURBED} different wrong answers", p.perturbed_enough, True),
    Promise("no refusal holds an answer", p.refusals_empty, without="there are no refusals"),
    *_CUES,
    *_PEOPLE,
    Promise("what is kept for the test set is never trained on", p.held_out_kept, True),
    Promise("people who are never forgotten know the held-out wordings", p.guides_know, True),
    *_UNKNOWN,
)
#: Of benchmarks that ask a dual encoder.
PAIR_PROMISES = (
    _CONTENT,
    _IDS,
    Promise(
        "a question is a picture or a text, whichever it begins with", pairs.asked_of_something
    ),
    _PICTURES,
    Promise("every picture that is shown or chosen from is there", pairs.pictures_shown),
    _SHOWN,
    _LISTED,
    _GROUPS,
    _OPTIONS,
    Promise("every gallery holds something right and something wrong", pairs.galleries_tell),
    Promise("a caption says what it is paired for, wrong options do not", pairs.captions_tell),
    *_CUES,
    *_PEOPLE,
    Promise("what is kept for the test set is never trained on", pairs.held_out_kept),
    Promise("people who are never forgotten know the held-out wordings", pairs.guides_know, True),
    Promise(
        "held-out people are trained on and never forgotten",
        pairs.holdout_apart,
        without="nobody is held out",
    ),
    *_UNKNOWN,
)


def check(data: BenchmarkData, progress: Progress = lambda *_: None) -> list[Finding]:
    """What became of each promise, in order. DamagedError if the data cannot be read at all.

    ``progress(done, total, text)`` is called while pictures are decoded, which takes longest.
    """
    promised = _promised(data)
    seen = Evidence(data, progress)
    return [promise.prove(seen) for promise in promised]


def _promised(data: BenchmarkData) -> tuple[Promise, ...]:
    """Whatever its kind promises. UsageError for kinds of which nothing is promised yet."""
    if not data.asks_pairs:
        return PROMISES
    if "fictitious" in data.manifest["source"].get("options", {}):
        return PAIR_PROMISES
    raise UsageError(
        f"{data.manifest['name']} asks dual encoders, and not about people made here: nothing is "
        "promised of it"
    )
