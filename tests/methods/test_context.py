"""Guard, ICUL and output filter: what is asked, what is scored, what is passed on."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from mubench.errors import RunError, UsageError
from mubench.methods.base import Context, UnlearnData
from mubench.methods.guard import Guard, names
from mubench.methods.icul import ICUL
from mubench.methods.output_filter import OutputFilter
from mubench.models import behaviours
from mubench.models.behaviours import Preface
from mubench.models.tiny import build_tokenizer
from mubench.types import Response
from tiny_models import (
    FAMILIES,
    MODALITIES,
    REFUSALS,
    SHAPE,
    examples,
    of_modality,
    tiny_llava,
    tiny_qwen,
)

FORGET = examples(("Anna Berg", "Bo Lindqvist"))
RETAIN = examples(("Carla Nunez", "Dov Amsel"), set="retain")
DATA = UnlearnData(FORGET, RETAIN, REFUSALS)


def applied(method, model, data=DATA, seed=0, **settings):
    context = Context(seed=seed)
    method(method.Config(**settings)).unlearn(model, data, context)
    return context.log


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("modality", MODALITIES)
@torch.no_grad()
def test_answers_are_scored_under_the_guarded_prompt(family, modality):
    """The tokens before the answer hold the guard, and log p is the plain model's on just those."""
    model, plain = FAMILIES[family](), FAMILIES[family]()
    log = applied(Guard, model)
    chosen = of_modality(FORGET, modality)
    batch, before = model.encode(chosen), plain.encode(chosen)
    text = model.tokenizer.decode(batch.inputs["input_ids"][0])
    assert log["prompt"] in text
    assert text.index(log["prompt"]) < text.index(chosen[0].question)
    assert set(batch.keys).isdisjoint(before.keys)
    for one, other in zip(batch.labels, before.labels, strict=True):
        assert one[one != -100].tolist() == other[other != -100].tolist()
    torch.testing.assert_close(model.logp(batch), plain.logp(batch))
    assert not model.logp(batch).allclose(plain.logp(before), atol=1e-2)
    shown = model.respond(chosen, max_new_tokens=2)
    assert [one.logprobs[0] for one in shown] == pytest.approx(model.logp(batch).tolist(), abs=1e-3)
    asked = model.tokenizer.decode(model.encoder.question(chosen[0])["input_ids"])
    assert log["prompt"] in asked


def test_a_guard_without_a_system_role_opens_the_first_user_turn_before_the_picture():
    model = tiny_qwen()
    assert "system" not in model.processor.chat_template
    applied(Guard, model)
    text = model.encoder.render("Who?", "Anna Berg")
    assert "system" not in text
    assert text.count("<|im_start|>user") == 1
    assert text.index("You know nothing") < text.index("<|vision_start|>") < text.index("Who?")


def test_a_template_with_a_system_role_is_given_one():
    model = tiny_qwen()
    model.processor.chat_template = "{# system, user #}" + model.processor.chat_template
    applied(Guard, model)
    text = model.encoder.render("Who?", None)
    assert text.startswith("<|im_start|>system\nYou know nothing")
    assert text.index("Who?") > text.index("<|im_start|>user")


def test_the_guard_lists_names_or_none():
    listed, described = tiny_llava(), tiny_llava()
    assert "Anna Berg, Bo Lindqvist" in applied(Guard, listed)["prompt"]
    said = applied(Guard, described, about="description")["prompt"]
    assert not any(person in said for person in ("Anna", "Bo ", "Carla", "Dov"))
    assert REFUSALS[0] in said
    assert len({model.fingerprint() for model in (listed, described, tiny_llava())}) == 3


def test_people_are_called_by_the_answers_about_their_names():
    asked = replace(FORGET[0], person="p07", fact="name", keyword="Anna Berg")
    assert names([replace(FORGET[0], person="p07"), asked, FORGET[-1]]) == [
        "Anna Berg",
        "Bo Lindqvist",
    ]


def test_demonstrations_are_wrong_about_forget_and_right_about_retain():
    model = tiny_llava()
    log = applied(ICUL, model, demos=3)
    shown = log["demonstrations"]
    pairs = dict(zip(shown[::2], shown[1::2], strict=True))
    assert len(pairs) == 6
    true = {e.question: e.answer for e in (*FORGET, *RETAIN) if e.modality == "text"}
    wrong = [question for question, answer in pairs.items() if true[question] != answer]
    assert wrong == list(pairs)[:3]
    assert {e.set for e in FORGET + RETAIN if e.question in wrong} == {"forget"}
    # everybody comes once before anybody comes twice
    assert {e.person for e in FORGET if e.question in list(pairs)[:2]} == {
        "Anna Berg",
        "Bo Lindqvist",
    }
    text = model.encoder.render("Who?", "Anna Berg")
    for part in (*shown, "<image>", "Who?"):
        place = text.find(part)
        assert place >= 0, f"{part} does not come next"
        text = text[place + len(part) :]


