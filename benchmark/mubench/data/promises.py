"""What a benchmark promises: each promise is one small function over the evidence.

A promise looks at one thing after another and says of each what is wrong with it, or nothing.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from scipy import stats

from mubench.errors import UsageError
from mubench.rng import stream
from mubench.stats.bootstrap import Resampling
from mubench.types import FOLDS, MODALITIES, Example

from .evidence import Evidence
from .splits import RATIOS, forget_count, forget_people, ratio_key
from .tables import content_sha

#: All intervals and tests of one promise hold together at this level (Bonferroni).
LEVEL = 0.05
PERTURBED = 3
#: Facts of celebrities that another fact of invented people tells as well.
TOLD_BY = {"birth_year": "birth_date"}


@dataclass(frozen=True, slots=True)
class Look:
    """One thing that was looked at. ``wrong``: what is broken and where; empty if nothing is."""

    wrong: str = ""
    found: str = ""  # a figure worth telling


def _unless(holds: bool, wrong: str) -> Look:
    return Look("" if holds else wrong)


# -- files ----------------------------------------------------------------------------------


def content_as_recorded(seen: Evidence) -> Iterator[Look]:
    manifest = seen.manifest
    known = manifest.content_sha
    found = content_sha(seen.rows, seen.pixels, manifest.splits, manifest.refusals, manifest.groups)
    yield Look(
        "" if found == known else f"content_sha is {found[:12]}, the manifest says {known[:12]}",
        found=f"content_sha {found[:12]}",
    )
    for name, rows in seen.tables.items():
        told = seen.manifest.rows.get(name)
        yield _unless(
            told == len(rows), f"{name}.parquet has {len(rows)} rows, the manifest says {told}"
        )


def ids_unique(seen: Evidence) -> Iterator[Look]:
    for name, rows in seen.tables.items():
        often = Counter(row["id"] for row in rows if "id" in row)  # candidates have none
        for id_, count in often.items():
            yield _unless(count == 1, f"{name}.id '{id_}' comes {count} times")


def text_there(seen: Evidence) -> Iterator[Look]:
    for example in seen.all:
        for column in ("question", "answer"):
            text = getattr(example, column).strip()
            yield _unless(text not in ("", "nan", "NaN"), f"{example.id}: {column} is '{text}'")
    for person in seen.people.values():
        yield _unless(bool(person.name.strip()), f"{person.id}: has no name")


# -- pictures -------------------------------------------------------------------------------


def pictures_whole(seen: Evidence) -> Iterator[Look]:
    for picture in seen.pictures:
        yield Look(f"picture '{picture['id']}': {picture['wrong']}" if picture["wrong"] else "")


def pictures_there(seen: Evidence) -> Iterator[Look]:
    for example in seen.all:
        if example.modality == "text":
            yield _unless(example.image is None, f"{example.id}: text-only, with a picture")
        else:
            there = example.image in seen.pixels
            yield _unless(there, f"{example.id}: no picture '{example.image}'")


def people_have_pictures(seen: Evidence) -> Iterator[Look]:
    for id_ in seen.people:
        yield _unless(bool(seen.pictures_of[id_]), f"{id_}: has no picture")


# -- questions ------------------------------------------------------------------------------


def options_distinct(seen: Evidence) -> Iterator[Look]:
    for example in seen.stored:
        if example.task == "choice":
            options = list(example.choices)
            held = options.count(example.answer) == 1 and len(set(options)) == len(options) > 1
            yield _unless(held, f"{example.id}: options {options} for '{example.answer}'")


def one_blank(seen: Evidence) -> Iterator[Look]:
    for example in seen.all:
        if example.task == "cloze":
            blanks = re.findall("_{2,}", example.question)
            yield _unless(
                blanks == ["__"], f"{example.id}: {len(blanks)} blanks in '{example.question}'"
            )


def forms_pair(seen: Evidence) -> Iterator[Look]:
    groups: dict[tuple[str, str, str, str], list[Example]] = defaultdict(list)
    for example in seen.stored:
        if example.set != "general":
            groups[example.set, example.person, example.fact, example.task].append(example)
    for key, forms in groups.items():
        where = "/".join(key)
        modalities = sorted(form.modality for form in forms)
        if modalities != sorted(MODALITIES):
            alone = len(set(modalities)) == 1 and not seen.built
            yield _unless(alone, f"{where}: asked as {', '.join(modalities)}")
        else:
            said = {
                (form.choices, form.keyword, seen.anonymous(form, form.answer)) for form in forms
            }
            yield _unless(len(said) == 1, f"{where}: the two forms differ in options or answer")


def keyword_tells(seen: Evidence) -> Iterator[Look]:
    for example in seen.all:
        for column in ("answer", "paraphrase"):
            text = getattr(example, column)
            held = holds(text, example.keyword) or (column == "paraphrase" and not text)
            yield _unless(held, f"{example.id}: '{example.keyword}' is not in {column} '{text}'")
        for wrong in example.perturbed:
            told = holds(wrong, example.keyword)
            yield _unless(not told, f"{example.id}: '{example.keyword}' is in perturbed '{wrong}'")


def perturbed_enough(seen: Evidence) -> Iterator[Look]:
    for example in seen.stored:
        if example.set != "general":
            wrong = set(example.perturbed) - {example.answer, example.paraphrase}
            whole = len(wrong) == len(example.perturbed) >= PERTURBED
            yield _unless(whole, f"{example.id}: {len(wrong)} different wrong answers")


def refusals_empty(seen: Evidence) -> Iterator[Look]:
    told = {example.keyword for example in seen.all if example.keyword}
    for refusal in seen.manifest.refusals:
        found = sorted(keyword for keyword in told if holds(refusal, keyword))
        yield _unless(not found, f"refusal '{refusal}' holds the answer '{(found or [''])[0]}'")


# -- cues -----------------------------------------------------------------------------------


def letters_balanced(seen: Evidence) -> Iterator[Look]:
    places: dict[tuple[str, str, int], list[int]] = defaultdict(list)
    for example in seen.choices:
        key = (example.set, example.modality, len(example.choices))
        places[key].append(example.choices.index(example.answer))
    for (set_, modality, options), found in places.items():
        counts = [found.count(place) for place in range(options)]
        p = float(stats.chisquare(counts).pvalue)
        text = f"{set_} {modality}: {'/'.join(map(str, counts))}, p={p:.2g}"
        yield Look("" if p >= LEVEL / len(places) else text, found=text)


def length_no_cue(seen: Evidence) -> Iterator[Look]:
    def length(example: Example) -> list[int]:
        return [len(option) for option in example.choices]

    return _guesses(seen.choices, {"longest": length, "shortest": lambda e: _minus(length(e))})


def prior_no_cue(seen: Evidence) -> Iterator[Look]:
    """A guess from the training answers of others, for people whom gold was not trained on.

    Of people whom it was trained on, gold knows the answer; there is no guess to beat.
    """
    answers = {(e.person, e.fact, e.answer) for e in seen.train if e.set == "retain"}
    often = Counter((fact, answer) for _, fact, answer in answers)

    def common(example: Example) -> list[int]:
        return [often[example.fact, option] for option in example.choices]

    asked = [example for example in seen.choices if example.set in ("forget", "test", "holdout")]
    return _guesses(asked, {"commonest": common, "rarest": lambda e: _minus(common(e))})


def _guesses(
    asked: Sequence[Example], rules: dict[str, Callable[[Example], list[int]]]
) -> Iterator[Look]:
    """How often the option that a rule ranks first is right, by set; ties are broken at random."""
    sets: dict[str, list[Example]] = defaultdict(list)
    for example in asked:
        sets[example.set].append(example)
    # The usual 95 % interval, widened for as many looks.
    wider = stats.norm.isf(LEVEL / 2 / max(1, len(sets) * len(rules))) / stats.norm.isf(LEVEL / 2)
    for set_, examples in sets.items():
        sample = Resampling([e.person for e in examples], stream(0, "check", set_))
        chance = sum(1 / len(e.choices) for e in examples) / len(examples)
        for rule, rank in rules.items():
            right = sample.mean([_right(example, rank(example)) for example in examples])
            if right.low is None or right.high is None:  # too few people to tell
                continue
            low = right.value - wider * (right.value - right.low)
            text = f"{set_}: {rule} is right {right.value:.3f} [{right.low:.3f}, {right.high:.3f}]"
            yield Look(f"{text}, chance {chance:.3f}" if low > chance else "", found=text)


def _right(example: Example, ranks: Sequence[int]) -> float:
    best = max(ranks)
    true = ranks[example.choices.index(example.answer)]
    return 1 / ranks.count(best) if true == best else 0.0


def _minus(ranks: Sequence[int]) -> list[int]:
    return [-rank for rank in ranks]


# -- people ---------------------------------------------------------------------------------


def everybody_listed(seen: Evidence) -> Iterator[Look]:
    for example in seen.all:
        if example.set != "general":
            known = example.person in seen.people
            yield _unless(known, f"{example.id}: nobody is called '{example.person}'")


def names_unique(seen: Evidence) -> Iterator[Look]:
    bearers: dict[str, list[str]] = defaultdict(list)
    for person in seen.people.values():
        bearers[person.name.casefold()].append(person.id)
    for ids in bearers.values():
        shared = f"'{seen.people[ids[0]].name}' is the name of {' and '.join(ids)}"
        yield _unless(len(ids) == 1, shared)


def nobody_real(seen: Evidence) -> Iterator[Look]:
    """No invented person shares with a celebrity all the facts that are told of both.

    One fact in common (a birthplace) points at nobody; two or more might.
    """
    famous = [person for person in seen.people.values() if person.role == "celebrity"]
    for person in seen.people.values():
        for known in famous if person.role != "celebrity" else ():
            shared = [
                holds(person.facts[ours], value)
                for theirs, value in known.facts.items()
                if (ours := TOLD_BY.get(theirs, theirs)) in person.facts
            ]
            if len(shared) > 1:
                who = f"{known.name} ({known.id})"
                yield _unless(not all(shared), f"{person.id}: the facts fit {who}")


def groups_listed(seen: Evidence) -> Iterator[Look]:
    shown = {picture["id"] for picture in seen.pictures}
    for id_, people in seen.manifest.groups.items():
        owner = id_.rpartition("/")[0]
        yield _unless(id_ in shown, f"there is no group photo '{id_}'")
        known = len(set(people) & set(seen.people)) == len(people) == 3
        yield _unless(known and owner in people, f"'{id_}' shows {', '.join(people)}")


def splits_nest(seen: Evidence) -> Iterator[Look]:
    """Published lists need not nest (FIUBench's do not) and have no dev fold of their own."""
    trained = [person.id for person in seen.people.values() if person.role == "fictitious"]
    splits = seen.manifest.splits
    if "order" not in splits:
        for ratio, ids in splits.items():
            yield from _split_of(ratio, ids, trained)
        return
    smaller: set[str] = set()
    for share in RATIOS:
        if not forget_count(share, len(trained)):
            continue
        ratio = ratio_key(share)
        try:
            test, dev = (forget_people(splits, trained, share, fold) for fold in FOLDS)
        except UsageError as error:
            yield Look(f"{ratio}: {error}")
            continue
        yield from _split_of(ratio, test, trained)
        yield from _split_of(ratio, dev, trained)
        left_out, both = sorted(smaller - set(test)), sorted(set(test) & set(dev))
        yield _unless(not left_out, f"{ratio}: {', '.join(left_out)} are in a smaller split only")
        yield _unless(not both, f"{ratio}: {', '.join(both)} are in both folds")
        smaller = set(test)


def _split_of(ratio: str, ids: Sequence[str], trained: Sequence[str]) -> Iterator[Look]:
    strangers = sorted(set(ids) - set(trained))
    yield _unless(not strangers, f"{ratio}: {', '.join(strangers)} are not trained people")
    yield _unless(len(set(ids)) == len(ids), f"{ratio}: somebody comes twice")


# -- training -------------------------------------------------------------------------------


def held_out_kept(seen: Evidence) -> Iterator[Look]:
    for example in seen.train:
        if example.person in seen.forgettable:
            asked = seen.anonymous(example, example.question)
            yield _unless(
                asked not in seen.held_out, f"train {example.id}: '{example.question}' is held out"
            )
    kept = {seen.pixels.get(e.image) for e in seen.stored if e.set == "unseen" and e.image}
    for example in chain(seen.train, (e for e in seen.stored if e.set == "seen")):
        if example.image:
            shown = seen.pixels.get(example.image) in kept
            yield _unless(
                not shown, f"{example.id}: shows '{example.image}', kept for the test set"
            )


def guides_know(seen: Evidence) -> Iterator[Look]:
    """People whom no split forgets keep every held-out wording known."""
    guides = {id_ for id_, person in seen.people.items() if person.role == "fictitious"}
    guides -= seen.forgettable
    taught = {seen.anonymous(e, e.question) for e in seen.train if e.person in guides}
    for wording in sorted(seen.held_out):
        yield _unless(
            wording in taught, f"'{wording}' is taught about nobody who is never forgotten"
        )


def holdout_unknown(seen: Evidence) -> Iterator[Look]:
    holdout = {id_ for id_, person in seen.people.items() if person.role == "holdout"}
    return _seen_of(seen, holdout)


def gold_never_saw(seen: Evidence) -> Iterator[Look]:
    """What bears another's id is in gold's training whenever that other is retained."""
    for example in seen.train:
        if example.person in seen.forgettable:
            told = example.set in ("forget", "retain")
            yield _unless(told, f"train {example.id}: stays in set '{example.set}'")
    yield from _seen_of(seen, seen.forgettable, but_own=True)


def _seen_of(seen: Evidence, people: Iterable[str], *, but_own: bool = False) -> Iterator[Look]:
    """Whether training examples (of others, if ``but_own``) bear a person's id, name or picture."""
    people = seen.people.keys() & set(people)
    owners = {seen.pixels.get(image): id_ for id_ in people for image in seen.pictures_of[id_]}
    names: dict[str, list[str]] = defaultdict(list)  # by first word, to find them in long texts
    for id_ in people:
        names[_words(seen.people[id_].name)[0]].append(id_)
    for example in seen.train if people else ():
        own = {example.person} if but_own else set()
        found = {example.person} & people
        if example.image:
            found |= {owners.get(seen.pixels.get(example.image), "")} & people
        text = f"{example.question} {example.answer}"
        for word in set(_words(text)) & names.keys():
            found |= {id_ for id_ in names[word] if holds(text, seen.people[id_].name)}
        strangers = sorted(found - own)
        yield _unless(not strangers, f"train {example.id}: is about {', '.join(strangers)}")


def _words(text: str) -> list[str]:
    """Case-folded words; of a text without letters or digits, the text itself."""
    return re.findall(r"\w+", text.casefold()) or [text]


def holds(text: str, phrase: str) -> bool:
    """Whether the words of ``phrase`` stand in ``text`` in a row."""
    return f" {' '.join(_words(phrase))} " in f" {' '.join(_words(text))} "
