"""From responses to per-item scores, and from the scores of three models to the cells of a record.

Every metric lies in [0, 1].
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mubench.errors import RunError
from mubench.metrics.catalogue import METRICS, MetricInfo
from mubench.metrics.retrieval import matching
from mubench.metrics.text import (
    exact_match,
    is_degenerate,
    is_refusal,
    keyword_match,
    normalise,
    rouge_l,
)
from mubench.record import Cell, Value
from mubench.rng import stream
from mubench.stats.clustered import ALPHA, Clusters, adjusted
from mubench.stats.permutation import paired_permutation_p
from mubench.types import (
    ASPECTS,
    DIRECTIONS,
    MATCHINGS,
    MODALITIES,
    ROLES,
    SETS,
    TASKS,
    Estimate,
    Example,
    Response,
)

#: The normalised gap divides by (target - gold): below this p-value they count as different.
GAP_P = 0.01
#: Equivalence margin, in the unit of every metric: all lie in [0, 1].
MARGIN = 0.05
#: Differences in a rate, or drops of a headline metric, that are worth a warning.
RATE_RISE = 0.2
UTILITY_DROP = 0.1


@dataclass(frozen=True, slots=True)
class ItemScore:
    """The metrics of one response, by the names in ``METRICS`` of its task."""

    example_id: str
    values: Mapping[str, float]


def answer_probability(logprob: float, tokens: int) -> float:
    """Geometric mean probability per token, in [0, 1]; 0 if the log-prob is not finite."""
    return math.exp(min(logprob / tokens, 0.0)) if math.isfinite(logprob) else 0.0


def truth_ratio(example: Example, response: Response) -> float | None:
    """p / (p + q) of the paraphrase (or else the answer) and the wrong answers, each
    exp(log p / tokens), q their geometric mean. It is 1 / (1 + TR) of TOFU's truth ratio TR (as
    computed by OpenUnlearning), hence in [0, 1] and higher where more is known. None without wrong
    answers; 0 where the true one has no finite log-probability."""
    if not example.perturbed:
        return None
    means = [p / n for p, n in zip(response.logprobs, response.lengths, strict=True)]
    first = 1 + bool(example.paraphrase)
    true, wrong = means[first - 1], math.fsum(means[first:]) / len(means[first:])
    if not math.isfinite(true):
        return 0.0
    return 1 / (1 + math.exp(min(wrong - true, 700)))


def choose(scores: Sequence[float], true: int) -> tuple[float, float]:
    """(accuracy, softmax probability) of option ``true`` under length-normalised log-probs.

    A tie with another option counts as wrong, so a model that likes all options alike gets 0.
    Nothing can be read from scores that are not all finite: both are 0 then.
    """
    if not all(map(math.isfinite, scores)):
        return 0.0, 0.0
    top = max(scores)
    weights = [math.exp(s - top) for s in scores]
    best = all(s < scores[true] for i, s in enumerate(scores) if i != true)
    return float(best), weights[true] / math.fsum(weights)


def score(example: Example, response: Response) -> ItemScore:
    """All metrics of one response. A failed or malformed response is an error, never a 0."""
    if response.example_id != example.id:
        raise RunError(f"response of '{response.example_id}' scored against '{example.id}'")
    if response.status == "error":
        raise RunError(f"no response for '{example.id}': {response.error}; run predict again")
    if example.gallery:
        return ItemScore(example.id, _matching(example, response))
    candidates = len(example.candidates)
    if (
        not len(response.logprobs) == len(response.lengths) == candidates
        or min(response.lengths) < 1
    ):
        raise RunError(
            f"response of '{example.id}' needs the log-probabilities and lengths of {candidates} "
            f"candidates, has {len(response.logprobs)} and {response.lengths}"
        )
    if example.task == "choice":
        return ItemScore(example.id, _choice(example, response))
    if response.text is None:
        raise RunError(f"response of '{example.id}' has no text; run predict again")
    return ItemScore(example.id, _text(example, response, response.text))


def _choice(example: Example, response: Response) -> dict[str, float]:
    scores = [p / n for p, n in zip(response.logprobs, response.lengths, strict=True)]
    if example.answer not in example.choices:
        raise RunError(f"the answer of '{example.id}' is none of its options")
    accuracy, probability = choose(scores, example.choices.index(example.answer))
    parsed = float(all(map(math.isfinite, scores)))
    return {"accuracy": accuracy, "probability": probability, "parsed": parsed}


def _matching(example: Example, response: Response) -> dict[str, float]:
    """The metrics of the task. RunError where nothing was ranked."""
    if not response.ranks or response.cosine is None or not math.isfinite(response.cosine):
        raise RunError(f"response of '{example.id}' has no ranks or no finite cosine")
    values = matching(response)
    return {name: values[name] for name in (*(i.name for i in METRICS[example.task]), "chance")}


def _text(example: Example, response: Response, text: str) -> dict[str, float]:
    refusal, degenerate = is_refusal(text), is_degenerate(text)
    finite = math.isfinite(response.logprobs[0])
    values = {
        "probability": answer_probability(response.logprobs[0], response.lengths[0]),
        **({} if (truth := truth_ratio(example, response)) is None else {"truth_ratio": truth}),
        "parsed": float(finite and response.finished is True and not (refusal or degenerate)),
        "refusal": float(refusal),
        "degenerate": float(degenerate),
    }
    if example.task == "cloze":
        return {"match": float(exact_match(text, example.keyword)), **values}
    f, recall = rouge_l(text, example.answer)
    # Some published sets name no keyword; then there is no such score.
    keyword = {"keyword": float(keyword_match(text, example.keyword))} if example.keyword else {}
    return {
        "rouge_l": f,
        **keyword,
        "rouge_l_recall": recall,
        "exact": float(exact_match(text, example.answer)),
        **values,
    }


def answer_prior(
    examples: Sequence[Example], training_answers: Mapping[str, Sequence[str]]
) -> dict[str, float]:
    """Expected accuracy, per choice question, of always picking the commonest answer.

    ``training_answers`` holds, by kind of fact, the answers about *other* persons. The guess is
    the option seen most often among them; ties, also at zero, are guessed at random.
    """
    seen = {fact: Counter(map(normalise, answers)) for fact, answers in training_answers.items()}
    prior = {}
    for example in examples:
        if example.task == "choice":
            counts = seen.get(example.fact, Counter())
            often = [counts[normalise(option)] for option in example.choices]
            true = often[example.choices.index(example.answer)]
            prior[example.id] = 1 / often.count(true) if true == max(often) else 0.0
    return prior


def build_cells(
    examples: Sequence[Example],
    scores: Mapping[str, Mapping[str, ItemScore]],
    prior: Mapping[str, float],
    seed: int,
) -> list[Cell]:
    """One cell per (set, modality, task, metric) that has items, in the order of ``mubench.types``.

    ``scores`` are by role: target, method, gold, and further golds (``gold_roles``). The order of
    ``examples`` does not matter: random draws depend on ``seed`` and the persons only.
    """
    for role in {*ROLES, *scores}:
        missing = [e.id for e in examples if e.id not in scores[role]]
        if missing:
            raise RunError(
                f"{len(missing)} of {len(examples)} items have no {role} score, "
                f"the first is '{missing[0]}'; run predict again"
            )
    groups: defaultdict[tuple[int, int, int], list[Example]] = defaultdict(list)
    orders: tuple[tuple[str, ...], ...] = (
        SETS,
        (*MODALITIES, *DIRECTIONS),
        (*TASKS, *MATCHINGS),
    )
    for example in sorted(examples, key=lambda e: e.id):  # sums in one order: the same last bit
        place = (example.set, example.modality, example.task)
        i, j, k = (order.index(name) for order, name in zip(orders, place, strict=True))
        groups[i, j, k].append(example)
    found = [cell for key in sorted(groups) for cell in _group(groups[key], scores, prior, seed)]
    return _judged(found)


def _group(
    items: Sequence[Example],
    scores: Mapping[str, Mapping[str, ItemScore]],
    prior: Mapping[str, float],
    seed: int,
) -> list[Cell]:
    first = items[0]
    cells = []
    roles = ("target", "method", *(role for role in scores if role.startswith("gold")))
    for info in METRICS[first.task]:
        # A metric may apply to some items only, e.g. those with a keyword.
        scored = [e for e in items if info.name in scores["target"][e.id].values]
        if not scored:
            continue
        people = [e.person for e in scored]
        found = [[scores[role][e.id].values[info.name] for e in scored] for role in roles]
        if info.per_class:
            people, found = _by_class(scored, found)
        sample = Clusters(people)
        target, method, *golds = found
        gold, each = sample.means(golds)
        mean = np.mean(golds, axis=0)
        p = paired_permutation_p(target, mean, people, stream(seed, "permutation", first.set))
        difference = sample.difference(method, golds)
        has_prior = info.name == "accuracy" and all(e.id in prior for e in scored)
        cells.append(
            Cell(
                set=first.set,
                modality=first.modality,
                task=first.task,
                metric=info.name,
                better=info.better_on(first.set),
                unit=info.unit,
                headline=info.headline_on(first),
                n=len(people),
                persons=sample.persons,
                target=_value(sample.mean(target)),
                gold=_value(gold),
                method=_value(sample.mean(method)),
                golds=list(each),
                chance=_chance(info, scored, scores["target"]),
                prior=_value(sample.mean([prior[e.id] for e in scored])) if has_prior else None,
                difference=_value(difference.estimate()),
                gap=_value(sample.ratio(method, golds, target).estimate()) if p < GAP_P else None,
                gap_reason=None if p < GAP_P else f"target and gold do not differ (p = {p:.2g})",
                p_target_gold=p,
                p_value=difference.p(),
                margin=MARGIN,
                verdict="equivalent" if difference.within(MARGIN) else "unresolved",
                resolvable=difference.resolvable(),
                items_needed=difference.items_needed(MARGIN),
            )
        )
    return cells


def _by_class(
    items: Sequence[Example], values: Sequence[Sequence[float]]
) -> tuple[list[str], list[list[float]]]:
    """The classes, and for every model the mean of its values on the items of each."""
    places: defaultdict[str, list[int]] = defaultdict(list)
    for place, example in enumerate(items):
        places[f"{example.fact} {example.answer}"].append(place)
    means = [[math.fsum(of[i] for i in at) / len(at) for at in places.values()] for of in values]
    return list(places), means


def _chance(
    info: MetricInfo, items: Sequence[Example], scores: Mapping[str, ItemScore]
) -> float | None:
    """What a guess gets, where a guess is defined."""
    if info.chance is not None or info.name not in ("accuracy", "r1"):
        return info.chance
    blind = [
        1 / len(example.choices) if example.choices else scores[example.id].values["chance"]
        for example in items
    ]
    return math.fsum(blind) / len(blind)


def _judged(cells: Sequence[Cell]) -> list[Cell]:
    """The headline cells with their p-values adjusted to each other; verdicts are theirs alone."""
    ps = iter(adjusted([cell.p_value for cell in cells if cell.headline]))
    found = []
    for cell in cells:
        change: dict[str, Any] = {"verdict": None, "margin": None, "items_needed": None}
        if cell.headline:
            p = next(ps)
            change = {"p_adjusted": p}
            if cell.verdict == "unresolved" and p is not None and p < ALPHA:
                change["verdict"] = "different"
        found.append(cell.model_copy(update=change))
    return found


def _value(estimate: Estimate) -> Value:
    return Value(**asdict(estimate))


def collapse_warnings(cells: Sequence[Cell]) -> list[str]:
    """One plain line for each sign that the method broke the model or forgot too much."""
    checks: tuple[Callable[[Cell], str | None], ...] = (_broken, _lost, _overforgotten)
    return [line for check in checks for cell in cells if (line := check(cell))]


def _place(cell: Cell) -> str:
    return f"{cell.set} {cell.modality} {cell.task}"


def _broken(cell: Cell) -> str | None:
    if (
        cell.metric in ("refusal", "degenerate")
        and cell.method.value - cell.target.value > RATE_RISE
    ):
        return (
            f"{_place(cell)}: {cell.metric} rate {cell.method.value:.2f} after unlearning, "
            f"{cell.target.value:.2f} before: the other text metrics say little about forgetting"
        )
    return None


def _below_gold(cell: Cell) -> bool:
    """Whether a headline metric is under gold's and the whole paired interval with it."""
    return cell.headline and cell.difference.high is not None and cell.difference.high < 0


def _lost(cell: Cell) -> str | None:
    if (
        cell.set in ASPECTS["utility"]
        and _below_gold(cell)
        and cell.difference.value < -UTILITY_DROP
    ):
        return (
            f"{_place(cell)}: {cell.metric} {cell.method.value:.2f}, gold {cell.gold.value:.2f}: "
            "the method damaged what it should have kept"
        )
    return None


def _overforgotten(cell: Cell) -> str | None:
    if cell.set in ASPECTS["efficacy"] and _below_gold(cell):
        return (
            f"{_place(cell)}: {cell.metric} {cell.method.value:.2f}, gold {cell.gold.value:.2f}: "
            "over-forgotten, further down than a model that never saw these people"
        )
    return None
