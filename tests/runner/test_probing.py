"""Probes as part of a run: asked for by name, through the store, in the record."""

from __future__ import annotations

import gzip
import json
import shutil

import pytest

from mubench.config.resolve import resolve
from mubench.errors import DamagedError, UsageError
from mubench.models.layouts import COMPONENTS
from mubench.probes.leakage import TITLES
from mubench.runner.plan import BASE, plan
from mubench.runner.rescore import rescore, verify
from mubench.runner.store import META
from runner.quick import QUICK, Quick, _plan, error_line, mubench, quick_run

PROBES = ("probe.leakage=true", "probe.privacy=true")


@pytest.fixture(scope="module")
def probed(quick: Quick, tmp_path_factory) -> Quick:
    """The quick run of MANU with all probes, on what it left in the cache."""
    return quick_run(tmp_path_factory.mktemp("probed"), "manu", *PROBES, cache=quick.store.root)


def of(probed: Quick, kind: str):
    return [cell for cell in probed.record.probes if cell.probe == kind]


def test_no_probe_runs_unless_asked_for(quick: Quick):
    assert quick.record.probes == []
    kinds = {node.kind for node in quick.plan.nodes}
    assert kinds.isdisjoint({"leakage", "components", "privacy"})


def test_probes_add_stages_and_redo_none(quick: Quick, probed: Quick):
    known = {node.key for node in quick.plan.nodes}
    assert known < {node.key for node in probed.plan.nodes}
    cached = {stage.key for stage in probed.record.stages if stage.cached}
    assert known <= cached
    new = [(stage.kind, stage.role) for stage in probed.record.stages if stage.key not in known]
    roles = ("target", "gold", "method")
    assert sorted(new) == sorted(
        [
            *(("leakage", role) for role in roles),
            ("components", "method"),
            *(("privacy", role) for role in (*roles, BASE)),
        ]
    )


def test_the_record_has_every_path_component_and_attack(probed: Quick):
    assert {cell.axes["path"] for cell in of(probed, "leakage")} == set(TITLES)
    sets = {cell.axes["components"] for cell in of(probed, "components")}
    assert len(sets) == 2 ** len(COMPONENTS)
    assert {cell.axes["attack"] for cell in of(probed, "membership")} >= {"grad_norm", "min_k_plus"}
    assert len(of(probed, "memorisation")) == 4


def test_nothing_put_back_is_the_method_and_everything_is_the_target(probed: Quick):
    whole = {(c.axes["path"], c.axes["form"]): c for c in of(probed, "leakage")}
    for cell in of(probed, "components"):
        same = whole[cell.axes["path"], cell.axes["form"]]
        if cell.axes["components"] == "none":
            assert cell.method == same.method
        if cell.axes["components"] == "+".join(COMPONENTS):
            assert cell.method == same.target


@pytest.fixture
def folder(probed: Quick, tmp_path):
    return shutil.copytree(probed.folder, tmp_path / "run")


def change(folder, name: str, edit) -> None:
    """Change the rows of a file of answers."""
    path = folder / "probes" / f"{name}.jsonl.gz"
    rows = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    for row in rows:
        edit(row)
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))


def test_the_cells_follow_from_the_stored_answers(probed: Quick, folder):
    assert verify(folder) == []
    assert rescore(folder, lambda _: None).probes == probed.record.probes
    assert verify(folder) == []


def test_other_answers_to_a_probe_are_found_out(folder):
    def surer(row):
        row["tokens"] = [[0.0, 0, *rest] for _, _, *rest in row["tokens"]]

    change(folder, "leakage.method", surer)
    changed, *wrong = verify(folder)
    assert changed == "probes/leakage.method.jsonl.gz is not what was written"
    assert wrong and all(line.startswith("probes: ") for line in wrong)
    record = rescore(folder, lambda _: None)
    assert verify(folder) == []
    first = [
        c.method.value for c in record.probes if (c.probe, c.metric) == ("leakage", "first_token")
    ]
    assert set(first) == {1.0}


def test_missing_answers_to_a_probe_are_found_out(folder):
    (folder / "probes" / "privacy.base.jsonl.gz").unlink()
    missing, again = verify(folder)
    assert missing == "probes/privacy.base.jsonl.gz is missing"
    assert again.startswith("it cannot be scored again: ")
    with pytest.raises(DamagedError, match=r"privacy\.base"):
        rescore(folder, lambda _: None)


def test_only_components_that_differ_are_asked_about_again(probed: Quick):
    folder = probed.stage("components", "method")
    differ = json.loads((folder / META).read_text())["detail"]["differ"]
    asked = {path.name for path in folder.iterdir() if path.is_dir()}
    assert differ == ["vision", "language"]  # what MANU prunes
    assert asked == {"vision", "language"}


def test_a_reference_has_no_components_to_put_back(probed: Quick, tmp_path):
    run = quick_run(tmp_path, "gold", "probe.leakage=true", cache=probed.store.root)
    asked = [stage for stage in run.record.stages if stage.kind == "leakage"]
    assert [stage.role for stage in asked] == ["target", "gold"]
    assert all(stage.cached for stage in asked)
    assert {cell.probe for cell in run.record.probes} == {"leakage"}
    assert not any(cell.leaks for cell in run.record.probes)
    assert "it is a model of its own" in [one.reason for one in run.record.not_applicable]


def test_a_held_out_gold_is_probed_as_a_model_of_its_own():
    made = plan(resolve("gold", "llava-tiny", golds=2, sets=(*QUICK, *PROBES)))
    kinds = {(node.kind, node.role) for node in made.nodes}
    assert {("leakage", role) for role in ("target", "gold", "method")} <= kinds
    assert ("components", "method") not in kinds


def test_probes_of_another_split_seed_or_length_are_other_stages():
    def keys(*sets: str, seed: int = 0) -> dict:
        made = _plan("manu", (*PROBES, *sets), seed)
        return {(n.kind, n.role): n.key for n in made.nodes if n.kind in ("leakage", "privacy")}

    usual = keys()
    assert usual == keys()
    for other in (
        keys("benchmark.forget_ratio=0.5"),
        keys("predict.max_new_tokens=7"),
        keys(seed=1),
    ):
        assert not set(usual.values()) & set(other.values())


def test_a_model_that_answers_no_questions_is_not_probed():
    with pytest.raises(UsageError, match="leave out --probe"):
        plan(resolve("none", "clip-tiny", sets=PROBES))


def test_a_probe_that_is_not_there_is_refused(tmp_path):
    done = mubench("plan", "--method", "npo", "--probe", "leakge", "--cache", str(tmp_path))
    assert "unknown key 'probe.leakge': did you mean 'probe.leakage'" in error_line(done, 2)
    with pytest.raises(UsageError, match="probe"):
        _plan("npo", ("probe.leakage=maybe",), 0)
