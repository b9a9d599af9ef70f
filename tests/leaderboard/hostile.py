"""What strangers may send: ways to spoil a bundle, and words of the line that refuses each."""

from __future__ import annotations

import gzip
import json
import os
import shutil

from leaderboard import made
from leaderboard.made import edit_record, edit_rows, seal, write_rows
from mubench.config.resolve import resolve_benchmark
from mubench.leaderboard import strict

METHOD = "predictions/method.jsonl.gz"


def deep(depth):
    return "[" * depth + "]" * depth


def set_spec(*path, value):
    def change(values):
        part = values["spec"]
        for key in path[:-1]:
            part = part[key]
        part[path[-1]] = value

    return lambda folder: edit_record(folder, change)


def set_record(key, value):
    return lambda folder: edit_record(folder, lambda values: values.update({key: value}))


def in_record(change):
    return lambda folder: edit_record(folder, change)


def rows(change, role="method"):
    return lambda folder: edit_rows(folder, role, change)


def raw_record(replace):
    """Change the text of the record, as an editor would."""

    def change(folder):
        path = folder / "record.json"
        text = path.read_text("utf-8")
        new = replace(text)
        assert new != text
        path.write_text(new, encoding="utf-8", errors="surrogatepass")
        seal(folder)

    return change


def raw_rows(data):
    def change(folder):
        content = gzip.decompress((folder / METHOD).read_bytes())
        write_rows(folder / METHOD, data(content))
        seal(folder)

    return change


def raw_file(name, data):
    def change(folder):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
        seal(folder)

    return change


def manifest(change, *, sealed=True):
    def spoil(folder):
        path = folder / "submission.json"
        values = json.loads(path.read_text("utf-8"))
        change(values)
        if sealed:
            values["sha256"] = strict_digest(values)
        path.write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    return spoil


def strict_digest(values):
    from mubench.leaderboard.bundle import Submission

    return Submission.digest(values)


def response(**changes):
    return rows(lambda found: found[0]["response"].update(changes) or found)


def link(folder):
    (folder / METHOD).unlink()
    (folder / METHOD).symlink_to("/etc/hostname")


def linked_folder(folder):
    shutil.move(folder / "predictions", folder.parent / "elsewhere")
    (folder / "predictions").symlink_to(folder.parent / "elsewhere")


def elsewhere(folder):
    other = folder.with_name("0" * 12)
    shutil.copytree(folder, other)
    shutil.rmtree(folder)
    return other


def other_people(found):
    found[0]["id"] = found[0]["id"].replace("/0/", "/99/")


def better(values):
    for cell in values["cells"]:
        if cell["set"] == "forget":
            cell["method"], cell["difference"]["value"] = cell["gold"], 0.0


def one_digit(values):
    values["cells"][0]["method"]["value"] += 1e-6


def bomb(folder):
    data = gzip.compress(b"0" * (strict.UNPACKED_LIMIT + 1), 1, mtime=0)
    (folder / METHOD).write_bytes(data)
    seal(folder)


def big(folder):
    with open(folder / "record.json", "wb") as handle:
        handle.truncate(strict.BUNDLE_LIMIT + 1)


def many(folder):
    for number in range(strict.FILE_LIMIT + 1):
        (folder / "predictions" / f"m{number}.jsonl.gz").write_bytes(b"")


def pipe(folder):
    (folder / METHOD).unlink()
    os.mkfifo(folder / METHOD)


