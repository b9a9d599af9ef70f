"""Planted models get the label of what was done to them, models that are sound get no false one."""

from __future__ import annotations

from functools import cache

import pytest

import planted
from mubench.metrics.assessment import assess, item_scores
from mubench.metrics.labels import GATED
from mubench.record import Assessment

KNOWS = {"target": {}, "gold": {"forget": 0.05, "test": 0.05}}
EXAMPLES = planted.world()


@cache
def references(seed: int, golds: int = 2):
    """Answers and scores of target and golds; the last gold is compared with nothing."""
    made = {"target": planted.answers(EXAMPLES, {}, 10 * seed)}
    for number in range(golds + 1):
        role = "gold" if number == 0 else f"gold-{number}"
        made[role] = planted.answers(EXAMPLES, KNOWS["gold"], 10 * seed + 1 + number)
    held_out = made.pop(f"gold-{golds}")
    scores = {role: item_scores(EXAMPLES, answers) for role, answers in made.items()}
    return made, scores, held_out


@cache
def assessed(name: str, seed: int, golds: int = 2) -> Assessment:
    made, scores, held_out = references(seed, golds)
    method = planted.plant(name, EXAMPLES, made["target"], held_out, seed)
    everyone = {**made, "method": method}
    return assess(EXAMPLES, everyone, {**scores, "method": item_scores(EXAMPLES, method)}, {}, seed)


@pytest.mark.parametrize("name", planted.EXPECTED)
def test_planted_models_are_called_what_they_are(name: str) -> None:
    label = assessed(name, 0).label
    assert label is not None
    assert label.name == planted.EXPECTED[name], label.evidence
    assert label.evidence and label.gated == (label.name in GATED)


def test_evidence_names_the_modality_in_which_it_was_seen() -> None:
    by_text = assessed("forgot only by text", 0).label
    by_image = assessed("forgot only by image", 0).label
    assert all("image+text" in line for line in by_text.evidence)
    assert all("text-only" in line for line in by_image.evidence)
    projector = assessed("projector swapped", 0).label
    assert "image+text" in projector.evidence[0]
    always_a = assessed("always A", 0)
    entropy = [s for s in always_a.signals if s.name == "option_entropy"]
    assert all(s.method == 0 and s.target > 0.9 for s in entropy) and len(entropy) == 2
    assert any("option entropy" in line for line in always_a.label.evidence)


def test_a_target_that_knew_nothing_is_not_memorised() -> None:
    made, _, held_out = references(0)
    ignorant = {**made, "target": held_out, "method": made["gold"]}
    scores = {role: item_scores(EXAMPLES, answers) for role, answers in ignorant.items()}
    label = assess(EXAMPLES, ignorant, scores, {}, 0).label
    assert label.name == "not memorised" and label.gated


def test_a_model_that_falls_below_gold_is_over_forgotten() -> None:
    made, scores, held_out = references(0)
    knows_some = planted.answers(EXAMPLES, {"forget": 0.5, "test": 0.5}, 77)
    knows_none = {
        e.id: planted.wrong(e, held_out[e.id], 1) if e.set in ("forget", "test") else held_out[e.id]
        for e in EXAMPLES
    }
    everyone = {"target": made["target"], "gold": knows_some, "method": knows_none}
    found = {role: item_scores(EXAMPLES, answers) for role, answers in everyone.items()}
    assert assess(EXAMPLES, everyone, found, {}, 0).label.name == "over-forgot"


def test_forget_quality_knows_which_way() -> None:
    target = assessed("target", 0).forget_quality
    gold = assessed("gold of another seed", 0).forget_quality
    assert {q.direction for q in target} == {"knows more than gold"}
    assert max(q.p for q in target) < 1e-6 < min(q.p for q in gold)
    assert all(q.statistic > 0.5 > q.between_golds for q in target)
    places = {(q.set, q.modality, q.task) for q in target}
    assert len(target) == len(places) == 8  # two sets, modalities and written tasks


def test_verdicts_are_those_of_an_equivalence_test() -> None:
    cells = {(c.set, c.modality, c.task, c.metric): c for c in assessed("target", 0, 5).cells}
    cell = cells["forget", "text", "choice", "accuracy"]
    assert cell.verdict == "different" and cell.p_adjusted < 0.001 and len(cell.golds) == 5
    assert cell.resolvable > 0.05 and cell.items_needed is None  # golds differ by more than that
    kept = cells["retain", "text", "choice", "accuracy"]
    assert kept.verdict in ("equivalent", "unresolved") and kept.margin == 0.05
    assert cells["forget", "text", "choice", "probability"].verdict is None  # not a headline
