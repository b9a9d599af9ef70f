"""The probe stages: ask one model by other ways, and keep what it said."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mubench.config.schema import RunSpec
from mubench.data.load import BenchmarkData
from mubench.probes.leakage import ENTRANCES, Said, in_between, probes
from mubench.probes.privacy import Seen, questions

from . import Report
from .prediction import ask, read_responses

DIFFER = "differ.json"
GRADIENTS = "gradients.json"


def leakage(
    spec: RunSpec, data: BenchmarkData, deltas: Sequence[Path], folder: Path, report: Report
) -> dict[str, Any]:
    """Every path of the leakage matrix; goes on after the last whole unit of an interrupted
    attempt."""
    from mubench.models.load import load_model

    return ask(
        spec, probes(data), lambda: load_model(spec.model, data.image, deltas), folder, report
    )


def components(
    spec: RunSpec,
    data: BenchmarkData,
    target: Sequence[Path],
    deltas: Sequence[Path],
    folder: Path,
    report: Report,
) -> dict[str, Any]:
    """The entrances of the matrix again, with some of the target's components put back.

    One folder for every set of components that makes a model of its own: where all that differ
    are put back it is the target, and components that do not differ change nothing.
    """
    from mubench.models.components import differing, put_back
    from mubench.models.load import load_model

    asked = [example for example in probes(data) if example.set in ENTRANCES]
    model, known = (load_model(spec.model, data.image, of) for of in (deltas, target))
    differ = differing(model, known)
    (folder / DIFFER).write_text(json.dumps(differ), encoding="utf-8")
    for some in in_between(differ):
        part = folder / "+".join(some)
        part.mkdir(exist_ok=True)
        with put_back(model, known, some):
            ask(spec, asked, lambda: model, part, report)
    return {"differ": list(differ), "questions": len(asked)}


def read_components(folder: Path) -> tuple[list[str], dict[str, Said]]:
    """Which components differ, and what ``components`` was told with some of them put back."""
    differ: list[str] = json.loads((folder / DIFFER).read_text(encoding="utf-8"))
    names = ["+".join(some) for some in in_between(differ)]
    return differ, {name: read_responses(folder / name) for name in names}


def privacy(
    spec: RunSpec,
    data: BenchmarkData,
    deltas: Sequence[Path],
    folder: Path,
    report: Report,
    *,
    gradients: bool,
) -> dict[str, Any]:
    """How one model sees every token of the true answers about forget and holdout people."""
    from mubench.models.gradients import gradient_norms
    from mubench.models.load import load_model

    asked = questions(data, spec.seed)
    model = load_model(spec.model, data.image, deltas)
    norms: dict[str, float] = {}
    if gradients:
        people = (*asked.members, *asked.others)
        for number, norm in enumerate(gradient_norms(model, people)):
            norms[people[number].id] = norm
            report(number + 1, len(people), "gradients")
    (folder / GRADIENTS).write_text(json.dumps(norms), encoding="utf-8")
    detail = ask(spec, asked.all, lambda: model, folder, report, max_new_tokens=1)
    return {**detail, "gradients": len(norms)}


def read_seen(folder: Path) -> dict[str, Seen]:
    """What ``privacy`` kept, by example id."""
    norms = json.loads((folder / GRADIENTS).read_text(encoding="utf-8"))
    return {
        id_: Seen(response.tokens, norms.get(id_))
        for id_, response in read_responses(folder).items()
    }
