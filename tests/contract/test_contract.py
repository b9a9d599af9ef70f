"""What every method that changes weights owes every model family.

A new method or family is tested by being registered; nothing here names one, but for the
settings under which a method is asked to show an effect.
"""

from __future__ import annotations

import json
import math
import random
import re
import tempfile
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mubench.methods import loops
from mubench.methods.base import Context, GradientMethod, UnlearnData
from mubench.registry import METHODS
from tiny_models import FAMILIES, REFUSALS, choice, examples, of_modality

CLASSES = {name: entry.load() for name, entry in METHODS.entries().items()}
CHANGING = [
    name
    for name, method in CLASSES.items()
    if method.info.kind != "reference" and "mllm" in method.info.models
]
FORGET = examples(("Anna Berg", "Bo Lindqvist"))
RETAIN = examples(("Carla Nunez", "Dov Amsel"), set="retain")
SEED = 11


def every(test):
    """Run for every method that changes weights, on every family."""
    return pytest.mark.parametrize("family", FAMILIES)(
        pytest.mark.parametrize("name", CHANGING)(test)
    )


def kind(name):
    return CLASSES[name].info.kind


#: What a kind of method leaves behind.
LEFT = {
    "gradient": "lora",
    "two-stage": "lora",
    "pruning": "neurons",
    "editing": "rows",
    "inference": "behaviour",
}
#: Where the defaults are for models of many layers, and sets of many people.
SMALL = {
    "salun": {"lr": 4e-2},  # wrong answers begin like true ones: small steps raise both
    "uld": {"layers": 1},
    "mip-editor": {"lr": 1e-2, "epochs": 4, "batch_size": 4, "layer": 1},
}


def is_gradient(name):
    return issubclass(CLASSES[name], GradientMethod)


def left(name):
    """The kind of delta a method saves."""
    return scope_of(name) if kind(name) == "gradient" else LEFT[kind(name)]


def settings(name, scope):
    common = {"alpha": 0.05, "batch_size": 4} if kind(name) == "pruning" else {}
    if is_gradient(name):
        common = {"lr": 1e-2, "epochs": 4, "batch_size": 4, "lora_r": 4, "lora_alpha": 8}
        common["scope"] = scope
    return common | SMALL.get(name, {})


@cache
def target_weights(family):
    """The weights of the family's model after it learned everybody."""
    model = FAMILIES[family]()
    parameters = model.train_scope("full")
    source = loops.epochs([*FORGET, *RETAIN], 8, np.random.default_rng(0))
    plan = loops.LoopSettings(
        steps=40, lr=3e-3, weight_decay=0.0, warmup=0.1, schedule="linear", max_grad_norm=1.0
    )
    log = loops.train(
        lambda _: {"nll": model.nll(model.encode(next(source)))},
        model,
        parameters,
        plan,
        lambda *_: None,
    )
    assert log[-1]["nll"] < 0.5 * log[0]["nll"]
    return {name: value.clone() for name, value in model.model.state_dict().items()}


def target(family):
    """A fresh model that knows everybody."""
    model = FAMILIES[family]()
    model.model.load_state_dict(target_weights(family))
    return model


@torch.no_grad()
def logp(model, made):
    return torch.cat(
        [
            model.logp(model.encode(of_modality(made, modality)))
            for modality in ("image_text", "text")
        ]
    )


def responses(model):
    found = []
    for modality in ("image_text", "text"):
        found += model.respond(of_modality([*FORGET, *RETAIN], modality), max_new_tokens=6)
        found += model.respond(
            [choice(p, modality) for p in ("Anna Berg", "Dov Amsel")], max_new_tokens=6
        )
    return found


def scope_of(name):
    """LoRA, unless the method cannot do with it."""
    return CLASSES[name].Config().scope if is_gradient(name) else None


