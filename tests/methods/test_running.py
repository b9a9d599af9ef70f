"""What a run does around a loss: orders of steps, budgets, failures, references, scopes."""

from __future__ import annotations

import json
import math
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from methods.by_hand import table
from methods.toy import RETAIN, Toy, example, forget, retain
from mubench.errors import RunError, UsageError
from mubench.methods import budget, loops
from mubench.methods.altpo import AltPO
from mubench.methods.base import Budget, Context, GradientConfig, UnlearnData
from mubench.methods.ga import GradientAscent
from mubench.methods.grad_diff import GradientDifference
from mubench.methods.kl_min import KLMinimisation
from mubench.methods.npo import NPO
from mubench.methods.rmu import RMU
from mubench.methods.scrub import SCRUB
from mubench.methods.undial import UNDIAL
from tiny_models import REFUSALS, examples, of_modality, tiny_llava

DATA = UnlearnData(
    [*forget(), *forget("image_text")], [*retain(), *retain("image_text")] * 3, ("12", "0")
)


def run(cls, model, data=DATA, **settings):
    context = Context(seed=0)
    defaults = {"scope": "full", "lr": 0.05, "epochs": 2, "batch_size": 2}
    cls(cls.Config(**(defaults | settings))).unlearn(model, data, context)
    return context.log


def kinds(log):
    return ["+".join(sorted(step)) for step in log["losses"]]


# -- orders ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [GradientDifference, KLMinimisation])
def test_orders_of_steps(cls):
    """Two forget batches an epoch (one a modality), six of retain."""
    assert kinds(run(cls, Toy())) == ["forget+retain"] * 4
    sequential = run(cls, Toy(), order="sequential")
    assert kinds(sequential) == (["forget"] * 2 + ["retain"] * 6) * 2
    alternating = run(cls, Toy(), order="alternating", epochs=1)
    assert kinds(alternating) == ["forget", "retain", "retain", "retain"] * 2
    assert sequential["order"] == "sequential"


def test_a_retain_epoch_shows_every_retain_example_once():
    model = Toy()
    run(GradientDifference, model, order="sequential", epochs=1)
    seen = [e.question for made, _ in model.encoded for e in made if e.set == "retain"]
    assert sorted(seen) == sorted([*RETAIN] * 6)


def test_an_epoch_after_the_first_has_batches_too():
    """Iterators that are made once run dry after an epoch; then steps fail or are swallowed."""
    log = run(GradientDifference, Toy(), order="alternating", epochs=3)
    assert kinds(log).count("forget") == 3 * 2


def test_scrub_takes_turns_for_its_first_forget_step_has_no_slope():
    log = run(SCRUB, Toy(), epochs=4)
    assert log["order"] == "alternating"
    first, *_, last = [step["forget"] for step in log["losses"] if "forget" in step]
    assert first == pytest.approx(0, abs=1e-12)
    assert last < -0.05


def test_without_a_retain_term_there_is_nothing_to_take_turns_with():
    model = Toy()
    log = run(GradientAscent, model, order="sequential")
    assert kinds(log) == ["forget"] * 4
    assert all(e.set == "forget" for made, _ in model.encoded for e in made)
    assert run(UNDIAL, Toy())["losses"][0].keys() == {"forget"}  # alpha 0 by default
    assert run(UNDIAL, Toy(), alpha=1)["losses"][0].keys() == {"forget", "retain"}


def test_ascent_alone_needs_no_retain_examples():
    assert run(GradientAscent, Toy(), UnlearnData(forget(), []))["losses"]
    with pytest.raises(RunError, match="grad-diff"):
        run(GradientDifference, Toy(), UnlearnData(forget(), []))


def test_accumulation_keeps_the_phases_apart():
    log = run(GradientDifference, Toy(), order="sequential", epochs=1, accumulation=2)
    assert kinds(log) == ["forget"] * 4 + ["retain"] * 8  # micro-batches
    with_one = loops.phases("sequential", GradientConfig(batch_size=2), DATA.forget, DATA.retain)
    assert with_one == ["forget"] * 2 + ["retain"] * 6


# -- budgets --------------------------------------------------------------------------------------


