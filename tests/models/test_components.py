"""Every weight has one component, and putting some back changes those and nothing else."""

from __future__ import annotations

from copy import deepcopy
from itertools import combinations

import pytest
import torch

from mubench.models.components import differing, put_back, weights
from mubench.models.hf_mllm import HFVisionLanguageModel
from mubench.models.layouts import COMPONENTS
from tiny_models import FAMILIES, examples

SUBSETS = [parts for count in range(4) for parts in combinations(COMPONENTS, count)]
#: What a projector is called in the names of its weights.
PROJECTORS = ("multi_modal_projector", "merger", "connector")


@pytest.fixture(params=FAMILIES)
def model(request):
    return FAMILIES[request.param]()


def twin(model, change: float) -> HFVisionLanguageModel:
    made = HFVisionLanguageModel(deepcopy(model.model), model.processor, model.encoder.images)
    with torch.no_grad():
        for weight in made.model.parameters():
            weight.add_(change)
    return made


def test_every_weight_belongs_to_the_component_that_its_name_says(model):
    found = weights(model)
    assert sum(map(len, found.values())) == len(model.model.state_dict())
    assert all(found.values())
    for component, names in found.items():
        for name in names:
            projects = any(part in name for part in PROJECTORS)
            assert projects == (component == "projector"), name
            assert ("vision" in name or "visual.blocks" in name) <= (component == "vision"), name


@pytest.mark.parametrize("parts", SUBSETS, ids="+".join)
def test_what_is_put_back_is_the_targets_and_only_within(parts):
    model = FAMILIES["llava"]()
    target = twin(model, 0.01)
    before = model.fingerprint()
    with put_back(model, target, parts):
        same = {
            component: all(
                tensor.equal(weights(target)[component][name]) for name, tensor in tensors.items()
            )
            for component, tensors in weights(model).items()
        }
        assert {component for component, equal in same.items() if equal} == set(parts)
        assert set(differing(model, target)) == set(COMPONENTS) - set(parts)
    assert model.fingerprint() == before


def test_all_components_of_the_target_are_the_target(model):
    target = twin(model, 0.01)
    asked = examples()[:2]
    wanted = target.respond(asked, max_new_tokens=3)
    assert model.respond(asked, max_new_tokens=3) != wanted
    with put_back(model, target, COMPONENTS):
        assert model.respond(asked, max_new_tokens=3) == wanted


def test_an_error_within_leaves_the_model_as_it_was():
    model = FAMILIES["llava"]()
    before = model.fingerprint()
    with pytest.raises(RuntimeError), put_back(model, twin(model, 0.01), COMPONENTS):
        raise RuntimeError
    assert model.fingerprint() == before
