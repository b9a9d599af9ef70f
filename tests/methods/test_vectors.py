"""SKU and task arithmetic: losses by hand, exact negation, one training for a sweep."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from methods.by_hand import nll_by_hand, positions, softmax
from methods.toy import FORGET, RETAIN, Toy, forget, retain
from mubench.config.resolve import resolve
from mubench.data.load import BenchmarkData
from mubench.errors import RunError
from mubench.methods.answers import mismatched
from mubench.methods.base import Context, UnlearnData
from mubench.methods.guard import Guard
from mubench.methods.sku import SKU
from mubench.methods.task_arithmetic import TaskArithmetic
from mubench.models.load import load_model, scaled_delta
from mubench.runner.stages import training
from runner.quick import QUICK, Quick, quick_run
from tiny_models import FAMILIES, REFUSALS, examples, tiny_llava

DATA = UnlearnData(
    examples(("Anna Berg", "Bo Lindqvist")), examples(("Dov Amsel",), set="retain"), REFUSALS
)


def sku(model, **settings):
    """Terms and gradient of SKU on all of the toy's questions."""
    method = SKU(SKU.Config(**settings))
    data = UnlearnData(forget(), retain())
    answers = method.answers(forget(), data, np.random.default_rng(0))
    terms = method.terms(model, model.encode(forget(), answers), model.encode(retain()))
    sum(terms.values()).backward()
    return {name: term.item() for name, term in terms.items()}, model.model.logits.grad.numpy()


def test_sku_by_hand():
    """d KL(q || p) / dz = (p - q) / N; the sign is turned, so that descent goes away from q."""
    model = Toy()
    before = model.model.logits.detach().numpy().copy()
    model.freeze_copy()
    model.model.logits.data += torch.from_numpy(
        np.random.default_rng(5).normal(size=before.shape) * 0.3
    )
    now = model.model.logits.detach().numpy().copy()
    terms, gradient = sku(model, e1=2, e2=3, e3=0.5, random_answers=4, divergence_cap=50)
    f, f_slope = nll_by_hand(now, FORGET)
    # Two people: to either question the other's answer is the only random one.
    r, r_slope = nll_by_hand(now, {"f0": FORGET["f1"], "f1": FORGET["f0"]})
    q, p = softmax(before), softmax(now)
    kl, kl_slope, places = 0.0, np.zeros_like(now), positions(RETAIN)
    for row, place, _ in places:
        kl += float((q[row, place] * np.log(q[row, place] / p[row, place])).sum()) / len(places)
        kl_slope[row, place] = (p[row, place] - q[row, place]) / len(places)
    assert terms == {
        "distortion": pytest.approx(2 * f),
        "disassociation": pytest.approx(3 * r),
        "divergence": pytest.approx(-0.5 * kl),
    }
    assert kl > 0.01
    np.testing.assert_allclose(gradient, 2 * f_slope + 3 * r_slope - 0.5 * kl_slope, atol=1e-12)


def test_the_divergence_stops_pushing_at_its_cap():
    model = Toy()
    model.freeze_copy()
    model.model.logits.data += torch.from_numpy(np.random.default_rng(5).normal(size=(4, 3, 5)) * 9)
    terms, gradient = sku(model, e1=0, e2=0, e3=1, divergence_cap=1e-3)
    assert terms["divergence"] == pytest.approx(-1e-3)
    assert not gradient.any()


def test_random_answers_are_other_people_s():
    rng = np.random.default_rng(0)
    people = DATA.forget
    for example in people:
        found = {mismatched(example, people, rng) for _ in range(30)}
        assert found == {one.answer for one in people if one.person != example.person}
    assert mismatched(people[0], people[:2], rng) == people[0].answer


def test_task_arithmetic_learns_forget_alone():
    model = Toy()
    method = TaskArithmetic(TaskArithmetic.Config())
    terms = method.terms(model, model.encode(forget()), model.encode(retain()))
    sum(terms.values()).backward()
    value, slope = nll_by_hand(model.model.logits.detach().numpy(), FORGET)
    assert {name: term.item() for name, term in terms.items()} == {"forget": pytest.approx(value)}
    np.testing.assert_allclose(model.model.logits.grad.numpy(), slope, atol=1e-12)


# -- negation -------------------------------------------------------------------------------------


def unlearned(method, folder, scale, family="llava"):
    torch.manual_seed(0)
    model = FAMILIES[family]()
    config = method.Config(scale=scale, lr=1e-2, epochs=2, batch_size=4, lora_r=2, lora_alpha=6)
    method(config).unlearn(model, DATA, Context(seed=0))
    folder.mkdir(parents=True)
    assert model.save_delta(folder) == "lora"
    return model


