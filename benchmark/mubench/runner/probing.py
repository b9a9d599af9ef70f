"""The probes of a run: their stages through the store, and what they answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from mubench.data.load import BenchmarkData
from mubench.probes import recovery
from mubench.probes.leakage import probes
from mubench.probes.privacy import questions
from mubench.record import NotApplicable
from mubench.types import ROLES, Role

from .plan import BASE, Node, Plan, method_info
from .probe_answers import Answers, Leakage, Privacy, Recovery
from .stages import probes as stages
from .stages import recovery as recovery_stage
from .stages.prediction import read_responses


class Get(Protocol):
    """A stage through the store: its folder, built if it is not there."""

    def __call__(self, node: Node, build: Any, *, resume: bool = False) -> Path: ...


@dataclass(frozen=True, slots=True)
class Probed:
    """The answers of the probes that were asked for, and what could not be probed."""

    answers: Answers = Answers()
    not_applicable: list[NotApplicable] = field(default_factory=list)


def probe(
    plan: Plan, data: BenchmarkData, deltas: Mapping[str, Sequence[Path]], get: Get
) -> Probed:
    """Run what is asked for. ``deltas``: what to load for each role; of a reference, the method is
    that reference."""
    spec, info = plan.spec, method_info(plan.spec)
    leakage = privacy = None
    missing: list[NotApplicable] = []
    find = {(node.kind, node.role): node for node in plan.nodes}
    models: dict[Role, str] = {role: role for role in ROLES}
    if "method" not in deltas:
        models["method"] = info.extra["stage"]
    if spec.probe.leakage:
        asked = probes(data)
        answers = {
            model: read_responses(
                get(
                    find["leakage", model],
                    lambda path, report, model=model: stages.leakage(
                        spec, data, deltas[model], path, report
                    ),
                    resume=True,
                )
            )
            for model in dict.fromkeys(models.values())
        }
        said = {role: answers[model] for role, model in models.items()}
        leakage = Leakage(asked, said)
        if node := find.get(("components", "method")):
            folder = get(
                node,
                lambda path, report: stages.components(
                    spec, data, deltas["target"], deltas["method"], path, report
                ),
                resume=True,
            )
            leakage = Leakage(asked, said, *stages.read_components(folder))
        else:
            reason = "it is a model of its own" if info.kind == "reference" else "no weight changed"
            missing.append(NotApplicable(what="probe of components", reason=reason))
    if spec.probe.privacy:
        wanted = questions(data, spec.seed)
        if not wanted.others:
            missing.append(
                NotApplicable(what="membership inference", reason="there are no holdout people")
            )
        if info.weight_access == "n/a":
            missing.append(
                NotApplicable(what="membership by gradient norm", reason="no weight changed")
            )
        seen = {
            model: stages.read_seen(
                get(
                    find["privacy", model],
                    lambda path, report, model=model: stages.privacy(
                        spec,
                        data,
                        deltas.get(model, ()),
                        path,
                        report,
                        gradients=model != BASE
                        and (model != "method" or info.weight_access == "measured"),
                    ),
                    resume=True,
                )
            )
            for model in (BASE, *dict.fromkeys(models.values()))
        }
        by_role = {role: seen[model] for role, model in models.items()}
        privacy = Privacy(wanted, {**by_role, BASE: seen[BASE]})
    recovered = None
    if spec.probe.recovery:
        told = {
            model: recovery_stage.read(
                get(
                    find["recovery", model],
                    lambda path, report, model=model: recovery_stage.recovery(
                        spec, data, deltas[model], path, report
                    ),
                    resume=True,
                )
            )
            for model in dict.fromkeys(models.values())
        }
        asked = recovery.questions(data)
        recovered = Recovery(asked, {role: told[model] for role, model in models.items()})
    return Probed(Answers(leakage, privacy, recovered), missing)
