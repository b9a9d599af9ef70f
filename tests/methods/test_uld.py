"""ULD: the logit difference by hand, an assistant of shared weights, one cache for both."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from methods.toy import FORGET, QUESTIONS, RETAIN, Toy, forget, retain
from models.asking import assert_same, make, plain, questions, run
from mubench.errors import UsageError
from mubench.methods.answers import known, perturbed
from mubench.methods.base import Context, UnlearnData
from mubench.methods.uld import ULD
from mubench.models import packing
from mubench.models.behaviours import LogitDifference, difference
from tiny_models import (
    FAMILIES,
    MODALITIES,
    MORE_FAMILIES,
    REFUSALS,
    examples,
    of_modality,
    tiny_llava,
)

# -- the difference -------------------------------------------------------------------------------

TARGET = torch.tensor([[2.0, 1.0, 0.0, -1.0, -9.0]], dtype=torch.float64)
ASSISTANT = torch.tensor([[4.0, 0.0, -1.0, -1.0, -2.0]], dtype=torch.float64)  # mean 0


@pytest.mark.parametrize(
    ("filter", "wanted"),
    [
        # best 1 of 5, or within ln(1/2) of it: the best token alone
        (0.5, [2 - 0.5 * 4, 1, 0, -1, -9]),
        # best 1, or within ln 20 = 3.0 of it: the gap to the fourth is 3 > 2.996
        (0.05, [2 - 2, 1, 0 + 0.5, -1, -9]),
        (0.04, [2 - 2, 1, 0 + 0.5, -1 + 0.5, -9]),
        (1.0, [2 - 2, 1, 0.5, -0.5, -9 + 1]),  # the best 5 of 5: all
        (0.4, [2 - 2, 1, 0, -1, -9]),  # within ln 2.5 is the best alone, among the best 2 are two
    ],
)
def test_difference_by_hand(filter, wanted):
    found = difference(TARGET, ASSISTANT, 0.5, filter)
    torch.testing.assert_close(found, torch.tensor([wanted], dtype=torch.float64))


def test_at_least_the_best_share_of_the_vocabulary_is_subtracted():
    target = torch.arange(10.0).flip(0)[None] * 100
    assistant = torch.arange(10.0)[None]
    changed = difference(target, assistant, 1.0, 0.3) != target
    assert changed.tolist() == [[True] * 3 + [False] * 7]


def test_the_filter_is_a_step_that_rounding_may_cross():
    """Why answers agree but for ties: of two tokens that tie, one may fall short in the last bit."""
    tie = torch.tensor([[2.0, 1.0, 1.0, -1.0, -9.0]])
    short = torch.tensor([[2.0, 1.0, 1.0 - 1e-6, -1.0, -9.0]])
    found = [difference(logits, ASSISTANT, 0.5, 0.4) for logits in (tie, short)]
    assert (found[0] - found[1]).abs().max() == pytest.approx(0.5, abs=1e-5)


@pytest.mark.parametrize("constant", [0.0, 3.0, -700.0])
def test_a_uniform_assistant_is_an_exact_no_op(constant):
    target = torch.from_numpy(np.random.default_rng(0).normal(size=(4, 5))).float()
    assert difference(target, torch.full((4, 5), constant), 0.75, 0.01).equal(target)


def test_an_offset_of_the_assistant_says_nothing():
    one, other = (difference(TARGET, ASSISTANT + shift, 0.5, 0.05) for shift in (0.0, 40.0))
    torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


# -- what the assistant learns --------------------------------------------------------------------


def test_terms_and_gradient_by_hand():
    """nll on forget; KL(U || p) = -ln V - mean_v log p per retain answer token: d/dz = (p - 1/V) / N."""
    model = Toy()
    method = ULD(ULD.Config(uniform=3))
    terms = method.terms(model, model.encode(forget()), model.encode(retain()))
    sum(terms.values()).backward()
    z = model.model.logits.detach().numpy()
    p = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
    gradient, nll, kl = np.zeros_like(z), 0.0, 0.0
    for answers, is_forget in ((FORGET, True), (RETAIN, False)):
        where = [
            (QUESTIONS.index(question), place, int(word))
            for question, answer in answers.items()
            for place, word in enumerate(answer)
        ]
        for row, place, word in where:
            if is_forget:
                nll -= math.log(p[row, place, word]) / len(where)
                gradient[row, place] += (p[row, place] - np.eye(5)[word]) / len(where)
            else:
                kl += (np.log(1 / 5) - np.log(p[row, place])).mean() / len(where)
                gradient[row, place] += 3 * (p[row, place] - 1 / 5) / len(where)
    assert terms["forget"].item() == pytest.approx(nll)
    assert terms["retain"].item() == pytest.approx(3 * kl)
    np.testing.assert_allclose(model.model.logits.grad.numpy(), gradient, atol=1e-12)


def test_nothing_is_lost_on_a_uniform_assistant():
    model = Toy()
    model.model.logits.data.fill_(7)
    terms = ULD(ULD.Config()).terms(model, model.encode(forget()), model.encode(retain()))
    assert terms["retain"].item() == pytest.approx(0, abs=1e-12)


def test_perturbed_answers_are_wrong_facts_in_the_true_wording():
    people = examples()
    everybody = known(people)
    rng = np.random.default_rng(0)
    job = next(one for one in people if one.fact == "job")
    found = {perturbed(job, everybody, rng) for _ in range(50)}
    assert found == {"It is marine pilot.", "It is tailor.", "It is brewer of ale."}
    assert perturbed(job, known([job]), rng) == job.answer


def test_where_no_value_is_known_the_wrong_answer_is_somebody_else_s():
    """Published sets name no keyword for some questions: "" is in every answer."""
    people = [replace(one, keyword="") for one in examples()]
    everybody, rng = known(people), np.random.default_rng(0)
    shown = next(one for one in people if one.fact == "job" and one.modality == "image_text")
    others = {
        one.answer
        for one in people
        if (one.fact, one.modality) == (shown.fact, shown.modality) and one.answer != shown.answer
    }
    assert len(others) == 3
    assert {perturbed(shown, everybody, rng) for _ in range(50)} == others


def test_wrong_facts_of_forget_people_are_in_the_uniform_set_and_true_ones_are_not():
    model = tiny_llava()
    seen = []
    encode = type(model).encode

    class Watched(type(model)):
        def encode(self, batch, answers=None):
            answers = [one.answer for one in batch] if answers is None else answers
            seen.append([(one, answer) for one, answer in zip(batch, answers, strict=True)])
            return encode(self, batch, answers)

        def first_layers(self, count):
            first = super().first_layers(count)
            first.__class__ = Watched
            return first

    model.__class__ = Watched
    given = UnlearnData(
        examples(("Anna Berg", "Bo Lindqvist")), examples(("Dov Amsel",), set="retain"), REFUSALS
    )
    config = ULD.Config(layers=1, epochs=8, batch_size=4, lora_r=2)
    ULD(config).unlearn(model, given, Context(seed=0))
    true = {one.id: one.answer for one in (*given.forget, *given.retain)}
    learned = [pair for batch in seen[0::2] for pair in batch]
    uniform = [pair for batch in seen[1::2] for pair in batch]
    assert all(answer == true[one.id] and one.set == "forget" for one, answer in learned)
    assert {one.set for one, _ in uniform} == {"forget", "retain"}
    for one, answer in uniform:
        assert (answer == true[one.id]) == (one.set == "retain")


# -- an assistant of the same weights -------------------------------------------------------------


def an_assistant(model, seed=5, layers=1):
    """The first layers with an adapter that is drawn at random."""
    assistant = model.first_layers(layers)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in assistant.train_scope("lora", r=2, lora_alpha=4):
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return assistant


def with_assistant(family, *, weight=0.75, filter=0.2, seed=5, layers=1):
    model = MORE_FAMILIES[family]()
    model.add(LogitDifference(an_assistant(model, seed, layers), layers, weight, filter))
    return model


@pytest.mark.parametrize("family", FAMILIES)
def test_the_assistant_copies_no_weight_and_ends_early(family):
    model = FAMILIES[family]()
    first = model.first_layers(1)
    assert len(first.model.get_decoder().layers) == 1
    assert len(model.model.get_decoder().layers) == 2
    owned = {value.data_ptr() for value in model.model.state_dict().values() if value.numel()}
    assert all(
        value.data_ptr() in owned for value in first.model.state_dict().values() if value.numel()
    )
    whole, same = model.first_layers(2), FAMILIES[family]()
    batch = model.encode(of_modality(examples(), "image_text"))
    assert whole.logp(batch).equal(same.logp(batch))
    assert not first.logp(batch).allclose(whole.logp(batch))


def test_more_layers_than_there_are_is_refused_with_the_key_to_change():
    with pytest.raises(UsageError, match=r"first 3 layers.*has 2.*method\.layers"):
        tiny_llava().first_layers(3)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("modality", MODALITIES)
@torch.no_grad()
def test_likelihoods_are_those_of_the_combined_logits(family, modality):
    model = with_assistant(family)
    plain = FAMILIES[family]()
    assistant = an_assistant(plain)
    chosen = of_modality(examples(), modality)
    batch = plain.encode(chosen)
    target, tokens, row = plain.answer_logits(batch)
    other, _, _ = assistant.answer_logits(batch)
    logp = difference(target, other, 0.75, 0.2).log_softmax(-1)
    wanted = torch.zeros(len(chosen)).index_add(0, row, logp.gather(1, tokens[:, None])[:, 0])
    assert (wanted - plain.logp(batch)).abs().min() > 1e-3
    torch.testing.assert_close(model.logp(batch), wanted, rtol=1e-5, atol=1e-4)
    said = model.respond(chosen, max_new_tokens=2)
    torch.testing.assert_close(
        torch.tensor([one.logprobs[0] for one in said]), wanted, rtol=1e-5, atol=1e-4
    )
    assert model.fingerprint() != plain.fingerprint()
    assert all(
        value.equal(plain.model.state_dict()[name])
        for name, value in model.model.state_dict().items()
    )


@torch.no_grad()
def extended(inputs, new):
    """Inputs of a prompt as those of the prompt with ``new`` tokens behind it."""
    width, count = inputs["input_ids"].shape[1], new.shape[1]
    longer = {}
    for key, value in inputs.items():
        if value.dim() == 2 and value.shape[1] == width and not value.is_floating_point():
            more = {"input_ids": new, "attention_mask": torch.ones_like(new)}
            value = torch.cat([value, more.get(key, torch.zeros_like(new))], 1)
        longer[key] = value
    assert longer["attention_mask"].shape[1] == width + count
    return longer


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("modality", MODALITIES)
@torch.no_grad()
def test_generation_with_a_cache_equals_reading_everything_again(family, modality):
    """Rows of several lengths, left-padded, token by token."""
    model = with_assistant(family)
    chosen = of_modality(examples(("Anna Berg", "Bo Lindqvist")), modality)
    rows = [model.encoder.question(example) for example in chosen]
    inputs = model.collate(rows, chosen, left=True)
    made = model.model.generate(
        **inputs,
        max_new_tokens=5,
        min_new_tokens=5,
        do_sample=False,
        output_logits=True,
        return_dict_in_generate=True,
        pad_token_id=model.tokenizer.pad_token_id,
    )
    width = inputs["input_ids"].shape[1]
    assert len(made.past_key_values.layers) == 3  # two of the target, one of the assistant
    plain = FAMILIES[family]().model(**extended(inputs, made.sequences[:, width:-1])).logits
    whole = model.model(**extended(inputs, made.sequences[:, width:-1]), use_cache=False).logits
    for step, logits in enumerate(made.logits):
        torch.testing.assert_close(logits, whole[:, width - 1 + step], rtol=1e-4, atol=1e-3)
    assert (whole - plain)[:, width - 1 :].abs().max() > 0.1


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_a_cache_can_be_repeated_and_gone_on_with(family):
    """As an engine does that reads a prompt once for several candidates."""
    model = with_assistant(family)
    example = of_modality(examples(), "text")[0]
    inputs = model.collate([model.encoder.question(example)], [example], left=True)
    cache = model.model(**inputs, use_cache=True).past_key_values
    cache.batch_repeat_interleave(2)
    new = torch.tensor([[55, 66, 77], [88, 99, 100]])
    longer = extended({key: torch.cat([value, value]) for key, value in inputs.items()}, new)
    mask = longer["attention_mask"]
    found = model.model(input_ids=new, attention_mask=mask, past_key_values=cache).logits
    whole = model.model(**longer, use_cache=False).logits[:, -3:]
    torch.testing.assert_close(found, whole, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("family", MORE_FAMILIES)
def test_the_engine_shares_both_memories_and_answers_as_plain_batches_do(family):
    model = with_assistant(family, filter=1.0)
    asked = examples() + questions(96)
    found = model.respond(asked, max_new_tokens=8)
    assert model.notes == {}
    assert_same(found, plain(model, asked))
    bare = MORE_FAMILIES[family]().respond(asked, max_new_tokens=8)
    assert all(a.logprobs != b.logprobs for a, b in zip(found, bare, strict=True))
    assert [one.text for one in found] != [one.text for one in bare]


@pytest.mark.parametrize(("family", "layers"), [("llava", 1), ("mllama", 2)])
def test_answers_with_an_assistant_do_not_depend_on_the_batch(family, layers, monkeypatch):
    """Nor on how many trees a unit has: the memories of both are cut back between them, but for
    the picture's in the second of Mllama's layers."""
    model = with_assistant(family, filter=1.0, layers=layers)
    asked = examples() + questions(24)
    wanted = plain(model, asked, 6)
    monkeypatch.setattr(packing, "WIDTH", 60)
    for batch in (1, 3, 16):
        engine = make(model)
        found = {one.example_id: one for one in run(engine, asked, batch=batch, tokens=6)}
        assert_same([found[example.id] for example in asked], wanted)
        assert engine.notes == {}


def test_the_assistant_reads_a_picture_once_as_well():
    """Four questions: the trunk and the branches, by either decoder."""
    model = with_assistant("llava")
    asked = [replace(one, image="Anna Berg") for one in of_modality(questions(8), "image_text")]
    assistant = model.changes.behaviour.assistant.model.get_base_model()
    passes = []
    for decoder in (model.model.get_decoder(), assistant.get_decoder()):
        decoder.register_forward_hook(lambda module, *_: passes.append(module))
    assert len(run(make(model), asked)) == 4
    assert len(passes) == 2 * 2
    assert len(set(passes)) == 2


@torch.no_grad()
def test_a_cache_that_the_assistant_never_saw_is_refused():
    example = of_modality(examples(), "text")[0]
    plain = tiny_llava()
    inputs = plain.collate([plain.encoder.question(example)], [example], left=True)
    cache = plain.model(**inputs, use_cache=True).past_key_values
    with pytest.raises(RuntimeError, match="without the assistant"):
        with_assistant("llava").model(
            input_ids=torch.tensor([[5]]), past_key_values=cache, use_cache=True
        )


def test_a_second_behaviour_is_refused():
    model = with_assistant("llava")
    with pytest.raises(UsageError, match="one inference-time method"):
        model.add(SimpleNamespace())


def test_the_fingerprint_sees_settings_and_adapter():
    found = {
        with_assistant("llava", **change).fingerprint()
        for change in ({}, {}, {"weight": 0.5}, {"filter": 0.1}, {"seed": 6})
    }
    assert len(found) == 4
