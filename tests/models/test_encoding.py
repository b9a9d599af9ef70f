"""What the model reads is what its own processor would give it; what it is scored on, the answer."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from mubench.errors import RunError
from tiny_models import (
    FAMILIES,
    MODALITIES,
    PEOPLE,
    examples,
    joint,
    of_modality,
    picture,
    tiny_llava,
    tiny_qwen,
)

IGNORE = -100


@pytest.fixture(params=FAMILIES)
def model(request):
    return FAMILIES[request.param]()


def assert_same_inputs(given, wanted):
    for key, value in wanted.items():
        if key in given:
            torch.testing.assert_close(given[key], value, msg=lambda m, key=key: f"{key}: {m}")
        else:  # e.g. token types of a text-only prompt: leaving them out says the same
            assert key != "input_ids"
            assert not value.any(), f"{key} is missing"
    assert set(given) <= set(wanted)


@pytest.mark.parametrize("modality", MODALITIES)
def test_encode_equals_the_processors_joint_output(model, modality):
    for example in of_modality(examples(), modality)[:3]:
        assert_same_inputs(model.encode([example]).inputs, joint(model, example, answer=True))


@pytest.mark.parametrize("family", ["qwen2_5_vl", "smolvlm"])
@torch.no_grad()
def test_pictures_of_other_shapes_share_a_batch(family):
    """Other numbers of patches or tiles: each row scores as it does alone."""
    model = FAMILIES[family]()
    sizes = dict(zip(PEOPLE, ((40, 40), (90, 30), (80, 90), (24, 24)), strict=True))
    model.encoder.images = lambda name: picture(name, sizes[name])
    shown = of_modality(examples(), "image_text")
    shapes = {model.encoder.picture(name).tensors["pixel_values"].shape for name in sizes}
    assert len(shapes) > 1
    alone = [model.logp(model.encode([example])).item() for example in shown]
    together = model.logp(model.encode(shown)).tolist()
    assert together == pytest.approx(alone, rel=1e-5, abs=1e-4)
    assert len({round(value, 2) for value in together}) > 2


@pytest.mark.parametrize("modality", MODALITIES)
def test_generation_prompt_equals_the_processors_joint_output(model, modality, monkeypatch):
    given = {}

    def generate(**inputs):
        given.update(inputs)
        return inputs["input_ids"]

    monkeypatch.setattr(model.model, "generate", generate)
    example = of_modality(examples(), modality)[1]
    model.plain([example], 3)
    tensors = {key: value for key, value in given.items() if isinstance(value, torch.Tensor)}
    assert_same_inputs(tensors, joint(model, example, answer=False))
    assert given["do_sample"] is False
    assert given["max_new_tokens"] == 3


@pytest.mark.parametrize("modality", MODALITIES)
def test_rows_are_right_padded_and_otherwise_equal_to_the_row_alone(model, modality):
    batch = of_modality(examples(), modality)[:4]
    encoded = model.encode(batch)
    lengths = encoded.inputs["attention_mask"].sum(1).tolist()
    assert len(set(lengths)) > 1
    for row, (example, length) in enumerate(zip(batch, lengths, strict=True)):
        alone = model.encode([example])
        assert encoded.inputs["input_ids"][row, :length].equal(alone.inputs["input_ids"][0])
        assert encoded.inputs["attention_mask"][row].tolist() == [1] * length + [0] * (
            encoded.labels.shape[1] - length
        )
        assert encoded.labels[row, :length].equal(alone.labels[0])
        assert encoded.keys[row] == alone.keys[0]


@pytest.mark.parametrize("modality", MODALITIES)
def test_labels_cover_the_answer_and_its_end_token_alone(model, modality):
    batch = of_modality(examples(), modality)
    encoded = model.encode(batch)
    for row, example in enumerate(batch):
        labelled = (encoded.labels[row] != IGNORE).nonzero().flatten().tolist()
        attended = encoded.inputs["attention_mask"][row].nonzero().flatten().tolist()
        assert labelled == attended[-len(labelled) :]
        ids = encoded.inputs["input_ids"][row, labelled]
        assert encoded.labels[row, labelled].equal(ids)
        assert ids[-1] == model.tokenizer.eos_token_id
        assert model.tokenizer.eos_token_id not in ids[:-1]
        assert model.tokenizer.decode(ids[:-1]).strip() == example.answer


def test_end_token_stays_labelled_where_padding_uses_the_same_token():
    model = tiny_llava()
    model.tokenizer.pad_token = model.tokenizer.eos_token
    batch = of_modality(examples(), "text")
    encoded = model.encode(batch)
    padding = encoded.inputs["attention_mask"] == 0
    assert padding.any()
    assert (encoded.inputs["input_ids"][padding] == model.tokenizer.eos_token_id).all()
    assert (encoded.labels[padding] == IGNORE).all()
    ends = (encoded.labels == model.tokenizer.eos_token_id).sum(1)
    assert ends.tolist() == [1] * len(batch)
    # and nothing but the padding changes the score
    other = tiny_llava()
    assert other.tokenizer.pad_token_id is not None
    torch.testing.assert_close(
        model.logp(encoded), other.logp(other.encode(batch)), rtol=1e-5, atol=0
    )


def test_given_answers_replace_the_true_ones():
    model = tiny_llava()
    example = examples()[0]
    encoded = model.encode([example], ["Rome"])
    assert encoded.labels.equal(model.encode([replace(example, answer="Rome")]).labels)
    assert encoded.keys != model.encode([example]).keys


def test_keys_tell_pictures_questions_and_answers_apart():
    model = tiny_llava()
    example = examples()[0]
    variants = [
        example,
        replace(example, image="Bo Lindqvist"),
        replace(example, question="Where?"),
        replace(example, answer="Rome"),
        replace(example, image=None, modality="text"),
    ]
    keys = [model.encode([variant]).keys[0] for variant in variants]
    assert len(set(keys)) == len(variants)
    assert model.encode([replace(example, id="another name")]).keys[0] == keys[0]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["image first", "text first"])
def test_modalities_do_not_share_a_batch(model, order):
    pair = examples()[:2]
    assert {example.modality for example in pair} == set(MODALITIES)
    with pytest.raises(ValueError, match="do not share a batch"):
        model.encode([pair[place] for place in order])


def test_a_picture_is_processed_once():
    asked = []

    def images(name):
        asked.append(name)
        return picture(name)

    model = tiny_llava(images=images)
    shown = of_modality(examples(), "image_text")
    model.encode(shown)
    model.encode(shown[::-1])
    assert sorted(asked) == sorted({example.image for example in shown})


def test_a_picture_without_a_source_is_an_error_that_names_it():
    with pytest.raises(RunError, match="Anna Berg"):
        tiny_llava(images=None).encode(examples()[:1])


def test_pictures_of_different_sizes_share_a_batch():
    sizes = {"Anna Berg": (112, 56), "Bo Lindqvist": (56, 56)}
    model = tiny_qwen(images=lambda name: picture(name, sizes[name]))
    shown = [e for e in of_modality(examples(), "image_text") if e.person in sizes]
    together = model.encode(shown)
    grids = together.inputs["image_grid_thw"].prod(1)
    assert len(set(grids.tolist())) == 2
    assert len(together.inputs["pixel_values"]) == grids.sum()
    alone = [model.logp(model.encode([example])).item() for example in shown]
    torch.testing.assert_close(model.logp(together), torch.tensor(alone), rtol=1e-5, atol=0)
