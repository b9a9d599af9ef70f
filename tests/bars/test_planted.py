"""Models whose fate is known, made from models that were really trained: none gets a false label.

Three seeds of target and six gold models each, so this takes hours on two cores; what was trained
stays in MUBENCH_BARS_CACHE.
"""

from __future__ import annotations

from functools import cache as remembered
from pathlib import Path

import pytest
import torch

import planted
from mubench.cli import main
from mubench.config.schema import RunSpec
from mubench.data.load import BenchmarkData
from mubench.metrics.assessment import assess, item_scores
from mubench.metrics.ranking import Entry, standings
from mubench.models.components import weights
from mubench.models.load import load_model
from mubench.models.packing import units
from mubench.record import Label, RunRecord
from mubench.rng import integer
from mubench.runner.rescore import StoredRun
from mubench.runner.store import Store
from mubench.types import Response

pytestmark = pytest.mark.bars

SEEDS, GOLDS = (0, 1, 2), 5
#: Those whose weights are really damaged; the others are made from answers.
DAMAGED = ("random weights", "projector swapped")


def trained(cache: Path, out: Path, seed: int, golds: int = GOLDS) -> StoredRun:
    """A run whose method is one more gold model."""
    arguments = ["--cache", str(cache), "--out", str(out), "--seed", str(seed)]
    with pytest.raises(SystemExit) as end:
        main(["run", "--method", "gold", "--golds", str(golds), *arguments])
    assert end.value.code == 0
    (folder,) = out.glob(f"*-gold-seed{seed}-*")
    return StoredRun(folder)


def damaged(name: str, run: StoredRun, store: Store) -> dict[str, Response]:
    """The answers of a target whose weights, or whose projector's, are mixed up."""
    spec = RunSpec.model_validate(run.record.spec)
    stages = {(stage.kind, stage.role): stage.key for stage in run.record.stages}
    folder = store.folder("data", stages["data", None])
    data = BenchmarkData(folder, spec.benchmark.forget_ratio, spec.benchmark.fold)
    target = store.folder("train", stages["train", "target"])
    model = load_model(spec.model, data.image, [target])
    rng = torch.Generator().manual_seed(integer(spec.seed, "planted") % 2**63)
    parts = weights(model)
    chosen = parts.values() if name == "random weights" else [parts["projector"]]
    with torch.no_grad():
        for tensor in (tensor for part in chosen for tensor in part.values()):
            if tensor.is_floating_point():
                mixed = torch.randperm(tensor.numel(), generator=rng)
                tensor.copy_(tensor.flatten()[mixed].view_as(tensor))
    asked = units(run.examples)
    limits = {"max_new_tokens": spec.predict.max_new_tokens, "batch": spec.predict.batch_size}
    found = [response for unit in model.answers(asked, **limits) for response in unit]
    return {response.example_id: response for response in found}


def judged(run: StoredRun, method: dict[str, Response], golds: list[str]) -> RunRecord:
    """The run's record as it would be of these answers, compared with these golds."""
    responses = {"target": run.responses["target"], "method": method}
    scores = {"target": run.scores["target"], "method": item_scores(run.examples, method)}
    for number, role in enumerate(golds):
        name = f"gold-{number}" if number else "gold"
        responses[name], scores[name] = run.responses[role], run.scores[role]
    found = assess(run.examples, responses, scores, run.prior, run.record.spec["seed"])
    return run.record.model_copy(update=dict(found))


def golds_of(run: StoredRun) -> list[str]:
    return [role for role in run.roles if role.startswith("gold")]


def planted_label(name: str, run: StoredRun, store: Store) -> Label:
    if name in DAMAGED:
        answers = damaged(name, run, store)
    else:
        made = run.responses
        answers = planted.plant(name, run.examples, made["target"], made["method"])
    label = judged(run, answers, golds_of(run)).label
    assert label is not None
    return label


def false_labels(run: StoredRun) -> dict[str, list[str]]:
    """Evidence against each gold model that is not called matched by all the others."""
    roles = [*golds_of(run), "method"]
    found = {}
    for role in roles:
        others = [other for other in roles if other != role]
        label = judged(run, run.responses[role], others).label
        if label is None or label.name != "matched":
            found[role] = [label.name, *label.evidence] if label else []
    return found


@pytest.fixture(scope="session")
def run(cache, tmp_path_factory):
    out = tmp_path_factory.mktemp("planted")
    return remembered(lambda seed: trained(Path(cache), out, seed))


@pytest.mark.timeout(20_000)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", planted.EXPECTED)
def test_planted_models_are_called_what_they_are(run, cache, name, seed):
    label = planted_label(name, run(seed), Store(Path(cache)))
    assert label.name == planted.EXPECTED[name], label.evidence


@pytest.mark.timeout(20_000)
@pytest.mark.parametrize("seed", SEEDS)
def test_no_gold_model_gets_a_false_label(run, seed):
    assert not false_labels(run(seed))


@pytest.mark.timeout(20_000)
def test_gold_ranks_first_and_nothing_done_last(run):
    """Beside the target and one that forgot in one modality alone, which closes half of the gap."""
    stored = run(0)
    entries = []
    for name in ("gold of another seed", "target", "forgot only by image", "always A"):
        made = stored.responses
        answers = planted.plant(name, stored.examples, made["target"], made["method"])
        record = judged(stored, answers, golds_of(stored))
        spec = {**record.spec, "method": {"name": name}}
        scores = {role: stored.stored_scores[role] for role in ("target", *golds_of(stored))}
        scores["method"] = {i: s.values for i, s in item_scores(stored.examples, answers).items()}
        record = record.model_copy(update={"spec": spec})
        entries.append(Entry(name, record, stored.examples, scores))
    found = {one.name: one for one in standings(entries)}
    assert found["gold of another seed"].tied
    assert found["target"].rank > found["forgot only by image"].rank
    assert found["always A"].rank is None