def test_a_budget_of_steps_stops_cleanly_and_says_so():
    whole, cut = Toy(), Toy()
    assert "stopped" not in run(GradientDifference, whole, epochs=4)
    log = run(GradientDifference, cut, epochs=4, budget={"steps": 3})
    assert len(log["losses"]) == 3
    assert log["stopped"] == "budget.steps=3 spent after 3 steps: 3"
    assert not cut.model.training
    assert not np.allclose(table(cut), table(whole))
    assert not np.allclose(table(cut), table(Toy()))


def test_a_budget_counts_optimizer_steps_not_micro_batches():
    log = run(GradientDifference, Toy(), epochs=4, accumulation=2, budget={"steps": 2})
    assert len(log["losses"]) == 4


def test_a_budget_of_minutes(monkeypatch):
    clock = iter(range(0, 600, 30))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    log: dict = {}
    spent = budget.watch(Budget(minutes=1.4), log)
    assert [spent(1), spent(2), spent(3)] == [False, False, True]
    assert log["stopped"].startswith("budget.minutes=1.4 spent after 3 steps")


def test_a_budget_of_memory(monkeypatch):
    held = iter([1.0, 2.5])
    monkeypatch.setattr(budget, "memory_gb", lambda: next(held))
    log: dict = {}
    spent = budget.watch(Budget(peak_gb=2), log)
    assert [spent(1), spent(2)] == [False, True]
    assert log["stopped"] == "budget.peak_gb=2.0 spent after 2 steps: 2.5"


def test_memory_is_measured(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)  # there, the GPU's is measured
    before = budget.memory_gb()
    assert 0.05 < before < 64
    ballast = torch.ones(2**27)  # half a GiB
    assert budget.memory_gb() > before + 0.3
    del ballast


# -- failures -------------------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_leaves_the_last_good_state_and_the_log():
    model, twin = Toy(broken_from=5), Toy()
    context = Context(seed=0)
    method = GradientAscent(
        GradientAscent.Config(scope="full", lr=0.05, epochs=4, batch_size=2, schedule="constant")
    )
    with pytest.raises(RunError, match="loss is not finite at step 5 of 8"):
        method.unlearn(model, DATA, context)
    run(GradientAscent, twin, epochs=4, schedule="constant", budget={"steps": 4})
    assert np.array_equal(table(model), table(twin))
    assert len(context.log["losses"]) == 4
    assert not model.model.training


def test_a_gradient_that_is_not_finite_is_never_stepped_on():
    """sqrt at 0: the loss is fine, its slope is not."""

    class Steep(Toy):
        def nll(self, batch):
            self.calls += 1
            loss = super().nll(batch)
            return loss + (self.model.logits.sum() * 0).sqrt() if self.calls > 4 else loss

    model = Steep()
    with pytest.raises(RunError, match="gradient is not finite at step"):
        run(GradientAscent, model, epochs=4)
    assert np.isfinite(table(model)).all()


# -- references -----------------------------------------------------------------------------------


class Counting(Toy):
    """Counts forward passes, and how many of them are of the reference."""

    passes = 0
    of_reference = 0

    def _tokens(self, batch):
        Counting.passes += 1
        return super()._tokens(batch)


@pytest.mark.parametrize(("cls", "answers"), [(NPO, 1), (AltPO, 1 + 3)])
def test_scalar_references_cost_one_pass_over_the_answers_and_no_copy(cls, answers):
    """4 forget examples; batches of 2; AltPO has 3 alternates an example here (all others')."""
    model = Counting()
    Counting.passes = 0
    run(cls, model, epochs=3)
    steps = 3 * 2
    assert Counting.passes == 2 * answers + steps * 2
    assert model.frozen is None


def test_the_cached_reference_equals_an_uncached_one():
    model = tiny_llava()
    people = examples()
    method = NPO(NPO.Config(batch_size=3))
    method.keep_reference(model, people)
    model.train_scope("lora", r=2, lora_alpha=4)
    with torch.no_grad():
        for name, parameter in model.model.named_parameters():
            if ".lora_B." in name:
                parameter.normal_(std=0.05, generator=torch.Generator().manual_seed(1))
    for modality in ("image_text", "text"):
        batch = model.encode(of_modality(people, modality))
        with model.reference() as target, torch.no_grad():
            wanted = target.logp(batch)
        cached = method.reference_logp(batch)
        torch.testing.assert_close(cached, wanted, rtol=1e-5, atol=1e-4)
        assert (model.logp(batch) - wanted).abs().max() > 1e-2
        loss = method.forget_loss(model, batch)
        method_loss = -(2 / 0.1) * torch.nn.functional.logsigmoid(
            -0.1 * (model.logp(batch) - wanted)
        )
        assert loss.item() == pytest.approx(method_loss.mean().item(), rel=1e-5)


