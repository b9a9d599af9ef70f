"""SALMUBench's metrics against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from mubench.rng import stream
from mubench.tracks import salmubench as track

X, Y = [1.0, 0.0], [0.0, 1.0]
HALF = [0.6, 0.8]


def rows(*vectors: list[float]) -> track.Features:
    return np.array(vectors, dtype=np.float32)


def test_cosines_row_by_row() -> None:
    found = track.cosines(rows(X, X, HALF), rows(X, Y, X))
    assert found == pytest.approx([1.0, 0.0, 0.6])


def test_ranks_count_distractors_at_least_as_similar() -> None:
    images = rows(X, HALF, Y)
    texts = rows(HALF, HALF, X)  # own cosines .6, 1, 0
    distractors = rows(X, Y, HALF, [-1.0, 0.0])
    # Row 0: X (1) and HALF (.6, a tie) stand before it. Row 1: HALF ties. Row 2: Y, HALF, and the
    # ties X and -X.
    found = track.ranks(images, texts, distractors, ["a", "b", "c"], ["p", "q", "r", "s"])
    assert found.tolist() == [3, 2, 5]


def test_a_distractor_that_says_the_same_is_none() -> None:
    found = track.ranks(rows(X), rows(HALF), rows(X, X, Y), ["a"], ["a", "b", "c"])
    assert found.tolist() == [2]


def test_ranks_do_not_depend_on_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = stream(0, "ranks")
    images, texts, others = (
        _unit(rng.normal(size=(count, 6)).astype(np.float32)) for count in (11, 11, 30)
    )
    said, words = [str(n) for n in range(11)], ["x"] * 30
    whole = track.ranks(images, texts, others, said, words)
    monkeypatch.setattr(track, "BLOCK", 3)
    assert track.ranks(images, texts, others, said, words).tolist() == whole.tolist()
    by_hand = [
        1 + sum(float(i @ o) >= float(i @ t) for o in others)
        for i, t in zip(images, texts, strict=True)
    ]
    assert whole.tolist() == by_hand


def test_own_name_must_be_strictly_the_most_similar() -> None:
    names = rows(X, Y, X)
    images = rows(X, HALF, Y)
    # X ties with the third name; HALF's is Y (.8); Y's right name is X.
    assert track.named(images, names, [0, 1, 0]) == pytest.approx(1 / 3)


def test_core_takes_the_better_order() -> None:
    found = track.core(rows(X, Y), rows(HALF, X), rows(Y, HALF))
    assert found == pytest.approx([0.6, 0.8])


def _unit(values: track.Features) -> track.Features:
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def test_a_probe_tells_matched_from_shuffled_only_where_they_differ() -> None:
    rng = stream(0, "coherence")
    images = _unit(rng.normal(size=(400, 16)).astype(np.float32))
    people = [str(number // 4) for number in range(400)]
    assert track.coherence(images, images, people, 42) > 0.95
    strangers = _unit(rng.normal(size=(400, 16)).astype(np.float32))
    assert track.coherence(images, strangers, people, 42) == pytest.approx(0.5, abs=0.12)


def test_the_probe_minimises_its_loss() -> None:
    """One dimension, labels as likely as the logistic of twice the value: slope found is near 2."""
    rng = stream(0, "logistic")
    values = rng.normal(size=(20_000, 1))
    labels = np.where(rng.random(20_000) < 1 / (1 + np.exp(-2 * values[:, 0])), 1.0, -1.0)
    weight, bias = track._logistic(values, labels)
    assert weight == pytest.approx(2, abs=0.1)
    assert bias == pytest.approx(0, abs=0.1)
