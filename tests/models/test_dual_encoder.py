"""open_clip models: their files, what is refused, what may change, and how deltas travel."""

from __future__ import annotations

import json
import math
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file

from mubench.errors import DamagedError, MissingError, RunError, UsageError
from mubench.models.dual_encoder import OpenClipModel
from mubench.models.open_clip_files import CONFIG, WEIGHTS, read, repository
from mubench.models.tiny import build_clip, build_llava, build_tokenizer
from mubench.models.towers import to_open_clip, to_transformers
from pairs import pair
from tiny_clip import NAMES, clip_folder, picture, tiny_clip

#: What weights of the text tower begin with.
TEXT = ("transformer.", "token_embedding", "positional_embedding", "ln_final", "text_projection")
PAIRS = [pair(name) for name in NAMES]


@pytest.fixture
def model(tmp_path: Path) -> OpenClipModel:
    return tiny_clip(tmp_path / "base")


# -- files -------------------------------------------------------------------------------------


def test_open_clip_reads_what_is_saved_bit_for_bit(model: OpenClipModel, tmp_path: Path) -> None:
    model.save(tmp_path / "saved")
    name = f"local-dir:{tmp_path / 'saved'}"
    theirs, _, preprocess = open_clip.create_model_and_transforms(name, require_pretrained=True)
    theirs.eval()
    for key, value in model.model.state_dict().items():
        assert torch.equal(theirs.state_dict()[key], value), key
    text = open_clip.get_tokenizer(name)([PAIRS[0].answer])
    assert torch.equal(text, model.tokens([PAIRS[0].answer]))
    pixels = preprocess(picture("x"))[None]
    assert torch.equal(pixels, model.pixels(["x"]))
    batch = model.encode(PAIRS)
    assert torch.equal(theirs.encode_image(batch.images, True), model.image_features(batch))


def _without(folder: Path, name: str) -> None:
    (folder / name).unlink()


def _weights(folder: Path, **changes: torch.Tensor) -> None:
    weights = load_file(folder / WEIGHTS) | changes
    save_file(weights, folder / WEIGHTS)


def _config(folder: Path, **text: object) -> None:
    config = json.loads((folder / CONFIG).read_text())
    config["model_cfg"]["text_cfg"] |= text
    (folder / CONFIG).write_text(json.dumps(config))


def _forget_words(folder: Path, known: int) -> None:
    """A model of fewer tokens than its tokenizer has."""
    _config(folder, vocab_size=known)
    _weights(folder, **{"token_embedding.weight": torch.zeros(known, 128)})


@pytest.mark.parametrize(
    ("harm", "error", "says"),
    [
        (lambda folder: _without(folder, WEIGHTS), MissingError, "random"),
        (lambda folder: (folder / WEIGHTS).rename(folder / "model.bin"), MissingError, "pickles"),
        (lambda folder: _without(folder, CONFIG), MissingError, CONFIG),
        (lambda folder: (folder / CONFIG).write_text("{"), DamagedError, CONFIG),
        (lambda folder: (folder / CONFIG).write_text("{}"), DamagedError, CONFIG),
        (lambda folder: (folder / WEIGHTS).write_bytes(b"x" * 99), DamagedError, WEIGHTS),
        (lambda folder: _config(folder, layers=3), DamagedError, "does not fit"),
        (lambda folder: _config(folder, colour="red"), DamagedError, "colour"),
        (
            lambda folder: _weights(folder, logit_scale=torch.tensor(math.log(101))),
            DamagedError,
            "logit scale of 101",
        ),
        (
            lambda folder: _weights(folder, logit_scale=torch.tensor(float("nan"))),
            DamagedError,
            "logit scale",
        ),
        (
            lambda folder: build_tokenizer(["a b"], 400).save_pretrained(folder),
            DamagedError,
            "end token",
        ),
        (lambda folder: _forget_words(folder, 262), DamagedError, "the model knows 262"),
    ],
)
def test_a_folder_that_is_no_whole_model_is_refused(harm, error, says, tmp_path: Path) -> None:
    folder = clip_folder(tmp_path / "model")
    harm(folder)
    with pytest.raises(error, match=says) as caught:
        read(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("ViT-B-32/openai", "take ViT-B-32-quickgelu"),
        ("ViT-B-32/laion9", "known are openai"),
        ("ViT-B-32", "known are openai"),
        ("ViT-B-33/openai", "unknown architecture 'ViT-B-33': did you mean 'ViT-B-32'"),
        ("ViT-B-33", "unknown architecture 'ViT-B-33': did you mean 'ViT-B-32'"),
    ],
)
def test_wrong_names_and_activations_are_refused(source: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        read(source)
    if "quickgelu" not in says:  # that is found when it is read
        with pytest.raises(UsageError, match=says):
            repository(source)


@pytest.mark.parametrize("source", ["/no/such", "local-dir:no/such", "./no/such", "~/no/such"])
def test_a_folder_that_is_not_there_is_no_repository(source: str) -> None:
    with pytest.raises(MissingError, match="no such folder"):
        repository(source)


def test_other_names_are_hub_repositories() -> None:
    assert repository("hf-hub:somebody/ViT-B-33") == repository("somebody/ViT-B-33")
    assert repository("ViT-B-32/laion2b_s34b_b79k").startswith("laion/")


# -- inputs ------------------------------------------------------------------------------------


def test_captions_that_are_cut_are_counted(model: OpenClipModel) -> None:
    model.tokens(["a photo of Anna Lee.", "a" * 15])
    assert "captions cut" not in model.notes
    model.tokens(["a photo of Anna Lee, " * 9])
    assert model.notes["captions cut"].startswith("1, the first: a photo of Anna Lee, ")


def test_captions_match_by_what_they_say_and_given_ones_by_their_words(model) -> None:
    other_words = pair("Anna Lee", 1)
    names = model.encode([*PAIRS, other_words]).names.tolist()
    assert names[0] == names[4]
    assert len(set(names)) == 4
    given = model.encode(PAIRS[:3], ["a cat", PAIRS[1].answer, "a cat"]).names
    assert given[0] == given[2] != given[1]
    assert given[1] == names[1]


def test_a_batch_of_one_name_is_refused(model: OpenClipModel) -> None:
    with pytest.raises(RunError, match="one"):
        model.nll(model.encode([pair("Anna Lee", view) for view in range(3)]))


def test_the_loss_is_open_clip_s_where_every_caption_is_once(model: OpenClipModel) -> None:
    batch = model.encode(PAIRS)
    wanted = open_clip.ClipLoss()(
        model.image_features(batch), model.text_features(batch), model.logit_scale()
    )
    torch.testing.assert_close(model.nll(batch), wanted)


# -- what may change ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "changed"),
    [
        ({}, ("visual.", *TEXT)),
        ({"towers": ("image",)}, ("visual.",)),
        ({"towers": ("text",)}, TEXT),
        ({"layers": (1,)}, ("visual.transformer.resblocks.1.", "transformer.resblocks.1.")),
    ],
)
def test_only_the_scope_is_trained_and_the_delta_brings_it_back(
    options, changed, model: OpenClipModel, tmp_path: Path
) -> None:
    before = {name: value.clone() for name, value in model.model.state_dict().items()}
    parameters = model.train_scope("full", **options)
    model.freeze_copy()
    optimizer = torch.optim.SGD(parameters, lr=0.5)
    model.nll(model.encode(PAIRS)).backward()
    optimizer.step()
    moved = {n for n, v in model.model.state_dict().items() if not torch.equal(v, before[n])}
    assert moved
    assert all(name.startswith(changed) for name in moved)
    assert all(any(name.startswith(start) for name in moved) for start in changed)
    assert "logit_scale" not in moved
    with model.reference() as kept:
        for name, value in kept.model.state_dict().items():
            assert torch.equal(value, before[name]), name
    assert model.save_delta(tmp_path) == "tensors"
    assert set(load_file(tmp_path / "tensors.safetensors")) == moved
    again = tiny_clip(tmp_path / "again")
    again.load_delta(tmp_path)
    assert again.fingerprint() == model.fingerprint()
    assert again.save_delta(tmp_path / "again") == "none"


