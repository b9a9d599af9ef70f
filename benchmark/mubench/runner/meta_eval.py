"""Meta-evaluation: pools of seeded models, and what every metric says of them.

Every model and every measurement is a stage of the store, so that an interrupted evaluation goes
on where it stopped and shares targets and golds with ordinary runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from textwrap import fill
from typing import Any

from rich.console import Console

from mubench.config.schema import RunSpec
from mubench.data.load import BenchmarkData
from mubench.errors import UsageError
from mubench.hashing import code_sha, sha
from mubench.metrics.admission import FAITHFUL, ROBUST, Admission, Pool, judge
from mubench.rng import stream

from .execute import data_builder, stage
from .plan import BASE, CODE, Node, Plan, method_class, method_info, plan
from .stages.measure import Change, measure, read_values
from .stages.probes import privacy, read_seen
from .stages.training import train_model, unlearn
from .store import Store

#: Which models are looked at in which state; a pool of each.
STATES: tuple[tuple[str, str, Change], ...] = (
    ("knowing", "target", "none"),
    ("gold", "gold", "none"),
    ("method", "method", "none"),
    ("gold_relearned", "gold", "relearned"),
    ("method_relearned", "method", "relearned"),
    ("method_quantised", "method", "quantised"),
)


def meta_eval(specs: Sequence[RunSpec], store: Store, console: Console) -> list[Admission]:
    """One admission per metric, the most faithful first. ``specs``: one run a seed, alike else.

    UsageError for a method that does not change weights in one stage: what is relearned and
    quantised must be one set of weights.
    """
    found: list[dict[str, dict[str, float]]] = [_measured(spec, store, console) for spec in specs]
    names = list(found[0]["knowing"])
    judged = [
        judge(
            name,
            Pool(**{pool: [one[pool][name] for one in found] for pool, _, _ in STATES}),
            stream(0, "meta-eval", name),
        )
        for name in names
    ]
    return sorted(judged, key=lambda one: (-one.faithfulness.value, -one.robustness, one.metric))


def _measured(spec: RunSpec, store: Store, console: Console) -> dict[str, dict[str, float]]:
    """The metrics of one seed's models, by pool."""
    info, made = method_info(spec), plan(spec)
    if info.kind in ("reference", "two-stage") or info.weight_access == "n/a":
        raise UsageError(
            f"meta-eval needs a method that changes weights in one stage, which {info.name} "
            "does not: try --method grad-diff"
        )
    console.print(f"seed {spec.seed}", highlight=False)

    def get(node: Node, build: Any, *, resume: bool = False) -> Path:
        return stage(store, node, build, console, resume=resume).folder

    data = BenchmarkData(
        get(made.node("data"), data_builder(spec.benchmark)),
        spec.benchmark.forget_ratio,
        spec.benchmark.fold,
    )
    deltas: dict[str, list[Path]] = {}
    for role in ("target", "gold"):
        deltas[role] = [
            get(
                made.node("train", role),
                lambda path, report, role=role: train_model(spec, role, data, path, report),
            )
        ]
    target = deltas["target"][0]
    changed = get(
        made.node("unlearn", "method"),
        lambda path, report: unlearn(spec, method_class(spec), data, target, path, report),
    )
    deltas["method"] = [target, changed]
    base = read_seen(
        get(
            made.node("privacy", BASE),
            lambda path, report: privacy(spec, data, (), path, report, gradients=False),
        )
    )
    return {
        pool: read_values(
            get(
                _node(made, role, change),
                lambda path, report, role=role, change=change: measure(
                    spec, data, deltas[role], change, base, path, report
                ),
                resume=True,
            )
        )
        for pool, role, change in STATES
    }


def _node(made: Plan, role: str, change: Change) -> Node:
    spec = made.spec
    model = made.node("unlearn" if role == "method" else "train", role)
    key = {
        "model": model.key,
        "base": made.node("privacy", BASE).key,
        "change": change,
        "training": spec.target.model_dump() if change == "relearned" else None,
        "code": code_sha(
            *CODE["probe"], *CODE["score"], "mubench.methods.loops", "mubench.runner.stages.measure"
        ),
    }
    return Node("measure", f"{role} {change}".removesuffix(" none"), sha(key), (model.key,))


def figures(found: Sequence[Admission], command: str, seeds: int) -> dict[str, Any]:
    """What was found, as the package keeps it (`mubench.metrics.catalogue`)."""
    metrics = [
        {**asdict(one), "robustness": one.robustness, "admitted": one.admitted} for one in found
    ]
    return {"command": command, "pool": seeds, "metrics": metrics}


def markdown(found: Sequence[Admission], command: str, seeds: int) -> str:
    """The table with what it says, as a page that can be committed."""
    rows = [
        "| metric | faithfulness | 95 % | R relearned | Q quantised | robustness | admitted |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in found:
        value = one.faithfulness
        known = value.low is not None and value.high is not None
        interval = f"[{value.low:.2f}, {value.high:.2f}]" if known else "n/a"
        falls = " (falls with knowledge)" if one.lower else ""
        rows.append(
            f"| {one.metric}{falls} | {value.value:.2f} | {interval} | {one.relearned:.2f} "
            f"| {one.quantised:.2f} | {one.robustness:.2f} | {'yes' if one.admitted else 'no'} |"
        )
    made = (
        f"Made by `{command}`: {seeds} models that learned the forget people, {seeds} that never "
        "saw them, and as many unlearned ones."
    )
    means = (
        "Faithfulness is the AUC with which a metric tells the first two pools apart; it has an "
        "interval from five models a pool on. R and Q say how much of the verdict on the unlearned "
        "models stays after one epoch of relearning (against gold) and after 4-bit rounding; "
        "robustness is their harmonic mean (after open-unlearning, arXiv:2506.12618). Admitted: "
        f"faithfulness of {FAITHFUL} and robustness of {ROBUST} at least. A metric that is not "
        "admitted is never a headline about the forget people: it counts for no label, gap mean "
        "or rank."
    )
    text = [fill(part, 100, break_on_hyphens=False) for part in (made, means)]
    return "\n".join(["# Which metrics may be believed", "", text[0], "", text[1], "", *rows, ""])
