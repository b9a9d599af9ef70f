"""mubench submit, leaderboard and export: from a run to a row that anybody can score again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .commands import Cache, console, open_store

Run = Annotated[Path, typer.Argument(help="A run folder, as printed by 'mubench run'.")]
Records = Annotated[Path, typer.Option(help="Where submissions lie.")]
RECORDS = Path("leaderboards/records")


def submit(
    run: Run,
    to: Annotated[
        str, typer.Option(help="A folder, 'pr' (a branch to push), or hub:OWNER/NAME.")
    ] = str(RECORDS),
    by: Annotated[str, typer.Option(help="Your name or handle, shown with the row.")] = "",
    weights: Annotated[
        str, typer.Option(help="hub:OWNER/NAME@COMMIT, or 'attach' if the delta is small.")
    ] = "",
    cache: Cache = None,
) -> None:
    """Make the bundle of a run, without secrets, user names and paths, and put it somewhere."""
    import tempfile

    from mubench.leaderboard import bundle, publish

    def make(root: Path) -> Any:
        delta = _delta(run, cache) if weights == "attach" else None
        where = (
            bundle.Weights(kind="attached") if delta
            else publish.weights_at(weights) if weights else None
        )  # fmt: skip
        return bundle.read(bundle.pack(run, root, by=by, weights=where, delta=delta))

    if to != "pr" and not to.startswith("hub:"):
        made = make(publish.writable(Path(to)))
        print(f"bundle: {made.folder}")
        print(f"next:   mubench leaderboard validate {made.folder}")
        return
    with tempfile.TemporaryDirectory() as folder:
        made = make(Path(folder))
        if to == "pr":
            print("\n".join(publish.branch(made.folder, made.record, Path.cwd())))
        else:
            print(f"bundle: {publish.hub(made.folder, made.record, to.removeprefix('hub:'))}")


def _delta(run: Path, cache: Path | None) -> Path:
    """The folder of the unlearned weights of a run in the cache."""
    from mubench.errors import UsageError

    from .commands import read_record

    store = open_store(cache)
    for stage in read_record(run).stages:
        if stage.kind == "unlearn" and store.has(stage.kind, stage.key):
            return Path(store.folder(stage.kind, stage.key))
    raise UsageError(f"the cache holds no unlearned weights of {run}: run it again, or --cache")


def validate(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Bundles or folders of them; all if left out.")
    ] = None,
    records: Records = RECORDS,
    cache: Cache = None,
) -> None:
    """Score submissions again from their predictions; exit code 5 if one is refused."""
    from mubench.errors import DamagedError, UsageError
    from mubench.leaderboard import bundle
    from mubench.leaderboard.validate import Validator, accepted

    if not paths and not bundle.find(records):
        print(f"there is no submission in {records} yet")
        return
    missing = [str(path) for path in paths or [records] if not path.is_dir()]
    if missing:
        raise UsageError(f"{missing[0]} is no folder: give a bundle, or --records")
    judge = Validator(_questions(cache), accepted())
    refused = 0
    known = bundle.find(records) if records.is_dir() else []
    asked = [found for path in paths or [records] for found in bundle.find(path)]
    if not asked:
        raise UsageError(f"there is no submission in {(paths or [records])[0]}")
    for folder in asked:
        verdict = judge(folder, records if folder in known else None)
        refused += bool(verdict.refusals)
        print(f"{'refused' if verdict.refusals else 'accepted'}  {folder}")
        for line in verdict.refusals:
            print(f"  {line}")
        for line in verdict.notes:
            print(f"  note: {line}")
    if refused:
        raise DamagedError(f"{refused} of {len(asked)} submissions refused, for the reasons above")


def build(
    out: Annotated[Path, typer.Option(help="Where the pages go.")] = Path("leaderboards/site"),
    records: Records = RECORDS,
    reported: Annotated[Path, typer.Option(help="Numbers from papers, as YAML files.")] = Path(
        "leaderboards/reported"
    ),
    cache: Cache = None,
) -> None:
    """Make the pages from the submissions; they need no server and open from disk."""
    import sys

    from mubench.leaderboard.build import build as make
    from mubench.leaderboard.build import finder
    from mubench.leaderboard.reported import read

    rows = read(reported) if reported.is_dir() else []
    site = make(records, rows, out, finder(open_store(cache)))
    for line in site.left_out:
        print(f"left out: {line}", file=sys.stderr)
    print(f"{site.rows} rows of {site.runs} runs, {len(rows)} reported: {out / 'index.html'}")


def export(
    format_: Annotated[
        str, typer.Argument(metavar="FORMAT", help="latex, csv, eee, hub-eval or bibtex")
    ],
    runs: Annotated[list[Path], typer.Argument(help="Run folders, bundles or record files.")],
    to: Annotated[Path | None, typer.Option(help="A file; printed if left out.")] = None,
    dataset: Annotated[
        str, typer.Option(help="hub-eval: the benchmark's OWNER/NAME on the Hub.")
    ] = "",
) -> None:
    """Print runs as a table for a paper, for a spreadsheet, or in another site's schema."""
    import json

    import yaml

    from mubench.errors import OutputError, unknown
    from mubench.leaderboard import export as exports

    from .commands import read_record

    records = [read_record(run) for run in runs]

    def lines(values: list[object]) -> str:
        return "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values)

    made = {
        "latex": lambda: exports.latex(records),
        "csv": lambda: exports.csv(records),
        "bibtex": lambda: "\n".join(map(exports.bibtex, records)),
        "eee": lambda: lines([exports.eee(record) for record in records]),
        "hub-eval": lambda: yaml.safe_dump(
            [entry for record in records for entry in exports.hub_eval(record, dataset)],
            sort_keys=False,
        ),
    }
    if format_ not in made:
        raise unknown("format", format_, made)
    text = made[format_]()
    if to is None:
        print(text, end="")
        return
    try:
        to.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write {to}: {error.strerror}") from error


def _questions(cache: Path | None) -> Any:
    """The questions of a benchmark under a split, each made once."""
    from mubench.leaderboard.validate import Questions
    from mubench.runner.datasets import asked

    store, found = open_store(cache), {}

    def ask(spec: Any) -> Questions:
        key = spec.benchmark.model_dump_json()
        if key not in found:
            found[key] = Questions.of(asked(spec.benchmark, store, console(stderr=True)))
        return found[key]

    return ask