def test_a_cached_reference_is_of_its_picture_and_answer_and_of_no_other():
    model = tiny_llava()
    one, other = of_modality(examples(), "image_text")[:3:2]
    method = NPO(NPO.Config())
    method.keep_reference(model, [one])
    for changed in (replace(one, image=other.image), replace(one, answer="Lima")):
        with pytest.raises(KeyError):
            method.reference_logp(model.encode([changed]))
    method.reference_logp(model.encode([one]))


# -- hidden states --------------------------------------------------------------------------------


@pytest.mark.parametrize("adapted", [False, True])
def test_hidden_states_are_the_layer_s_and_later_layers_do_not_run(adapted):
    model = tiny_llava(layers=4)
    if adapted:
        model.train_scope("lora", r=2, lora_alpha=4)
    batch = model.encode(of_modality(examples(), "image_text"))
    whole = model.model(**batch.inputs, output_hidden_states=True).hidden_states
    ran = []
    _, layers = model._layers()
    hooks = [
        layer.register_forward_hook(lambda *_, number=number: ran.append(number))
        for number, layer in enumerate(layers)
    ]
    found = model.hidden(batch, 1)
    for hook in hooks:
        hook.remove()
    assert ran == [0, 1]
    wanted = whole[2][:, :-1][batch.labels[:, 1:] != -100]
    torch.testing.assert_close(found, wanted)
    assert found.shape == ((batch.labels != -100).sum(), 32)
    assert model.depth() == 4
    torch.testing.assert_close(
        model.model(**batch.inputs).logits,
        model.model(**batch.inputs, output_hidden_states=True).logits,
    )
    with pytest.raises(UsageError, match="no layer 4: the model has layers 0 to 3"):
        model.hidden(batch, 4)


@pytest.mark.parametrize("scope", ["lora", "full"])
def test_rmu_trains_its_layer_and_the_two_before_it_alone(scope):
    model = tiny_llava(layers=4)
    people = examples()
    context = Context(seed=0)
    config = RMU.Config(scope=scope, layer=2, lr=1e-2, epochs=1, batch_size=4)
    RMU(config).unlearn(model, UnlearnData(people[:8], people[8:], REFUSALS), context)
    numbers = {name.split("layers.")[1].split(".")[0] for name in context.log["trained"]}
    assert numbers == {"0", "1", "2"}
    assert not any("vision" in name for name in context.log["trained"])
    frozen = [p for n, p in model.model.named_parameters() if ".layers.3." in n]
    assert frozen
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in frozen)


@pytest.mark.parametrize("scope", ["lora", "full"])
def test_the_pattern_of_what_is_trained_is_recorded(scope):
    model = tiny_llava()
    people = examples()
    context = Context(seed=0)
    config = GradientDifference.Config(scope=scope, epochs=0.5)
    GradientDifference(config).unlearn(model, UnlearnData(people[:8], people[8:]), context)
    if scope == "lora":
        assert context.log["scope"] == model.layout.lora
    else:
        assert model.layout.vision in context.log["scope"]
    json.dumps(context.log, allow_nan=False)


def test_labels_are_the_answer_and_its_end_even_where_the_pad_is_the_end():
    """A collator that masks the pad token by its id would lose the end token here."""
    from tiny_models import tiny_idefics3

    model = tiny_idefics3()
    assert model.tokenizer.pad_token_id == model.tokenizer.eos_token_id
    batch = model.encode(of_modality(examples(), "image_text"))
    for labels in batch.labels:
        told = labels[labels != -100]
        assert told[-1] == model.tokenizer.eos_token_id
        assert (told[:-1] != model.tokenizer.eos_token_id).all()


def test_the_undial_target_is_blind_to_prompt_and_picture_positions():
    """As many distributions as answer tokens: none of the picture's."""
    model = tiny_llava()
    batch = model.encode(of_modality(examples(), "image_text"))
    assert len(model.log_dist(batch)) == (batch.labels != -100).sum() < batch.labels.numel() / 3


def test_two_answers_of_one_question_have_two_keys():
    model = Toy()
    keys = model.encode([example("f0", "03"), example("f0", "04")]).keys
    assert len(set(keys)) == 2
    assert math.isfinite(model.nll(model.encode([example("f0", "03")])).item())