SCRIPT = "<script>alert(1)</script>"
CASES = {
    # names and texts
    "script in the method's name": (set_spec("method", "name", value=SCRIPT), "cannot be the name of a method"),
    "script in the model's name": (set_spec("model", "name", value=SCRIPT), "cannot be the name of a model"),
    "folders in the method's name": (set_spec("method", "name", value="../../../etc"), "cannot be the name of a method"),
    "dots as the model's name": (set_spec("model", "name", value=".."), "cannot be the name of a model"),
    "a name of 300 letters": (set_spec("model", "name", value="a" * 300), "cannot be the name of a model"),
    "an empty name": (set_spec("method", "name", value=""), "cannot be the name of a method"),
    "folders in the version": (in_record(lambda v: v["data"].update(version="../1")), "cannot be the name of a version"),
    "a name that reads backwards": (set_spec("model", "title", value="safe\u202egnp.exe"), "invisible character U+202E"),
    "a hidden character in a key": (in_record(lambda v: v["provenance"].update({"a\u200bb": 1})), "invisible character U+200B"),
    "a terminal's escape": (in_record(lambda v: v["method"].update(title="\x1b[2J")), "invisible character U+001B"),
    "half a character": (raw_record(lambda t: t.replace('"MANU', '"\\ud800MANU', 1)), "U+D800"),
    "an endless title": (in_record(lambda v: v["method"].update(title="a" * 10**6)), "characters long"),
    "a run id that is a path": (set_record("run_id", "../../00000"), "is no run id"),
    "a method's name of another run": (in_record(lambda v: v["method"].update(name="npo")), "not those of its spec"),
    # JSON
    "NaN": (raw_record(lambda t: t.replace('"seconds": 100.0', '"seconds": NaN', 1)), "NaN, which is no number"),
    "Infinity": (raw_record(lambda t: t.replace('"seconds": 100.0', '"seconds": -Infinity', 1)), "-Infinity, which is no number"),
    "a number beyond all numbers": (raw_record(lambda t: t.replace('"seconds": 100.0', '"seconds": 1e999', 1)), "out of range"),
    "an integer of 5,000 digits": (raw_record(lambda t: t.replace('"seed": 0', '"seed": ' + "9" * 5000, 1)), "out of range"),
    "a key twice": (raw_record(lambda t: t.replace('"status"', '"status": "failed", "status"', 1)), "the key 'status' twice"),
    "text for a number": (raw_record(lambda t: t.replace('"seconds": 100.0', '"seconds": "100.0"', 1)), "another type"),
    "nesting without end": (raw_file("record.json", deep(200_000).encode()), "nested too deeply"),
    "no JSON": (raw_file("record.json", b"<html>"), "is not JSON"),
    "no UTF-8": (raw_file("record.json", b'{"a": "\xff\xfe"}'), "is not UTF-8"),
    "an unknown field": (set_record("rank", 1), "Extra inputs are not permitted"),
    "a field that is missing": (in_record(lambda v: v.pop("cells")), "cells: Field required"),
    "a record of 9 MB": (raw_file("record.json", b" " * (9 * 2**20)), "is larger than"),
    # files
    "a link": (link, "is a link"),
    "a link to a folder": (linked_folder, "is a link"),
    "a pipe": (pipe, "is no ordinary file"),
    "a file of another kind": (raw_file("predictions/run.sh", b"rm -rf ."), "does not belong into a bundle"),
    "pickled weights": (raw_file("weights/delta.pkl", b"\x80\x04"), "does not belong into a bundle"),
    "a page": (raw_file("index.html", b"<script>"), "does not belong into a bundle"),
    "a file that is not listed": (lambda f: (shutil.copy(f / METHOD, f / "predictions" / "b.jsonl.gz"),), "is not listed"),
    "a listed file that is missing": (lambda f: (f / METHOD).unlink(), "is listed in submission.json and missing"),
    "a manifest that is missing": (lambda f: (f / "submission.json").unlink(), "submission.json: is missing"),
    "a file outside of the bundle": (manifest(lambda v: v["files"][0].update(path="../../../secret")), "does not belong into a bundle"),
    "a file listed twice": (manifest(lambda v: v["files"].append(v["files"][0])), "lists a file twice"),
    "a manifest changed by hand": (manifest(lambda v: v.update(by="somebody else"), sealed=False), "its hash differs"),
    "a submitter's name as markup": (manifest(lambda v: v.update(by="\u2066" + SCRIPT)), "invisible character"),
    "weights at a branch": (manifest(lambda v: v["weights"].update(kind="hub", repo="a/b", revision="main")), "weights.revision"),
    "weights at another site": (manifest(lambda v: v["weights"].update(kind="hub", repo="https://evil/x")), "weights.repo"),
    "a bundle of 65 MB": (big, "is larger than"),
    "65 files": (many, "more than 64 files"),
    "at another place": (elsewhere, "is not its place"),
    # predictions
    "a zip bomb": (bomb, "unpacks to more than"),
    "no gzip": (raw_file(METHOD, b"{}"), "is no gzip file"),
    "a torn gzip": (lambda f: (raw_file(METHOD, (f / METHOD).read_bytes()[:-20])(f)), "is cut off"),
    "bytes after the end": (lambda f: (raw_file(METHOD, (f / METHOD).read_bytes() + b"x")(f)), "bytes after its end"),
    "a million rows": (raw_rows(lambda _: b"{}\n" * 10**6), "has 1000000 rows"),
    "a row too few": (rows(lambda found: found[:-1]), "rows, the benchmark"),
    "an item twice": (rows(lambda found: [*found[:-1], found[0]]), "twice"),
    "other people's items": (rows(other_people), "which was not asked"),
    "an item that is a list": (rows(lambda found: found[0].update(id=[1])), "which was not asked"),
    "rows that are no objects": (raw_rows(lambda data: b"1\n" * data.count(b"\n")), "one object a line"),
    "two rows on a line": (raw_rows(lambda data: data.replace(b"\n", b",", 1) + data.split(b"\n")[0] + b"\n"), "one object a line"),
    "a field more in a row": (rows(lambda found: found[0].update(note="hi")), "rows need just"),
    "NaN as a log-probability": (raw_rows(lambda data: data.replace(b'"logprobs":[-', b'"logprobs":[NaN,-', 1)), "NaN"),
    "a positive log-probability": (response(logprobs=[5.0] * 4), "log-probability above 0"),
    "a length of none": (response(lengths=[0] * 4), "lengths of 4 candidates"),
    "true as a length": (response(lengths=[True] * 4), "an odd list"),
    "five options of four": (response(logprobs=[-1.0] * 5, lengths=[1] * 5), "4 candidates"),
    "an answer that failed": (response(status="error", error="out of memory"), "is a failed one"),
    "tokens of nothing": (response(tokens=[[0]]), "odd tokens"),
    "a model too many": (lambda f: (shutil.copy(f / METHOD, f / "predictions/best.jsonl.gz"), seal(f)), "is of no model"),
    "an endless answer": (response(text="a" * 10**5), "an endless text"),
    "scores that do not follow": (rows(lambda found: found[0]["scores"].update(accuracy=0.5)), "not those of its response"),
    "the gold model's answers are missing": (lambda f: ((f / "predictions/gold.jsonl.gz").unlink(), seal(f)), "gold.jsonl.gz: is missing"),
    "answers of a model too many": (lambda f: (shutil.copy(f / METHOD, f / "predictions/best.jsonl.gz"), seal(f)), "is of no model"),
    # numbers
    "the gold's numbers as one's own": (in_record(better), "its predictions give"),
    "a millionth more": (in_record(one_digit), "its predictions give"),
    "a narrower interval": (in_record(lambda v: v["cells"][0]["method"].update(low=v["cells"][0]["method"]["value"])), "its predictions give"),
    "no interval": (in_record(lambda v: v["cells"][0]["method"].update(low=None, high=None)), "its predictions give"),
    "a cell left out": (in_record(lambda v: v["cells"].pop(0)), "its cells are not those"),
    "a cell invented": (in_record(lambda v: v["cells"].append({**v["cells"][0], "metric": "magic"})), "its cells are not those"),
    "warnings removed": (in_record(lambda v: v["warnings"].append("all is well")), "its warnings are not"),
    "fewer people claimed": (in_record(lambda v: v["data"]["persons"].update(forget=1)), "data.persons are not those"),
    "gold that is the target": (lambda f: twin(f, "target", "gold"), "do not differ"),
    # where it was made
    "a failed run": (set_record("status", "failed"), "the run is 'failed'"),
    "changed code": (in_record(lambda v: v["provenance"]["package"].update(dirty=True)), "was made by changed code"),
    "code that nobody knows": (in_record(lambda v: v["provenance"]["package"].update(commit=None)), "does not say which code"),
    "provenance that is a list": (in_record(lambda v: v["provenance"].update(package=[])), "does not say which code"),
    "a method that needs a number": (in_record(lambda v: v["method"].update(needs=5)), "method.needs: "),
    "a kind of method that nobody knows": (in_record(lambda v: v["method"].update(kind=SCRIPT)), "method.kind: "),
    "operations in words": (in_record(lambda v: v["stages"][2]["detail"].update(flops="many")), "stages[2].detail.flops is no cost"),
    "time that ran backwards": (in_record(lambda v: v["stages"][2].update(seconds=-1.0)), "stages[2].seconds is no cost"),
    "the paper track": (set_record("paper", [{"set": "forget", "modality": "text", "task": "choice", "metric": "accuracy", "n": 1, "target": 1.0, "gold": 0.0, "method": 0.0}]), "holds the paper track"),
    "made tomorrow": (set_record("created", "2999-01-01T00:00:00+00:00"), "in the future"),
    "made never": (set_record("created", "yesterday"), "is no time"),
    "a time without a zone": (set_record("created", "2026-01-01T00:00:00"), "is no time"),
    "a home folder": (in_record(lambda v: v["provenance"].update(command="mubench run --config /home/anna/a.yaml")), "provenance.command holds a path"),
    "a token": (in_record(lambda v: v["provenance"].update(command="HF_TOKEN=hf_abcdefghijklmnop mubench run")), "holds a path, a secret"),
    # benchmark
    "another content": (in_record(lambda v: v["data"].update(content_sha="0" * 64)), "on another content of 'people-mini'"),
    "a published content that nobody has seen": (lambda f: edit_record(f, published), "not accepted yet"),
    "an unknown benchmark": (lambda f: edit_record(f, rename), "there is no benchmark 'easy'"),
    "an easier benchmark": (set_spec("benchmark", "fictitious", value=8), "benchmark.fictitious is not as published"),
    "the tuning fold": (set_spec("benchmark", "fold", value="dev"), "benchmark.fold is not as published"),
    "a spec that is none": (set_record("spec", {}), "spec."),
    "no gold was trained": (in_record(lambda v: v["stages"].pop(1)), "names no training of the gold model"),
}  # fmt: skip


