"""Run a plan: every stage through the store, then the record and the report."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from mubench.config.schema import AnyBenchmark, RunSpec, SalmuSettings
from mubench.data.load import BenchmarkData
from mubench.data.tables import write
from mubench.errors import OutputError
from mubench.record import NotApplicable, RunRecord, Stage
from mubench.report.html import render_html
from mubench.types import ROLES, SETS, gold_roles

from .folder import artifacts, samples, write_answers
from .plan import Node, Plan, held_out, method_class, method_info, published_gold
from .probe_answers import write as write_probes
from .probing import Probed, probe
from .progress import bar
from .provenance import provenance
from .sources import source
from .stages import Report
from .stages.gate import check_gate
from .stages.paper import paper_cells, paper_track
from .stages.prediction import predict, read_responses
from .stages.published import published_model
from .stages.salmubench import salmubench_track
from .stages.scores import read_assessment, score
from .stages.training import learn, negate, train_model, unlearn
from .store import StageResult, Store
from .utility import utility_cells


def execute(plan: Plan, store: Store, out: Path, console: Console) -> Path:
    """Compute what is missing, write the run folder, and return it."""
    from mubench.models.load import check_available

    spec = plan.spec
    folder = run_folder(plan, out)
    _check_writable(out)
    gold = published_gold(spec)
    for model in filter(None, (spec.model, gold)):
        check_available(model)
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
    predictions: dict[str, Path] = {}

    def answer(role: str) -> None:
        predictions[role] = get(
            plan.node("predict", role),
            lambda path, report: predict(spec, data, deltas[role], path, report),
            resume=True,
        )

    trained = {role: role for role in ("target", *gold_roles(spec.golds))}
    if held_out(spec):
        trained["method"] = gold_roles(spec.golds + 1)[-1]
    for role, name in trained.items():
        folder_ = get(
            plan.node("train", role),
            lambda path, report, name=name: (
                train_model(spec, name, data, path, report)
                if gold is None
                else published_model(spec, gold if name == "gold" else spec.model, path)
            ),
        )
        deltas[role] = [folder_]
        answer(role)
        if role == "target":
            check_gate(spec, data, predictions[role])
    if info.kind == "reference":  # where the method is one more gold, it has answered already
        predictions.setdefault("method", predictions[info.extra["stage"]])
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
    paper: dict[str, Path] = {}
    if spec.predict.track == "paper":
        track = salmubench_track if isinstance(spec.benchmark, SalmuSettings) else paper_track
        for role in ROLES:
            same = role if role in deltas else info.extra["stage"]
            paper[role] = paper.get(same) or get(
                plan.node("paper", role),
                lambda path, report, role=role: track(spec, data, deltas[role], path, report),
                resume=True,
            )
    probed = probe(plan, data, {role: deltas[role] for role in ROLES if role in deltas}, get)
    _write_run(plan, data, predictions, scored, paper, probed, results, folder)
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
    predictions: dict[str, Path],
    scored: Path,
    paper: dict[str, Path],
    probed: Probed,
    results: Iterable[tuple[Node, StageResult]],
    folder: Path,
) -> None:
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    (partial / "predictions").mkdir()
    for role, answers in predictions.items():
        write_answers(partial, role, data.examples, read_responses(answers), scored)
    shutil.copyfile(scored / "prior.json", partial / "prior.json")
    for role, replies in paper.items():
        if (written := replies / "replies.jsonl").exists():
            shutil.copyfile(written, partial / "predictions" / f"{role}.paper.jsonl")
    write_probes(partial, probed.answers)
    record = _record(plan, data, scored, paper, probed, results, partial)
    text = record.model_dump_json(indent=2) + "\n"
    (partial / "record.json").write_text(text, encoding="utf-8")
    (partial / "report.html").write_text(
        render_html(record, samples(partial, data.png)), encoding="utf-8"
    )
    if folder.exists():
        shutil.rmtree(folder)
    partial.replace(folder)


def _record(
    plan: Plan,
    data: BenchmarkData,
    scored: Path,
    paper: dict[str, Path],
    probed: Probed,
    results: Iterable[tuple[Node, StageResult]],
    partial: Path,
) -> RunRecord:
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
        paper=[*paper_cells(paper), *utility_cells(data, scored)],
        probes=probed.answers.cells(plan.spec.seed),
        not_applicable=[
            *(NotApplicable(what=what, reason=reason) for what, reason in plan.not_applicable),
            *probed.not_applicable,
        ],
        artifacts=artifacts(partial),
        **dict(read_assessment(scored)),
    )


def describe(spec: RunSpec) -> str:
    """One line: what is run."""
    return f"{spec.method.name} on {spec.model.name}, {spec.benchmark.name}, seed {spec.seed}"
