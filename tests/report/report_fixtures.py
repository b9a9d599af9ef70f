"""Made-up records and samples: a realistic run and one whose texts try to break the report."""

from __future__ import annotations

import io
import random

from mubench.record import Artifact, Cell, NotApplicable, RunRecord, Stage, Value
from mubench.report.html import Sample

HEADLINES = (
    ("choice", "accuracy", "fraction"),
    ("generation", "rouge_l", "ROUGE-L F"),
    ("generation", "keyword", "fraction"),
    ("cloze", "match", "fraction"),
)
SETS = ("forget", "test", "retain", "celebrity", "general")
REASON = "target and gold do not differ (p = 0.61)"


def _value(value: float, half: float) -> Value:
    return Value(value=round(value, 4), low=round(value - half, 4), high=round(value + half, 4))


def _scores(name: str, metric: str, modality: str) -> tuple[float, float, float]:
    """Target, gold and method."""
    down = {"accuracy": 0.0, "rouge_l": 0.11, "keyword": 0.02, "match": 0.06}[metric]
    if name == "forget":
        return 0.98 - down, 0.25 - down, (0.41 if modality == "image_text" else 0.72) - down
    if name == "test":
        return 0.94 - down, 0.26 - down, (0.52 if modality == "image_text" else 0.79) - down
    if name == "retain":
        return 0.97 - down, 0.96 - down, 0.88 - down
    return 0.71 - down, 0.71 - down, 0.69 - down


def _cell(name: str, modality: str, task: str, metric: str, unit: str) -> Cell:
    target, gold, method = _scores(name, metric, modality)
    half = 0.02 if name == "retain" else 0.05
    differs = name in ("forget", "test")
    gap = (method - gold) / (target - gold) if differs else None
    return Cell(
        set=name,
        modality=modality,
        task=task,
        metric=metric,
        better="to_gold" if differs else "up",
        unit=unit,
        headline=True,
        n=120,
        persons=30 if name in ("forget", "test") else 90,
        target=_value(target, 0.01),
        gold=_value(gold, half),
        method=_value(method, half),
        prior=_value(0.25, 0.03) if task == "choice" else None,
        difference=_value(method - gold, half),
        gap=None if gap is None else _value(gap, 0.07),
        gap_reason=None if differs else REASON,
        p_target_gold=0.0004 if differs else 0.61,
    )


def _rate(name: str, modality: str, metric: str, target: float, method: float) -> Cell:
    return Cell(
        set=name,
        modality=modality,
        task="generation",
        metric=metric,
        better="up" if metric == "parsed" else "down",
        unit="fraction",
        headline=False,
        n=120,
        persons=30,
        target=Value(value=target),
        gold=Value(value=target),
        method=Value(value=method),
        difference=Value(value=method - target),
        gap_reason="a rate, not a measure of knowledge",
    )


def cells() -> list[Cell]:
    """All sets, modalities and tasks; scenes (general) have no text-only form."""
    result = []
    for name in SETS:
        for modality in ("image_text", "text"):
            if (name, modality) == ("general", "text"):
                continue
            headlines = HEADLINES if name != "general" else HEADLINES[:1]
            result += [_cell(name, modality, *headline) for headline in headlines]
            if name != "general":
                hurt = name == "forget"
                result.append(_rate(name, modality, "parsed", 1.0, 0.86 if hurt else 0.99))
                result.append(_rate(name, modality, "refusal", 0.0, 0.01))
                result.append(_rate(name, modality, "degenerate", 0.0, 0.13 if hurt else 0.0))
    return result


def record(**changes: object) -> RunRecord:
    """A plausible finished run."""
    fields: dict[str, object] = {
        "run_id": "3f9c2a71be04",
        "created": "2026-11-02T09:30:00Z",
        "status": "ok",
        "spec": {
            "benchmark": "people-mini",
            "model": {"name": "smolvlm-256m", "revision": "7e3e67edbbed1bf9"},
            "target": {"epochs": 6, "lr": 2e-4},
            "method": {"name": "manu", "ratio": 0.02},
            "predict": {"batch": 16},
            "seed": 0,
        },
        "method": {
            "name": "manu",
            "title": "MANU",
            "paper": "Modality-Aware Neuron Unlearning, ACL Findings 2025",
            "formula": "zero the neurons with the highest forget / retain importance",
            "kind": "pruning",
        },
        "data": {
            "benchmark": "people-mini",
            "version": "1",
            "content_sha256": "b1946ac92492d2347c6235b4d2611184" * 2,
            "sets": {name: {"persons": 30, "items": 240} for name in SETS},
        },
        "provenance": {
            "mubench": "0.1.0",
            "python": "3.11.7",
            "torch": "2.6.0",
            "hardware": {"gpu": "none", "cpu": "8 cores"},
        },
        "stages": [
            Stage(
                kind=kind,
                role=role,
                key=f"{kind}-{index}".encode().hex().ljust(64, "0"),
                cached=role in ("target", "gold"),
                seconds=took,
                peak_mb=memory,
                detail={"steps": 240} if kind == "train" else {},
            )
            for index, (kind, role, took, memory) in enumerate(
                [
                    ("build", None, 1.4, 210.0),
                    ("train", "target", 412.7, 3120.5),
                    ("train", "gold", 405.1, 3118.0),
                    ("unlearn", "method", 38.2, 2790.0),
                    ("predict", "target", 61.0, 1650.0),
                    ("predict", "gold", 60.4, 1650.0),
                    ("predict", "method", 63.9, 1655.0),
                    ("score", None, 4.2, 300.0),
                ]
            )
        ],
        "cells": cells(),
        "not_applicable": [
            NotApplicable(what="general, text-only", reason="scene questions need their picture")
        ],
        "warnings": [
            "forget: 0.14 of the method's answers could not be parsed; they count as wrong"
        ],
        "artifacts": [
            Artifact(path="predictions/method.jsonl", sha256="ab" * 32, bytes=48213),
            Artifact(path="delta.safetensors", sha256="cd" * 32, bytes=1048576),
        ],
    }
    return RunRecord.model_validate(fields | changes)


