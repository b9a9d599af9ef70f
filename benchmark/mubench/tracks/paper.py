"""MLLMU-Bench's own evaluation, so that its published numbers can be compared with.

Rules and prompts: ``eval.py`` of ``franciscoliu/MLLMU-Bench``, commit 0e3098e (Liu et al., 2025;
arXiv:2410.22108). They are kept with their quirks, which is why this is not mubench's way to score:
"Animal" answers A, "The answer is B" answers nothing, and a blank counts as filled if its word
stands anywhere in the reply. One thing differs: who the exemplars are, and which picture of the
test set is shown, is drawn from a seed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from mubench.errors import UsageError
from mubench.rng import stream
from mubench.types import TASKS, Example

#: Our sets by the script's name for them.
MODES = {
    "forget": "forget",
    "test": "test",
    "retain": "retain_shared",
    "celebrity": "retain_celebrity",
}
IMAGE = "<image>"
MAX_NEW_TOKENS = 50

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_CHOICE = "Just give ONE letter representing the answer directly."
_CLOZE = "Please **ONLY** provide the correct answer that should replace the [Blank]."
_GENERATION = {
    "image_text": (
        "Answer the question based on your trained knowledge in one sentence accurately in ENGLISH."
    ),
    "text": "Answer the question based on your trained knowledge in one sentence in ENGLISH.",
}


@dataclass(frozen=True, slots=True)
class Habits:
    """What the script does differently by model family."""

    cloze_exemplars: int = 2  # people whose cloze questions are shown solved
    text_choice_tokens: int = MAX_NEW_TOKENS  # for choice questions without a picture

    def exemplars(self, task: str) -> int:
        """People who are shown solved, and then not asked about."""
        return {"choice": 1, "cloze": self.cloze_exemplars, "generation": 0}[task]


#: By ``model_type``; all others are asked as LLaVA is.
HABITS: Mapping[str, Habits] = {"idefics2": Habits(cloze_exemplars=1, text_choice_tokens=5)}


@dataclass(frozen=True, slots=True)
class PaperRequest:
    """A raw prompt with one `IMAGE` for each picture id of ``images``, in order."""

    example_id: str
    prompt: str
    images: tuple[str, ...]
    max_new_tokens: int


@dataclass(frozen=True, slots=True)
class PaperScore:
    """A mean over ``n`` questions, in [0, 1]; the script prints accuracies in percent."""

    mode: str
    task: str
    modality: str
    metric: str
    value: float
    n: int


def requests(
    examples: Iterable[Example], people: Iterable[str], seed: int, habits: Habits = Habits()
) -> list[PaperRequest]:
    """The prompts of the four sets, by set, task and person.

    ``people``: all ids in the order of the published rows, in which exemplars are shown. They are
    people of the set that is asked about; their trained photo and wording is shown, and they are
    not asked about. Celebrities get none: the script looks its exemplars up among the fictitious
    people. UsageError if a set would have nobody left.
    """
    by_person: defaultdict[tuple[str, str], list[Example]] = defaultdict(list)
    for example in examples:
        by_person[example.set, example.person].append(example)
    rows = list(people)
    trained = {
        person: by_person["forget", person] or by_person["retain", person] for person in rows
    }
    found: list[PaperRequest] = []
    for set_ in MODES:
        asked = {person: by_person[set_, person] for person in rows if by_person[set_, person]}
        for task in TASKS if asked else ():
            count = habits.exemplars(task) if set_ != "celebrity" else 0
            if len(asked) <= count:
                raise UsageError(
                    f"the {task} questions of MLLMU-Bench show {count} people of a set as "
                    f"exemplars, but '{set_}' has {len(asked)} in all: raise "
                    "benchmark.forget_ratio, or take a larger benchmark"
                )
            drawn = stream(seed, "paper", "exemplars", set_, task).permutation(len(asked))[:count]
            shown = [list(asked)[index] for index in sorted(drawn)]
            solved = {person: _of(trained[person], task) for person in shown}
            for person, questions in asked.items():
                if person not in shown:
                    rng = stream(seed, "paper", "picture", set_, task, person)
                    pictures = _pictures(questions)
                    image = pictures[rng.integers(len(pictures)) if set_ == "test" else 0]
                    made = _requests(_of(questions, task), image, trained, solved, habits)
                    found.extend(made)
    return found


def _of(examples: Iterable[Example], task: str) -> list[Example]:
    return [example for example in examples if example.task == task]


def _pictures(examples: Iterable[Example]) -> list[str]:
    """The pictures of one person in one set: the layout has one each, several in the test set."""
    return sorted({example.image for example in examples if example.image is not None})


def _requests(
    questions: Iterable[Example],
    image: str,
    trained: Mapping[str, Sequence[Example]],
    solved: Mapping[str, Sequence[Example]],
    habits: Habits,
) -> Iterator[PaperRequest]:
    for example in questions:
        seen = example.modality == "image_text"
        prompt, images = "", []
        for person, exemplars in solved.items():
            for exemplar in exemplars:
                if exemplar.modality == example.modality:
                    prompt += _solved(exemplar)
                    images += _pictures(trained[person])[:1] if seen else []
        short = example.task == "choice" and not seen
        yield PaperRequest(
            example_id=example.id,
            prompt=prompt + _open(example),
            images=(*images, image) if seen else (),
            max_new_tokens=habits.text_choice_tokens if short else MAX_NEW_TOKENS,
        )


def _open(example: Example) -> str:
    """A question that is to be answered. Spaces are the script's: the model sees them."""
    seen = example.modality == "image_text"
    user = f"USER: {IMAGE}\n" if seen else "USER:\n"
    if example.task == "choice":
        return f"{user}{example.question}\n{_options(example)}\n{_CHOICE}\nASSISTANT:"
    if example.task == "cloze":
        return f"{user}{_blanked(example)}\nASSISTANT:"
    if seen:
        return f"{user}{example.question}\n{_GENERATION['image_text']}\nASSISTANT: "
    return f"USER: {example.question}\n{_GENERATION['text']}\nASSISTANT:"


