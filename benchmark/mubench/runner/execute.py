"""Run a plan: every stage through the store, then the record and the report."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from mubench.config.schema import AnyBenchmark, RunSpec
from mubench.data.load import BenchmarkData
from mubench.data.tables import write
from mubench.errors import OutputError
from mubench.hashing import file_sha
from mubench.metrics.scoring import collapse_warnings
from mubench.record import Artifact, NotApplicable, RunRecord, Stage
from mubench.report.html import Sample, render_html
from mubench.types import SETS, Example, Role

from .plan import Node, Plan, method_class, method_info
from .progress import bar
from .provenance import provenance
from .sources import source
from .stages import Report
from .stages.gate import check_gate
from .stages.paper import paper_cells, paper_track
from .stages.prediction import predict, read_responses
from .stages.scores import read_cells, score
from .stages.training import learn, negate, train_model, unlearn
from .store import StageResult, Store

#: People shown in the page, per set; every question about them is shown.
SAMPLE_PEOPLE = 2


def execute(plan: Plan, store: Store, out: Path, console: Console) -> Path:
    """Compute what is missing, write the run folder, and return it."""
    from mubench.models.load import check_available

    spec = plan.spec
    folder = run_folder(plan, out)
    _check_writable(out)
    check_available(spec.model)
    console.print(f"mubench run: {describe(spec)}", highlight=False)
    results: list[tuple[Node, StageResult]] = []

    def get(
        node: Node, build: Callable[[Path, Report], dict[str, Any]], *, resume: bool = False
    ) -> Path:
        result = stage(store, node, build, console, resume=resume)
        results.append((node, result))
        return result.folder

    data = BenchmarkData(
        get(plan.node("data"), data_builder(spec.benchmark)),
        spec.benchmark.forget_ratio,
        spec.benchmark.fold,
        spec.benchmark.scope,
    )
    info = method_info(spec)
    deltas: dict[str, list[Path]] = {}
    predictions: dict[Role, Path] = {}

    def answer(role: Role) -> None:
        predictions[role] = get(
            plan.node("predict", role),
            lambda path, report: predict(spec, data, deltas[role], path, report),
            resume=True,
        )

    trained: tuple[Role, ...] = ("target", "gold")
    for role in trained:
        folder_ = get(
            plan.node("train", role),
            lambda path, report, role=role: train_model(spec, role, data, path, report),
        )
        deltas[role] = [folder_]
        answer(role)
        if role == "target":
            check_gate(spec, data, predictions[role])
    if info.kind == "reference":
        predictions["method"] = predictions["gold" if info.extra["stage"] == "gold" else "target"]
    else:
        method, target = method_class(spec), deltas["target"][0]
        node = plan.node("unlearn", "method")
        if info.kind == "two-stage":
            learned = get(
                plan.node("learn", "method"),
                lambda path, report: learn(spec, method, data, target, path, report),
            )
            changed = get(node, lambda path, _: negate(spec, data, target, learned, path))
        else:
            changed = get(
                node, lambda path, report: unlearn(spec, method, data, target, path, report)
            )
        if "scope" in (detail := results[-1][1].detail):
            console.print(f"unlearn method: trained {detail['scope']}", highlight=False)
        deltas["method"] = [*deltas["target"], changed]
        answer("method")
    scored = get(
        plan.node("score"),
        lambda path, report: score(spec, data, predictions, path, report),
    )
    paper: dict[Role, Path] = {}
    if spec.predict.track == "paper":
        for role in (*trained, "method"):
            same = info.extra["stage"] if info.kind == "reference" and role == "method" else role
            paper[role] = paper.get(same) or get(
                plan.node("paper", role),
                lambda path, report, role=role: paper_track(spec, data, deltas[role], path, report),
                resume=True,
            )
    _write_run(plan, data, predictions, scored, paper, results, folder)
    return folder


def stage(
    store: Store,
    node: Node,
    build: Callable[[Path, Report], dict[str, Any]],
    console: Console,
    *,
    resume: bool = False,
) -> StageResult:
    """One stage through the store, with a progress bar if it is not cached."""
    if store.has(node.kind, node.key):
        console.print(f"{node.label}: cached", highlight=False)
        return store.read(node.kind, node.key)
    with bar(console, node.label) as report:
        return store.get(node.kind, node.key, lambda path: build(path, report), resume=resume)


def data_builder(
    settings: AnyBenchmark,
) -> Callable[[Path, Report], dict[str, Any]]:
    """What the data stage of these settings does: write the benchmark's tables."""

    def build(path: Path, report: Report) -> dict[str, Any]:
        manifest = write(source(settings).tables(report), path)
        return {"content_sha": manifest["content_sha"], "rows": manifest["rows"]}

    return build


def run_folder(plan: Plan, out: Path) -> Path:
    """Where the results of a plan lie under ``out``."""
    spec = plan.spec
    parts = (spec.benchmark.name, spec.model.name, spec.method.name, f"seed{spec.seed}")
    return out / "-".join((*parts, plan.run_id))


