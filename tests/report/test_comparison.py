"""Many runs in one table: numbers worked out by hand, nothing dropped."""

from __future__ import annotations

import csv
import io
import json

import pytest

from mubench.record import Cell, Label, RunRecord, Stage, Value
from mubench.report import comparison
from mubench.report.comparison import Failure, verdict
from mubench.stats.runs import over_runs
from mubench.types import Estimate


def cell(set_: str, modality: str, metric: str, target: float, gold: float, method: float) -> Cell:
    gap = None if target == gold else Value(value=(method - gold) / (target - gold))
    return Cell(
        set=set_,
        modality=modality,
        task="choice",
        metric=metric,
        better="up",
        unit="share",
        headline=metric != "extra",
        n=1,
        persons=1,
        target=Value(value=target),
        gold=Value(value=gold),
        method=Value(value=method),
        difference=Value(value=method - gold),
        gap=gap,
    )


def record(seed: int, method: float, name: str = "m") -> RunRecord:
    """Target 1 and gold 0 on forget, where the method has ``method``; retain halved in text."""
    cells = [
        cell("forget", "image_text", "a", 1.0, 0.0, method),
        cell("forget", "image_text", "b", 0.6, 0.5, 0.0),  # a gap of -5
        cell("forget", "image_text", "extra", 1.0, 0.0, 0.123),
        cell("forget", "text", "a", 0.5, 0.5, 0.5),  # no gap to be had
        cell("retain", "image_text", "a", 0.8, 0.8, 0.8),
        cell("retain", "text", "a", 0.8, 0.8, 0.4),
        cell("general", "text", "a", 0.0, 0.0, 0.0),
    ]
    return RunRecord(
        run_id="x",
        created="now",
        status="ok",
        spec={"model": {"name": "tiny"}, "method": {"name": name}, "seed": seed},
        method={},
        data={},
        provenance={},
        stages=[
            Stage(kind="train", role="target", key="k", cached=False, seconds=100, peak_mb=1),
            Stage(kind="learn", role="method", key="k", cached=False, seconds=3, peak_mb=1),
            Stage(kind="unlearn", role="method", key="k", cached=False, seconds=4, peak_mb=1),
        ],
        cells=cells,
        label=Label(name="matched" if seed else "refusal", evidence=[], gated=False),
    )


def test_a_run_in_few_numbers() -> None:
    found = comparison.summary(record(0, 0.4))
    assert found.gaps[("forget", "image_text")] == pytest.approx((0.4 - 1) / 2), "-5 counts as -1"
    assert found.gaps[("forget", "text")] is None
    assert found.distance == pytest.approx((0.4 + 1) / 2)
    assert found.kept == {("retain", "image_text"): 1.0, ("retain", "text"): 0.5}
    assert found.retained == 0.5
    assert found.seconds == 7


def test_intervals_over_seeds_are_student_s() -> None:
    """1, 2, 3: mean 2, s = 1, t(2) = 4.303, so 4.303 / sqrt 3 to both sides."""
    found = over_runs([1, 2, 3])
    assert found.value == 2
    assert found.high == pytest.approx(2 + 4.3027 / 3**0.5, abs=1e-4)
    assert found.low == pytest.approx(2 - 4.3027 / 3**0.5, abs=1e-4)
    assert over_runs([5.0]) == Estimate(5.0)


def test_rows_gather_the_seeds_of_a_method() -> None:
    runs = [record(0, 0.4), record(0, 0.0, "other"), record(1, 0.8)]
    first, second = comparison.rows(map(comparison.summary, runs))
    assert (first.method, first.seeds) == ("m", (0, 1))
    assert (second.method, second.seeds) == ("other", (0,))
    place = ("forget", "image_text")
    assert first.gaps[place].value == pytest.approx((-0.3 - 0.1) / 2)
    assert first.gaps[place].low is not None
    assert second.gaps[place].low is None
    assert ("forget", "text") not in first.gaps


@pytest.mark.parametrize(
    ("forget", "retain", "told"),
    [
        ([(0.1, 0.4), (0.9, 1.1)], [(0.92, 1.0), (0.9, 1.0)], "yes"),
        ([(0.1, 0.4), (0.9, 1.1)], [(0.92, 1.0), (0.8, 1.0)], "open"),
        ([(0.1, 0.4), (0.9, 1.1)], [(0.92, 1.0), (0.8, 0.89)], "no"),
        ([(0.4, 0.6), (0.9, 1.1)], [(0.92, 1.0), (0.95, 1.0)], "open"),
        ([(0.51, 0.6), (0.9, 1.1)], [(0.92, 1.0), (0.95, 1.0)], "no"),
        ([(None, None)], [(0.92, 1.0)], "open"),
        ([], [(0.92, 1.0)], "open"),
    ],
)
def test_a_verdict_needs_whole_intervals(forget, retain, told) -> None:
    def estimates(pairs):
        return [Estimate(0.5, low, high) for low, high in pairs]

    assert verdict(estimates(forget), estimates(retain)) == told


