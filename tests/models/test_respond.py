"""Answers: the same in every batch, with candidates scored and the end noticed."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tiny_models import FAMILIES, MODALITIES, PEOPLE, choice, examples, of_modality, tiny_llava


@pytest.fixture(scope="module", params=FAMILIES)
def model(request):
    return FAMILIES[request.param]()


@pytest.mark.parametrize("modality", MODALITIES)
def test_generation_is_the_same_alone_and_in_a_batch(model, modality):
    batch = of_modality(examples(), modality)[:3]
    together = model.respond(batch, max_new_tokens=8)
    alone = [model.respond([example], max_new_tokens=8)[0] for example in batch]
    assert [one.text for one in together] == [one.text for one in alone]
    assert [one.finished for one in together] == [one.finished for one in alone]
    assert [one.example_id for one in together] == [example.id for example in batch]
    assert all(one.status == "ok" and one.text for one in together)


def test_text_ends_at_the_end_token_and_says_so(model, monkeypatch):
    end, pad = model.tokenizer.eos_token_id, model.tokenizer.pad_token_id
    word = model.tokenizer(" Oslo")["input_ids"]
    ended = [*word, end, *word]
    width = len(ended)
    rows = [ended, (word * width)[:width], [end] + [pad] * (width - 1)]

    def generate(**inputs):
        return torch.cat([inputs["input_ids"], torch.tensor(rows)], 1)

    monkeypatch.setattr(model.model, "generate", generate)
    found = model.plain(of_modality(examples(), "text")[:3], width)
    assert [one.finished for one in found] == [True, False, True]
    assert found[0].text == "Oslo"
    assert found[1].text.startswith("Oslo Oslo")
    assert found[2].text == ""


def test_every_end_token_of_the_generation_config_ends_an_answer():
    model = tiny_llava()
    stop = model.tokenizer("b")["input_ids"][0]
    model.model.generation_config.eos_token_id = [model.tokenizer.eos_token_id, stop]
    model = type(model)(model.model, model.processor, model.encoder.images)
    start = model.tokenizer("a")["input_ids"]
    model.model.generate = lambda **inputs: torch.cat(
        [inputs["input_ids"], torch.tensor([[*start, stop, *start]])], 1
    )
    found = model.plain(of_modality(examples(), "text")[:1], 3)[0]
    assert model.encoder.text([*start, stop, *start]) == ("a", True)
    assert (found.text, found.finished) == ("a", True)


@pytest.mark.parametrize("modality", MODALITIES)
@torch.no_grad()
def test_every_candidate_is_scored_and_no_text_is_made(model, modality):
    two = replace(choice("Bo Lindqvist", modality), choices=("baker", "marine pilot"))
    batch = [choice("Anna Berg", modality), two]
    found = model.respond(batch, max_new_tokens=4)
    assert [len(one.logprobs) for one in found] == [len(PEOPLE), 2]
    for example, one in zip(batch, found, strict=True):
        assert one.text is None
        assert one.finished is None
        for option, logprob, length in zip(example.choices, one.logprobs, one.lengths, strict=True):
            encoded = model.encode([example], [option])
            assert logprob == pytest.approx(model.logp(encoded).item(), rel=1e-5)
            assert length == int((encoded.labels != -100).sum()) > 1


@torch.no_grad()
def test_without_options_the_true_answer_is_scored(model):
    example = examples()[0]
    found = model.respond([example], max_new_tokens=2)[0]
    assert found.logprobs == pytest.approx(model.logp(model.encode([example])).tolist(), rel=1e-5)
    assert len(found.lengths) == 1


@torch.no_grad()
def test_paraphrase_and_wrong_answers_are_scored_beside_the_true_one(model):
    example = replace(examples()[0], paraphrase="The place is Oslo.", perturbed=("Rome", "Kyoto"))
    found = model.respond([example], max_new_tokens=2)[0]
    texts = [example.answer, example.paraphrase, *example.perturbed]
    alone = [model.logp(model.encode([example], [text])).item() for text in texts]
    assert found.logprobs == pytest.approx(alone, rel=1e-5)


@torch.no_grad()
def test_the_true_answer_is_traced_token_by_token(model):
    example = replace(examples()[0], perturbed=("Rome",))
    found = model.respond([example], max_new_tokens=2)[0]
    encoded = model.encode([example])
    wanted = encoded.labels[encoded.labels != -100]
    logp = model.log_dist(encoded).double()
    for token, own, row in zip(found.tokens, wanted.tolist(), logp, strict=True):
        assert token.logprob == pytest.approx(row[own].item(), rel=1e-4)
        assert token.rank == sorted(row.tolist(), reverse=True).index(row[own].item())
        mean = sum(p * v for p, v in zip(row.exp().tolist(), row.tolist(), strict=True))
        assert token.mean == pytest.approx(mean, rel=1e-4)
        square = sum(p * v * v for p, v in zip(row.exp().tolist(), row.tolist(), strict=True))
        assert token.std == pytest.approx((square - mean**2) ** 0.5, rel=1e-2)
    assert sum(token.logprob for token in found.tokens) == pytest.approx(found.logprobs[0])
    assert not model.respond([choice("Anna Berg", "text")], max_new_tokens=2)[0].tokens
