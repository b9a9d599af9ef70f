"""The benchmark of the engine at toy size: what it counts, what it compares, when it refuses."""

from __future__ import annotations

import pytest
import torch

from mubench.errors import RunError, UsageError
from mubench.models import packing
from mubench.models.scorer import ModelScorer
from mubench.runner.bench import building, cost, evaluation, growth, subject, unlearning
from mubench.runner.bench.subject import Side

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
    monkeypatch.setattr(subject, "SHAPE", TINY)
    monkeypatch.setattr(unlearning, "SHAPE", {})


def test_every_case_compares_answers_and_times_all_sides():
    results = list(evaluation.bench_eval(subject.build(), 2, 3, 2))
    assert [result.case for result in results] == list(evaluation.CASES)
    for result in results:
        assert result.questions == 6
        assert result.compared >= 1
        assert 0 <= result.difference <= 1e-4
        assert [len(side.seconds) for side in result.sides] == [2, 2, 2]
        assert result.floor > 0
    printed = "\n".join(line for result in results for line in evaluation.lines(result))
    assert printed.count("x the engine") == 2 * len(evaluation.CASES)
    assert printed.count("x the floor") == len(evaluation.CASES)


def test_no_speed_is_told_where_answers_differ(monkeypatch):
    read = ModelScorer.read

    def wrong(self, memory, step):
        logits, memory = read(self, memory, step)
        return logits.roll(1, -1), memory

    monkeypatch.setattr(ModelScorer, "read", wrong)
    with pytest.raises(RunError, match="apart from plain ones"):
        list(evaluation.bench_eval(subject.build(), 1, 2, 1))


def test_work_counts_every_token_once():
    """Against a count by hand: the trunk, and the distinct prefixes of all rows after it."""
    model = subject.build()
    asked = subject.questions(2, 3)
    engine = evaluation.fresh(model, [])
    tokens, flops = evaluation.work(model, engine, packing.units(asked), 0)
    by_hand = 0
    for person in {example.person for example in asked}:
        mine = [example for example in asked if example.person == person]
        rows = [model.encoder.row(e, a)[0]["input_ids"][:-1] for e in mine for a in e.choices]
        by_hand += len({tuple(row[: end + 1]) for row in rows for end in range(len(row))})
    assert tokens == by_hand
    weights = sum(p.numel() for p in model.base.get_decoder().layers.parameters())
    assert flops > 2 * weights * tokens


def test_the_ratio_pairs_the_repeats():
    own, other = Side("engine", [1.0, 2.0, 4.0]), Side("other", [3.0, 4.0, 20.0])
    assert other.over(own) == 3.0  # of 3, 2 and 5
    result = evaluation.Result("case", 1, 1, 8.0, 4.0, (own, other), 1, 1, 0.0, None)
    assert result.floor == 2.0


def test_the_plot_of_growth_is_drawn(tmp_path):
    growth.plot_growth({n: 0.9 / n + 0.05 for n in (1, 3, 9, 27)}, tmp_path / "growth.png")
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")


# -- unlearning -----------------------------------------------------------------------------


def test_both_loops_go_through_the_same_losses():
    results = unlearning.bench_unlearn(unlearning.subject(), 2, 3, 2)
    assert [result.name for result in results] == list(unlearning.NAMES)
    for result in results:
        assert 0 <= result.difference <= unlearning.TOLERANCE
        assert [len(side.seconds) for side in result.sides] == [2, 2]
        assert result.tokens > 2 * 2 * 10
    printed = "\n".join(unlearning.lines(results))
    assert printed.count("x the bare loop's") == 2
    assert "a npo step takes" in printed


def test_the_loops_train_and_the_methods_are_two():
    model, data = unlearning.subject(), unlearning._given(2)
    losses = {
        name: [sum(terms.values()) for terms in unlearning.ours(model, name, data, 4).losses]
        for name in unlearning.NAMES
    }
    assert all(steps[-1] < steps[0] for steps in losses.values())
    # Before the first update NPO's forget loss is 2 / beta log 2, whatever the batch.
    assert losses["npo"][0] - losses["grad-diff"][0] > 13


def test_a_step_on_more_examples_holds_more():
    held = [
        unlearning.peak(unlearning.subject(), "npo", unlearning._given(size)) for size in (1, 3)
    ]
    assert held[0] < held[1] < 3 * held[0]


def test_no_speed_is_told_where_losses_differ(monkeypatch):
    nll = unlearning._nll
    monkeypatch.setattr(unlearning, "_nll", lambda *given: 1.01 * nll(*given))
    with pytest.raises(RunError, match="loses .* differently from the bare loop"):
        unlearning.bench_unlearn(unlearning.subject(), 2, 2, 1)


# -- data -----------------------------------------------------------------------------------


def test_people_are_built_by_one_and_by_many_to_the_same_content(monkeypatch):
    monkeypatch.setattr(building.os, "cpu_count", lambda: 2)
    result = building.bench_data(4, 1)
    assert result.people == 4
    assert [len(side.seconds) for side in result.sides] == [1, 1]
    assert "people/s" in "\n".join(building.lines(result))


def test_no_speed_is_told_where_contents_differ(monkeypatch):
    made = iter(({"content_sha": "a", "rows": {}}, {"content_sha": "b", "rows": {}}))
    monkeypatch.setattr(building, "_build", lambda *_: next(made))
    with pytest.raises(RunError, match="came out differently"):
        building.bench_data(4, 1)


# -- cost of methods ------------------------------------------------------------------------


def test_a_method_costs_the_tokens_that_it_reads():
    """GA reads every forget example once; NPO those, their references, and a retain partner."""
    data = cost.material(2)
    assert len(data.forget) == len(data.retain) == 2 * 18
    found = {c.name: c for c in cost.costs(subject.build, ("ga", "npo", "manu"), data, 4)}
    model = cost._counting(subject.build())
    for example in data.forget:
        model.encode([example])
    assert found["ga"].tokens == model.tokens
    assert 2.8 * model.tokens < found["npo"].tokens < 3.2 * model.tokens
    assert (found["ga"].scope, found["manu"].scope) == ("lora", "pruned")
    assert all(one.seconds > 0 and one.peak is None for one in found.values())
    printed = list(cost.lines(found.values()))
    assert len(printed) == 5
    assert printed[0].startswith("LLaVA shape of ")
    assert printed[2].endswith("n/a")


def test_the_full_shape_is_that_of_llava_and_is_refused_without_a_gpu():
    with torch.device("meta"):
        model = subject.full_llava(subject._tokenizer(400))
    assert sum(p.numel() for p in model.parameters()) == 7_063_427_072  # of the hub's checkpoint
    assert model.dtype == torch.bfloat16
    with pytest.raises(UsageError, match="needs a GPU"):
        subject.of_shape("llava-1.5-7b")
