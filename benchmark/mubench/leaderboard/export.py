"""A run in other people's formats."""

from __future__ import annotations

import csv as csv_module
import io
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from mubench import __version__
from mubench.errors import UsageError
from mubench.metrics.ranking import cost
from mubench.record import Cell, RunRecord, Value
from mubench.report import view

_PARTS = ("target", "gold", "method", "difference", "gap")
_COST = ("unlearning_seconds", "unlearning_peak_mb", "unlearning_flops")


def csv(records: Sequence[RunRecord]) -> str:
    """One line a cell, with every interval, and what unlearning took."""
    out = io.StringIO()
    writer = csv_module.writer(out, lineterminator="\n")
    named = [part.replace("method", "score") for part in _PARTS]  # its name is a column, too
    names = [f"{part}{end}" for part in named for end in ("", "_low", "_high")]
    head = ("benchmark", "version", "model", "method", "seed", "set", "modality", "task", "metric")
    writer.writerow([*head, "unit", "better", "n", "persons", *names, *_COST])
    for record in records:
        who = view.identity(record)
        run = (who.benchmark, record.data.get("version"), who.model, who.method, who.seed)
        start = [_inert(word) for word in run]
        spent = _spent(record)
        for cell in record.cells:
            place = (cell.set, cell.modality, cell.task, cell.metric, cell.unit, cell.better)
            values = [x for part in _PARTS for x in _three(getattr(cell, part))]
            writer.writerow([*start, *map(_inert, place), cell.n, cell.persons, *values, *spent])
    return out.getvalue()


def _spent(record: RunRecord) -> tuple[float, float, float | None]:
    found = cost([record])
    return found.seconds, found.peak_mb, found.flops


def _three(value: Value | None) -> tuple[float | None, float | None, float | None]:
    return (None, None, None) if value is None else (value.value, value.low, value.high)


def _inert(value: object) -> object:
    """Text that a spreadsheet would take for a formula is quoted."""
    return f"'{value}" if isinstance(value, str) and value[:1] in "=+-@\t" else value


_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
}  # fmt: skip


def tex(text: str) -> str:
    """Text that LaTeX prints as it is."""
    return "".join(_LATEX.get(char, char) for char in view.clean(text))


def latex(records: Sequence[RunRecord]) -> str:
    """A booktabs table: one row a run, the gap to gold of each headline cell with its interval."""
    rows: dict[tuple[str, str, str, str], None] = {}
    for record in records:
        for cell in record.cells:
            if cell.headline and cell.gap is not None:
                rows[cell.set, cell.modality, cell.task, cell.metric] = None
    names = [f"{view.identity(r).method} (seed {view.identity(r).seed})" for r in records]
    lines = [
        r"\begin{tabular}{ll" + "r" * len(records) + "}",
        r"\toprule",
        " & ".join(["set", "metric", *map(tex, names)]) + r" \\",
        r"\midrule",
    ]
    for set_, modality, task, metric in rows:
        title = f"{view.MODALITY_TITLES.get(modality, modality)} {task} {metric}"
        found = [_find(record, (set_, modality, task, metric)) for record in records]
        lines.append(" & ".join([tex(set_), tex(title), *map(_gap, found)]) + r" \\")
    lines.append(r"\midrule")
    spent = [cost([record]) for record in records]
    for title, values in (
        ("time", [f"{one.seconds:.0f} s" for one in spent]),
        ("compute", ["--" if one.flops is None else view.flops(one.flops) for one in spent]),
    ):
        lines.append(" & ".join(["unlearning", title, *values]) + r" \\")
    who = view.identity(records[0])
    what = f"gap to gold (0: like gold, 1: nothing forgotten), 95 % interval; {who.benchmark}"
    return "\n".join([f"% {tex(what)}", *lines, r"\bottomrule", r"\end{tabular}", ""])


def _find(record: RunRecord, key: tuple[str, str, str, str]) -> Cell | None:
    cells = (c for c in record.cells if (c.set, c.modality, c.task, c.metric) == key)
    return next(cells, None)


def _gap(cell: Cell | None) -> str:
    if cell is None or cell.gap is None:
        return "--"
    value = f"${view.number(cell.gap.value)}$"
    return (
        f"{value} {{\\scriptsize {view.interval(cell.gap)}}}" if view.interval(cell.gap) else value
    )


def bibtex(record: RunRecord) -> str:
    """The method's paper and this run."""
    who = view.identity(record)
    entries = []
    paper = re.search(r"arXiv:(\d{4}\.\d{4,5})", str(record.method.get("paper", "")))
    if paper:
        title = tex(str(record.method.get("title", who.method)))
        entries.append(
            f"@misc{{{paper[1]},\n  title = {{{title}}},\n  eprint = {{{paper[1]}}},\n"
            "  archiveprefix = {arXiv}\n}\n"
        )
    year = record.created[:4]
    entries.append(
        f"@misc{{mubench-{record.run_id},\n"
        f"  title = {{{tex(f'{who.method} on {who.model}, {who.benchmark}: a mubench run')}}},\n"
        f"  year = {{{tex(year)}}},\n  note = {{run {tex(record.run_id)}}}\n}}\n"
    )
    return "\n".join(entries)


