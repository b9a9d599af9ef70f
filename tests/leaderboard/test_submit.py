"""From a run to a bundle: what is in it, what is not, and where it goes."""

from __future__ import annotations

import gzip
import json
import subprocess
from pathlib import Path

import pytest

from data.hub_server import TOKEN, serve
from leaderboard import made
from mubench import cli
from mubench.leaderboard import bundle as bundles
from mubench.leaderboard.redact import redact
from mubench.registry import METHODS
from runner.quick import mubench as process


def mubench(*arguments: str) -> int:
    """The exit code of a command in this process."""
    with pytest.raises(SystemExit) as done:
        cli.main(list(arguments))
    return int(done.value.code or 0)


@pytest.fixture
def known(monkeypatch):
    """The small benchmark stands for people-mini."""
    monkeypatch.setattr("mubench.leaderboard.validate.accepted", lambda: made.CONTENTS)
    monkeypatch.setattr(cli.leaderboard, "_questions", lambda cache: lambda spec: made.questions())


@pytest.fixture
def run(tmp_path) -> Path:
    return made.run_folder(tmp_path / "runs")


def change(run: Path, edit) -> None:
    path = run / "record.json"
    values = json.loads(path.read_text("utf-8"))
    edit(values)
    path.write_text(json.dumps(values), encoding="utf-8")


def test_submit_and_validate(run, tmp_path, known, capsys):
    records = tmp_path / "records"
    assert mubench("submit", str(run), "--to", str(records), "--by", "anna") == 0
    folder = next(bundles.find(records).__iter__())
    assert f"mubench leaderboard validate {folder}" in capsys.readouterr().out
    assert mubench("leaderboard", "validate", "--records", str(records)) == 0
    assert capsys.readouterr().out == f"accepted  {folder}\n"

    made.edit_record(folder, lambda values: values.update(status="failed"))
    assert mubench("leaderboard", "validate", str(folder), "--records", str(records)) == 5
    said = capsys.readouterr()
    assert said.out.splitlines()[0] == f"refused  {folder}"
    assert said.out.splitlines()[1].startswith("  record.json: the run is 'failed'; ")
    assert "1 of 1 submissions refused" in said.err


def test_nothing_to_judge_is_fine_and_a_wrong_path_is_not(tmp_path, capsys):
    assert mubench("leaderboard", "validate", "--records", str(tmp_path / "none")) == 0
    assert "no submission" in capsys.readouterr().out
    assert mubench("leaderboard", "validate", str(tmp_path / "none")) == 2
    assert "is no folder" in capsys.readouterr().err


def test_a_bundle_holds_what_is_needed_and_nothing_else(run, tmp_path):
    folder = bundles.pack(run, tmp_path)
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    assert names == [
        "predictions/gold.jsonl.gz",
        "predictions/method.jsonl.gz",
        "predictions/target.jsonl.gz",
        "record.json",
        "submission.json",
    ]
    row = json.loads(gzip.decompress((folder / names[2]).read_bytes()).splitlines()[0])
    assert set(row) == {"id", "response", "scores"}  # questions are the benchmark's


def test_answers_to_probes_come_along_and_their_questions_do_not(tmp_path):
    folder = bundles.pack(made.probed_folder(tmp_path / "runs"), tmp_path)
    names = {path.name.removesuffix(".jsonl.gz") for path in (folder / "probes").iterdir()}
    roles = ("target", "gold", "method")
    assert names == {
        *(f"leakage.{role}" for role in roles),
        *(f"privacy.{role}" for role in (*roles, "base")),
        "components.vision", "components.language",
    }  # fmt: skip
    assert made.validator()(folder).refusals == []


def test_the_same_run_gives_the_same_bytes(run, tmp_path):
    one, two = (bundles.pack(run, tmp_path / name) for name in "ab")
    for path in one.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (two / path.relative_to(one)).read_bytes()


def test_secrets_names_and_paths_stay_at_home(run, tmp_path, monkeypatch):
    monkeypatch.setattr("getpass.getuser", lambda: "anna")
    monkeypatch.setattr("platform.node", lambda: "annas-laptop.example.org")
    token = "hf_" + "A" * 34

    def leak(values):
        values["provenance"]["command"] = (
            f"HF_TOKEN={token} mubench run --config /home/anna/secret/a.yaml --data-dir ~/faces "
            r"--set x=C:\Users\anna\b.yaml on annas-laptop as anna@example.org"
        )
        values["spec"]["method"]["target"] = "/home/anna/mine.py:Mine"
        values["stages"][0]["detail"] = {"log": "/mnt/anna/log.txt"}

    change(run, leak)
    folder = bundles.pack(run, tmp_path / "records")
    text = (folder / "record.json").read_text("utf-8")
    for secret in (token, "anna", "/home", "~/", "laptop", "Users", "example.org"):
        assert secret not in text, secret
    assert json.loads(text)["spec"]["method"]["target"] == "<path>/mine.py:Mine"
    assert made.validator()(folder).refusals == []


