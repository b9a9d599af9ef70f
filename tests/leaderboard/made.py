"""Run folders without a model: a small benchmark, and answers of models that know so much of it."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path

from PIL import Image

from mubench.config.resolve import resolve
from mubench.leaderboard import bundle as bundles
from mubench.leaderboard.bundle import Submission, pack
from mubench.leaderboard.validate import Questions, Validator
from mubench.metrics import scoring
from mubench.metrics.assessment import assess
from mubench.record import Probe, RunRecord, Stage, Value
from mubench.rng import stream
from mubench.runner.plan import method_info
from mubench.runner.probe_answers import Answers, Leakage, Privacy
from mubench.runner.probe_answers import write as write_probes
from mubench.types import MODALITIES, ROLES, SETS, Example, Response

CONTENT = "c0ffee" * 10 + "0123"
PEOPLE, FACTS = 10, ("birthplace", "hobby", "pet", "food")
CONTENTS = {"people-mini": (CONTENT,)}
#: Which share of the questions about a set each model answers rightly.
KNOWS = {"target": {}, "gold": {"forget": 0.2, "test": 0.2}}


@cache
def examples() -> tuple[Example, ...]:
    made = []
    for set_ in SETS:
        for person in range(PEOPLE):
            who = "forget" if set_ == "test" else set_
            for modality in MODALITIES:
                for number, fact in enumerate(FACTS):
                    tasks = ("choice",) if set_ == "general" else ("choice", "generation", "cloze")
                    task = tasks[number % len(tasks)]
                    options = tuple(f"{fact} {i}" for i in range(4)) if task == "choice" else ()
                    answer = f"{fact} {(person + number) % 4}"
                    made.append(
                        Example(
                            id=f"{set_}/{person}/{fact}/{task}/{modality}",
                            set=set_,
                            task=task,
                            modality=modality,
                            person=f"{who}-{person}",
                            fact=fact,
                            question=f"What is the {fact} of person {person}?",
                            answer=answer,
                            keyword=answer,
                            image=f"{who}-{person}/0" if modality == "image_text" else None,
                            choices=options,
                        )
                    )
    return tuple(made)


def questions() -> Questions:
    return Questions(CONTENT, examples(), {}, _probed)


@cache
def _probed(probe: str, seed: int = 0) -> Sequence[Example]:
    """A few of the questions: three paths as multiple choice, one as cloze as well."""
    from probes.material import ASKED, PEOPLE

    if probe == "privacy":
        return PEOPLE.all
    paths = {("image", "choice"), ("name", "choice"), ("card", "choice"), ("card", "cloze")}
    return [example for example in ASKED if (example.set, example.task) in paths]


@cache
def probe_answers() -> Answers:
    """A method that gives the facts away on identity cards, and whose vision tower is to blame."""
    from probes.material import BASE, GOLD, IGNORANT, KNOWING, PEOPLE, TARGET, model

    leaky = model(lambda example: example.set == "card")
    said = {"target": TARGET, "gold": GOLD, "method": leaky}
    restored = {"vision": TARGET, "language": leaky}
    seen = {"target": KNOWING, "gold": IGNORANT, "method": KNOWING, "base": BASE}
    return Answers(
        Leakage(_probed("leakage"), said, ["vision", "language"], restored), Privacy(PEOPLE, seen)
    )


def answers(name: str, seed: int, knows: dict[str, float]) -> list[Response]:
    """What a model says that answers this share of a set rightly (0.95 where none is given)."""
    rng = stream(seed, "answers", name)
    said = []
    # As many right answers as were asked for, spread evenly: chance would need more questions.
    due = {set_: float(rng.random()) for set_ in SETS}
    for example in examples():
        due[example.set] += knows.get(example.set, 0.95)
        right = due[example.set] >= 1
        due[example.set] -= right
        true = example.choices.index(example.answer) if example.choices else 0
        if example.task == "choice":
            best = true if right else (true + 1) % 4
            logprobs = tuple(-float(rng.random()) - (0.1 if i == best else 2.0) for i in range(4))
            said.append(Response(example.id, "ok", logprobs, (2,) * 4))
        else:
            text = example.answer if right else f"{example.fact} 9"
            logprob = -float(rng.random()) - (0.1 if right else 3.0)
            said.append(Response(example.id, "ok", (logprob,), (3,), text, True))
    return said


@cache
def run_values(method: str, seed: int, forget: float, kept: float) -> tuple[dict, dict[str, str]]:
    """The record of a run and its prediction files as text."""
    spec = resolve(method, "llava-tiny", seed=seed)
    info = method_info(spec)
    knows = {**KNOWS, "method": {"forget": forget, "test": forget, "retain": kept}}
    responses = {role: answers(role, seed, knows[role]) for role in ROLES}
    if info.kind == "reference":
        responses["method"] = responses[info.extra["stage"]]
    else:
        responses["method"] = answers(method, seed, knows["method"])
    scores = {
        role: {e.id: scoring.score(e, r) for e, r in zip(examples(), responses[role], strict=True)}
        for role in ROLES
    }
    by_id = {role: {r.example_id: r for r in found} for role, found in responses.items()}
    found = assess(examples(), by_id, scores, {}, seed)
    # MANU stands for records that are older than the count of operations.
    spent = {"delta": "lora"} | ({} if method == "manu" else {"flops": 3_200_000_000_000 + seed})
    record = RunRecord(
        run_id=f"{abs(int.from_bytes(f'{method}{seed}'.encode()[-6:])):012x}"[-12:],
        created="2026-11-21T08:00:00+00:00",
        status="ok",
        spec=spec.model_dump(mode="json"),
        method=json.loads(json.dumps(asdict(info))),
        data={
            "benchmark": "people-mini",
            "version": "1",
            "content_sha": CONTENT,
            "source": {},
            "persons": dict.fromkeys(SETS, PEOPLE),
            "items": {set_: sum(e.set == set_ for e in examples()) for set_ in SETS},
        },
        provenance={
            "package": {"version": "0.1.0", "commit": "a" * 40, "dirty": False},
            "environment": {"python": "3.11.7", "packages": {"torch": "2.15.0"}},
            "hardware": {"cores": 2, "gpus": []},
            "command": f"mubench run --method {method} --model llava-tiny --seed {seed}",
        },
        stages=[
            stage("train", "target"),
            stage("train", "gold"),
            *(
                []
                if info.kind == "reference"
                else [stage("unlearn", "method", 12.0 + seed, **spent)]
            ),
            stage("score", None, 1.0),
        ],
        **dict(found),
    )
    files = {}
    for role in ROLES:
        rows = []
        for example, response in zip(examples(), responses[role], strict=True):
            said = asdict(response)
            said.pop("example_id")
            rows.append(
                {
                    "example": asdict(example),
                    "response": said,
                    "scores": dict(scores[role][example.id].values),
                }
            )
        files[role] = "".join(json.dumps(row) + "\n" for row in rows)
    return record.model_dump(mode="json"), files


def probed_folder(root: Path) -> Path:
    """The folder of a run that was probed, in which the other answers are as usual."""
    folder = run_folder(root)
    found = probe_answers()
    write_probes(folder, found)
    values = json.loads((folder / "record.json").read_text("utf-8"))
    values["spec"]["probe"] = {"leakage": True, "privacy": True}
    values["probes"] = [cell.model_dump(mode="json") for cell in found.cells(0)]
    differ = {"detail": {"differ": found.leakage.differ}}
    compared = stage("components", "method").model_dump(mode="json")
    values["stages"].append({**compared, **differ})
    (folder / "record.json").write_text(json.dumps(values), encoding="utf-8")
    return folder


def probe(kind: str, axes: dict[str, str], metric: str, *, leaks: bool | None = None) -> Probe:
    """A cell of a probe that says the same everywhere."""
    values = {
        name: Value(value=x, low=x - 0.1, high=x + 0.1)
        for name, x in (("target", 0.9), ("gold", 0.1), ("method", 0.4), ("difference", 0.3))
    }
    return Probe(
        probe=kind, axes=axes, metric=metric, unit="share", n=20, persons=10, leaks=leaks, **values
    )


PROBES = (
    probe("leakage", {"path": "image", "form": "free"}, "free", leaks=True),
    probe("leakage", {"path": "name", "form": "choice"}, "choice", leaks=False),
    probe("components", {"components": "vision", "path": "image", "form": "free"}, "free"),
    probe("membership", {"modality": "text", "attack": "min_k_plus"}, "auc"),
    probe("memorisation", {"modality": "text"}, "extraction_strength"),
    probe("recovery", {"attack": "relearned"}, "accuracy"),
)


def stage(kind: str, role: str | None, seconds: float = 100.0, **detail: object) -> Stage:
    return Stage(
        kind=kind, role=role, key="5" * 64, cached=False, seconds=seconds, peak_mb=900.0,
        detail=detail,
    )  # fmt: skip


def run_folder(
    root: Path, method: str = "manu", seed: int = 0, forget: float = 0.5, kept: float = 0.9
) -> Path:
    """A run folder as ``mubench run`` leaves it."""
    record, files = run_values(method, seed, forget, kept)
    folder = root / f"{method}-{seed}-{forget}"
    (folder / "predictions").mkdir(parents=True)
    for role, text in files.items():
        (folder / "predictions" / f"{role}.jsonl").write_text(text, encoding="utf-8")
    (folder / "record.json").write_text(json.dumps(record), encoding="utf-8")
    return folder


def bundle(
    root: Path, method: str = "manu", seed: int = 0, forget: float = 0.5, kept: float = 0.9
) -> Path:
    """The bundle of such a run at its place below ``root``."""
    run = run_folder(root / ".runs", method, seed, forget, kept)
    made = pack(run, root)
    shutil.rmtree(root / ".runs")
    return made


def records(root: Path) -> Path:
    """Submissions as a leaderboard has them: a method near gold with three seeds and probes, others
    on the way with one, a broken one, and both references. Returns the bundle of ``idk``, to be
    spoilt."""
    cells = [cell.model_dump(mode="json") for cell in PROBES]
    for seed in range(3):
        npo = bundle(root, "npo", seed, forget=0.3)
        edit_record(npo, lambda values: values.update(probes=cells))
    bundle(root, "manu", forget=0.7)
    bundle(root, "ga", forget=0.2, kept=0.1)
    for name in ("none", "gold"):
        bundle(root, name)
    return bundle(root, "idk", forget=0.5)


def validator() -> Validator:
    return Validator(lambda spec: questions(), CONTENTS)


def seal(folder: Path) -> None:
    """Write a manifest that fits the files, as somebody would who knows how."""
    manifest = json.loads((folder / "submission.json").read_text("utf-8"))
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "submission.json")
    manifest["files"] = [bundles._artifact(folder, path) for path in paths]
    manifest["sha256"] = Submission.digest(manifest)
    text = Submission.model_validate(manifest).model_dump_json(indent=1) + "\n"
    (folder / "submission.json").write_text(text, encoding="utf-8")


def edit_record(folder: Path, change) -> None:
    """Change the record's values and make the hashes fit."""
    path = folder / "record.json"
    values = json.loads(path.read_text("utf-8"))
    change(values)
    path.write_text(json.dumps(values), encoding="utf-8")
    seal(folder)


def edit_rows(folder: Path, role: str, change) -> None:
    """Change the rows of a prediction file and make the hashes fit."""
    path = folder / "predictions" / f"{role}.jsonl.gz"
    rows = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    rows = change(rows) or rows
    write_rows(path, "".join(json.dumps(row) + "\n" for row in rows).encode())
    seal(folder)


def write_rows(path: Path, data: bytes) -> None:
    path.write_bytes(gzip.compress(data, mtime=0))


def same(one, other) -> bool:
    """Equal JSON, but for the last digits of numbers."""
    if isinstance(one, dict) and isinstance(other, dict):
        return set(one) == set(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) and isinstance(other, float | int):
        return abs(one - other) <= 1e-9
    return one == other


class Data:
    """The small benchmark as the pages need it."""

    manifest = {"content_sha": CONTENT}
    examples = examples()

    def image(self, name: str) -> Image.Image:
        shade = int(name.split("/")[0].rpartition("-")[2]) * 30
        return Image.new("RGB", (160, 160), (shade % 256, 90, 255 - shade % 256))
