"""An image tower from one model into the other, and what cannot be transplanted."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors.torch import save_file

from mubench.config.resolve import resolve
from mubench.errors import MissingError, UsageError
from mubench.methods.base import Context
from mubench.methods.transplant import Transplant, put_in
from mubench.models.load import load_model
from mubench.models.towers import to_transformers
from mubench.record import RunRecord
from mubench.runner.store import Store
from mubench.runner.transplant import transplant
from tiny_clip import tiny_clip


@pytest.fixture(scope="module")
def tower(tmp_path_factory):
    model = tiny_clip(tmp_path_factory.mktemp("clip"), seed=4)
    return model, to_transformers(model.model.visual.state_dict())


def llava():
    return load_model(resolve("none", "llava-tiny").model, None)


def test_the_multimodal_model_sees_with_the_other_tower_and_is_else_as_before(
    tower, tmp_path: Path
):
    clip, weights = tower
    model = llava()
    fingerprint = model.fingerprint()
    save_file({name: value.contiguous() for name, value in weights.items()}, tmp_path / "t")
    before = {name: value.clone() for name, value in model.model.state_dict().items()}
    config = Transplant.Config(tower=str(tmp_path / "t"), method="x")
    Transplant(config).unlearn(model, None, Context(seed=0))
    moved = {
        name for name, value in model.model.state_dict().items() if not value.equal(before[name])
    }
    assert moved and all("vision_tower" in name for name in moved)
    visual = clip.model.visual
    shape = (2, 3, *visual.image_size)
    pixels = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        theirs = visual.transformer(visual._embeds(pixels))
        ours = model.model.model.vision_tower(pixels).last_hidden_state
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    (tmp_path / "delta").mkdir()
    assert model.save_delta(tmp_path / "delta") == "full"
    back = llava()
    back.load_delta(tmp_path / "delta")
    assert back.fingerprint() == model.fingerprint() != fingerprint


def test_towers_of_another_shape_are_refused(tower):
    model, weights = llava().model, dict(tower[1])
    missing = {name: value for name, value in weights.items() if "layers.1" not in name}
    larger = weights | {"encoder.layers.0.mlp.fc1.weight": torch.zeros(4, 4)}
    for wrong in (missing, larger, weights | {"encoder.layers.9.mlp.fc1.bias": torch.zeros(4)}):
        with pytest.raises(UsageError, match="differ in shape, first at encoder.layers"):
            put_in(model, wrong)
    with pytest.raises(UsageError, match="Linear has no CLIP image tower"):
        put_in(torch.nn.Linear(2, 2), weights)


def record(method="cliperase", model="clip-tiny", **benchmark):
    spec = resolve(
        method, model, sets=[f"benchmark.{key}={value}" for key, value in benchmark.items()]
    )
    return RunRecord.model_construct(run_id="r1", spec=spec.model_dump(mode="json"), stages=[])


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        (record("ga", "llava-tiny"), UsageError, "llava-tiny is no dual encoder"),
        (record(), MissingError, "does not hold 'train target' of run r1: repeat its command"),
    ],
)
def test_what_cannot_be_transplanted(given, error, says, tmp_path: Path):
    with pytest.raises(error, match=says):
        transplant(given, "llava-tiny", Store(tmp_path), tmp_path, Console(quiet=True))


def test_other_people_are_refused(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("mubench.runner.transplant._folder", lambda *_: tmp_path)
    with pytest.raises(UsageError, match="not hold the same people: fictitious is 50 and 60"):
        transplant(
            record(fictitious=50), "llava-tiny", Store(tmp_path), tmp_path, Console(quiet=True)
        )
