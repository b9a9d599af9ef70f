"""The recovery probe of one dual encoder: prototypes first, then what it says after relearning."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mubench.config.schema import RunSpec
from mubench.data.load import BenchmarkData
from mubench.probes.recovery import RELEARNED, STEPS, galleries, questions, relearned
from mubench.rng import integer, stream
from mubench.types import Candidate, Response

from . import Report, seed_libraries
from .prediction import ask, read_responses

PARTS = ("prototypes", RELEARNED)


def recovery(
    spec: RunSpec, data: BenchmarkData, deltas: Sequence[Path], folder: Path, report: Report
) -> dict[str, Any]:
    """Ask with prototypes, train a few pairs again at the target's learning rate, and ask names."""
    from mubench.methods import loops
    from mubench.models.load import load_model

    own, asked = galleries(data), questions(data)

    def gallery(name: str) -> Sequence[Candidate]:
        return own[name] if name in own else data.gallery(name)

    model = load_model(spec.model, data.image, deltas, gallery)
    for part in PARTS:
        (folder / part).mkdir(exist_ok=True)
    before = [example for example in asked if example.set != RELEARNED]
    detail = ask(spec, before, lambda: model, folder / PARTS[0], report)
    pairs, size = relearned(data), spec.target.batch_size
    source = loops.epochs(pairs, size, stream(spec.seed, "relearned"))
    seed_libraries(integer(spec.seed, "relearned"))
    settings = loops.LoopSettings(
        steps=STEPS,
        lr=spec.target.lr,
        weight_decay=0.0,
        warmup=0.0,
        schedule="constant",
        max_grad_norm=spec.target.max_grad_norm,
    )
    loops.train(
        lambda _: {"nll": model.nll(model.encode(next(source)))},
        model,
        model.train_scope("full"),
        settings,
        report,
    )
    after = [example for example in asked if example.set == RELEARNED]
    ask(spec, after, lambda: model, folder / PARTS[1], report)
    return {**detail, "questions": len(asked), "pairs": len(pairs)}


def read(folder: Path) -> dict[str, Response]:
    """What ``recovery`` kept, by example id."""
    return {id_: said for part in PARTS for id_, said in read_responses(folder / part).items()}
