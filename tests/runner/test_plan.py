"""Stage keys: what changes a result changes its key, and nothing else does."""

from __future__ import annotations

from pathlib import Path

import pytest

from mubench.config.resolve import resolve
from mubench.errors import UsageError
from mubench.runner.plan import Plan, estimate, plan
from mubench.runner.store import Store
from runner.quick import QUICK, Quick

STAGES = (
    "data",
    "train target",
    "predict target",
    "train gold",
    "predict gold",
    "unlearn method",
    "predict method",
    "score",
)


def planned(method: str = "manu", *sets: str, seed: int = 0, model: str = "llava-tiny") -> Plan:
    return plan(resolve(method, model, seed=seed, sets=(*QUICK, *sets)))


def changed(made: Plan) -> set[str]:
    """Labels of the stages whose key differs from the plain plan's."""
    plain = {node.label: node.key for node in planned().nodes}
    return {node.label for node in made.nodes if node.key != plain[node.label]}


def test_stages_stand_in_an_order_in_which_they_can_run() -> None:
    nodes = planned().nodes
    assert tuple(node.label for node in nodes) == STAGES
    done: set[str] = set()
    for node in nodes:
        assert set(node.after) <= done, node.label
        done.add(node.key)
    assert len(done) == len(nodes)


def test_gold_is_scheduled_as_a_dependency_of_the_score() -> None:
    made = planned()
    assert made.node("predict", "gold").key in made.node("score").after


def test_same_spec_gives_same_keys() -> None:
    assert planned() == planned()


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("method.alpha=0.07", {"unlearn method", "predict method", "score"}),
        ("predict.batch_size=8", {"predict target", "predict gold", "predict method", "score"}),
        ("predict.max_new_tokens=9", {"predict target", "predict gold", "predict method", "score"}),
        ("target.epochs=0.3", set(STAGES) - {"data"}),
        ("target.lr=1e-4", set(STAGES) - {"data"}),
        ("model.dtype=bfloat16", set(STAGES) - {"data"}),
        ("benchmark.scenes=3", set(STAGES)),
        ("benchmark.seed=1", set(STAGES)),
        ("benchmark.forget_ratio=0.4", set(STAGES) - {"data", "train target"}),
        ("benchmark.fold=dev", set(STAGES) - {"data", "train target"}),
        ("benchmark.image_size=64", set(STAGES)),
        ("gate.margin=0.1", set()),
        ("benchmark.title=other words", set()),
        ("model.title=other words", set()),
        ("model.parameters=5", set()),
        ("model.speed_note=fast", set()),
    ],
)
def test_what_an_option_changes(option: str, expected: set[str]) -> None:
    assert changed(planned("manu", option)) == expected


def test_the_seed_changes_everything_but_the_data() -> None:
    assert changed(planned(seed=1)) == set(STAGES) - {"data"}


def test_another_method_shares_target_and_gold() -> None:
    assert changed(planned("ga")) == {"unlearn method", "predict method", "score"}


@pytest.mark.parametrize("option", ["benchmark.title=x", "model.title=x", "model.speed_note=x"])
def test_run_id_ignores_words(option: str) -> None:
    assert planned("manu", option).run_id == planned().run_id


@pytest.mark.parametrize("option", ["method.alpha=0.07", "gate.margin=0.1", "benchmark.words=3"])
def test_run_id_is_of_the_whole_configuration(option: str) -> None:
    assert planned("manu", option).run_id != planned().run_id


def test_run_ids_of_references_differ() -> None:
    ids = {planned(method).run_id for method in ("none", "gold", "manu")}
    assert len(ids) == 3


@pytest.mark.parametrize("method", ["none", "gold"])
def test_references_need_no_stage_of_their_own(method: str) -> None:
    labels = {node.label for node in planned(method).nodes}
    assert labels == set(STAGES) - {"unlearn method", "predict method"}