def test_tables_hold_every_row_and_every_failure() -> None:
    runs = [comparison.summary(record(seed, 0.1 * seed)) for seed in range(3)]
    rows = comparison.rows(runs)
    failures = [Failure("tiny", "bad", seed, "loss is not finite") for seed in (0, 2)]
    text = comparison.markdown("mubench sweep --x", rows, failures)
    assert "`mubench sweep --x`" in text
    assert "| `m` | -0.45±.12 / n/a |" in text
    assert "| matched, refusal | 7 |" in text
    assert "- `bad` on tiny, seed 0, 2: loss is not finite" in text
    lines = list(csv.DictReader(io.StringIO(comparison.as_csv(rows))))
    (one,) = [line for line in lines if (line["what"], line["set"]) == ("gap", "forget")]
    assert (one["seeds"], one["modality"], float(one["value"])) == ("0 1 2", "image_text", -0.45)
    value = json.loads(comparison.as_json("mubench sweep --x", rows, runs, failures))
    assert value["command"] == "mubench sweep --x"
    assert [run["seed"] for run in value["runs"]] == [0, 1, 2]
    assert value["rows"][0]["gaps"]["forget.image_text"]["value"] == pytest.approx(-0.45)
    assert len(value["failures"]) == 2


def directed(seed: int, back: float) -> RunRecord:
    """A dual encoder whose names are forgotten, whose photos are found in ``back`` of cases, and
    whose pairs are pushed twice as far beyond gold as the target was before it."""
    here, there = "image_to_text", "text_to_image"
    made = record(seed, 0.0, "clip")
    made.cells[:] = [
        cell("forget", here, "r1", 1.0, 0.0, 0.0),
        cell("forget", there, "r1", 1.0, 0.0, back),
        cell("forget", here, "similarity", 0.8, 0.5, -0.1),
        cell("forget", there, "similarity", 0.8, 0.8, 0.1),  # no gap to be had
        cell("forget", here, "auc", 1.0, 0.5, 0.0),
        cell("forget", "image_to_image", "accuracy", 0.9, 0.8, 0.9),
        cell("retain", here, "r1", 0.8, 0.8, 0.8),
        cell("retain", there, "r1", 0.8, 0.8, 0.8),
        cell("retain", here, "similarity", 0.8, 0.8, 0.4),
        cell("holdout_identity", here, "r1", 0.8, 0.8, 0.6),
    ]
    return made


def test_a_method_that_broke_on_any_seed_has_forgotten_nothing() -> None:
    runs = [directed(seed, back=0.0) for seed in range(3)]
    (whole,) = comparison.rows(map(comparison.summary, runs))
    label = Label(name="format damage", evidence=[], gated=True)
    runs[1] = runs[1].model_copy(update={"label": label})
    (broken,) = comparison.rows(map(comparison.summary, runs))
    assert (whole.reached, broken.reached) == ("yes", "no")


def test_how_close_pairs_are_does_not_hide_what_is_found() -> None:
    found = comparison.summary(directed(0, 0.0))
    assert found.gaps[("forget", "image_to_text")] == 0
    assert found.closeness == {
        ("similarity", "forget", "image_to_text"): pytest.approx(-2),
        ("auc", "forget", "image_to_text"): -1,
    }
    assert found.kept[("retain", "image_to_text")] == 1.0
    assert found.distance == pytest.approx((0 + 0 + 1 + 1 + 1) / 5), "-2 counts as -1"


def test_a_dual_encoder_has_forgotten_what_neither_direction_finds() -> None:
    """The image tower, which gold knows as well, has no say."""
    (row,) = comparison.rows(comparison.summary(directed(seed, 0.0)) for seed in range(3))
    assert row.reached == "yes"
    (row,) = comparison.rows(comparison.summary(directed(seed, 0.8)) for seed in range(3))
    assert row.reached == "no"


def test_both_directions_stand_side_by_side() -> None:
    runs = [comparison.summary(directed(seed, 0.8)) for seed in range(3)]
    text = comparison.markdown("mubench sweep --x", comparison.rows(runs), [])
    head = "| method | forget gap | forget similarity | forget membership | retain | held-out |"
    assert head in text
    row = "| `clip` | 0.00±.00 / 0.80±.00 | -2.00±.00 / n/a | -1.00±.00 / n/a | 1.00±.00 / 1.00±.00"
    assert f"{row} | 0.75±.00 / n/a | no | yes |" in text
    assert "Every cell: image to text / text to image;" in text
    assert "Dual encoders" in text
    mixed = [*runs, comparison.summary(record(0, 0.4))]
    text = comparison.markdown("mubench sweep --x", comparison.rows(mixed), [])
    assert "Every cell: image to text / text to image, or image+text / text-only;" in text
    assert "| `m` | -0.30 / n/a | n/a | n/a | 1.00 / 0.50 | n/a |" in text
    lines = csv.DictReader(io.StringIO(comparison.as_csv(comparison.rows(runs))))
    found = {(line["what"], line["modality"]): float(line["value"]) for line in lines}
    assert found[("similarity", "image_to_text")] == -2
    assert found[("gap", "image_to_image")] == pytest.approx(1)
    value = json.loads(comparison.as_json("mubench sweep --x", comparison.rows(runs), runs, []))
    assert value["runs"][0]["closeness"]["auc.forget.image_to_text"] == -1