def _solved(example: Example) -> str:
    """An exemplar with its answer."""
    seen = example.modality == "image_text"
    if example.task == "choice":
        user, answer = (f"USER: {IMAGE}\n" if seen else "USER:\n"), correct_letter(example)
        question = f"Question: {example.question}\n{_options(example)}"
    else:
        user, answer = (f"USER:{IMAGE}\n" if seen else "USER:\n"), example.answer
        question = _blanked(example)
    return f"{user}{question}\nCorrect Answer: {answer}\n"


def _options(example: Example) -> str:
    pairs = zip(_LETTERS, example.choices, strict=False)
    return "\n".join(f"{letter}: {option}" for letter, option in pairs)


def _blanked(example: Example) -> str:
    """Every ``__`` is a blank of its own, so that a long one counts as several."""
    return f"{example.question.replace('__', '[Blank]')}\n{_CLOZE}"


def correct_letter(example: Example) -> str:
    """The letter of the right option, by its place."""
    return _LETTERS[example.choices.index(example.answer)]


def reply(transcript: str) -> str:
    """What counts as the answer: prompt and continuation, cut at the first two ``ASSISTANT:``."""
    return transcript.split("ASSISTANT:")[1].strip()


def score(example: Example, text: str) -> dict[str, float]:
    """The metrics of one reply, in [0, 1].

    Choice: the first character, upper-cased, is the letter. Cloze: the answer stands in the reply,
    whatever the case. Generation: ROUGE-1, -2 and -L (F, stemmed) and BLEU-4 (one sentence, words
    by blanks, smoothing 1 of Chen and Cherry, 2014).
    """
    if example.task == "choice":
        return {"accuracy": float(text[:1].upper() == correct_letter(example))}
    if example.task == "cloze":
        return {"match": float(example.answer.lower() in text.lower())}
    from nltk.translate.bleu_score import (  # type: ignore[import-untyped,unused-ignore]
        SmoothingFunction,
        sentence_bleu,
    )

    rouge = _rouge().score(example.answer, text)
    smoothing = SmoothingFunction().method1
    bleu = sentence_bleu([example.answer.split()], text.split(), smoothing_function=smoothing)
    return {
        "rouge_1": float(rouge["rouge1"].fmeasure),
        "rouge_2": float(rouge["rouge2"].fmeasure),
        "rouge_l": float(rouge["rougeL"].fmeasure),
        "bleu": float(bleu),
    }


@cache
def _rouge() -> Any:
    from rouge_score import rouge_scorer  # type: ignore[import-untyped,unused-ignore]

    return rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)


def summary(examples: Iterable[Example], replies: Mapping[str, str]) -> list[PaperScore]:
    """The script's numbers: means over the replies, which are given by example id."""
    by_id = {example.id: example for example in examples}
    found: dict[tuple[str, str, str, str], list[float]] = {}
    for id_, text in replies.items():
        example = by_id[id_]
        for metric, value in score(example, text).items():
            key = (MODES[example.set], example.task, example.modality, metric)
            found.setdefault(key, []).append(value)
    return [
        PaperScore(*key, value=sum(values) / len(values), n=len(values))
        for key, values in found.items()
    ]
