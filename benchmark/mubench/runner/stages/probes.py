"""The probe stages: ask one model by other ways, keep what it said, and how it saw each token."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from mubench.config.schema import RunSpec
from mubench.data.load import BenchmarkData
from mubench.probes.leakage import ENTRANCES, Said, bare, probes
from mubench.probes.privacy import Seen, questions
from mubench.types import Example, Token

from . import Report
from .prediction import ask, read_responses

RANKS = "first_tokens.json"
DIFFER = "differ.json"
TOKENS = "tokens.jsonl"


def leakage(
    spec: RunSpec, data: BenchmarkData, deltas: Sequence[Path], folder: Path, report: Report
) -> dict[str, Any]:
    """Every path of the leakage matrix; goes on after the last whole unit of an interrupted
    attempt."""
    from mubench.models.load import load_model

    asked = probes(data)
    model = load_model(spec.model, data.image, deltas)
    return _said(spec, model, asked, folder, report)


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
    for count in range(1, len(differ)):
        for some in combinations(differ, count):
            part = folder / "+".join(some)
            part.mkdir(exist_ok=True)
            with put_back(model, known, some):
                _said(spec, model, asked, part, report)
    return {"differ": list(differ), "questions": len(asked)}


def _said(
    spec: RunSpec, model: Any, asked: Sequence[Example], folder: Path, report: Report
) -> dict[str, Any]:
    from mubench.models.token_scores import token_scores

    detail = ask(spec, asked, lambda: model, folder, report)
    told = sorted((e for e in asked if bare(e)), key=lambda e: (e.modality, e.id))
    scores = token_scores(model, told, spec.predict.batch_size)
    ranks = {example.id: tokens[0].rank for example, tokens in zip(told, scores, strict=True)}
    (folder / RANKS).write_text(json.dumps(ranks), encoding="utf-8")
    return detail


def read_said(folder: Path) -> Said:
    """Responses and ranks of first tokens, by example id."""
    ranks = json.loads((folder / RANKS).read_text(encoding="utf-8"))
    return {id_: (said, ranks.get(id_)) for id_, said in read_responses(folder).items()}


def restored(folder: Path, method: Said, target: Said) -> dict[str, Said]:
    """What the method's model says, by the components of the target put back, none to all."""
    from mubench.models.layouts import COMPONENTS

    differ = json.loads((folder / DIFFER).read_text(encoding="utf-8"))
    found: dict[str, Said] = {}
    for count in range(len(COMPONENTS) + 1):
        for some in combinations(COMPONENTS, count):
            changed = [component for component in some if component in differ]
            if not changed:
                said: Mapping[str, Any] = method
            elif len(changed) == len(differ):
                said = target
            else:
                said = read_said(folder / "+".join(changed))
            found["+".join(some) or "none"] = said
    return found


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
    from mubench.models.load import load_model
    from mubench.models.token_scores import gradient_norms, token_scores

    asked = questions(data, spec.seed)
    everything = sorted(asked.all, key=lambda e: (e.modality, len(e.question + e.answer), e.id))
    model = load_model(spec.model, data.image, deltas)
    tokens = {}
    for number, (example, found) in enumerate(
        zip(everything, token_scores(model, everything, spec.predict.batch_size), strict=True)
    ):
        tokens[example.id] = found
        report(number, len(everything), "token by token")
    norms: dict[str, float] = {}
    if gradients:
        people = (*asked.members, *asked.others)
        for number, (example, norm) in enumerate(
            zip(people, gradient_norms(model, people), strict=True)
        ):
            norms[example.id] = norm
            report(number, len(people), "gradients")
    with open(folder / TOKENS, "w", encoding="utf-8") as out:
        for example in asked.all:
            row = {
                "id": example.id,
                "tokens": tokens[example.id],
                "gradient": norms.get(example.id),
            }
            out.write(json.dumps(row) + "\n")
    return {"questions": len(everything), "gradients": len(norms)}


def read_seen(folder: Path) -> dict[str, Seen]:
    """What ``privacy`` kept, by example id."""
    return dict(_rows(folder / TOKENS))


def _rows(path: Path) -> Iterator[tuple[str, Seen]]:
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        tokens = tuple(Token(*values) for values in row["tokens"])
        yield row["id"], Seen(tokens, row["gradient"])
