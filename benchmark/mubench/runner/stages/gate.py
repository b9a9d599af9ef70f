"""The gate before unlearning: a target that learned nothing has nothing to forget."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mubench.config.schema import RunSpec
from mubench.data.load import BenchmarkData
from mubench.errors import RunError
from mubench.metrics.text import rouge_l
from mubench.rng import stream
from mubench.types import Example

from .scores import answer_prior, item_scores


def check_gate(spec: RunSpec, data: BenchmarkData, predicted: Path) -> None:
    """RunError unless the target knows the forget people clearly better than a guess.

    Judged by choice accuracy; where a benchmark has no choice questions, by zero-shot accuracy, by
    R@1 in a gallery, or by ROUGE-L, for which the guess is what a retained person's answer to such
    a question would score.
    """
    scores = item_scores(data, predicted)
    asked = [e for e in data.examples if e.set == "forget"]
    metric, judged = "accuracy", [e for e in asked if e.task == "choice"]
    if judged:
        prior = answer_prior(data)
        guesses = [prior[e.id] for e in judged]
    elif judged := [e for e in asked if e.task == "zero_shot"]:
        guesses = [_blind(data, e) for e in judged]
    elif judged := [e for e in asked if e.task == "retrieval"]:
        metric, guesses = "r1", [_blind(data, e) for e in judged]
    else:
        metric, judged = "rouge_l", [e for e in asked if e.task == "generation"]
        guesses = _borrowed_answers(spec, data, judged)
    known = sum(scores[e.id].values[metric] for e in judged) / len(judged)
    guess = sum(guesses) / len(guesses)
    if known < guess + spec.gate.margin:
        raise RunError(
            f"the target never learned the forget people: {metric} {known:.2f}, a guess gives "
            f"{guess:.2f}, wanted is {spec.gate.margin:.2f} more; train longer "
            "(--set target.epochs=...) or lower --set gate.margin=..."
        )


def _blind(data: BenchmarkData, example: Example) -> float:
    """What a guess gets in a gallery: the share of right candidates."""
    labels = [candidate.label for candidate in data.gallery(example.gallery)]
    return labels.count(example.answer) / len(labels)


def _borrowed_answers(spec: RunSpec, data: BenchmarkData, asked: Sequence[Example]) -> list[float]:
    """ROUGE-L of what a random retained person answers, to the same question where there is one."""
    rng = stream(spec.seed, "gate")
    kept = [e for e in data.examples if e.set == "retain" and e.task == "generation"]
    found = []
    for example in asked:
        alike = [e for e in kept if (e.fact, e.modality) == (example.fact, example.modality)]
        pool = alike or kept
        borrowed = pool[int(rng.integers(len(pool)))].answer
        found.append(rouge_l(borrowed, example.answer)[0])
    return found
