"""Ranks: gold first, nothing done last, and broken models nowhere."""

from __future__ import annotations

import pytest

import planted
from metrics.test_labels import EXAMPLES, assessed, references
from mubench.errors import UsageError
from mubench.metrics.assessment import item_scores
from mubench.metrics.ranking import Entry, cost, standings
from mubench.record import RunRecord, Stage


def entry(name: str, answers_seed: int = 0, seconds: float = 10.0, **spec) -> Entry:
    """A planted model entered as a method of its own."""
    made, scores, held_out = references(answers_seed)
    method = planted.plant(name, EXAMPLES, made["target"], held_out, answers_seed)
    everyone = {**scores, "method": item_scores(EXAMPLES, method)}
    record = RunRecord(
        run_id=f"{answers_seed:012x}",
        created="2026-11-21T08:00:00+00:00",
        status="ok",
        spec={
            "benchmark": {"name": "made"},
            "model": {"name": "none"},
            "target": {},
            "method": {"name": name, "config": {}},
            "seed": answers_seed,
            **spec,
        },
        method={"name": name, "needs": ["forget", "retain"]},
        data={},
        provenance={},
        stages=[
            Stage(kind="unlearn", role="method", key="k", cached=False, seconds=seconds, peak_mb=1)
        ],
        **dict(assessed(name, answers_seed)),
    )
    plain = {
        role: {key: one.values for key, one in found.items()} for role, found in everyone.items()
    }
    return Entry(name, record, EXAMPLES, plain)


def test_gold_is_first_none_behind_what_helps_and_the_broken_unranked() -> None:
    names = ("always A", "target", "forgot only by text", "gold of another seed", "random weights")
    found = standings([entry(name) for name in names])
    assert [one.name for one in found[:3]] == [
        "gold of another seed",
        "forgot only by text",
        "target",
    ]
    assert [one.rank for one in found] == [1, 2, 3, None, None]
    assert {one.reason for one in found[3:]} == {"collapsed"}
    gold, half, target = found[:3]
    assert target.distance.value == pytest.approx(1.0)
    assert half.by_modality["image_text"] == pytest.approx(1.0)
    assert half.by_modality["text"] < 0.2 and gold.distance.value < 0.2
    assert (gold.low, gold.high, target.low) == (1, 1, 3)  # clear on 15 people
    assert gold.tied and not half.tied


def test_two_golds_are_tied() -> None:
    twin = entry("gold of another seed", 0, method={"name": "twin", "config": {}})
    found = standings([entry("gold of another seed"), twin, entry("target")])
    assert all(one.tied for one in found[:2]) and not found[2].tied
    assert found[0].low == 1 and found[1].high == 2


def test_lost_utility_is_listed_and_not_ranked() -> None:
    found = standings([entry("retain forgotten too"), entry("target")])
    assert found[0].name == "target"
    assert found[1].rank is None and found[1].reason.startswith("keeps ")


def test_seeds_of_a_method_count_as_one() -> None:
    found = standings([entry("gold of another seed", seed) for seed in (0, 1)])
    (one,) = found
    assert one.seeds == 2 and one.rank == 1
    single = standings([entry("gold of another seed", 0)])[0]
    assert one.distance.value != single.distance.value


def test_the_front_is_what_nothing_beats_in_everything() -> None:
    """Time alone can keep a method on it."""
    slow = entry("gold of another seed", seconds=100)
    quick, wasteful = entry("target", seconds=1), entry("forgot only by text", seconds=200)
    front = {one.name: one.front for one in standings([slow, quick, wasteful])}
    assert front["gold of another seed"] and front["target"]


def test_operations_are_those_that_were_counted_or_not_applicable() -> None:
    def run(*details: dict) -> RunRecord:
        kinds = ("learn", "unlearn")[-len(details) :]
        return RunRecord(
            run_id="0" * 12, created="", status="ok", spec={}, method={}, data={}, provenance={},
            cells=[],
            stages=[
                Stage(kind=kind, role="method", key="k", cached=False, seconds=2, peak_mb=1, detail=one)
                for kind, one in zip(kinds, details, strict=True)
            ],
        )  # fmt: skip

    assert cost([run({"flops": 3})]).flops == 3.0
    assert cost([run({"flops": 3}, {})]).flops == 3.0  # what is only subtracted is not counted
    assert cost([run({})]).flops is None
    assert cost([run({}, {})]).seconds == 4
    assert cost([run({"flops": 3}), run({"flops": 5})]).flops == 4.0
    assert cost([run({"flops": 3}), run({})]).flops is None


def test_what_cannot_be_compared_is_refused() -> None:
    other = entry("target", model={"name": "larger"})
    with pytest.raises(UsageError, match="differ in model"):
        standings([entry("target"), other])
    with pytest.raises(UsageError, match="no runs"):
        standings([])