def test_a_plugin_file_s_content_is_part_of_its_key(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    code = (
        "from mubench.methods.ga import GradientAscent\n\n\nclass Mine(GradientAscent):\n    pass\n"
    )
    path.write_text(code, encoding="utf-8")
    before = planned(f"{path}:Mine")
    path.write_text(f"{code}    # changed\n", encoding="utf-8")
    after = planned(f"{path}:Mine")
    assert before.node("unlearn", "method").key != after.node("unlearn", "method").key
    assert before.node("train", "target").key == after.node("train", "target").key


@pytest.mark.parametrize("ratio", [0, 0.05])
def test_empty_forget_set(ratio: float) -> None:
    with pytest.raises(UsageError, match="forget set is empty") as raised:
        planned("manu", f"benchmark.forget_ratio={ratio}")
    assert "raise it to at least 0.125" in str(raised.value)


def test_more_than_may_be_forgotten() -> None:
    with pytest.raises(UsageError, match="at most 5 can be forgotten"):
        planned("manu", "benchmark.forget_ratio=0.99")


@pytest.mark.parametrize(
    ("facts", "named"),
    [("[birthplace, pet]", "facts"), ("[birthplace, hobby, food, pet, shoe]", "shoe")],
)
def test_facts_that_make_no_benchmark(facts: str, named: str) -> None:
    """Five kinds at least: fewer would ask the same question twice."""
    with pytest.raises(UsageError, match=named):
        planned("manu", f"benchmark.facts={facts}")


def test_a_method_that_is_not_defined_for_the_kind_of_model_is_refused() -> None:
    with pytest.raises(UsageError, match="'manu' is n/a for clip-tiny: .* for mllm .* kind clip"):
        plan(resolve("manu", "clip-tiny"))
    assert plan(resolve("none", "clip-tiny")).node("train", "gold")


@pytest.mark.parametrize(
    ("model", "benchmark"), [("clip-tiny", "people-mini"), ("llava-tiny", "clip-people")]
)
def test_a_benchmark_that_asks_another_kind_of_model_is_refused(model: str, benchmark: str) -> None:
    with pytest.raises(UsageError, match=f"{benchmark} asks"):
        plan(resolve("none", model, benchmark))


def test_hub_models_are_planned_without_network() -> None:
    made = plan(resolve("manu", "llava"))
    assert tuple(node.label for node in made.nodes) == STAGES


def test_estimate_covers_exactly_what_is_not_cached(quick: Quick, tmp_path: Path) -> None:
    spec = quick.plan.spec
    assert estimate(spec, quick.store, quick.plan) == {}
    fresh = estimate(spec, Store(tmp_path), quick.plan)
    assert set(fresh) == {node.key for node in quick.plan.nodes}
    assert all(guess.memory_gb > 0 for guess in fresh.values())
    other = plan(resolve("ga", "llava-tiny", sets=QUICK))
    left = estimate(other.spec, quick.store, other)
    assert set(left) == {
        node.key
        for node in other.nodes
        if node.label in {"unlearn method", "predict method", "score"}
    }


def test_gold_models_differ_by_their_random_streams_and_are_shared() -> None:
    five = plan(resolve("manu", "llava-tiny", golds=5))
    keys = {role: five.node("train", role).key for role in ("gold", *(f"gold-{k}" for k in (1, 4)))}
    assert len(set(keys.values())) == 3
    assert keys["gold"] == plan(resolve("manu", "llava-tiny")).node("train", "gold").key
    assert {five.node("predict", role).key for role in keys} <= set(five.node("score").after)
    other = plan(resolve("npo", "llava-tiny", golds=3))
    assert other.node("train", "gold-1").key == keys["gold-1"]
    assert five.run_id != planned().run_id


def test_gold_among_several_is_one_more_that_is_not_compared_with() -> None:
    held_out = plan(resolve("gold", "llava-tiny", golds=3))
    method = held_out.node("train", "method").key
    assert method not in {held_out.node("train", f"gold-{k}").key for k in (1, 2)}
    assert method == plan(resolve("none", "llava-tiny", golds=4)).node("train", "gold-3").key