def published(values):
    values["spec"]["benchmark"] = resolve_benchmark("mllmu").model_dump(mode="json")
    values["data"]["benchmark"] = "mllmu"


def rename(values):
    values["spec"]["benchmark"]["name"] = values["data"]["benchmark"] = "easy"


def twin(folder, source, copy):
    """One model's answers entered as another's, and the record made to fit them."""
    from mubench.leaderboard.bundle import read
    from mubench.leaderboard.validate import _answers, _scored
    from mubench.metrics.assessment import assess

    path = folder / "predictions"
    (path / f"{copy}.jsonl.gz").write_bytes((path / f"{source}.jsonl.gz").read_bytes())
    seal(folder)
    bundle, asked = read(folder), made.questions()
    said = {role: _answers(bundle, role, asked.examples) for role in ("target", "gold", "method")}
    scores = {role: _scored(bundle, role, asked.examples, found) for role, found in said.items()}
    found = assess(asked.examples, said, scores, {}, 0)

    def change(values):
        values |= found.model_dump()

    edit_record(folder, change)


def probe(name, change):
    """Change the rows of a probe's answers and make the hashes fit."""

    def spoil(folder):
        path = folder / "probes" / f"{name}.jsonl.gz"
        found = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
        change(found)
        write_rows(path, "".join(json.dumps(row) + "\n" for row in found).encode())
        seal(folder)

    return spoil


