"""The benchmark of the engine at toy size: what it counts, what it compares, when it refuses."""

from __future__ import annotations

import pytest

from mubench.errors import RunError
from mubench.models import packing
from mubench.models.scorer import ModelScorer
from mubench.runner import bench

TINY = {
    "image_size": 24,
    "patch_size": 12,
    "vision_width": 32,
    "vision_layers": 2,
    "text_width": 32,
    "text_layers": 2,
    "heads": 2,
    "vocabulary": 400,
}


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setattr(bench, "SHAPE", TINY)


def test_every_case_compares_answers_and_times_all_sides():
    results = list(bench.bench_eval(2, 3, 2))
    assert [result.case for result in results] == list(bench.CASES)
    for result in results:
        assert result.questions == 6
        assert result.compared >= 1
        assert 0 <= result.difference <= 1e-4
        assert [len(side.seconds) for side in result.sides] == [2, 2, 2]
        assert result.floor > 0
    printed = "\n".join(line for result in results for line in bench.lines(result))
    assert printed.count("x the engine") == 2 * len(bench.CASES)
    assert printed.count("x the floor") == len(bench.CASES)


def test_no_speed_is_told_where_answers_differ(monkeypatch):
    read = ModelScorer.read

    def wrong(self, memory, step):
        logits, memory = read(self, memory, step)
        return logits.roll(1, -1), memory

    monkeypatch.setattr(ModelScorer, "read", wrong)
    with pytest.raises(RunError, match="differently"):
        list(bench.bench_eval(1, 2, 1))


def test_work_counts_every_token_once():
    """Against a count by hand: the trunk, and the distinct prefixes of all rows after it."""
    model = bench.build()
    asked = bench.questions(2, 3)
    engine = bench.fresh(model, [])
    tokens, flops = bench.work(model, engine, packing.units(asked), 0)
    by_hand = 0
    for person in {example.person for example in asked}:
        mine = [example for example in asked if example.person == person]
        rows = [model.encoder.row(e, a)[0]["input_ids"][:-1] for e in mine for a in e.choices]
        by_hand += len({tuple(row[: end + 1]) for row in rows for end in range(len(row))})
    assert tokens == by_hand
    weights = sum(p.numel() for p in model.base.get_decoder().layers.parameters())
    assert flops > 2 * weights * tokens


def test_the_ratio_pairs_the_repeats():
    sides = (bench.Side("engine", [1.0, 2.0, 4.0]), bench.Side("other", [3.0, 4.0, 20.0]))
    result = bench.Result("case", 1, 1, 8.0, 4.0, sides, 1, 0.0)
    assert result.ratio(sides[1]) == 3.0  # of 3, 2 and 5
    assert result.floor == 2.0


def test_the_plot_of_growth_is_drawn(tmp_path):
    bench.plot_growth({n: 0.9 / n + 0.05 for n in (1, 3, 9, 27)}, tmp_path / "growth.png")
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")
