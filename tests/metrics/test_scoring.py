"""Item scores by hand, the prior baseline, cells and warnings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mubench.errors import RunError
from mubench.metrics.scoring import (
    METRICS,
    ItemScore,
    answer_prior,
    build_cells,
    collapse_warnings,
    score,
)
from mubench.record import Cell
from mubench.rng import stream
from mubench.types import MATCHINGS, ROLES, SETS, TASKS, Example, Response

CHOICE = Example(
    "c1", "forget", "choice", "text", "p1", "city", "Where?", "Paris", "Paris",
    choices=("Rome", "Paris", "Oslo"),
)  # fmt: skip
GENERATION = Example(
    "g1", "forget", "generation", "text", "p1", "city", "Where?", "She lives in Paris.", "Paris"
)
CLOZE = replace(GENERATION, id="z1", task="cloze", answer="Paris")


def chosen(logprobs: Sequence[float], lengths: Sequence[int]) -> dict[str, float]:
    return dict(score(CHOICE, Response("c1", "ok", tuple(logprobs), tuple(lengths))).values)


def said(example: Example, text: str, **changes: Any) -> dict[str, float]:
    response = Response(example.id, "ok", (-2.0,), (4,), text, finished=True)
    return dict(score(example, replace(response, **changes)).values)


def test_a_choice_is_length_normalised() -> None:
    # Sums prefer Rome, means per token Paris: -2/1, -3/3, -4/2.
    values = chosen([-2.0, -3.0, -4.0], [1, 3, 2])
    expected = math.exp(-1) / (math.exp(-2) + math.exp(-1) + math.exp(-2))
    assert values == pytest.approx({"accuracy": 1.0, "probability": expected, "parsed": 1.0})


def test_a_tie_is_wrong() -> None:
    assert chosen([-1.0, -1.0, -9.0], [1, 1, 1])["accuracy"] == 0.0
    assert chosen([-1.0] * 3, [1] * 3) == {
        "accuracy": 0.0,
        "probability": pytest.approx(1 / 3),
        "parsed": 1.0,
    }


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", range(3))
def test_scores_that_are_not_finite_are_unparsed_and_wrong(bad: float, place: int) -> None:
    logprobs = [-5.0, -1.0, -5.0]
    logprobs[place] = bad
    assert chosen(logprobs, [1, 1, 1]) == {"accuracy": 0.0, "probability": 0.0, "parsed": 0.0}


@given(st.lists(st.floats(-1e6, 0), min_size=3, max_size=3), st.permutations(range(3)))
def test_option_order_does_not_matter(logprobs: list[float], order: list[int]) -> None:
    """Neither a first-option nor a last-option bias."""
    moved = replace(CHOICE, choices=tuple(CHOICE.choices[i] for i in order))
    response = Response("c1", "ok", tuple(logprobs[i] for i in order), (1, 1, 1))
    values = score(moved, response).values
    assert values == pytest.approx(chosen(logprobs, [1, 1, 1]))
    assert 0 <= values["probability"] <= 1


def test_generation() -> None:
    values = said(GENERATION, "He lives in Paris")
    assert values == pytest.approx(
        {
            "rouge_l": 0.75,
            "rouge_l_recall": 0.75,
            "keyword": 1.0,
            "exact": 0.0,
            "probability": math.exp(-0.5),
            "parsed": 1.0,
            "refusal": 0.0,
            "degenerate": 0.0,
        }
    )
    assert said(GENERATION, "she lives in PARIS")["exact"] == 1.0
    assert said(GENERATION, "She likes comparisons")["keyword"] == 0.0


def test_a_metric_is_of_the_items_it_applies_to() -> None:
    """Without a keyword there is no keyword score, and never a 0."""
    bare = replace(GENERATION, id="g2", person="p2", keyword="")
    assert "keyword" not in said(bare, "She lives in Paris.")
    both = {
        e.id: score(e, Response(e.id, "ok", (-2.0,), (4,), "Paris", True))
        for e in (GENERATION, bare)
    }
    cells = build_cells([GENERATION, bare], dict.fromkeys(ROLES, both), {}, 0)
    counts = {cell.metric: cell.n for cell in cells}
    assert (counts["keyword"], counts["rouge_l"]) == (1, 2)
    alone = build_cells([bare], dict.fromkeys(ROLES, both), {}, 0)
    assert "keyword" not in {cell.metric for cell in alone}


def test_cloze_is_equality_and_not_containment() -> None:
    assert said(CLOZE, " paris. ")["match"] == 1.0
    assert said(CLOZE, "Rome, Paris, Oslo, Berlin")["match"] == 0.0


@pytest.mark.parametrize(
    ("text", "finished", "flag"),
    [
        ("I don’t know.", True, "refusal"),
        ("Paris Paris Paris Paris", True, "degenerate"),
        ("", True, "degenerate"),
        ("She lives in Paris and", False, None),
        ("She lives in Paris", None, None),
    ],
)
@pytest.mark.parametrize("example", [GENERATION, CLOZE])
def test_unparsed(example: Example, text: str, finished: bool | None, flag: str | None) -> None:
    values = said(example, text, finished=finished)
    assert values["parsed"] == 0.0
    assert {k for k in ("refusal", "degenerate") if values[k]} == ({flag} if flag else set())


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_broken_likelihood_is_unparsed_and_never_nan(bad: float) -> None:
    values = said(GENERATION, "She lives in Paris.", logprobs=(bad,))
    assert values["probability"] == 0.0 and values["parsed"] == 0.0


@given(st.text() | st.sampled_from(["I don't know ", "US US US US"]), st.floats())
def test_any_text_gets_every_metric_in_range(text: str, logprob: float) -> None:
    for example in (GENERATION, CLOZE):
        values = said(example, text, logprobs=(logprob,))
        names = {info.name for info in METRICS[example.task]}
        assert set(values) == names - {"truth_ratio"}  # there are no wrong answers
        assert all(0 <= value <= 1 for value in values.values())
        assert values["parsed"] + values["refusal"] <= 1
        assert values["parsed"] + values["degenerate"] <= 1


@pytest.mark.parametrize(
    ("example", "response", "words"),
    [
        (CHOICE, Response("c1", "error", error="out of memory"), "'c1': out of memory"),
        (CHOICE, Response("c1", "ok", (-1.0, -1.0), (1, 1)), "'c1' needs"),
        (CHOICE, Response("c1", "ok", (-1.0,) * 3, (1, 0, 1)), "'c1' needs"),
        (CHOICE, Response("c2", "ok", (-1.0,) * 3, (1, 1, 1)), "'c2' scored against 'c1'"),
        (replace(CHOICE, answer="Bonn"), Response("c1", "ok", (-1.0,) * 3, (1,) * 3), "none of"),
        (GENERATION, Response("g1", "ok", (-1.0,), (1,)), "'g1' has no text"),
        (GENERATION, Response("g1", "ok", text="Paris", finished=True), "'g1' needs"),
    ],
)
def test_a_response_that_cannot_be_scored_is_an_error(
    example: Example, response: Response, words: str
) -> None:
    with pytest.raises(RunError, match=words):
        score(example, response)


def test_metric_table() -> None:
    assert set(METRICS) == {*TASKS, *MATCHINGS}
    headline = {t: [m.name for m in infos if m.headline] for t, infos in METRICS.items()}
    assert headline == {
        "choice": ["accuracy"], "generation": ["rouge_l", "keyword"], "cloze": ["match"],
        "retrieval": ["r1", "similarity"], "zero_shot": ["accuracy"],
        "prototype": ["accuracy"], "membership": ["auc"],
    }  # fmt: skip
    for info in (m for infos in METRICS.values() for m in infos):
        ways = [info.better_on(s) for s in SETS]
        if info.headline:
            assert ways == ["to_gold", "to_gold", *["up"] * 5]
        if info.name in ("refusal", "degenerate"):
            assert set(ways) == {"down"}


def test_answer_prior() -> None:
    def prior(answers: Sequence[str], fact: str = "city") -> float:
        return answer_prior([CHOICE, GENERATION], {fact: answers})["c1"]

    assert prior(["Paris", "paris", "Rome", "Bonn", "Bonn", "Bonn"]) == 1.0
    assert prior(["Rome", "Rome", "Paris"]) == 0.0
    assert prior(["Rome", "Paris"]) == 0.5
    assert prior(["Bonn"]) == pytest.approx(1 / 3)  # no option was seen: a plain guess
    assert prior(["Paris"], fact="job") == pytest.approx(1 / 3)
    assert set(answer_prior([CHOICE, GENERATION], {})) == {"c1"}


# --- cells ---------------------------------------------------------------------------------------

Scores = dict[Any, dict[str, ItemScore]]


def world(
    target: float, gold: float, method: float, set_: str = "forget", task: str = "choice"
) -> tuple[list[Example], Scores]:
    """20 persons with 2 to 4 items each; metrics are right with the given chance per model."""
    random = stream(5, "world", set_, task)
    examples, scores = [], {role: {} for role in ROLES}
    for person in range(20):
        for item in range(2 + person % 3):
            example = replace(
                CHOICE, id=f"{set_}-{task}-{person}-{item}", set=set_, task=task,
                person=f"{set_}-{person}",
            )  # fmt: skip
            examples.append(example)
            luck = random.random()
            for role, chance in zip(ROLES, (target, gold, method), strict=True):
                values = {info.name: float(luck < chance) for info in METRICS[task]}
                values["probability"] = chance * luck  # sums of these depend on their order
                scores[role][example.id] = ItemScore(example.id, values)
    return examples, scores


def cell_of(cells: Sequence[Cell], metric: str) -> Cell:
    return next(c for c in cells if c.metric == metric)


def test_a_cell_by_hand() -> None:
    examples, scores = world(0.9, 0.3, 0.5)
    prior = {e.id: 0.25 for e in examples}
    cells = build_cells(examples, scores, prior, seed=1)
    assert [c.metric for c in cells] == ["accuracy", "probability", "parsed"]
    cell = cells[0]
    mean = {
        role: sum(s.values["accuracy"] for s in scores[role].values()) / len(examples)
        for role in ROLES
    }
    assert (cell.n, cell.persons, cell.better, cell.headline) == (59, 20, "to_gold", True)
    assert cell.target.value == pytest.approx(mean["target"])
    assert cell.gold.value == pytest.approx(mean["gold"])
    assert cell.method.value == pytest.approx(mean["method"])
    assert cell.difference.value == pytest.approx(mean["method"] - mean["gold"])
    assert cell.gap is not None and cell.gap_reason is None and cell.p_target_gold < 0.01
    expected = (mean["method"] - mean["gold"]) / (mean["target"] - mean["gold"])
    assert cell.gap.value == pytest.approx(expected)
    for value in (cell.target, cell.gold, cell.method, cell.difference, cell.gap):
        assert value.low < value.value < value.high
    assert cell.prior is not None and cell.prior.value == 0.25
    assert [c.prior for c in cells[1:]] == [None, None]


def test_no_gap_where_target_and_gold_do_not_differ() -> None:
    cell = build_cells(*world(0.5, 0.5, 0.1), {}, seed=1)[0]
    assert cell.gap is None
    assert cell.gap_reason == "target and gold do not differ (p = 1)"
    assert cell.prior is None


def test_cells_come_in_a_fixed_order_whatever_the_order_of_items() -> None:
    parts = [world(0.9, 0.4, 0.6, s, t) for s in ("retain", "forget") for t in ("cloze", "choice")]
    examples = [e for part, _ in parts for e in part]
    examples += [replace(e, id=f"{e.id}-image", modality="image_text") for e in examples]
    scores: Scores = {role: {} for role in ROLES}
    for role in ROLES:
        for _, part in parts:
            scores[role] |= part[role]
            scores[role] |= {f"{key}-image": value for key, value in part[role].items()}
    cells = build_cells(examples, scores, {}, seed=1)
    places = list(dict.fromkeys((c.set, c.modality, c.task) for c in cells))
    assert places == [
        (s, m, t)
        for s in ("forget", "retain")
        for m in ("image_text", "text")
        for t in ("choice", "cloze")
    ]
    order = stream(2, "order").permutation(len(examples))
    assert build_cells([examples[i] for i in order], scores, {}, seed=1) == cells
    # Only its adjusted p depends on which others are computed with a cell.
    alone = build_cells(parts[1][0], scores, {}, seed=1)
    same = [c for c in cells if (c.set, c.modality, c.task) == ("retain", "text", "choice")]
    for one, other in zip(alone, same, strict=True):
        assert one == other.model_copy(update={"p_adjusted": one.p_adjusted})


@pytest.mark.parametrize("role", ROLES)
def test_missing_items_are_an_error(role: str) -> None:
    examples, scores = world(0.9, 0.3, 0.5)
    for example in examples[3:5]:
        del scores[role][example.id]
    with pytest.raises(RunError, match=f"2 of 59 items have no {role} score.*'{examples[3].id}'"):
        build_cells(examples, scores, {}, seed=1)


def test_one_person_gives_values_without_intervals() -> None:
    examples, scores = world(1.0, 0.0, 0.5)
    cell = build_cells([e for e in examples if e.person == "forget-2"], scores, {}, seed=1)[0]
    assert (cell.n, cell.persons, cell.target.value, cell.target.low) == (4, 1, 1.0, None)
    assert cell.gap is None and cell.gap_reason == "target and gold do not differ (p = 1)"


def warnings_of(*args: Any) -> list[str]:
    return collapse_warnings(build_cells(*world(*args), {}, seed=1))


def test_a_broken_model_is_named() -> None:
    lines = warnings_of(0.05, 0.05, 0.95, "forget", "generation")
    assert [line.split(" rate ")[0] for line in lines] == [
        "forget text generation: refusal",
        "forget text generation: degenerate",
    ]
    assert not warnings_of(0.05, 0.05, 0.15, "forget", "generation")


def test_lost_utility_is_named() -> None:
    lines = warnings_of(0.9, 0.9, 0.5, "retain", "cloze")
    assert len(lines) == 1 and lines[0].startswith("retain text cloze: match 0.")
    assert "damaged" in lines[0]
    assert not warnings_of(0.9, 0.9, 0.87, "retain", "cloze")  # significant, but 0.08 lower
    assert not warnings_of(0.5, 0.5, 0.9, "retain", "choice")


def test_over_forgetting_is_named() -> None:
    lines = warnings_of(0.9, 0.5, 0.1, "forget", "cloze")
    assert len(lines) == 1 and "over-forgotten" in lines[0]
    assert not warnings_of(0.9, 0.5, 0.5, "forget", "cloze")
    below = build_cells(*world(0.9, 0.5, 0.44, "forget", "cloze"), {}, seed=1)
    assert below[0].difference.value < 0  # by chance: the interval reaches 0
    assert not collapse_warnings(below)
    assert not warnings_of(0.9, 0.5, 0.9, "forget", "cloze")


# -- truth ratio ----------------------------------------------------------------------------


def ratio(paraphrase: str, *logprobs: float) -> float:
    example = replace(GENERATION, paraphrase=paraphrase, perturbed=("Rome.", "Oslo."))
    response = Response("g1", "ok", logprobs, (2,) * len(logprobs), "Paris", True)
    return score(example, response).values["truth_ratio"]


def test_truth_ratio_by_hand() -> None:
    """TOFU's ratio from p(paraphrase) = e^-1 and wrong ones e^-2 and e^-4 a token (mean e^-3): e^-2
    over 1."""
    assert ratio("It is Paris.", -9.0, -2.0, -4.0, -8.0) == pytest.approx(1 / (1 + math.exp(-2)))
    # Without a paraphrase the answer stands for itself.
    assert ratio("", -2.0, -4.0, -8.0) == pytest.approx(1 / (1 + math.exp(-2)))
    assert ratio("", -4.0, -4.0, -4.0) == pytest.approx(0.5)


def test_truth_ratio_of_what_cannot_be() -> None:
    assert ratio("", -math.inf, -4.0, -8.0) == 0.0
    assert ratio("", -2.0, -math.inf, -8.0) == 1.0
    assert ratio("", -math.inf, -math.inf, -8.0) == 0.0
