"""The measure stage: every metric of one model about the forget people, as one number each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from mubench.config.schema import RunSpec
from mubench.data.load import BenchmarkData
from mubench.metrics.catalogue import METRICS
from mubench.metrics.privacy import ATTACKS, MEMORISATION, Item
from mubench.metrics.scoring import score
from mubench.probes.privacy import Questions, Seen, questions
from mubench.rng import integer, stream
from mubench.stats.auc import Pools, TwoPools
from mubench.types import MODALITIES, TASKS, Example, Response

from . import Report, seed_libraries
from .prediction import ask, read_responses

Change = Literal["none", "relearned", "quantised"]
VALUES = "values.json"


def measure(
    spec: RunSpec,
    data: BenchmarkData,
    deltas: Sequence[Path],
    change: Change,
    base: dict[str, Seen],
    folder: Path,
    report: Report,
) -> dict[str, Any]:
    """Load a model, change it as an attacker would, and measure it. ``base``: how the model saw
    the same answers before any of these people were learned."""
    from mubench.models.load import load_model
    from mubench.models.quantise import quantise

    seed_libraries(integer(spec.seed, "measure", change))
    model = load_model(spec.model, data.image, deltas)
    if change == "relearned":
        _relearn(spec, data, model, report)
    elif change == "quantised":
        quantise(model)
    asked = questions(data, spec.seed)
    forget = [example for example in data.examples if example.set == "forget"]
    for part, wanted, tokens in (("scores", forget, None), ("tokens", asked.all, 1)):
        (folder / part).mkdir(exist_ok=True)
        ask(spec, wanted, lambda: model, folder / part, report, max_new_tokens=tokens)
    responses = read_responses(folder / "tokens")
    seen = {id_: Seen(response.tokens) for id_, response in responses.items()}
    values = {**_scored(forget, read_responses(folder / "scores")), **_private(asked, seen, base)}
    (folder / VALUES).write_text(json.dumps(values), encoding="utf-8")
    return {"change": change, "metrics": len(values)}


def _relearn(spec: RunSpec, data: BenchmarkData, model: Any, report: Report) -> None:
    """One epoch over the forget people's training examples, as the target was trained."""
    from mubench.methods import loops

    examples = data.train("forget")
    training = spec.target.model_copy(update={"epochs": 1.0})
    parameters = model.train_scope(training.scope)
    source = loops.epochs(examples, training.batch_size, stream(spec.seed, "relearn", "batches"))
    loops.train(
        lambda _: {"nll": model.nll(model.encode(next(source)))},
        model,
        parameters,
        loops.LoopSettings.of(training, examples),
        report,
    )


def _scored(forget: Sequence[Example], responses: dict[str, Response]) -> dict[str, float]:
    """Item means of every knowledge metric, by modality and task."""
    values = {}
    for modality in MODALITIES:
        for task in TASKS:
            examples = [e for e in forget if (e.modality, e.task) == (modality, task)]
            scored = [score(example, responses[example.id]).values for example in examples]
            for info in METRICS[task]:
                own = [one[info.name] for one in scored if info.name in one]
                if own and info.better == "to_gold":
                    values[f"{modality} {task} {info.name}"] = fmean(own)
    return values


def _private(asked: Questions, seen: dict[str, Seen], base: dict[str, Seen]) -> dict[str, float]:
    """AUC of every membership attack that needs no gradient, and memorisation, by modality."""
    values = {}
    for modality in MODALITIES:
        members, others = (
            [e for e in pool if e.modality == modality] for pool in (asked.members, asked.others)
        )
        for name, memorised in MEMORISATION.items():
            if members:
                own = [memorised(seen[example.id].tokens) for example in members]
                values[f"{modality} {name}"] = fmean(own)
        if not (members and others):
            continue
        pools = TwoPools(
            [e.person for e in members], [e.person for e in others], stream(0, "measure"), draws=1
        )
        for name, attack in ATTACKS.items():
            if name != "grad_norm":
                scores = (
                    [attack(Item(e.answer, seen[e.id].tokens, base[e.id].tokens)) for e in pool]
                    for pool in (members, others)
                )
                values[f"{modality} {name} auc"] = pools.auc(Pools(*scores)).value
    return values


def read_values(folder: Path) -> dict[str, float]:
    """Every metric by name."""
    values: dict[str, float] = json.loads((folder / VALUES).read_text(encoding="utf-8"))
    return values
