"""The probes of a run: their stages through the store, and from those to their cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from mubench.data.load import BenchmarkData
from mubench.probes.leakage import component_cells, leakage_cells, probes
from mubench.probes.privacy import privacy_cells, questions
from mubench.record import NotApplicable, Probe
from mubench.types import Role

from .plan import BASE, Node, Plan, method_info
from .stages import probes as stages
from .stages.prediction import read_responses


class Get(Protocol):
    """A stage through the store: its folder, built if it is not there."""

    def __call__(self, node: Node, build: Any, *, resume: bool = False) -> Path: ...


@dataclass(frozen=True, slots=True)
class Probed:
    """The cells of the probes that were asked for, and what could not be probed."""

    cells: list[Probe] = field(default_factory=list)
    not_applicable: list[NotApplicable] = field(default_factory=list)


def probe(
    plan: Plan, data: BenchmarkData, deltas: Mapping[str, Sequence[Path]], get: Get
) -> Probed:
    """Run what is asked for. ``deltas``: what to load for each role; of a reference, the method is
    that reference."""
    spec, info = plan.spec, method_info(plan.spec)
    cells: list[Probe] = []
    missing: list[NotApplicable] = []
    find = {(node.kind, node.role): node for node in plan.nodes}
    same: dict[Role, Role] = {"target": "target", "gold": "gold", "method": "method"}
    if info.kind == "reference":
        same["method"] = "gold" if info.extra["stage"] == "gold" else "target"
    if spec.probe.leakage:
        asked = probes(data)
        said = {
            role: read_responses(
                get(
                    find["leakage", of],
                    lambda path, report, of=of: stages.leakage(
                        spec, data, deltas[of], path, report
                    ),
                    resume=True,
                )
            )
            for role, of in same.items()
        }
        cells += leakage_cells(asked, said, spec.seed)
        if node := find.get(("components", "method")):
            folder = get(
                node,
                lambda path, report: stages.components(
                    spec, data, deltas["target"], deltas["method"], path, report
                ),
                resume=True,
            )
            restored = stages.restored(folder, said["method"], said["target"])
            cells += component_cells(asked, said, restored, spec.seed)
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
        roles: tuple[str, ...] = (BASE, *dict.fromkeys(same.values()))
        seen = {
            role: stages.read_seen(
                get(
                    find["privacy", role],
                    lambda path, report, role=role: stages.privacy(
                        spec,
                        data,
                        deltas.get(role, ()),
                        path,
                        report,
                        gradients=role != BASE
                        and (role != "method" or info.weight_access == "measured"),
                    ),
                )
            )
            for role in roles
        }
        by_role = {role: seen[of] for role, of in same.items()}
        cells += privacy_cells(wanted, by_role, seen[BASE], spec.seed)
    return Probed(cells, missing)