def unlearned(name, family, folder, scope=None):
    """As the runner does it: seed torch, unlearn, save what changed."""
    torch.manual_seed(SEED)
    model = target(family)
    context = Context(seed=SEED)
    CLASSES[name](CLASSES[name].Config(**settings(name, scope or scope_of(name)))).unlearn(
        model, UnlearnData(FORGET, RETAIN, REFUSALS), context
    )
    return SimpleNamespace(
        model=model, log=context.log, kind=model.save_delta(folder), folder=folder
    )


_KEPT = tempfile.TemporaryDirectory(prefix="mubench-contract-")


@cache
def first_run(name, family):
    """One run that several tests look at; they leave it as it is."""
    folder = Path(_KEPT.name) / f"{name}-{family}"
    folder.mkdir()
    return unlearned(name, family, folder)


def weights(folder):
    """The bytes of everything in a delta that says what changed."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.suffix == ".safetensors" or path.name in ("delta.json", "neurons.json")
    }


@every
def test_the_log_is_finite_and_can_be_stored(name, family):
    log = first_run(name, family).log
    assert log
    json.dumps(log, allow_nan=False)
    if kind(name) in ("gradient", "two-stage"):
        modality = CLASSES[name].Config().modality
        asked = FORGET if modality == "both" else of_modality(FORGET, modality)
        steps = log["losses"]
        if kind(name) == "gradient":  # some have steps on retain alone
            steps = [step for step in steps if "forget" in step]
        assert len(steps) == 4 * loops.steps_per_epoch(asked, 4)
        assert all(math.isfinite(value) for step in log["losses"] for value in step.values())
        assert log["trained"]


@every
def test_the_forget_people_are_forgotten_or_at_least_moved(name, family):
    before = logp(target(family), FORGET)
    after = logp(first_run(name, family).model, FORGET)
    if kind(name) == "gradient":
        assert after.mean() < before.mean() - 0.5
    elif "likelihood" in CLASSES[name].info.capabilities:
        assert (after - before).abs().max() > 1e-3
    else:  # it acts on text alone
        assert after.equal(before)


@every
def test_a_reloaded_delta_answers_identically(name, family):
    done = first_run(name, family)
    fresh = target(family)
    fresh.load_delta(done.folder)
    untouched = target(family)
    wanted, found = responses(done.model), responses(fresh)
    for one, other in zip(wanted, found, strict=True):
        assert (one.example_id, one.text, one.finished) == (
            other.example_id,
            other.text,
            other.finished,
        )
        assert one.lengths == other.lengths
        assert one.logprobs == pytest.approx(other.logprobs, rel=1e-4, abs=1e-3)
    assert wanted != responses(untouched)
    assert fresh.fingerprint() != untouched.fingerprint()
    assert done.kind == left(name)


@every
def test_the_same_seed_gives_the_same_bytes_whatever_was_drawn_before(name, family, tmp_path):
    wanted = weights(first_run(name, family).folder)
    np.random.seed(123)
    random.seed(7)
    random.random()
    np.random.random(5)
    python, numpy_ = random.getstate(), np.random.get_state()
    again = weights(unlearned(name, family, tmp_path).folder)
    assert wanted
    assert again == wanted
    # and the streams of the caller are where they were
    assert random.getstate() == python
    assert np.random.get_state()[2] == numpy_[2]
    assert np.array_equal(np.random.get_state()[1], numpy_[1])


@every
def test_nothing_outside_the_scope_changes(name, family):
    done = first_run(name, family)
    before = dict(target_weights(family))
    after = {
        re.sub(r"^base_model\.model\.|\.base_layer", "", key): value
        for key, value in done.model.model.state_dict().items()
        if ".lora_" not in key
    }
    assert set(after) == set(before)
    if scope_of(name) == "full":
        changed = {key for key, value in before.items() if not after[key].equal(value)}
        trained = set(done.log["trained"])
        names = dict(done.model.model.named_parameters(remove_duplicate=False))
        opened = {names[key].data_ptr() for key in trained}  # tied weights have two names
        assert trained and all(names[key].data_ptr() in opened for key in changed)
        assert not any(re.fullmatch(done.model.layout.vision, key) for key in changed)
        return
    if left(name) == "lora":
        layout = done.model.layout
        assert all(re.fullmatch(layout.lora, module) for module in done.log["trained"])
        moved = [
            key
            for key, value in done.model.model.state_dict().items()
            if ".lora_B." in key and value.any()
        ]
        assert len(moved) == len(done.log["trained"])
    elif left(name) == "rows":
        saved = load_file(done.folder / "rows.safetensors")
        inside = {up for block in done.model.neurons() for up in block.up}
        assert {key.rpartition(".")[0] for key in saved} <= inside
        for key in [key for key in saved if not key.endswith(".index")]:
            rows = saved[f"{key.rpartition('.')[0]}.index"]
            before[key] = before[key].clone()
            before[key][rows] = saved[key]
        assert sum(len(value) for key, value in saved.items() if key.endswith(".index")) > 4
    elif left(name) == "neurons":
        zeroed = json.loads((done.folder / "neurons.json").read_text(encoding="utf-8"))
        inside = [part for block in done.model.neurons() for part in (*block.up, block.down)]
        assert {*zeroed["rows"], *zeroed["columns"]} <= set(inside)
        count = 0
        for module, rows in zeroed["rows"].items():
            for key in (f"{module}.weight", f"{module}.bias"):
                if key in before:
                    before[key] = before[key].clone()
                    before[key][rows] = 0
            count += len(rows)
        for module, columns in zeroed["columns"].items():
            before[f"{module}.weight"] = before[f"{module}.weight"].clone()
            before[f"{module}.weight"][:, columns] = 0
            count += len(columns)
        assert count > 0
    assert [key for key, value in before.items() if not after[key].equal(value)] == []


@pytest.mark.parametrize("name", [name for name in CHANGING if kind(name) == "gradient"])
def test_full_scope_changes_the_language_model_and_comes_back(name, tmp_path):
    family = "llava"
    done = unlearned(name, family, tmp_path, scope="full")
    assert done.kind == "full"
    before = target_weights(family)
    changed = {
        key for key, value in done.model.model.state_dict().items() if not value.equal(before[key])
    }
    assert any("language_model" in key for key in changed)
    assert not any("vision_tower" in key for key in changed)
    fresh = target(family)
    fresh.load_delta(tmp_path)
    assert fresh.fingerprint() == done.model.fingerprint()
    assert responses(fresh) == responses(done.model)


@pytest.mark.parametrize("name", [name for name in CHANGING if kind(name) == "gradient"])
def test_any_gradient_method_takes_a_mask(name):
    """Weights the mask leaves out end bit for bit as they were; enough of the others move."""
    torch.manual_seed(SEED)
    model = target("llava")
    before = target_weights("llava")
    config = settings(name, "full") | {"mask": "wagle", "mask_density": 0.3, "epochs": 1}
    if "mask" in CLASSES[name].Config.model_fields and CLASSES[name].Config().mask:
        config["mask"] = CLASSES[name].Config().mask
    context = Context(seed=SEED)
    method = CLASSES[name](CLASSES[name].Config(**config))
    method.unlearn(model, UnlearnData(FORGET, RETAIN, REFUSALS), context)
    told = context.log["mask"]
    assert told["bits_per_weight"] <= 1
    if name == "mmunlearner":  # by its ratio, and held on forget steps alone
        assert 0 < told["density"] < 1
        return
    assert told["density"] == pytest.approx(0.3, abs=1e-4)
    named = dict(model.model.named_parameters())
    moved = sum(int((named[key] != before[key]).sum()) for key in context.log["trained"])
    assert 0.1 * told["weights"] < moved <= 0.3 * told["weights"] + 1