def test_adapters_train_off_and_on_and_travel(model: OpenClipModel, tmp_path: Path) -> None:
    batch = model.encode(PAIRS)
    before = model.logits(batch).detach()
    parameters = model.train_scope("lora", r=4, lora_alpha=4, towers=("image",))
    assert all("visual.transformer.resblocks" in name for name in model.trained_modules())
    optimizer = torch.optim.SGD(parameters, lr=1.0)
    for _ in range(3):  # B is zero at first: A moves from the second step on
        optimizer.zero_grad()
        model.nll(batch).backward()
        optimizer.step()
    trained = model.logits(batch).detach()
    assert not torch.allclose(trained, before)
    with model.reference() as target:
        torch.testing.assert_close(target.logits(batch), before)
    model.scale_adapter(0.5)
    half = model.logits(batch).detach()
    assert model.save_delta(tmp_path) == "lora"
    again = tiny_clip(tmp_path / "again")
    again.load_delta(tmp_path)
    torch.testing.assert_close(again.logits(again.encode(PAIRS)), half, rtol=1e-4, atol=1e-5)


def test_rows_are_no_scope_of_a_dual_encoder(model: OpenClipModel) -> None:
    with pytest.raises(UsageError, match="lora or full"):
        model.train_scope("rows")


@pytest.mark.parametrize("tower", ["image", "text"])
def test_projecting_a_tower_multiplies_its_features(tower, model: OpenClipModel) -> None:
    batch = model.encode(PAIRS)
    features = model.base.encode_image if tower == "image" else model.base.encode_text
    inputs = batch.images if tower == "image" else batch.texts
    matrix = torch.randn(256, 256, generator=torch.Generator().manual_seed(0))
    wanted = features(inputs) @ matrix
    model.project(tower, matrix)
    torch.testing.assert_close(features(inputs), wanted, rtol=1e-4, atol=1e-4)


# -- towers ------------------------------------------------------------------------------------


def test_a_tower_sees_the_same_in_both_libraries() -> None:
    llava = build_llava(build_tokenizer(["a"], 400), 3).model.vision_tower.eval()
    clip = build_clip(0).eval()
    theirs = llava.state_dict()
    missing, unexpected = clip.visual.load_state_dict(to_open_clip(theirs), strict=False)
    assert not unexpected
    assert all(name.startswith(("attn_pool.", "ln_post.", "proj")) for name in missing)
    pixels = torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    patches = clip.visual.transformer(clip.visual._embeds(pixels))
    torch.testing.assert_close(patches, llava(pixels).last_hidden_state, rtol=1e-4, atol=1e-4)
    back = to_transformers(clip.visual.state_dict())
    for name, value in back.items():
        assert torch.equal(value, theirs[name]), name
    assert set(theirs) - set(back) <= {
        "post_layernorm.weight",
        "post_layernorm.bias",
        "embeddings.position_ids",
    }