def _check_writable(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / ".mubench-write-test"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputError(f"cannot write to output folder {out}: {error.strerror}") from error


def _write_run(
    plan: Plan,
    data: BenchmarkData,
    predictions: dict[Role, Path],
    scored: Path,
    paper: dict[Role, Path],
    results: Iterable[tuple[Node, StageResult]],
    folder: Path,
) -> None:
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    (partial / "predictions").mkdir()
    for role, answers in predictions.items():
        _write_predictions(data, answers, scored, role, partial / "predictions" / f"{role}.jsonl")
    for role, replies in paper.items():
        shutil.copyfile(replies / "replies.jsonl", partial / "predictions" / f"{role}.paper.jsonl")
    record = _record(plan, data, scored, paper, results, partial)
    text = record.model_dump_json(indent=2) + "\n"
    (partial / "record.json").write_text(text, encoding="utf-8")
    samples = _samples(data, partial / "predictions")
    (partial / "report.html").write_text(render_html(record, samples), encoding="utf-8")
    if folder.exists():
        shutil.rmtree(folder)
    partial.replace(folder)


def _write_predictions(
    data: BenchmarkData, source: Path, scored: Path, role: Role, path: Path
) -> None:
    """One line a question: the example, the response, the scores."""
    responses = read_responses(source)
    lines = (scored / f"{role}.items.jsonl").read_text(encoding="utf-8").splitlines()
    with open(path, "w", encoding="utf-8") as out:
        for example, line in zip(data.examples, lines, strict=True):
            scores = json.loads(line)
            scores.pop("id")
            response = asdict(responses[example.id])
            response.pop("example_id")
            row = {"example": asdict(example), "response": response, "scores": scores}
            out.write(json.dumps(row, ensure_ascii=False) + "\n")


def _record(
    plan: Plan,
    data: BenchmarkData,
    scored: Path,
    paper: dict[Role, Path],
    results: Iterable[tuple[Node, StageResult]],
    partial: Path,
) -> RunRecord:
    cells = read_cells(scored)
    persons = {
        set_: len({example.person for example in data.examples if example.set == set_})
        for set_ in SETS
    }
    items = {set_: sum(example.set == set_ for example in data.examples) for set_ in SETS}
    return RunRecord(
        run_id=plan.run_id,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        status="ok",
        spec=plan.spec.model_dump(mode="json"),
        method=asdict(method_info(plan.spec)),
        data={
            "benchmark": plan.spec.benchmark.name,
            "version": data.manifest["version"],
            "content_sha": data.manifest["content_sha"],
            "source": data.manifest["source"],
            "persons": persons,
            "items": items,
        },
        provenance=provenance(),
        stages=[
            Stage(
                kind=node.kind,
                role=node.role,
                key=node.key,
                cached=result.cached,
                seconds=round(result.seconds, 3),
                peak_mb=round(result.peak_mb, 1),
                detail=result.detail,
            )
            for node, result in results
        ],
        cells=cells,
        paper=paper_cells(paper),
        not_applicable=[
            NotApplicable(what=what, reason=reason) for what, reason in plan.not_applicable
        ],
        warnings=collapse_warnings(cells),
        artifacts=[
            Artifact(
                path=path.relative_to(partial).as_posix(),
                sha256=file_sha(path),
                bytes=path.stat().st_size,
            )
            for path in sorted(partial.rglob("*"))
            if path.is_file()
        ],
    )


def _samples(data: BenchmarkData, predictions: Path) -> list[Sample]:
    """Every question about the first people of each set, with what the three models said."""
    rows = {
        role: [
            json.loads(line)
            for line in (predictions / f"{role}.jsonl").read_text("utf-8").splitlines()
        ]
        for role in ("target", "gold", "method")
    }
    shown: dict[str, list[str]] = {set_: [] for set_ in SETS}
    samples = []
    for place, example in enumerate(data.examples):
        people = shown.setdefault(example.set, [])
        if example.person not in people:
            if len(people) >= SAMPLE_PEOPLE:
                continue
            people.append(example.person)
        said = {role: _said(example, found[place]["response"]) for role, found in rows.items()}
        samples.append(
            Sample(
                set=example.set,
                modality=example.modality,
                task=example.task,
                question=example.question,
                choices=example.choices,
                answer=example.answer,
                image_png=data.png(example.image) if example.image else None,
                target=said["target"],
                gold=said["gold"],
                method=said["method"],
                verdicts={role: _verdict(found[place]["scores"]) for role, found in rows.items()},
                person=example.person,
            )
        )
    return samples


def _said(example: Example, response: dict[str, Any]) -> str:
    if not example.choices:
        return str(response["text"])
    means = [
        total / length
        for total, length in zip(response["logprobs"], response["lengths"], strict=True)
    ]
    return example.choices[means.index(max(means))]


def _verdict(scores: dict[str, float]) -> bool | None:
    for name in ("accuracy", "keyword", "match", "r1"):
        if name in scores:
            return scores[name] == 1.0
    return None


def describe(spec: RunSpec) -> str:
    """One line: what is run."""
    return f"{spec.method.name} on {spec.model.name}, {spec.benchmark.name}, seed {spec.seed}"
