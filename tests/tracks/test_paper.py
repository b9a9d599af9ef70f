"""MLLMU-Bench's prompts and rules, written out by hand; every quirk of its script has a test."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from mubench.errors import UsageError
from mubench.tracks.paper import (
    HABITS,
    Habits,
    PaperRequest,
    PaperScore,
    correct_letter,
    reply,
    requests,
    score,
    summary,
)
from mubench.types import MODALITIES, Example

CHOICES = ("baker", "nurse", "pilot", "judge")


def questions(person: str, set_: str, images: tuple[str, ...]) -> list[Example]:
    """One question of each task in both modalities; those with a picture show ``images`` in turn."""
    made = []
    shown = iter(images * 3)
    for task, question, answer in (
        ("choice", f"Job of {person}?", "pilot"),
        ("generation", f"Where does {person} live?", f"{person} lives in Rome."),
        ("cloze", f"{person} is from __.", f"city of {person}"),
    ):
        for modality in MODALITIES:
            made.append(
                Example(
                    id=f"{person}/{set_}/{task}/{modality}",
                    set=set_,
                    task=task,
                    modality=modality,
                    person=person,
                    fact=task,
                    question=question if set_ != "test" else f"New: {question}",
                    answer=answer,
                    keyword=answer,
                    image=next(shown) if modality == "image_text" else None,
                    choices=CHOICES if task == "choice" else (),
                )
            )
    return made


def population(forget: int = 4, retain: int = 3) -> list[Example]:
    """Forget people F0.., retain people R0.., and one celebrity C."""
    made = []
    for n in range(forget):
        made += questions(f"F{n}", "forget", (f"F{n}/view-0", f"F{n}/view-1"))
    for n in range(forget):
        made += questions(f"F{n}", "test", (f"F{n}/view-4", f"F{n}/view-5", f"F{n}/view-6"))
    for n in range(retain):
        made += questions(f"R{n}", "retain", (f"R{n}/view-1", f"R{n}/view-0"))
    return made + questions("C", "celebrity", ("C/view-0",))


def made_for(examples: list[Example], seed: int = 0, family: str = "llava") -> list[PaperRequest]:
    """The requests, with people in the order in which they are first asked about."""
    people = dict.fromkeys(example.person for example in examples)
    return requests(examples, people, seed, HABITS.get(family, Habits()))


def asked(
    examples: list[Example], made: list[PaperRequest], set_: str, task: str, modality: str
) -> dict[str, PaperRequest]:
    """The requests of one cell by person."""
    by_id = {example.id: example for example in examples}
    found = {}
    for request in made:
        example = by_id[request.example_id]
        if (example.set, example.task, example.modality) == (set_, task, modality):
            found[example.person] = request
    return found


def exemplars(examples: list[Example], asked: dict[str, PaperRequest], set_: str) -> list[str]:
    people = dict.fromkeys(e.person for e in examples if e.set == set_)
    return [person for person in people if person not in asked]


# -- prompts --------------------------------------------------------------------------------


def test_choice_prompt_with_picture() -> None:
    examples = population()
    found = asked(examples, made_for(examples, 0), "forget", "choice", "image_text")
    (shown,) = exemplars(examples, found, "forget")
    assert len(found) == 3
    for person, request in found.items():
        assert request.prompt == (
            f"USER: <image>\nQuestion: Job of {shown}?\n"
            "A: baker\nB: nurse\nC: pilot\nD: judge\nCorrect Answer: C\n"
            f"USER: <image>\nJob of {person}?\nA: baker\nB: nurse\nC: pilot\nD: judge\n"
            "Just give ONE letter representing the answer directly.\nASSISTANT:"
        )
        assert request.images == (f"{shown}/view-0", f"{person}/view-0")
        assert request.max_new_tokens == 50


def test_choice_prompt_without_picture() -> None:
    examples = population()
    found = asked(examples, made_for(examples, 0), "forget", "choice", "text")
    (shown,) = exemplars(examples, found, "forget")
    for person, request in found.items():
        assert request.prompt == (
            f"USER:\nQuestion: Job of {shown}?\n"
            "A: baker\nB: nurse\nC: pilot\nD: judge\nCorrect Answer: C\n"
            f"USER:\nJob of {person}?\nA: baker\nB: nurse\nC: pilot\nD: judge\n"
            "Just give ONE letter representing the answer directly.\nASSISTANT:"
        )
        assert request.images == ()


def test_cloze_prompts_show_two_people_in_stored_order() -> None:
    examples = population()
    instruction = "Please **ONLY** provide the correct answer that should replace the [Blank]."
    for modality, solved, user in (
        ("image_text", "USER:<image>\n", "USER: <image>\n"),
        ("text", "USER:\n", "USER:\n"),
    ):
        found = asked(examples, made_for(examples, 0), "forget", "cloze", modality)
        first, second = exemplars(examples, found, "forget")
        assert len(found) == 2
        for person, request in found.items():
            assert request.prompt == (
                f"{solved}{first} is from [Blank].\n{instruction}\nCorrect Answer: city of {first}\n"
                f"{solved}{second} is from [Blank].\n{instruction}\nCorrect Answer: city of {second}\n"
                f"{user}{person} is from [Blank].\n{instruction}\nASSISTANT:"
            )
            pictures = (f"{first}/view-0", f"{second}/view-0", f"{person}/view-0")
            assert request.images == (pictures if modality == "image_text" else ())


def test_exemplars_stand_in_the_order_of_rows() -> None:
    examples = population()
    people = ["C", "F3", "F1", "R2", "R0", "R1", "F2", "F0"]
    made = requests(examples, people, 0)
    found = asked(examples, made, "forget", "cloze", "image_text")
    shown = [person for person in people if person[0] == "F" and person not in found]
    for person, request in found.items():
        assert request.images == tuple(f"{p}/view-0" for p in (*shown, person))
        assert request.prompt.index(shown[0]) < request.prompt.index(shown[1])
    assert list(asked(examples, made, "retain", "generation", "text")) == ["R2", "R0", "R1"]


def test_generation_prompts_differ_by_a_word_and_a_space() -> None:
    examples = population()
    made = made_for(examples, 0)
    seen = asked(examples, made, "retain", "generation", "image_text")
    assert seen["R1"].prompt == (
        "USER: <image>\nWhere does R1 live?\nAnswer the question based on your trained knowledge "
        "in one sentence accurately in ENGLISH.\nASSISTANT: "
    )
    assert seen["R1"].images == ("R1/view-0",)
    text = asked(examples, made, "retain", "generation", "text")
    assert text["R1"].prompt == (
        "USER: Where does R1 live?\nAnswer the question based on your trained knowledge in one "
        "sentence in ENGLISH.\nASSISTANT:"
    )
    assert len(seen) == len(text) == 3  # nobody is an exemplar


def test_a_long_blank_counts_as_several() -> None:
    example = replace(questions("F0", "forget", ("F0/view-0",))[5], question="From ____ or ___.")
    examples = [example if e.id == example.id else e for e in population()]
    prompts = [r.prompt for r in made_for(examples, 0)]
    assert any("From [Blank][Blank] or [Blank]_.\n" in prompt for prompt in prompts)


def test_celebrities_are_asked_without_exemplars() -> None:
    examples = population()
    made = made_for(examples, 0)
    for task in ("choice", "cloze"):
        for modality in MODALITIES:
            (request,) = asked(examples, made, "celebrity", task, modality).values()
            assert "Correct Answer:" not in request.prompt
            assert request.prompt.count("USER:") == 1
            assert request.images == (("C/view-0",) if modality == "image_text" else ())


def test_test_set_shows_the_trained_form_of_its_exemplars() -> None:
    examples = population()
    found = asked(examples, made_for(examples, 0), "test", "choice", "image_text")
    (shown,) = exemplars(examples, found, "test")
    for person, request in found.items():
        assert request.prompt.startswith(f"USER: <image>\nQuestion: Job of {shown}?\n")
        assert f"USER: <image>\nNew: Job of {person}?\n" in request.prompt
        first, last = request.images
        assert first == f"{shown}/view-0"
        assert last in {f"{person}/view-{n}" for n in (4, 5, 6)}


def test_every_set_and_task_draws_its_own_exemplars_and_pictures() -> None:
    examples = population(forget=12)
    by_id = {example.id: example for example in examples}
    drawn: dict[tuple[str, str], list[list[str]]] = {}
    pictures = set()
    for seed in range(8):
        made = made_for(examples, seed)
        assert made == made_for(examples, seed)
        for set_ in ("forget", "test"):
            for task in ("choice", "cloze"):
                found = asked(examples, made, set_, task, "text")
                other = asked(examples, made, set_, task, "image_text")
                assert exemplars(examples, found, set_) == exemplars(examples, other, set_)
                drawn.setdefault((set_, task), []).append(exemplars(examples, found, set_))
        pictures |= {r.images[-1] for r in made if by_id[r.example_id].set == "test" and r.images}
    for task in ("choice", "cloze"):
        assert drawn["forget", task] != drawn["test", task]
    for set_ in ("forget", "test"):
        both = zip(drawn[set_, "choice"], drawn[set_, "cloze"], strict=True)
        assert any(one not in two for (one,), two in both)
    assert len(set(map(tuple, drawn["forget", "choice"]))) > 3
    assert pictures == {f"F{n}/view-{view}" for n in range(12) for view in (4, 5, 6)}


def test_one_picture_a_person_and_task_in_the_test_set() -> None:
    examples = population()
    extra = [replace(e, id=f"{e.id}/2") for e in examples if e.set == "test" and e.image]
    found: dict[tuple[str, str], set[str]] = {}
    by_id = {example.id: example for example in (*examples, *extra)}
    for request in made_for([*examples, *extra], 3):
        example = by_id[request.example_id]
        if example.set == "test" and request.images:
            found.setdefault((example.person, example.task), set()).add(request.images[-1])
    assert found
    assert all(len(pictures) == 1 for pictures in found.values())


def test_idefics2_is_shown_one_person_and_cut_short() -> None:
    examples = population()
    made = made_for(examples, 0, "idefics2")
    assert len(asked(examples, made, "forget", "cloze", "text")) == 3
    limits = {
        task: {r.max_new_tokens for r in asked(examples, made, "forget", task, modality).values()}
        for task in ("choice", "cloze", "generation")
        for modality in ("text",)
    }
    assert limits == {"choice": {5}, "cloze": {50}, "generation": {50}}
    seen = asked(examples, made, "forget", "choice", "image_text")
    assert {r.max_new_tokens for r in seen.values()} == {50}


def test_other_sets_are_not_asked() -> None:
    examples = population()
    general = replace(examples[0], id="sum", set="general", person="sum", image=None)
    assert made_for([*examples, general], 0) == made_for(examples, 0)


def test_a_set_that_would_have_nobody_left_is_refused() -> None:
    with pytest.raises(UsageError, match=r"2 people .* 'forget' has 2 in all"):
        made_for(population(forget=2), 0)


# -- what counts as the answer --------------------------------------------------------------


@pytest.mark.parametrize(
    ("transcript", "expected"),
    [
        ("Q\nASSISTANT: B", "B"),
        ("Q\nASSISTANT:  a b \n", "a b"),
        ("Q\nASSISTANT:", ""),
        ("Q\nASSISTANT: C\nUSER: next\nASSISTANT: D", "C\nUSER: next"),
        ("Q\nASSISTANT:ASSISTANT: B", ""),
    ],
)
def test_reply_stands_between_the_first_two_turns(transcript: str, expected: str) -> None:
    assert reply(transcript) == expected


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("C", "C"),
        ("c", "C"),
        ("C: pilot", "C"),
        ("Animal", "A"),
        ("Both", "B"),
        ("Definitely not A", "D"),
        ("The answer is C", None),
        ("(C)", None),
        ("pilot", None),
        ("E", None),
        ("", None),
    ],
)
def test_choice_goes_by_the_first_character(text: str, letter: str | None) -> None:
    for right, answer in zip("ABCD", CHOICES, strict=True):
        example = replace(population()[0], answer=answer)
        assert correct_letter(example) == right
        assert score(example, text) == {"accuracy": float(letter == right)}


@pytest.mark.parametrize(
    ("answer", "text", "right"),
    [
        ("Rome", "rome", True),
        ("Rome", "I think it is ROME, in Italy", True),
        ("Rome", "jerome", True),  # by accident
        ("art", "The party", True),
        ("Rome", "Milan, Paris, Rome and every other city", True),
        ("New York", "New  York", False),
        ("Rome", "", False),
        ("Rome", "Roma", False),
    ],
)
def test_cloze_goes_by_substring(answer: str, text: str, right: bool) -> None:
    example = replace(questions("F0", "forget", ("F0/view-0",))[4], answer=answer)
    assert score(example, text) == {"match": float(right)}


def generation(answer: str) -> Example:
    return replace(questions("F0", "forget", ("F0/view-0",))[2], answer=answer)


def test_generation_scores_by_hand() -> None:
    # 4 of 5 and 4 of 6 words; 2 of 4 and 2 of 5 pairs; the longest common row is "she works rome".
    found = score(generation("she works in old Rome"), "she works at Rome in May")
    assert found["rouge_1"] == pytest.approx(2 * (4 / 6) * (4 / 5) / (4 / 6 + 4 / 5))
    assert found["rouge_2"] == pytest.approx(2 * (1 / 5) * (1 / 4) / (1 / 5 + 1 / 4))
    assert found["rouge_l"] == pytest.approx(2 * (3 / 6) * (3 / 5) / (3 / 6 + 3 / 5))
    # Precisions 4/6, 1/5, 0/4 -> 0.1/4, 0/3 -> 0.1/3; the reply is longer: no brevity penalty.
    bleu = math.exp(sum(map(math.log, (4 / 6, 1 / 5, 0.1 / 4, 0.1 / 3))) / 4)
    assert found["bleu"] == pytest.approx(bleu)


def test_rouge_stems_and_drops_case_and_points_but_bleu_does_not() -> None:
    found = score(generation("He bakes many cakes."), "he baked many cake")
    assert found["rouge_1"] == found["rouge_2"] == found["rouge_l"] == 1.0
    # Only "many" is equal: 1/4, then 0.1/3, 0.1/2, 0.1/1.
    bleu = math.exp(sum(map(math.log, (1 / 4, 0.1 / 3, 0.1 / 2, 0.1))) / 4)
    assert found["bleu"] == pytest.approx(bleu)


def test_bleu_punishes_brevity_and_knows_no_words() -> None:
    found = score(generation("a b c d e f g h"), "a b c d")
    assert found["bleu"] == pytest.approx(math.exp(1 - 8 / 4))
    assert score(generation("a b c d"), "a b c d")["bleu"] == 1.0
    assert set(score(generation("a b"), "").values()) == {0.0}
    assert score(generation("a b"), "x y")["bleu"] == 0.0


# -- means ----------------------------------------------------------------------------------


def test_means_leave_exemplars_out() -> None:
    examples = population()
    made = made_for(examples, 0)
    replies = {request.example_id: "nothing" for request in made}
    found = asked(examples, made, "retain", "choice", "text")
    replies[found.popitem()[1].example_id] = "Cheese"
    scores = summary(examples, replies)
    assert PaperScore("retain_shared", "choice", "text", "accuracy", 0.5, 2) in scores
    assert PaperScore("retain_shared", "choice", "image_text", "accuracy", 0.0, 2) in scores
    counts = {(s.mode, s.task): s.n for s in scores}
    assert counts == {
        **{(mode, "choice"): 3 for mode in ("forget", "test")},
        **{(mode, "cloze"): 2 for mode in ("forget", "test")},
        **{(mode, "generation"): 4 for mode in ("forget", "test")},
        ("retain_shared", "choice"): 2,
        ("retain_shared", "cloze"): 1,
        ("retain_shared", "generation"): 3,
        **{("retain_celebrity", task): 1 for task in ("choice", "cloze", "generation")},
    }


@pytest.mark.parametrize("answer", ["ä", "a b c", "The dog bit him", "x " * 40])
def test_every_reply_scores_in_the_unit_interval(answer: str) -> None:
    for text in ("", " ", "a", "ä b c", "the dog bit the man", "x " * 300, "\u202eabc", "🙂"):
        for value in score(generation(answer), text).values():
            assert 0.0 <= value <= 1.0