def eee(record: RunRecord) -> dict[str, Any]:
    """The headline cells as an Every Eval Ever record (schema 0.3.0, arXiv:2606.14516).

    Metrics that are judged by their distance to gold have no better direction of their own: the
    gold model's value, the target's and the gap stand in their details.
    """
    who = view.identity(record)
    made = str(datetime.fromisoformat(record.created).timestamp())
    name = f"{who.method} on {who.model}"
    return {
        "schema_version": "0.3.0",
        "evaluation_id": f"mubench/{who.benchmark}/{who.model}+{who.method}/{record.run_id}",
        "evaluation_timestamp": record.created,
        "retrieved_timestamp": made,
        "source_metadata": {
            "source_name": "mubench",
            "source_type": "evaluation_run",
            "source_organization_name": "mubench",
            "evaluator_relationship": "other",
        },
        "eval_library": {"name": "mubench", "version": _package(record)},
        "model_info": {
            "name": name,
            "id": f"mubench/{who.model}+{who.method}-{record.run_id}",
            "additional_details": {
                "deployment_type": "self_deployed",
                "model_availability": "unknown",
                "base_model": who.model,
                "unlearning_method": who.method,
                "seed": who.seed,
                **{
                    name: f"{value:.6g}"
                    for name, value in zip(_COST, _spent(record), strict=True)
                    if value is not None
                },
            },
        },
        "evaluation_results": [_eee_result(record, cell) for cell in record.cells if cell.headline],
    }


def _package(record: RunRecord) -> str:
    package = record.provenance.get("package")
    return str(package.get("version") if isinstance(package, dict) else __version__)


def _task(cell: Cell) -> str:
    return "_".join((cell.set, cell.modality, cell.task, cell.metric))


def _eee_result(record: RunRecord, cell: Cell) -> dict[str, Any]:
    data = record.data
    uncertainty: dict[str, Any] = {"num_samples": cell.n}
    if cell.method.low is not None and cell.method.high is not None:
        uncertainty["confidence_interval"] = {
            "lower": cell.method.low, "upper": cell.method.high, "confidence_level": 0.95,
            "method": "clustered by person",
        }  # fmt: skip
    details = {
        part: f"{value.value:.6g} {view.interval(value)}".strip()
        for part in ("target", "gold", "gap", "difference")
        if (value := getattr(cell, part)) is not None
    }
    return {
        "evaluation_name": _task(cell),
        "source_data": {
            "dataset_name": f"{data.get('benchmark')}@{data.get('version')}",
            "source_type": "other",
            "additional_details": {"content_sha256": str(data.get("content_sha"))},
        },
        "metric_config": {
            "evaluation_description": f"{cell.task} questions about the {cell.set} set, "
            f"{view.MODALITY_TITLES.get(cell.modality, cell.modality)}",
            "metric_id": cell.metric,
            "metric_unit": cell.unit,
            "lower_is_better": cell.better != "up",
            "score_type": "continuous",
            "min_score": 0,
            "max_score": 1,
            "additional_details": {
                "judged_by": "distance to gold" if cell.better == "to_gold" else cell.better
            },
        },
        "score_details": {
            "score": cell.method.value,
            "uncertainty": uncertainty,
            "details": details,
        },
    }


def hub_eval(record: RunRecord, dataset: str = "") -> list[dict[str, Any]]:
    """The headline cells for ``.eval_results/*.yaml`` of a model on the Hub.

    ``dataset``: the benchmark's id there; that of a published set is known. UsageError without.
    """
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    source = record.data.get("source")
    source = source if isinstance(source, dict) else {}
    repo = dataset or str(source.get("repo") or "")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repo):
        raise UsageError(
            f"'{record.data.get('benchmark')}' has no name on the Hub: upload it with 'mubench "
            "data push', and give --dataset OWNER/NAME"
        )
    revision = str(source.get("revision") or "")
    who = view.identity(record)
    return eval_result_entries_to_yaml(
        [
            EvalResultEntry(
                dataset_id=repo,
                task_id=_task(cell),
                value=round(cell.method.value, 6),
                dataset_revision=revision if re.fullmatch("[0-9a-f]{40}", revision) else None,
                date=record.created,
                notes=f"mubench {_package(record)}, {who.method}, seed {who.seed}, "
                f"gold {view.number(cell.gold.value)}, target {view.number(cell.target.value)}",
            )
            for cell in record.cells
            if cell.headline
        ]
    )
