"""What every method for dual encoders owes a real open_clip model.

A new method is tested by being registered; nothing here names one, but for the settings under
which it is asked to show an effect on a random model.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mubench.methods.base import Context, GradientMethod, UnlearnData
from mubench.models.dual_encoder import OpenClipModel
from mubench.models.load import scaled_delta
from mubench.models.open_clip_files import read
from mubench.registry import METHODS
from pairs import pair
from tiny_clip import NAMES, clip_folder, picture

CLASSES = {name: entry.load() for name, entry in METHODS.entries().items()}
CHANGING = [
    name
    for name, method in CLASSES.items()
    if method.info.kind != "reference" and "clip" in method.info.models
]
FORGET = [pair(name, view) for name in NAMES[:2] for view in range(2)]
RETAIN = [pair(name, set="retain") for name in NAMES[2:]]
DATA = UnlearnData(FORGET, RETAIN)
SETTINGS = {
    "lipschitz": {
        "lr": 1e-3,
        "epochs": 2,
        "samples": 2,
        "ascents": 12,
        "noises": 2,
        "sigmas": (0.1, 0.5),
        "stop": 0.0,
    },
    "negmerge": {"lr": 1e-3, "epochs": 2, "members": 2, "batch_size": 2},
    "slug": {"top": 1},
    "ssd": {"select": 1.0, "batch_size": 4},
}


def settings(name):
    if issubclass(CLASSES[name], GradientMethod):
        common = {"lr": 1e-3, "epochs": 2, "batch_size": 4}
        only_lora = CLASSES[name].info.kind == "two-stage"
        return common if only_lora else common | {"scope": "full"}
    return SETTINGS.get(name, {})


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return clip_folder(tmp_path_factory.mktemp("clip"))


def fresh(base):
    return OpenClipModel(read(base), picture)


def unlearned(name, base, **more):
    torch.manual_seed(0)
    model, context = fresh(base), Context(seed=5)
    method = CLASSES[name](CLASSES[name].Config(**(settings(name) | more)))
    method.unlearn(model, DATA, context)
    return model, context.log


def changed(model, base):
    before = read(base).model.state_dict()
    return {name for name, value in before.items() if not value.equal(model[name])}


@torch.no_grad()
def logits(model):
    return model.logits(model.encode([*FORGET, *RETAIN]))


@pytest.fixture(scope="module", params=CHANGING)
def done(request, base, tmp_path_factory):
    """One run of a method, its delta on disk, and the model with the delta loaded."""
    model, log = unlearned(request.param, base)
    folder = tmp_path_factory.mktemp(request.param)
    kind = model.save_delta(folder)
    back = fresh(base)
    back.load_delta(folder)
    return SimpleNamespace(
        name=request.param, model=model, log=log, kind=kind, back=back, folder=folder
    )


def test_a_reloaded_delta_gives_the_same_model(done, base):
    assert done.kind in ("tensors", "lora")
    if done.kind == "tensors":
        assert done.back.fingerprint() == done.model.fingerprint()
        assert logits(done.back).equal(logits(done.model))
    torch.testing.assert_close(logits(done.back), logits(done.model), rtol=1e-4, atol=1e-4)
    assert (logits(done.back) - logits(fresh(base))).abs().max() > 1e-3


def test_nothing_outside_the_declared_scope_changes(done, base):
    moved = changed(done.back.model.state_dict(), base)
    assert moved and "logit_scale" not in moved
    trained = done.log.get("trained")
    if trained is None:  # a closed form: the image tower's final map
        assert moved == {"visual.proj"}
    elif done.kind == "lora":
        assert moved <= {f"{module}.weight" for module in trained}
    else:
        assert moved <= set(trained)


def test_the_log_is_finite_and_can_be_stored(done):
    assert json.loads(json.dumps(done.log)) is not None
    for terms in done.log.get("losses", []):
        assert np.isfinite(list(terms.values())).all()


def test_the_same_seed_gives_the_same_model(done, base):
    again, _ = unlearned(done.name, base)
    assert again.fingerprint() == done.model.fingerprint()


@pytest.mark.parametrize(
    "name", [name for name in CHANGING if CLASSES[name].info.kind == "two-stage"]
)
def test_learned_once_and_scaled_is_unlearned(name, base, tmp_path: Path):
    torch.manual_seed(0)
    model = fresh(base)
    method = CLASSES[name](CLASSES[name].Config(**settings(name)))
    method.learn(model, DATA, Context(seed=5))
    for stage in ("learned", "half", "none"):
        (tmp_path / stage).mkdir()
    model.save_delta(tmp_path / "learned")
    scaled_delta(tmp_path / "learned", tmp_path / "half", -0.5)
    scaled_delta(tmp_path / "learned", tmp_path / "none", 0.0)
    back = fresh(base)
    back.load_delta(tmp_path / "half")
    whole, _ = unlearned(name, base, scale=0.5)
    torch.testing.assert_close(logits(back), logits(whole), rtol=1e-4, atol=1e-4)
    assert (logits(back) - logits(fresh(base))).abs().max() > 1e-3
    none = fresh(base)
    none.load_delta(tmp_path / "none")
    torch.testing.assert_close(logits(none), logits(fresh(base)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("mask", ["salun", "random", "magnitude"])
def test_a_mask_holds_all_other_weights(mask, base):
    model, log = unlearned("cliperase", base, mask=mask, mask_density=0.3)
    before = read(base).model.state_dict()
    now = model.model.state_dict()
    moved = sum(int((now[name] != before[name]).sum()) for name in before)
    told = log["mask"]
    assert told["density"] == pytest.approx(0.3, abs=1e-4)
    assert 0.1 * told["weights"] < moved <= 0.3 * told["weights"] + 1


def test_lora_stays_on_the_towers_it_is_given(base, tmp_path: Path):
    model, log = unlearned("cliperase", base, scope="lora", towers="text", lora_r=2)
    assert model.save_delta(tmp_path) == "lora"
    back = fresh(base)
    back.load_delta(tmp_path)
    moved = changed(back.model.state_dict(), base)
    assert moved == {f"{module}.weight" for module in log["trained"]}
    assert moved and not any(name.startswith("visual.") for name in moved)