@pytest.mark.parametrize("method", [SKU, TaskArithmetic])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_negation_is_exact(method, family, scale, tmp_path):
    """W = W_0 - scale * (alpha / r) * B A in every adapted layer, and W_0 elsewhere."""
    unlearned(method, tmp_path / "bad", scale, family)
    model, target = FAMILIES[family](), FAMILIES[family]()
    model.load_delta(tmp_path / "bad")
    adapter = load_file(tmp_path / "bad" / "adapter" / "adapter_model.safetensors")
    after = model.model.state_dict()
    for name, weight in target.model.state_dict().items():
        stem = f"base_model.model.{name.removesuffix('.weight')}"
        if f"{stem}.lora_A.weight" in adapter:
            product = adapter[f"{stem}.lora_B.weight"] @ adapter[f"{stem}.lora_A.weight"]
            assert product.any()
            weight = weight - scale * 3.0 * product
            torch.testing.assert_close(after[name], weight, rtol=0, atol=1e-6)
        else:
            assert after[name].equal(weight)


@pytest.mark.parametrize("method", [SKU, TaskArithmetic])
def test_scale_0_is_the_target(method, tmp_path):
    model = unlearned(method, tmp_path / "bad", 0.0)
    batch = model.encode(DATA.forget[::2])
    loaded, target = tiny_llava(), tiny_llava()
    loaded.load_delta(tmp_path / "bad")
    assert loaded.fingerprint() == target.fingerprint()
    assert model.logp(batch).equal(target.logp(batch))


def test_scaling_a_saved_delta_equals_training_with_that_scale(tmp_path):
    unlearned(TaskArithmetic, tmp_path / "one", 0.5)
    torch.manual_seed(0)
    model = tiny_llava()
    config = TaskArithmetic.Config(lr=1e-2, epochs=2, batch_size=4, lora_r=2, lora_alpha=6)
    TaskArithmetic(config).learn(model, DATA, Context(seed=0))
    (tmp_path / "learned").mkdir()
    model.save_delta(tmp_path / "learned")
    assert json.loads((tmp_path / "learned" / "delta.json").read_text())["scale"] == 1
    (tmp_path / "two").mkdir()
    assert scaled_delta(tmp_path / "learned", tmp_path / "two", -0.5) == "lora"
    prints = []
    for name in ("one", "two"):
        fresh = tiny_llava()
        fresh.load_delta(tmp_path / name)
        prints.append(fresh.fingerprint())
    assert prints[0] == prints[1]


# -- in the runner --------------------------------------------------------------------------------


def test_a_sweep_over_the_scale_trains_once(quick: Quick, tmp_path):
    few = ("method.epochs=0.1", "method.lr=1e-3", "method.warmup=0")
    runs = [
        quick_run(tmp_path, "task-arithmetic", *few, f"method.scale={s}", cache=quick.store.root)
        for s in (0.5, 2.0)
    ]
    assert len({run.plan.node("learn", "method").key for run in runs}) == 1
    assert len({run.plan.node("unlearn", "method").key for run in runs}) == 2
    assert "learn method: cached" not in runs[0].log
    assert "learn method: cached" in runs[1].log
    deltas = [
        json.loads((run.stage("unlearn", "method") / "delta.json").read_text()) for run in runs
    ]
    assert [delta["scale"] for delta in deltas] == [-0.5, -2.0]
    found = [run.stage("predict", "method") / "responses.jsonl" for run in runs]
    assert found[0].read_bytes() != found[1].read_bytes()
    with pytest.raises(RunError, match="task-arithmetic changed nothing"):
        quick_run(tmp_path, "task-arithmetic", *few, "method.scale=0", cache=quick.store.root)


def test_an_inference_time_method_changes_the_fingerprint_and_no_weight(quick: Quick, tmp_path):
    spec = resolve("guard", "llava-tiny", sets=QUICK)
    data = BenchmarkData(quick.stage("data"), 0.25)
    target = quick.stage("train", "target")
    detail = training.unlearn(spec, Guard, data, target, tmp_path, lambda *_: None)
    assert detail["delta"] == "behaviour"
    assert detail["fingerprint_before"] != detail["fingerprint_after"]
    models = [
        load_model(spec.model, data.image, deltas) for deltas in ([target], [target, tmp_path])
    ]
    weights = [model.model.state_dict() for model in models]
    assert all(value.equal(weights[1][name]) for name, value in weights[0].items())
    listed = json.loads((tmp_path / "log.json").read_text())["prompt"]
    people = {one.keyword for one in data.train("forget") if one.fact == "name"}
    assert people
    assert all(name in listed for name in people)
