"""What may change, what did change, and bringing it back."""

from __future__ import annotations

import json
import re

import pytest
import torch
from torch import nn

from mubench.config.schema import ModelSettings
from mubench.models.layouts import LAYOUTS
from mubench.models.load import load_model
from tiny_models import FAMILIES, examples, of_modality, tiny_llava

LANGUAGE = re.compile(r"model\.(language|text)_model\.layers\.\d+\.")
VISION = re.compile(r"model\.(vision_tower|vision_model|visual(?!\.merger))\.")


def skeleton(family: str) -> nn.Module:
    """The family's class without weights: two layers a tower."""
    import transformers

    names = {
        "llava": "Llava",
        "qwen2_vl": "Qwen2VL",
        "qwen2_5_vl": "Qwen2_5_VL",
        "idefics2": "Idefics2",
        "idefics3": "Idefics3",
        "smolvlm": "SmolVLM",
        "mllama": "Mllama",
    }
    text = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    text |= {
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "vocab_size": 100,
        "pad_token_id": 0,
    }
    vision = {"num_hidden_layers": 2, "hidden_size": 32, "intermediate_size": 48}
    vision |= {"num_attention_heads": 2}
    if family.startswith("qwen"):
        text |= {"rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3]}}
        text |= {"bos_token_id": 1, "eos_token_id": 2}
        vision = {"depth": 2, "num_heads": 2, "hidden_size": 32, "intermediate_size": 48}
        if family == "qwen2_vl":
            vision = {"depth": 2, "num_heads": 2, "hidden_size": 32, "embed_dim": 32}
    elif family == "mllama":
        text |= {"cross_attention_layers": [1], "bos_token_id": 1, "eos_token_id": 2}
        text |= {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}}
        vision |= {"num_global_layers": 1, "intermediate_layers_indices": [0]}
        vision |= {"vision_output_dim": 64, "attention_heads": vision.pop("num_attention_heads")}
    else:
        text |= {"model_type": "mistral" if family == "idefics2" else "llama"}
        if family == "llava":
            vision |= {"model_type": "clip_vision_model"}
    config = getattr(transformers, f"{names[family]}Config")(text_config=text, vision_config=vision)
    with torch.device("meta"):
        return getattr(transformers, f"{names[family]}ForConditionalGeneration")(config)


@pytest.mark.parametrize("family", LAYOUTS)
def test_layout_fits_the_family(family):
    layout = LAYOUTS[family]
    model = skeleton(family)
    assert model.config.model_type == family
    modules = dict(model.named_modules())
    linears = {name for name, module in modules.items() if isinstance(module, nn.Linear)}
    adapted = {name for name in modules if re.fullmatch(layout.lora, name)}
    assert adapted == {name for name in linears if LANGUAGE.match(name)}
    assert len(adapted) == 2 * 7
    for pattern, ups, down in (
        (layout.language_mlp, layout.language_up, layout.language_down),
        (layout.vision_mlp, layout.vision_up, layout.vision_down),
    ):
        blocks = [name for name in modules if re.fullmatch(pattern, name)]
        assert len(blocks) == 2
        for block in blocks:
            inside = {name for name in linears if name.startswith(f"{block}.")}
            assert inside == {f"{block}.{part}" for part in (*ups, down)}


@pytest.mark.parametrize("family", FAMILIES)
def test_lora_opens_language_linears_and_nothing_of_the_vision_tower(family):
    model = FAMILIES[family]()
    linears = {
        name
        for name, module in model.model.named_modules()
        if isinstance(module, nn.Linear) and LANGUAGE.match(name)
    }
    assert any(VISION.match(name) for name, _ in model.model.named_modules())
    parameters = model.train_scope("lora", r=2, lora_alpha=2)
    trained = model.trained_modules()
    assert set(trained) == linears
    assert not any(VISION.match(name) for name in trained)
    assert len(parameters) == 2 * len(linears)
    assert all(parameter.shape[0] == 2 or parameter.shape[1] == 2 for parameter in parameters)


@pytest.mark.parametrize("family", FAMILIES)
def test_full_scope_opens_all_but_the_vision_tower(family):
    model = FAMILIES[family]()
    model.model.requires_grad_(False)
    named = dict(model.model.named_parameters())
    opened = {id(parameter) for parameter in model.train_scope("full")}
    closed = {name for name, parameter in named.items() if id(parameter) not in opened}
    assert closed == {name for name in named if VISION.match(name)}
    assert closed
    assert set(model.trained_modules()) == set(named) - closed


@pytest.mark.parametrize("family", FAMILIES)
def test_neurons_name_both_towers(family):
    model = FAMILIES[family]()
    blocks = model.neurons()
    assert [(block.tower, block.layer) for block in blocks] == [
        ("language", 0),
        ("language", 1),
        ("vision", 0),
        ("vision", 1),
    ]
    for block in blocks:
        assert model.module(block.down).in_features == block.count
        assert [model.module(up).out_features for up in block.up] == [block.count] * len(block.up)


