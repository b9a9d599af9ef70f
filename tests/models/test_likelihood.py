"""Log-probabilities against a plain forward pass over each row alone."""

from __future__ import annotations

import pytest
import torch

from mubench.errors import UsageError
from tiny_models import FAMILIES, MODALITIES, examples, joint, of_modality


@pytest.fixture(params=FAMILIES)
def model(request):
    return FAMILIES[request.param]()


def naive_rows(model, batch):
    """Per example: [tokens, V] log-probabilities of a full pass, and the answer's tokens."""
    for example in batch:
        prompt = joint(model, example, answer=False)["input_ids"][0]
        whole = joint(model, example, answer=True)
        ids = whole["input_ids"][0]
        assert ids[: len(prompt)].equal(prompt)
        with torch.no_grad():
            logits = model.model(**whole).logits[0].float()
        assert len(logits) == len(ids)
        yield logits[len(prompt) - 1 : -1].log_softmax(-1), ids[len(prompt) :]


def naive_logp(model, batch):
    return torch.stack(
        [rows.gather(1, ids[:, None]).sum() for rows, ids in naive_rows(model, batch)]
    )


@pytest.mark.parametrize("modality", MODALITIES)
@torch.no_grad()
def test_logp_equals_a_plain_forward_pass(model, modality):
    batch = of_modality(examples(), modality)
    found = model.logp(model.encode(batch))
    torch.testing.assert_close(found, naive_logp(model, batch), rtol=1e-5, atol=1e-5)
    assert found.std() > 0.1  # not one number for all


@pytest.mark.parametrize("modality", MODALITIES)
@torch.no_grad()
def test_log_dist_is_the_distribution_at_every_answer_token(model, modality):
    batch = of_modality(examples(), modality)
    wanted = torch.cat([rows for rows, _ in naive_rows(model, batch)])
    found = model.log_dist(model.encode(batch))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.exp().sum(1), torch.ones(len(found)))


@pytest.mark.parametrize("modality", MODALITIES)
@torch.no_grad()
def test_padding_order_and_batch_size_do_not_matter(model, modality):
    batch = of_modality(examples(), modality)
    together = model.encode(batch)
    whole = model.logp(together)
    backwards = model.logp(model.encode(batch[::-1])).flip(0)
    in_threes = torch.cat(
        [model.logp(model.encode(batch[start : start + 3])) for start in range(0, len(batch), 3)]
    )
    alone = torch.cat([model.logp(model.encode([example])) for example in batch])
    for other in (backwards, in_threes, alone):
        torch.testing.assert_close(other, whole, rtol=1e-5, atol=1e-5)
    tokens = [int((model.encode([example]).labels != -100).sum()) for example in batch]
    assert len(set(tokens)) > 1
    torch.testing.assert_close(model.nll(together), -alone.sum() / sum(tokens))
    rows = torch.cat([model.log_dist(model.encode([example])) for example in batch])
    torch.testing.assert_close(model.log_dist(together), rows, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_what_stands_in_the_padding_does_not_matter(model):
    encoded = model.encode(of_modality(examples(), "text"))
    before = model.logp(encoded)
    encoded.inputs["input_ids"][encoded.inputs["attention_mask"] == 0] = 40
    assert model.logp(encoded).equal(before)


@torch.no_grad()
def test_the_picture_matters(model):
    shown = of_modality(examples(), "image_text")[:1]
    encoded = model.encode(shown)
    before = model.logp(encoded)
    encoded.inputs["pixel_values"].neg_()
    assert (model.logp(encoded) - before).abs() > 1e-4


def test_only_logits_at_the_answer_are_computed(model):
    seen = []
    head = model.model.get_output_embeddings()
    watch = head.register_forward_hook(lambda _, args, __: seen.append(args[0].shape[:-1]))
    encoded = model.encode(of_modality(examples(), "image_text"))
    model.logp(encoded)
    watch.remove()
    assert seen == [(int(encoded.lengths.sum()),)]
    assert model.model(**encoded.inputs).logits.shape[:2] == encoded.labels.shape, "and only then"


def test_likelihoods_carry_gradients(model):
    encoded = model.encode(of_modality(examples(), "text")[:2])
    for value in (model.logp(encoded).sum(), model.nll(encoded), model.log_dist(encoded).sum()):
        assert value.requires_grad


def test_a_family_without_layout_is_refused_by_name():
    model = FAMILIES["llava"]()
    model.model.config.model_type = "mystery_vl"
    for ask in (model.neurons, lambda: model.train_scope("lora", r=2)):
        with pytest.raises(UsageError, match="mystery_vl"):
            ask()
