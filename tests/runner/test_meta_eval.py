"""Meta-evaluation on models of seconds: every pool is measured, nothing twice, and it is written."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest
from rich.console import Console

from mubench.config.resolve import resolve
from mubench.errors import UsageError
from mubench.metrics.admission import Admission
from mubench.metrics.catalogue import METRICS
from mubench.runner.meta_eval import STATES, markdown, meta_eval
from mubench.runner.store import Store
from mubench.types import MODALITIES, Estimate, Example
from runner.quick import FEW, QUICK, Quick, error_line, mubench

EXAMPLE = Example(
    id="0", set="forget", task="choice", modality="text", person="0", fact="hobby", question="",
    answer="", keyword="",
)  # fmt: skip


def specs(method: str, *seeds: int):
    sets = (*QUICK, *FEW, "probe.privacy=true")
    return [resolve(method, "llava-tiny", seed=seed, sets=sets) for seed in seeds]


@pytest.fixture(scope="module")
def judged(quick: Quick):
    """MANU's quick models, which are in the cache, as pools of one."""
    log = io.StringIO()
    found = meta_eval(specs("manu", 0), quick.store, Console(file=log, width=200))
    return found, log.getvalue(), quick.store


def test_every_metric_of_both_modalities_is_judged(judged):
    names = {one.metric for one in judged[0]}
    for modality in ("image_text", "text"):
        assert {
            f"{modality} choice accuracy",
            f"{modality} generation rouge_l",
            f"{modality} cloze match",
            f"{modality} min_k_plus auc",
            f"{modality} extraction_strength",
        } <= names
    assert not any("grad_norm" in name or "refusal" in name for name in names)
    for one in judged[0]:
        assert 0 <= one.faithfulness.value <= 1
        assert 0 <= one.robustness <= 1


def test_models_of_ordinary_runs_are_shared_and_nothing_is_done_twice(judged):
    found, log, store = judged
    assert "train target: cached" in log and "unlearn method: cached" in log
    again = io.StringIO()
    assert meta_eval(specs("manu", 0), store, Console(file=again, width=200)) == found
    lines = again.getvalue().splitlines()
    assert len(lines) == 1 + 5 + len(STATES)
    assert all(line.endswith(": cached") for line in lines[1:])


@pytest.mark.parametrize("method", ["none", "guard", "task-arithmetic"])
def test_a_method_without_one_set_of_weights_is_refused(method, tmp_path):
    wanted = [resolve(method, "llava-tiny", sets=("probe.privacy=true",))]
    with pytest.raises(UsageError, match="changes weights in one stage"):
        meta_eval(wanted, Store(tmp_path), Console(file=io.StringIO()))


def test_the_table_names_its_command_and_its_thresholds():
    rows = [
        Admission("text rouge_l", False, Estimate(1.0, 0.8, 1.0), 0.9, 1.0),
        Admission("text truth_ratio", True, Estimate(0.75), 0.5, 0.5),
    ]
    page = markdown(rows, "mubench meta-eval --pool 5", 5)
    assert "`mubench meta-eval --pool 5`" in page
    assert "faithfulness of 0.9 and robustness of 0.5" in page
    assert "| text rouge_l | 1.00 | [0.80, 1.00] | 0.90 | 1.00 | 0.95 | yes |" in page
    assert "| text truth_ratio (falls with knowledge) | 0.75 | n/a |" in page


def test_one_model_is_no_pool(tmp_path):
    done = mubench("meta-eval", "--pool", "1", "--cache", str(tmp_path))
    assert "--pool" in error_line(done, 2)


def test_the_page_in_the_docs_is_of_the_figures_in_the_package():
    """And whatever fails there is no headline about the forget people, though it stays one about
    those who were to be kept."""
    kept = json.loads(files("mubench.metrics").joinpath("admission.json").read_text("utf-8"))
    found = [
        Admission(one["metric"], one["lower"], Estimate(**one["faithfulness"]),
                  one["relearned"], one["quantised"])
        for one in kept["metrics"]
    ]  # fmt: skip
    page = Path(__file__).parents[2] / "docs" / "meta-eval.md"
    assert page.read_text("utf-8") == markdown(found, kept["command"], kept["pool"])
    assert kept["pool"] >= 5
    judged = {one.metric: one.admitted for one in found}
    assert any(judged.values())
    for task, infos in METRICS.items():
        for info in infos:
            for modality in MODALITIES:
                item = replace(EXAMPLE, task=task, modality=modality)
                admitted = judged.get(f"{modality} {task} {info.name}", True)
                assert info.headline_on(item) == (info.headline and admitted)
                assert info.headline_on(replace(item, set="retain")) == info.headline
