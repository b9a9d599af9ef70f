"""Shared answers equal plain ones; what fails is said, and nothing depends on the batch."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from models.asking import assert_same, make, plain, questions, run
from mubench.errors import DamagedError
from mubench.models import decoding, packing, reading
from mubench.models import engine as engine_module
from mubench.models.packing import units
from mubench.models.scorer import ModelScorer
from tiny_models import (
    MODALITIES,
    MORE_FAMILIES,
    choice,
    examples,
    of_modality,
    tiny_llava,
)

#: A family; more than 2,000 of each are compared by `make test-bars`.
QUESTIONS = 240


@pytest.fixture(scope="module", params=MORE_FAMILIES)
def model(request):
    return MORE_FAMILIES[request.param]()


# -- exactness ------------------------------------------------------------------------------


def test_hundreds_of_shared_answers_equal_plain_ones(model):
    asked = questions(QUESTIONS)
    found = model.respond(asked, max_new_tokens=8)
    assert not model.notes
    assert_same(found, plain(model, asked))
    assert len({round(one.logprobs[0], 3) for one in found}) > 100  # not one number for all


def test_free_answers_are_the_same_token_for_token(model):
    asked = examples() + questions(16)
    for example in examples():
        told = {"paraphrase": f"Surely {example.answer}", "perturbed": ("Rome.", "A baker.")}
        other = f"{example.question} Say it."
        asked.append(replace(example, id=f"{example.id}/2", question=other, **told))
    found = model.respond(asked, max_new_tokens=12)
    assert not model.notes
    assert_same(found, plain(model, asked, 12))
    assert len({one.text for one in found}) > 8


def test_the_picture_matters(model):
    one = [choice("Anna Berg", "image_text")]
    other = [replace(one[0], image="Bo Lindqvist")]
    assert model.respond(one, max_new_tokens=1) != model.respond(other, max_new_tokens=1)


@pytest.mark.parametrize("family", MORE_FAMILIES)
def test_with_active_adapters(family):
    model = MORE_FAMILIES[family]()
    before = model.respond(examples() + questions(16), max_new_tokens=8)
    model.train_scope("lora", r=2)
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.5)
    asked = examples() + questions(16)
    found = model.respond(asked, max_new_tokens=8)
    assert not model.notes
    assert_same(found, plain(model, asked))
    assert [one.logprobs for one in found] != [one.logprobs for one in before]


@pytest.mark.parametrize("family", ["llava", "qwen2_5_vl", "idefics3"])
def test_with_solved_examples_before_every_question(family, monkeypatch):
    model = MORE_FAMILIES[family]()
    asked = examples(("Anna Berg", "Bo Lindqvist", "Carla Nunez")) + questions(8)
    without = model.respond(asked, max_new_tokens=6)
    shown = examples(("Dov Amsel",))
    model = MORE_FAMILIES[family]()
    model.encoder.preamble = {m: of_modality(shown, m) for m in MODALITIES}
    engine = make(model)
    reads = []
    read = engine.reader.scorer.read
    monkeypatch.setattr(
        engine.reader.scorer, "read", lambda memory, step: reads.append(step) or read(memory, step)
    )
    found = {one.example_id: one for one in run(engine, asked, tokens=6)}
    found = [found[example.id] for example in asked]
    assert_same(found, plain(model, asked, 6))
    assert [one.logprobs for one in found] != [one.logprobs for one in without]
    # Two pictures of the exemplar person stand in the one shared preamble, and nowhere else.
    exemplar = model.encoder.picture("Dov Amsel")
    apart = [step for step in reads if len(step.pictures) == 2 and len(step.ids) == 1]
    assert [step for step in apart if all(p is exemplar for p in step.pictures)]
    assert sum(sum(p is exemplar for p in step.pictures) for step in reads) <= 3


@pytest.mark.parametrize("width", [24, 60])
def test_a_picture_with_more_questions_than_fit_in_one_pass(model, width, monkeypatch):
    asked = [*questions(64), *examples()]
    wanted = plain(model, asked)
    monkeypatch.setattr(packing, "WIDTH", width)
    assert max(len(make(model).reader.unit(unit).trees) for unit in units(questions(64))) > 2
    engine = make(model)
    found = {one.example_id: one for one in run(engine, asked)}
    assert_same([found[example.id] for example in asked], wanted)
    assert engine.notes == {}  # nothing had to be asked again


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_shares_as_well(model, dtype):
    asked = questions(32)
    handle = MORE_FAMILIES[model.model.config.model_type]()
    handle.model.to(dtype)
    found = handle.respond(asked, max_new_tokens=4)
    assert not handle.notes
    for one, other in zip(found, plain(handle, asked), strict=True):
        for a, b, length in zip(one.logprobs, other.logprobs, one.lengths, strict=True):
            assert abs(a - b) <= engine_module.TOLERANCE[dtype] * length


# -- batches --------------------------------------------------------------------------------


def test_answers_do_not_depend_on_the_batch(model):
    asked = examples() + questions(48)
    wanted = run(make(model), asked, batch=1)
    for batch in (3, 16):
        assert_same(run(make(model), asked, batch=batch), wanted)


@pytest.mark.parametrize("start", [1, 3, 4, 7])
def test_going_on_gives_the_bytes_of_going_through(start):
    model = tiny_llava()
    asked = examples() + questions(48)
    whole = list(make(model).answers(units(asked), max_new_tokens=8, batch=3))
    rest = list(make(tiny_llava()).answers(units(asked), max_new_tokens=8, batch=3, start=start))
    assert rest == whole[start:]


def test_the_trunk_is_read_once_and_questions_follow_packed(monkeypatch):
    model = tiny_llava()
    asked = [choice("Anna Berg", "image_text")]
    asked = [replace(asked[0], id=str(n), question=f"What is it in case {n}?") for n in range(9)]
    engine = make(model)
    seen = []
    model.base.model.language_model.register_forward_hook(
        lambda _, __, kwargs, ___: seen.append(kwargs["inputs_embeds"].shape[:2]), with_kwargs=True
    )
    run(engine, asked)
    alone = sum(len(model.encoder.row(e, a)[0]["input_ids"]) for e in asked for a in e.choices)
    assert len(seen) == 2  # trunk, branches
    assert sum(rows * width for rows, width in seen) < alone / 3


def test_finished_answers_make_room(monkeypatch):
    """Rows that have ended are dropped, and decoding stops when all have."""
    model = tiny_llava()
    engine = make(model)
    asked = of_modality(examples(), "image_text")
    lengths = {example.id: 2 + place for place, example in enumerate(asked)}
    order = [e for unit in units(asked) for e in unit]
    rows = []
    step, grow = decoding.step, decoding.grow

    def watched(scorer, read, grown, sees, height):
        rows.append((height, len(grown)))
        made = step(scorer, read, grown, sees, height)
        for growth in grown:
            place = next(i for i, a in enumerate(kept) if a is growth.tokens)
            if len(growth.tokens) == lengths[order[place].id]:
                growth.tokens[-1] = model.encoder.ends[0]
        return made

    def begun(scorer, read, grown, *rest):
        kept.extend(growth.tokens for growth in grown)
        grow(scorer, read, grown, *rest)

    kept = []
    monkeypatch.setattr(decoding, "step", watched)
    monkeypatch.setattr(reading, "grow", begun)
    found = run(engine, asked, tokens=30)
    assert all(one.finished for one in found)
    assert len(rows) == max(lengths.values()) - 1
    assert rows[0] == (4, 8)
    assert rows[-1][0] == 1
    assert [count for _, count in rows] == sorted((count for _, count in rows), reverse=True)


# -- failure --------------------------------------------------------------------------------


class Broken:
    """A scorer that fails as ``fails(memory, step)`` says."""

    def __init__(self, inner, fails):
        self.inner, self.fails = inner, fails
        self.rows, self.cut = inner.rows, inner.cut

    def read(self, memory, step):
        logits, memory = self.inner.read(memory, step)
        problem = self.fails(step)
        if isinstance(problem, Exception):
            raise problem
        return (logits * float("nan") if problem == "nan" else logits), memory


def test_out_of_memory_halves_the_batch_and_is_recorded(model):
    asked = questions(48)
    wanted = run(make(model), asked, batch=1)
    engine = make(model)

    def fails(step):
        if len(step.ids) > 1:
            return RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB")

    engine.reader.scorer = Broken(engine.reader.scorer, fails)
    assert_same(run(engine, asked, batch=4), wanted)
    # In each modality: four rows, then twice two; from then on the size is known to be one.
    assert engine.notes["out_of_memory"] == 2
    assert engine.notes["batch_size"] == 1


@pytest.mark.parametrize("problem", [ValueError("no such thing"), "nan"])
def test_a_failed_request_is_an_error_and_its_neighbours_are_answered(model, problem):
    asked = questions(32)
    poison = model.tokenizer(" zebra")["input_ids"]
    asked[5] = replace(asked[5], question="What is a zebra?")
    engine = make(model)
    calls = []

    def fails(step):
        text = model.tokenizer.decode(step.ids.flatten())
        if "zebra" in text:
            calls.append(len(step.ids))
            return problem

    engine.reader.scorer = Broken(engine.reader.scorer, fails)
    assert poison
    found = {one.example_id: one for one in run(engine, asked)}
    bad = found.pop(asked[5].id)
    assert (bad.status, bad.logprobs, bad.text) == ("error", (), None)
    assert ("no such thing" if isinstance(problem, Exception) else "not finite") in bad.error
    others = [example for example in asked if example is not asked[5]]
    assert_same([found[example.id] for example in others], plain(model, others))
    assert calls[-1] == 1


def test_a_request_that_succeeds_alone_is_answered():
    model = tiny_llava()
    asked = questions(16)
    wanted = run(make(model), asked)
    engine = make(model)
    failed = []

    def fails(step):
        if not failed:
            failed.append(1)
            return RuntimeError("a hiccup")

    engine.reader.scorer = Broken(engine.reader.scorer, fails)
    assert_same(run(engine, asked), wanted)
    assert engine.notes == {"retried": ["RuntimeError: a hiccup"]}


def test_a_damaged_picture_stops_the_run():
    def images(name):
        raise DamagedError("not an image")

    with pytest.raises(DamagedError):
        tiny_llava(images=images).respond(examples()[:1], max_new_tokens=1)


@pytest.mark.parametrize("how", ["wrong positions", "raises"])
def test_a_family_that_sharing_is_wrong_for_gets_plain_batches(how, monkeypatch):
    model = tiny_llava()
    asked = examples() + questions(16)
    wanted = plain(model, asked)
    read = ModelScorer.read

    def wrong(self, memory, step):
        if how == "raises":
            raise TypeError("takes no mask")
        return read(self, memory, replace(step, positions=2 * step.positions))

    monkeypatch.setattr(ModelScorer, "read", wrong)
    found = model.respond(asked, max_new_tokens=8)
    assert_same(found, wanted)
    reason = model.notes["fallback"]["image_text"]
    assert ("takes no mask" if how == "raises" else "differ by") in reason


def test_the_check_costs_a_few_requests_only(monkeypatch):
    model = tiny_llava()
    asked = questions(64)
    seen = []
    plainly = model.plain
    monkeypatch.setattr(model, "plain", lambda some, n: seen.extend(some) or plainly(some, n))
    model.respond(asked, max_new_tokens=4)
    assert len(seen) == len(MODALITIES) * engine_module.CHECKED


@pytest.fixture
def failing(monkeypatch):
    """A model whose plain answers fail as often as ``times`` says."""

    def made(times):
        model = tiny_llava()
        plainly = model.plain
        left = [times]

        def fails(*given):
            if left[0]:
                left[0] -= 1
                raise RuntimeError("no plain answer")
            return plainly(*given)

        monkeypatch.setattr(model, "plain", fails)
        return model

    return made


def test_a_failing_check_does_not_stop_the_run_and_is_recorded(failing):
    """Where plain batches fail there is nothing to compare with; the requests are still asked."""
    asked = questions(16)
    found = failing(10**6)
    answered = found.respond(asked, max_new_tokens=4)
    assert_same(answered, plain(tiny_llava(), asked))
    reason = "RuntimeError: no plain answer"
    assert found.notes == {"unchecked": dict.fromkeys(MODALITIES, reason)}


def test_a_check_that_succeeds_later_is_enough(failing):
    asked = questions(16)
    model = failing(1)
    engine = make(model, check=True)
    assert_same(run(engine, asked, batch=1), run(make(tiny_llava()), asked, batch=1))
    assert engine.notes == {}


def test_a_check_that_fails_later_leaves_both_notes(failing, monkeypatch):
    """What was answered before it is as doubtful as it was."""
    read = ModelScorer.read
    monkeypatch.setattr(
        ModelScorer,
        "read",
        lambda self, memory, step: read(self, memory, replace(step, positions=2 * step.positions)),
    )
    engine = make(failing(1), check=True)
    run(engine, of_modality(questions(16), "image_text"), batch=1)
    assert engine.notes["unchecked"].keys() == engine.notes["fallback"].keys() == {"image_text"}


# -- the seam -------------------------------------------------------------------------------


class Difference:
    """Two models, each with a memory of its own: what a logit-difference method brings."""

    def __init__(self, one, other, weight):
        self.both, self.weight = (one, other), weight

    def read(self, memory, step):
        (a, one), (b, other) = (
            scorer.read(kept, step)
            for scorer, kept in zip(self.both, memory or (None, None), strict=True)
        )
        return a - self.weight * b, (one, other)

    def rows(self, memory, index):
        return tuple(s.rows(m, index) for s, m in zip(self.both, memory, strict=True))

    def cut(self, memory, length):
        return tuple(s.cut(m, length) for s, m in zip(self.both, memory, strict=True))


@torch.no_grad()
def test_two_models_combine_through_the_seam():
    one, other = tiny_llava(0), tiny_llava(1)
    engine = make(one)
    engine.reader.scorer = Difference(engine.reader.scorer, make(other).reader.scorer, 0.5)
    asked = examples() + questions(8)
    found = {response.example_id: response for response in run(engine, asked, tokens=6)}
    for example in asked:
        answers = example.choices or (example.answer,)
        for place, text in enumerate(answers):
            batch = one.encode([example], [text])
            logits, targets, _ = one.answer_logits(batch)
            mixed = logits - 0.5 * other.answer_logits(batch)[0]
            logp = -torch.nn.functional.cross_entropy(mixed, targets, reduction="sum")
            assert found[example.id].logprobs[place] == pytest.approx(logp.item(), abs=1e-3)
        if not example.choices:
            assert found[example.id].text == greedy(one, other, example, 6)


def greedy(one, other, example, tokens):
    row = one.encoder.question(example)
    said = []
    while len(said) < tokens:
        full = {key: [*values, *said] for key, values in row.items()}
        inputs = one.collate([full], [example], left=False)
        logits = one.model(**inputs).logits[0, -1] - 0.5 * other.model(**inputs).logits[0, -1]
        said.append(int(logits.argmax()))
        if said[-1] in one.encoder.ends:
            break
    return one.encoder.text(said)[0]