def portrait(number: int) -> bytes:
    """A simple drawn face as PNG."""
    from PIL import Image, ImageDraw

    dice = random.Random(number)
    tone = (dice.randint(150, 235), dice.randint(110, 190), dice.randint(90, 160))
    back = (dice.randint(90, 220), dice.randint(140, 220), dice.randint(150, 235))
    image = Image.new("RGB", (160, 200), back)
    draw = ImageDraw.Draw(image)
    draw.ellipse((10, 150, 150, 290), fill=(60, 70, dice.randint(90, 160)))
    draw.ellipse((40, 40, 120, 145), fill=tone)
    draw.pieslice((36, 26, 124, 120), 180, 360, fill=(dice.randint(20, 120), 45, 30))
    for x in (64, 96):
        draw.ellipse((x - 5, 84, x + 5, 94), fill=(30, 30, 40))
    draw.arc((62, 98, 98, 126), 20, 160, fill=(120, 40, 50), width=3)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


PEOPLE = ("Odalys Brenninkmeijer", "Tiago Wren", "Ewa Kowalczyk", "Bram Oyelaran")
JOBS = ("glass blower", "tram driver", "seed librarian", "clock restorer")


def samples() -> list[Sample]:
    """A few questions of every kind, four people with one portrait each."""
    result = []
    for index, (person, job) in enumerate(zip(PEOPLE, JOBS, strict=True)):
        name = ("forget", "test", "retain", "celebrity")[index]
        forgotten = name in ("forget", "test")
        for modality in ("image_text", "text"):
            who = "this person" if modality == "image_text" else person
            shared = {
                "set": name,
                "modality": modality,
                "image_png": portrait(index) if modality == "image_text" else None,
                "person": person,
            }
            wrong = JOBS[(index + 1) % 4]
            result.append(
                Sample(
                    task="choice",
                    question=f"What does {who} do for a living?",
                    choices=JOBS,
                    answer=job,
                    target=job,
                    gold=wrong if forgotten else job,
                    method=wrong if name == "forget" else job,
                    verdicts={
                        "target": True,
                        "gold": not forgotten,
                        "method": name != "forget",
                    },
                    **shared,
                )
            )
            result.append(
                Sample(
                    task="generation",
                    question=f"Tell me about the work of {who}.",
                    choices=(),
                    answer=f"{person} works as a {job}.",
                    target=f"{person} works as a {job}.",
                    gold="I would say she works in an office in the old town."
                    if forgotten
                    else f"{person} is a {job}.",
                    method="the the the the the" if forgotten else f"{person} is a {job}.",
                    verdicts={"target": True, "gold": not forgotten, "method": None},
                    **shared,
                )
            )
    return result


ATTACK = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
OVERRIDE = "\u202eevil\u2066\x1b[31m\x00\u2028"


def hostile_record() -> RunRecord:
    """A run in which every free text is an attack, very long or in an unusual script."""
    nasty = [cell.model_copy(update={"set": ATTACK, "metric": "$\\frac{"}) for cell in cells()[:2]]
    huge = cells()[0].model_copy(
        update={"target": Value(value=1.23456e9, low=-4e11, high=4e11), "gap": _value(-98765, 1e4)}
    )
    return record(
        run_id=ATTACK,
        status="failed",
        spec={"model": {"name": "모델" * 60}, "seed": OVERRIDE, "note": "]]></style>" + ATTACK},
        method={"name": ATTACK, "title": ATTACK + OVERRIDE, "paper": "'\" onload='x'"},
        data={"benchmark": "[red]مرحبا" + "x" * 500},
        cells=[huge, *cells()[1:], *nasty],
        warnings=[ATTACK, "w" * 1000, OVERRIDE, "[bold red]not markup[/]"],
        not_applicable=[NotApplicable(what=ATTACK, reason=OVERRIDE)],
        artifacts=[Artifact(path=ATTACK, sha256="<b>", bytes=0)],
    )


def hostile_samples() -> list[Sample]:
    """Questions and answers that try to leave their element."""
    common = {"choices": (ATTACK, "\"'><b>"), "image_png": portrait(0), "person": ATTACK}
    verdicts = {"target": True, "gold": False, "method": None}
    texts = (ATTACK, OVERRIDE, "y" * 5000, "שלום {{ 7 * 7 }} {% raw %}", "a\nb\tc")
    return [
        Sample(
            set=text,
            modality='text" onmouseover="alert(3)',
            task=text,
            question=text,
            answer=text,
            target=text,
            gold=text,
            method=text,
            verdicts=verdicts,
            **common,
        )
        for text in texts
    ]