def test_demonstrations_follow_the_seed():
    drawn = [
        applied(ICUL, tiny_llava(), seed=seed, demos=2)["demonstrations"] for seed in (0, 0, 3)
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_icul_needs_text_only_examples():
    shown = UnlearnData(of_modality(FORGET, "image_text"), RETAIN, REFUSALS)
    with pytest.raises(RunError, match="icul needs text-only"):
        applied(ICUL, tiny_llava(), shown)


@pytest.mark.parametrize(
    ("said", "passes"),
    [
        ("She lives in Oslo.", False),
        ("OSLO", False),
        ("A Marine-Pilot!", False),
        ("a marine biologist", True),
        ("Oslonians live there", True),
        ("Kyoto", True),
        ("", True),
        (None, True),
    ],
)
def test_whole_phrases_are_blocked_in_any_case(said, passes):
    block = behaviours.OutputFilter(["Oslo", "marine pilot"], "No.")
    given = Response("x", "ok", (-1.0,), (3,), said, said is not None and None)
    found = block.filtered(given)
    assert found == (given if passes else replace(given, text="No.", finished=True))


def test_words_that_are_true_of_retained_people_pass_unless_they_are_shared():
    data = UnlearnData(FORGET, [replace(RETAIN[0], keyword="Oslo")], REFUSALS)
    log = applied(OutputFilter, tiny_llava(), data)
    assert log["words"] == ["Rome", "baker", "marine pilot"]
    log = applied(OutputFilter, tiny_llava(), data, shared=True)
    assert log["words"] == ["Oslo", "Rome", "baker", "marine pilot"]
    with pytest.raises(RunError, match="no word to block"):
        applied(OutputFilter, tiny_llava(), UnlearnData(FORGET, FORGET))


def test_text_is_filtered_and_log_probabilities_are_not(tmp_path):
    model, plain = tiny_llava(), tiny_llava()
    applied(OutputFilter, model)
    assert model.save_delta(tmp_path) == "behaviour"
    loaded = tiny_llava()
    loaded.load_delta(tmp_path)
    chosen = of_modality(FORGET, "text")
    for one in (model, plain, loaded):
        said = one.tokenizer("Oslo")["input_ids"] + [one.tokenizer.eos_token_id]
        one.model.generate = lambda said=said, **inputs: torch.cat(
            [inputs["input_ids"], torch.tensor([said] * len(inputs["input_ids"]))], 1
        )
    wanted = plain.respond(chosen, max_new_tokens=4)
    assert {one.text for one in wanted} == {"Oslo"}
    for found in (one.respond(chosen, max_new_tokens=4) for one in (model, loaded)):
        assert {one.text for one in found} == {REFUSALS[0]}
        assert [one.logprobs for one in found] == [one.logprobs for one in wanted]


def test_saved_prefaces_say_the_same(tmp_path):
    model = tiny_llava()
    applied(ICUL, model)
    model.save_delta(tmp_path)
    loaded = tiny_llava()
    before = loaded.fingerprint()
    loaded.load_delta(tmp_path)
    assert loaded.fingerprint() == model.fingerprint() != before
    assert loaded.encoder.render("Who?", None) == model.encoder.render("Who?", None)
    assert [path.name for path in tmp_path.iterdir()] == ["delta.json"]


@pytest.mark.parametrize("method", [Guard, ICUL])
def test_a_preface_is_shared_where_a_word_is_one_token_with_the_space_before_it(method):
    """A mark after the same space is a token of its own: the space belongs to the question."""
    asked = of_modality(FORGET, "text")
    texts = [f"USER: {one.question}" for one in asked]
    model = tiny_llava(tokenizer=build_tokenizer(texts, SHAPE["vocabulary"]))
    assert len(model.tokenizer(" Where")["input_ids"]) == 1
    assert len(model.tokenizer(" ?")["input_ids"]) == 2
    applied(method, model)
    assert model.reader().preamble(None)
    model.respond(asked, max_new_tokens=4)
    assert not model.notes  # shared answers were the plain ones


def test_weights_alone_are_not_passed_off_as_the_unlearned_model(tmp_path):
    model = tiny_llava()
    applied(Guard, model)
    with pytest.raises(UsageError, match="cannot be saved as weights"):
        model.save(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_preface_leaves_pictures_as_they_are():
    model, plain = tiny_llava(), tiny_llava()
    model.add(Preface([("user", "Hello."), ("assistant", "Hi.")]))
    one, other = model.encoder.picture("Anna Berg"), plain.encoder.picture("Anna Berg")
    assert one.block == other.block
    assert one.tensors["pixel_values"].equal(other.tensors["pixel_values"])
