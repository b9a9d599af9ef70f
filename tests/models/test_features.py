"""Features of pictures are computed once, and never used for another tower or picture."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from models.asking import assert_same, make, plain, questions, run
from mubench.models import scorer
from mubench.models.encoding import Memo
from tiny_models import (
    PEOPLE,
    of_modality,
    picture,
    tiny_llava,
)


@pytest.fixture
def towers(monkeypatch):
    """How often a vision tower ran, from an empty memory of features."""
    monkeypatch.setattr(scorer, "FEATURES", Memo())
    count = SimpleNamespace(pictures=0)

    def watch(model):
        tower = model.base.model.vision_tower
        tower.register_forward_hook(lambda *_: setattr(count, "pictures", count.pictures + 1))
        return model

    return SimpleNamespace(watch=watch, count=count)


def shown():
    return tuple(of_modality(questions(16), "image_text"))


def test_features_are_shared_by_checkpoints_with_one_tower(towers):
    one = towers.watch(tiny_llava())
    found = run(make(one), shown())
    assert towers.count.pictures == len(PEOPLE)
    other = towers.watch(tiny_llava())
    other.zero(rows={}, columns={"model.language_model.layers.0.mlp.down_proj": range(20)})
    changed = run(make(other), shown())
    assert towers.count.pictures == len(PEOPLE)  # none was computed again
    assert_same(changed, plain(other, sorted_like(changed)))
    assert [one.logprobs for one in changed] != [one.logprobs for one in found]


@pytest.mark.parametrize("part", ["vision_tower", "multi_modal_projector"])
def test_features_are_never_shared_with_a_model_whose_tower_changed(towers, part):
    run(make(towers.watch(tiny_llava())), shown())
    other = towers.watch(tiny_llava())
    with torch.no_grad():
        next(getattr(other.base.model, part).parameters()).mul_(-1)
    changed = run(make(other), shown())
    assert towers.count.pictures == 2 * len(PEOPLE)
    assert_same(changed, plain(other, sorted_like(changed)))


def test_features_are_never_shared_by_another_picture_of_the_same_name(towers):
    run(make(towers.watch(tiny_llava())), shown())
    mirrored = tiny_llava(images=lambda name: picture(name).rotate(180))
    changed = run(make(towers.watch(mirrored)), shown())
    assert towers.count.pictures == 2 * len(PEOPLE)
    assert_same(changed, plain(mirrored, sorted_like(changed)))


def sorted_like(found):
    by_id = {example.id: example for example in shown()}
    return [by_id[one.example_id] for one in found]


def test_the_longest_unused_is_forgotten_first():
    memo = Memo(limit=24)
    for name in "abc":
        memo.put(name, torch.zeros(2))  # eight bytes each
    memo.get("a")
    memo.put("d", torch.zeros(2))
    memo.put("d", torch.ones(2))  # again: it takes no more room than before
    assert memo.get("b") is None
    assert all(memo.get(name) is not None for name in "acd")