def without(name):
    def spoil(folder):
        (folder / "probes" / name).unlink()
        seal(folder)

    return spoil


def differing(*components):
    return in_record(lambda v: v["stages"][-1]["detail"].update(differ=list(components)))


PROBED = {
    "less leakage": (in_record(lambda v: v["probes"][0]["difference"].update(value=-1.0)), "probes: leakage image choice choice: difference is"),
    "a leak that is none": (in_record(lambda v: v["probes"][0].update(leaks=True)), "leaks is True, computed again False"),
    "a probe left out": (in_record(lambda v: v["probes"].pop()), "probes: other ones when computed again"),
    "a probe that did not happen": (set_spec("probe", "leakage", value=False), "is of no probe of the run"),
    "no answers": (without("leakage.gold.jsonl.gz"), "probes/leakage.gold.jsonl.gz: is missing"),
    "no base model": (without("privacy.base.jsonl.gz"), "probes/privacy.base.jsonl.gz: is missing"),
    "no components": (without("components.vision.jsonl.gz"), "probes/components.vision.jsonl.gz: is missing"),
    "an answer too few": (probe("leakage.method", lambda rows: rows.pop()), "questions"),
    "an answer without a token": (probe("leakage.method", lambda rows: [row.update(tokens=[]) for row in rows]), "has no first token"),
    "an answer with more": (probe("leakage.method", lambda rows: rows[0].update(evil=1)), "rows need just"),
    "an answer that is a list": (probe("privacy.method", lambda rows: rows.__setitem__(0, [])), "does not hold one object a line"),
    "tokens that are words": (probe("privacy.method", lambda rows: rows[0].update(tokens=["a", "b"])), "tokens"),
    "no end token": (probe("privacy.method", lambda rows: rows[0]["tokens"].__delitem__(slice(1, None))), "needs a token of the answer and its end"),
    "some gradients": (probe("privacy.method", lambda rows: rows[0].update(gradient=None)), "others none"),
    "a number out of bounds": (probe("privacy.method", lambda rows: rows[0].update(gradient=1e300)), "a number out of bounds"),
    "other answers": (probe("leakage.method", lambda rows: [row.update(text="I do not know.") for row in rows]), "computed again"),
    "components that nobody has": (differing("tail"), "names no components that differ"),
    "components twice": (differing("vision", "vision"), "names no components that differ"),
    "components in words": (in_record(lambda v: v["stages"][-1].update(detail={"differ": "vision"})), "names no components that differ"),
    "fewer components": (differing("vision"), "is of no probe of the run"),
}  # fmt: skip