def test_zero_silences_rows_with_bias_and_columns_alone():
    model = tiny_llava()
    vision = model.neurons()[2]
    model.module(vision.up[0]).bias.data.fill_(1)
    before = {name: value.clone() for name, value in model.model.state_dict().items()}
    model.zero(rows={vision.up[0]: [3, 5]}, columns={vision.down: [3]})
    before[f"{vision.up[0]}.weight"][[3, 5]] = 0
    before[f"{vision.up[0]}.bias"][[3, 5]] = 0
    before[f"{vision.down}.weight"][:, 3] = 0
    after = model.model.state_dict()
    assert all(after[name].equal(value) for name, value in before.items())


@torch.no_grad()
def outputs(model):
    made = examples()
    return torch.cat(
        [
            model.logp(model.encode(of_modality(made, modality)))
            for modality in ("image_text", "text")
        ]
    )


def change(model, kind):
    generator = torch.Generator().manual_seed(3)
    if kind == "neurons":
        blocks = model.neurons()
        model.zero(rows={blocks[0].up[0]: [1, 2]}, columns={blocks[0].down: [1, 2]})
        model.zero(rows={blocks[-1].up[0]: [4]}, columns={})
        return
    scope = {"lora": {"r": 2, "lora_alpha": 4}, "full": {}}[kind]
    with torch.no_grad():
        for parameter in model.train_scope(kind, **scope):
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["lora", "full", "neurons"])
def test_a_delta_brings_the_change_back(family, kind, tmp_path):
    changed = FAMILIES[family]()
    untouched = outputs(changed)
    change(changed, kind)
    wanted = outputs(changed)
    assert (wanted - untouched).abs().max() > 1e-3
    assert changed.save_delta(tmp_path) == kind
    assert json.loads((tmp_path / "delta.json").read_text())["kind"] == kind
    fresh = FAMILIES[family]()
    fresh.load_delta(tmp_path)
    torch.testing.assert_close(outputs(fresh), wanted, rtol=1e-5, atol=1e-4)
    if kind != "lora":  # an adapter is merged, which rounds
        assert fresh.fingerprint() == changed.fingerprint()
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in written if path.suffix in (".bin", ".pt", ".pth", ".pkl")]
    assert any(path.suffix == ".safetensors" for path in written) == (kind != "neurons")


def test_a_delta_of_an_untouched_model_is_none(tmp_path):
    model = tiny_llava()
    assert model.save_delta(tmp_path) == "none"
    assert [path.name for path in tmp_path.iterdir()] == ["delta.json"]
    fresh = tiny_llava()
    before = fresh.fingerprint()
    fresh.load_delta(tmp_path)
    assert fresh.fingerprint() == before


def test_deltas_apply_in_order(tmp_path):
    """A pruning delta on top of an adapter: as the runner stacks target and method."""
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    first = tiny_llava()
    change(first, "lora")
    first.save_delta(tmp_path / "one")
    second = tiny_llava()
    second.load_delta(tmp_path / "one")
    change(second, "neurons")
    assert second.save_delta(tmp_path / "two") == "neurons"
    third = tiny_llava()
    third.load_delta(tmp_path / "one")
    third.load_delta(tmp_path / "two")
    assert third.fingerprint() == second.fingerprint()


def test_fingerprint_sees_any_change_of_any_weight():
    model = tiny_llava()
    assert tiny_llava().fingerprint() == model.fingerprint()
    assert tiny_llava(seed=1).fingerprint() != model.fingerprint()
    model.module(model.neurons()[-1].up[0]).weight.data[0, 0] += 1e-6
    assert tiny_llava().fingerprint() != model.fingerprint()


@pytest.mark.parametrize("scope", ["lora", "full"])
@torch.no_grad()
def test_reference_is_the_model_before_training(scope):
    model = tiny_llava()
    wanted = outputs(model)
    parameters = model.train_scope(scope, **({"r": 2} if scope == "lora" else {}))
    model.freeze_copy()
    for parameter in parameters:
        parameter.add_(0.1)
    assert (outputs(model) - wanted).abs().max() > 1e-3
    with model.reference() as before:
        assert outputs(before).equal(wanted)
    assert (outputs(model) - wanted).abs().max() > 1e-3


def test_a_saved_model_loads_with_plain_transformers(tmp_path):
    model = tiny_llava()
    model.save(tmp_path)
    assert (tmp_path / "model.safetensors").is_file()
    assert not list(tmp_path.rglob("*.bin"))
    settings = ModelSettings(
        name="x", title="X", source=str(tmp_path), benchmark="b", parameters=1.0
    )
    loaded = load_model(settings, model.encoder.images)
    assert loaded.fingerprint() == model.fingerprint()
    assert outputs(loaded).equal(outputs(model))
