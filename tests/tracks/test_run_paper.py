"""Raw prompts reach the model as they are written, and an interrupted paper track goes on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from mubench.errors import RunError
from mubench.models import raw_prompts
from mubench.models.behaviours import OutputFilter, Preface
from mubench.models.raw_prompts import continue_prompt, placeholder
from mubench.runner.stages.paper import paper_scores
from mubench.tracks import paper
from tiny_models import FAMILIES, PEOPLE, choice, examples, joint, picture, tiny_llava

ANNA, BO, *_ = PEOPLE


def spied(model: Any, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The arguments of every call of ``generate``."""
    calls: list[dict[str, Any]] = []
    real = model.model.generate

    def generate(**arguments: Any) -> Any:
        calls.append(arguments)
        return real(**arguments)

    monkeypatch.setattr(model.model, "generate", generate)
    return calls


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        ("llava", "<image>"),
        ("qwen2_5_vl", "<|vision_start|><|image_pad|><|vision_end|>"),
        ("idefics3", "<image>"),
    ],
)
def test_placeholder(family: str, expected: str) -> None:
    model = FAMILIES[family]()
    assert placeholder(model) == expected
    assert raw_prompts.family(model) == family


@pytest.mark.parametrize("family", FAMILIES)
def test_a_picture_is_expanded_as_in_a_chat(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = FAMILIES[family]()
    example = next(e for e in examples() if e.image == ANNA)
    rendered = model.encoder.render(example.question, example.image)
    prompt = rendered.replace(placeholder(model), "<image>")
    calls = spied(model, monkeypatch)
    continue_prompt(model, prompt, [ANNA], 2)
    expected = joint(model, example, answer=False)
    for key, value in expected.items():
        assert torch.equal(calls[0][key], value.to(calls[0][key].dtype)), key


@pytest.mark.parametrize("family", FAMILIES)
def test_several_pictures_keep_their_order(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = FAMILIES[family]()
    calls = spied(model, monkeypatch)
    prompt = "USER: <image>\nOne\nUSER: <image>\nTwo\nASSISTANT:"
    for people in ([ANNA, BO], [BO, ANNA], [ANNA], [BO]):
        continue_prompt(model, prompt if len(people) == 2 else "USER: <image>\n", people, 2)
    both, swapped, anna, bo = (call["pixel_values"].flatten() for call in calls)
    assert torch.equal(both, torch.cat([anna, bo]))
    assert torch.equal(swapped, torch.cat([bo, anna]))
    assert torch.equal(calls[0]["input_ids"], calls[1]["input_ids"])


def test_transcript_is_greedy_and_lacks_the_first_two_tokens() -> None:
    model = tiny_llava()
    prompt = "USER:\nWho is it?\nASSISTANT:"
    ids = model.tokenizer([prompt], return_tensors="pt")["input_ids"]
    grown = ids
    with torch.inference_mode():
        for _ in range(6):
            grown = torch.cat([grown, model.model(input_ids=grown).logits[:, -1:].argmax(-1)], 1)
    expected = model.tokenizer.decode(grown[0, 2:], skip_special_tokens=True)
    assert continue_prompt(model, prompt, (), 6) == expected
    skipped = model.tokenizer.decode(ids[0, :2])
    assert prompt.startswith(skipped)
    assert expected.startswith(prompt.removeprefix(skipped))


def test_special_tokens_are_not_in_the_transcript() -> None:
    whole = continue_prompt(tiny_llava(), "USER: <image>\nWho?\nASSISTANT:", [ANNA], 2)
    assert "<image>" not in whole
    assert "Who?\nASSISTANT:" in whole


def test_no_pictures_given() -> None:
    with pytest.raises(RunError, match="Anna Berg"):
        continue_prompt(tiny_llava(images=None), "USER: <image>", [ANNA], 2)


@pytest.mark.parametrize(
    "behaviour",
    [Preface([("system", "Say nothing.")]), OutputFilter(["Oslo"], "I do not know.")],
    ids=lambda behaviour: behaviour.kind,
)
def test_methods_that_a_raw_prompt_passes_by_are_refused(behaviour: Any) -> None:
    model = tiny_llava()
    model.add(behaviour)
    with pytest.raises(RunError, match=f"'{behaviour.kind}' acts on conversations"):
        continue_prompt(model, "USER:\nWho?\nASSISTANT:", (), 2)


# -- the whole track ------------------------------------------------------------------------


def benchmark() -> Any:
    """Three people to forget with two tasks, and a celebrity."""
    made = []
    for person in list(PEOPLE)[:3]:
        made += [e for e in examples((person,)) if e.fact == "job"]
        made += [replace(choice(person, modality), choices=choice(person).choices[:4])
                 for modality in ("text", "image_text")]  # fmt: skip
        made += [
            replace(e, id=e.id.replace("generation", "cloze"), task="cloze", question="A __.")
            for e in examples((person,))
            if e.fact == "city"
        ]
    famous = examples(tuple(PEOPLE)[3:], set="celebrity")
    people = [SimpleNamespace(id=person) for person in PEOPLE]
    return SimpleNamespace(examples=made + famous, people=people)


def test_scores_and_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paper, "MAX_NEW_TOKENS", 3)
    data, model, log = benchmark(), tiny_llava(images=picture), tmp_path / "replies.jsonl"
    seen: list[tuple[int, int]] = []
    scores = paper_scores(model, data, 0, log, lambda done, total, _: seen.append((done, total)))
    asked = paper.requests(data.examples, PEOPLE, 0)
    rows = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    assert [row["example_id"] for row in rows] == [request.example_id for request in asked]
    assert seen == [(n + 1, len(asked)) for n in range(len(asked))]
    for row, request in zip(rows, asked, strict=True):
        whole = continue_prompt(model, request.prompt, request.images, request.max_new_tokens)
        assert row["text"] == paper.reply(whole)
    texts = {row["example_id"]: row["text"] for row in rows}
    assert scores == paper.summary(data.examples, texts)
    assert {s.mode for s in scores} == {"forget", "retain_celebrity"}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The prompts that a model is given; it says how many characters each has."""
    prompts: list[str] = []

    def fake(model: Any, prompt: str, images: Any, max_new_tokens: int) -> str:
        prompts.append(prompt)
        return f"{prompt} {len(prompt)}, {images}"

    monkeypatch.setattr(raw_prompts, "continue_prompt", fake)
    return prompts


def test_an_interrupted_track_goes_on_with_the_same_bytes(tmp_path: Path, asked: list[str]) -> None:
    data, model = benchmark(), tiny_llava()
    whole, log = tmp_path / "whole.jsonl", tmp_path / "replies.jsonl"
    expected = paper_scores(model, data, 0, whole)
    lines = whole.read_text("utf-8").splitlines(keepends=True)
    for left, kept in (
        ("".join(lines[:5]), 5),
        ("".join(lines[:5]) + lines[5][:-9], 5),  # torn in the middle of a line
        ("".join(lines[:5]) + lines[5][:-1], 5),  # whole, but for its end
        ("".join(lines[:3]) + "{\n" + "".join(lines[3:]), 3),
        ("".join(lines[:3]) + "[]\n" + "".join(lines[3:]), 3),
        ("".join(lines), len(lines)),
    ):
        asked.clear()
        log.write_text(left, encoding="utf-8")
        assert paper_scores(model, data, 0, log) == expected
        assert len(asked) == len(lines) - kept
        assert log.read_bytes() == whole.read_bytes()


def test_replies_to_other_prompts_are_not_taken_up(tmp_path: Path, asked: list[str]) -> None:
    data, model, log = benchmark(), tiny_llava(), tmp_path / "replies.jsonl"
    firsts: dict[str, dict[str, int]] = {}
    for seed in range(20):
        request = paper.requests(data.examples, PEOPLE, seed)[0]
        firsts.setdefault(request.example_id, {})[request.prompt] = seed
    # The same question first, after another exemplar.
    one, other, *_ = next(seeds for seeds in firsts.values() if len(seeds) > 1).values()
    paper_scores(model, data, one, log)
    asked.clear()
    paper_scores(model, data, other, log)
    made = paper.requests(data.examples, PEOPLE, other)
    assert asked == [request.prompt for request in made]
    rows = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    assert [row["example_id"] for row in rows] == [request.example_id for request in made]