def test_redaction_leaves_formulas_units_and_names_alone():
    for name in METHODS.builtin:
        info = METHODS.get(name).load().info
        for text in (info.formula, info.title, info.paper, info.notes):
            assert redact(text) == text
    for text in ("https://arxiv.org/abs/2410.22108", "llava-hf/llava-1.5-7b-hf", "a/b", "1 / 2"):
        assert redact(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "ghp_" + "a" * 36, "sk-" + "b" * 30, "AKIA" + "C" * 16, "password=hunter2",
        "https://user:pass@host/x", "--token=abc123def", "/etc", "~/x", "/a b", "x=/tmp/y.json",
    ],
)  # fmt: skip
def test_redaction_finds(text):
    assert redact(text) != text
    assert redact(redact(text)) == redact(text)


def test_a_broken_model_cannot_be_submitted(run, tmp_path, capsys):
    path = run / "predictions" / "method.jsonl"
    path.write_text(path.read_text("utf-8").replace("[-", "[-Infinity, -", 1), encoding="utf-8")
    assert mubench("submit", str(run), "--to", str(tmp_path)) == 2
    assert "the model is broken" in capsys.readouterr().err
    assert bundles.find(tmp_path / "people-mini@1") == []


def test_weights_are_referred_to_or_attached(run, tmp_path, capsys):
    at = "hub:somebody/weights@" + "0123456789abcdef0123456789abcdef01234567"
    assert mubench("submit", str(run), "--to", str(tmp_path / "a"), "--weights", at) == 0
    weights = bundles.read(bundles.find(tmp_path / "a")[0]).submission.weights
    assert (weights.kind, weights.repo) == ("hub", "somebody/weights")
    assert mubench("submit", str(run), "--to", str(tmp_path), "--weights", "hub:x/y@main") == 2
    assert "a branch moves" in capsys.readouterr().err

    delta = tmp_path / "cache" / "unlearn" / ("5" * 32)
    delta.mkdir(parents=True)
    (delta / "delta.safetensors").write_bytes(b"weights")
    (delta / "stage.json").write_text("{}")
    cache = ("--weights", "attach", "--cache", str(tmp_path / "cache"))
    assert mubench("submit", str(run), "--to", str(tmp_path / "b"), *cache) == 0
    folder = bundles.find(tmp_path / "b")[0]
    assert (folder / "weights" / "delta.safetensors").read_bytes() == b"weights"
    assert not (folder / "weights" / "stage.json").exists()


def git(folder, *words):
    who = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    done = subprocess.run(["git", "-C", str(folder), *who, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_branch_for_a_pull_request(run, tmp_path, monkeypatch, capsys):
    checkout = tmp_path / "mubench"
    (checkout / "leaderboards").mkdir(parents=True)
    (checkout / "leaderboards" / "README.md").write_text("here\n")
    git(tmp_path, "init", "-b", "main", str(checkout))
    git(checkout, "config", "user.name", "t")
    git(checkout, "config", "user.email", "t@example.org")
    git(checkout, "add", ".")
    git(checkout, "commit", "-m", "one")
    (checkout / "half-done.txt").write_text("mine")
    monkeypatch.chdir(checkout)

    assert mubench("submit", str(run), "--to", "pr") == 0
    push, create = capsys.readouterr().out.splitlines()
    branch = push.removeprefix("git push --set-upstream origin ")
    assert create.startswith(f"gh pr create --head {branch} --title")
    assert git(checkout, "branch", "--show-current").strip() == "main"
    assert git(checkout, "status", "--porcelain").strip() == "?? half-done.txt"
    added = git(checkout, "diff", "--name-only", "main", branch).splitlines()
    assert len(added) == 5 and all(
        p.startswith("leaderboards/records/people-mini@1/llava-tiny/manu/") for p in added
    )

    assert mubench("submit", str(run), "--to", "pr") == 2
    assert "there is a branch" in capsys.readouterr().err


def test_the_hub_takes_a_bundle(run, tmp_path):
    with serve() as server:
        hub = {
            "HF_ENDPOINT": server.endpoint,
            "HF_TOKEN": TOKEN,
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HOME": str(tmp_path),
        }
        done = process("submit", str(run), "--to", "hub:tester/board", env=hub)
        assert done.returncode == 0, done.stderr
        found = server.repos["tester/board"].at("main")
    assert found
    where = f"records/people-mini@1/llava-tiny/manu/{made.run_values('manu', 0, 0.5, 0.9)[0]['run_id']}/"
    assert {name.removeprefix(where) for name in found[1] if name.startswith(where)} >= {
        "record.json", "submission.json", "predictions/method.jsonl.gz",
    }  # fmt: skip
