"""Planted models that forgot one modality alone: the matrix lights up on the other's paths."""

from __future__ import annotations

from pathlib import Path

import pytest

from mubench.config.resolve import resolve
from mubench.data.load import BenchmarkData
from mubench.probes.leakage import TITLES, leakage_cells, probes
from mubench.runner.execute import data_builder
from mubench.runner.plan import plan
from mubench.runner.stages.prediction import read_responses
from mubench.runner.stages.probes import leakage
from mubench.runner.stages.training import train_model
from mubench.runner.store import Store

pytestmark = pytest.mark.bars

SPEC = resolve("none", "llava-tiny", sets=("probe.leakage=true",))
#: Paths that show a face and no name, and paths that show a name and no face. An identity card
#: and a picture with a name show both.
BY_FACE = {"image", "image-reworded", "photo", "sketch", "group", "whose-portrait"}
BY_NAME = {"name", "name-reworded"}


class Forgot(BenchmarkData):
    """The benchmark without what it teaches of the forget people in one modality."""

    lost = ""

    def train(self, *sets: str):
        return [
            example
            for example in super().train(*sets)
            if (example.set, example.modality) != ("forget", self.lost)
        ]


@pytest.fixture(scope="module")
def said(cache, tmp_path_factory):
    """What a model says that was trained on everything but ``lost``: target, gold and planted."""
    store, made = Store(Path(cache)), plan(SPEC)
    node = made.node("data")
    folder = store.get(node.kind, node.key, lambda path: data_builder(SPEC.benchmark)(path, quiet))
    data = BenchmarkData(folder.folder, SPEC.benchmark.forget_ratio)

    def trained(role: str, lost: str = ""):
        own = Forgot(data.folder, data.forget_ratio)
        own.lost = lost
        out = tmp_path_factory.mktemp(f"{role}-{lost}")
        train_model(SPEC, role, own, out, quiet)
        return asked(out)

    def asked(delta: Path):
        out = tmp_path_factory.mktemp("said")
        leakage(SPEC, data, [delta], out, quiet)
        return read_responses(out)

    def known(role: str):
        node = made.node("train", role)
        result = store.get(
            node.kind, node.key, lambda path: train_model(SPEC, role, data, path, quiet)
        )
        return asked(result.folder)

    return probes(data), {
        "target": known("target"),
        "gold": known("gold"),
        "forgot by text": trained("target", "text"),
        "forgot by image": trained("target", "image_text"),
    }


def quiet(*_) -> None:
    pass


@pytest.mark.parametrize(
    ("planted", "leaking", "silent"),
    [("forgot by text", BY_FACE, BY_NAME), ("forgot by image", BY_NAME, BY_FACE)],
)
def test_planted_forgetters_leak_by_the_other_modality(said, planted, leaking, silent):
    asked, models = said
    roles = {"target": models["target"], "gold": models["gold"], "method": models[planted]}
    cells = leakage_cells(asked, roles, 0)
    known = {cell.axes["path"] for cell in cells if cell.known}
    lit = {cell.axes["path"] for cell in cells if cell.leaks}
    assert {"image", "photo", "name", "name-reworded"} <= known
    assert lit >= leaking & known, (lit, known)
    assert not lit & silent, lit


def test_gold_leaks_by_no_path_and_the_target_by_all_it_knows(said):
    asked, models = said
    for role in ("target", "gold"):
        roles = {"target": models["target"], "gold": models["gold"], "method": models[role]}
        cells = leakage_cells(asked, roles, 0)
        lit = {cell.axes["path"] for cell in cells if cell.leaks}
        known = {cell.axes["path"] for cell in cells if cell.known}
        assert lit >= known if role == "target" else not lit
    assert set(TITLES) >= known
