"""Planted models that forgot one modality alone: the matrix lights up on the other's paths."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from mubench.config.resolve import resolve
from mubench.data.load import BenchmarkData
from mubench.methods import loops
from mubench.models.load import load_model
from mubench.probes.leakage import leakage_cells, probes
from mubench.rng import stream
from mubench.runner.execute import data_builder
from mubench.runner.plan import plan
from mubench.runner.stages.prediction import read_responses
from mubench.runner.stages.probes import leakage
from mubench.runner.stages.training import train_model
from mubench.runner.store import Store
from mubench.types import Modality

pytestmark = pytest.mark.bars

SPEC = resolve("none", "llava-tiny", sets=("probe.leakage=true",))
#: Paths that show a face and no name, and a name and no face; of the first, those by which the
#: target knows nearly every fact. An identity card, and a picture asked about by name, show both;
#: backwards the answer is the name.
BY_FACE = {"image", "image-reworded", "photo", "sketch", "group"}
KNOWN_BY_FACE = {"image", "image-reworded", "photo"}
BY_NAME = {"name", "name-reworded"}
EPOCHS = 4


@dataclass
class Planted:
    """What target, gold and the planted models say by every path."""

    data: BenchmarkData
    said: dict[str, dict]

    def cells(self, method: str):
        roles = {"target": "target", "gold": "gold", "method": method}
        said = {role: self.said[of] for role, of in roles.items()}
        return leakage_cells(probes(self.data), said, 0)

    def lit(self, method: str) -> set[str]:
        return {cell.axes["path"] for cell in self.cells(method) if cell.leaks}


def quiet(*_) -> None:
    pass


def learned_by(modality: Modality, data: BenchmarkData, gold: Path, folder: Path) -> Path:
    """Gold, taught the forget people in one modality, as if it had forgotten them in the other."""
    forget = [e for e in data.train("forget") if e.modality == modality]
    retain = data.train("retain")
    rng = stream(0, "planted", modality)
    kept = [retain[index] for index in rng.permutation(len(retain))[: 2 * len(forget)]]
    model = load_model(SPEC.model, data.image, [gold])
    training = SPEC.target.model_copy(update={"epochs": EPOCHS, "lr": SPEC.target.lr / 2})
    examples = [*forget, *kept]
    source = loops.epochs(examples, training.batch_size, rng)
    loops.train(
        lambda _: {"nll": model.nll(model.encode(next(source)))},
        model,
        model.train_scope("full"),
        loops.LoopSettings.of(training, examples),
        quiet,
    )
    model.save_delta(folder)
    return folder


@pytest.fixture(scope="module")
def planted(cache, tmp_path_factory) -> Planted:
    store, made = Store(Path(cache)), plan(SPEC)

    def get(kind: str, role: str | None, build) -> Path:
        node = made.node(kind, role)
        return store.get(node.kind, node.key, build).folder

    built = get("data", None, lambda path: data_builder(SPEC.benchmark)(path, quiet))
    data = BenchmarkData(built, SPEC.benchmark.forget_ratio)
    models = {
        role: get("train", role, lambda path, role=role: train_model(SPEC, role, data, path, quiet))
        for role in ("target", "gold")
    }
    for lost, modality in (("text", "image_text"), ("image", "text")):
        folder = tmp_path_factory.mktemp(lost)
        models[f"forgot by {lost}"] = learned_by(modality, data, models["gold"], folder)
    said = {}
    for name, delta in models.items():
        folder = tmp_path_factory.mktemp("said")
        leakage(SPEC, data, [delta], folder, quiet)
        said[name] = read_responses(folder)
    return Planted(data, said)


def test_planted_forgetters_leak_by_the_other_modality_alone(planted):
    by_face, by_name = planted.lit("forgot by text"), planted.lit("forgot by image")
    assert by_face >= KNOWN_BY_FACE
    assert not BY_NAME & by_face
    assert by_name >= BY_NAME
    assert not BY_FACE & by_name


def test_gold_leaks_by_no_path_and_the_target_by_those_it_was_taught(planted):
    assert planted.lit("target") >= KNOWN_BY_FACE | BY_NAME | {"whose-portrait"}
    assert not planted.lit("gold")
