"""Metrics of ranks, worked out by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mubench.errors import RunError
from mubench.metrics.catalogue import METRICS
from mubench.metrics.retrieval import matching, pair_auc
from mubench.metrics.scoring import build_cells, score
from mubench.types import MATCHINGS, ROLES, Example, Response


def test_auc_by_hand() -> None:
    assert pair_auc((1,), 5) == 1.0
    assert pair_auc((5,), 5) == 0.0
    # Order: wrong, right, wrong, right, wrong: 2 of 3 and 1 of 3 wrong ones stand below.
    assert pair_auc((2, 4), 5) == pytest.approx((2 / 3 + 1 / 3) / 2)


@given(st.lists(st.booleans(), min_size=2, max_size=12).filter(lambda b: any(b) and not all(b)))
def test_auc_counts_pairs(order: list[bool]) -> None:
    ranks = tuple(place for place, right in enumerate(order, start=1) if right)
    pairs = [(i, j) for i, right in enumerate(order) if right for j, r in enumerate(order) if not r]
    assert pair_auc(ranks, len(order)) == pytest.approx(sum(i < j for i, j in pairs) / len(pairs))


def test_metrics_of_one_response() -> None:
    found = matching(Response("q", "ok", ranks=(6, 9), among=402, cosine=-0.5))
    assert found == {
        "r1": 0.0,
        "r5": 0.0,
        "r10": 1.0,
        "accuracy": 0.0,
        "mrr": pytest.approx(1 / 6),
        "auc": pytest.approx(1 - (5 + 7) / 800),
        "tpr": 0.0,  # 5 of 400 wrong ones are more than 1 %
        "similarity": 0.25,
        "class_recall": 0.0,
        "chance": 2 / 402,
    }
    assert matching(Response("q", "ok", ranks=(4,), among=401, cosine=1.0))["tpr"] == 1.0


def _example(task: str) -> Example:
    return Example("q", "forget", task, "image_to_text", "p", "name", "", "Ann", "Ann", gallery="g")


@pytest.mark.parametrize("task", MATCHINGS)
def test_every_task_gives_its_catalogue(task: str) -> None:
    response = Response("q", "ok", ranks=(1,), among=9, cosine=0.5)
    assert set(score(_example(task), response).values) == {
        *(i.name for i in METRICS[task]),
        "chance",
    }


@pytest.mark.parametrize("cosine", [None, float("nan")])
def test_a_response_without_a_place_is_an_error(cosine: float | None) -> None:
    ranks = () if cosine is None else (1,)
    with pytest.raises(RunError, match="ranks"):
        score(_example("retrieval"), Response("q", "ok", ranks=ranks, among=9, cosine=cosine))


def test_mean_per_class_recall_weighs_classes_alike() -> None:
    """Three reds, two right; one blue, wrong: 1/2 of items and (2/3 + 0) / 2 of classes."""
    ranks = {"a": 1, "b": 1, "c": 3, "d": 2}
    examples = [
        Example(
            id_, "general", "zero_shot", "image_to_text", id_, "color", "",
            "blue" if id_ == "d" else "red", "", gallery="g",
        )
        for id_ in ranks
    ]  # fmt: skip
    items = {
        example.id: score(
            example, Response(example.id, "ok", ranks=(ranks[example.id],), among=4, cosine=0.0)
        )
        for example in examples
    }
    cells = build_cells(examples, dict.fromkeys(ROLES, items), {}, 0)
    found = {cell.metric: cell for cell in cells}
    assert found["accuracy"].method.value == 1 / 2
    assert found["accuracy"].chance == 1 / 4
    assert found["class_recall"].method.value == pytest.approx(1 / 3)
    assert found["class_recall"].n == 2
