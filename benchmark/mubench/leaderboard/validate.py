"""Whether a submission is what it claims: every number is computed again from its predictions.

One command for submitters and for the machine that judges pull requests. A refusal is one line:
what, where, how to mend it. Notes are remarks for the reviewer that do not refuse anything.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from mubench.config.resolve import presets, resolve_benchmark
from mubench.config.schema import RunSpec
from mubench.data.load import BenchmarkData
from mubench.errors import MubenchError
from mubench.metrics import scoring
from mubench.metrics.assessment import assess, item_scores
from mubench.probes import leakage, privacy, recovery
from mubench.record import Assessment, Cell, RunRecord, Value
from mubench.runner import probe_answers
from mubench.runner.rescore import alike, differing
from mubench.runner.stages.scores import answer_prior
from mubench.types import MODALITIES, Example, MethodInfo, Response, gold_roles

from . import bundle as bundles
from .bundle import RECORD, Bundle
from .copies import Copies
from .redact import redact
from .strict import AGAIN, STRING_LIMIT, Refusal, is_name, visible

_COMMIT = re.compile(r"[0-9a-f]{40}")
_RUN_ID = re.compile(r"[0-9a-f]{12}")
_RESPONSE, _METHOD = TypeAdapter(Response), TypeAdapter(MethodInfo)
#: Candidates, or tokens of an answer.
LIST_LIMIT = 4096
#: Log-probabilities, ranks, norms: sums of such numbers stay finite.
NUMBER_LIMIT = 1e12
#: Seconds, megabytes, operations.
COST_LIMIT = 1e21
#: How far above 0 a log-probability may lie: half precision rounds.
ROUNDING = 1e-3


@dataclass(frozen=True)
class Questions:
    """What a benchmark asks under one split: all that scoring needs."""

    content_sha: str
    examples: Sequence[Example]
    prior: Mapping[str, float]
    #: The questions of a probe by its name and the run's seed.
    probed: Callable[[str, int], Sequence[Example]]

    @staticmethod
    def of(data: BenchmarkData) -> Questions:
        def probed(probe: str, seed: int) -> Sequence[Example]:
            if probe == "recovery":
                return recovery.questions(data)
            return leakage.probes(data) if probe == "leakage" else privacy.questions(data, seed).all

        content = data.manifest["content_sha"]
        return Questions(content, data.examples, answer_prior(data), cache(probed))


@dataclass
class Verdict:
    """What was found about one bundle: accepted if nothing refuses it."""

    folder: Path
    bundle: Bundle | None = None
    refusals: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@cache
def accepted() -> Mapping[str, tuple[str, ...]]:
    """Contents of published benchmarks whose runs are accepted."""
    text = (files("mubench.leaderboard") / "benchmarks.yaml").read_text(encoding="utf-8")
    return {name: tuple(shas or ()) for name, shas in yaml.safe_load(text).items()}


class Validator:
    """``ask(spec)`` gives the questions of a benchmark; ``contents`` are ``accepted`` ones."""

    def __init__(
        self, ask: Any, contents: Mapping[str, Sequence[str]], copies: Copies | None = None
    ) -> None:
        self._ask = ask
        self._contents = contents
        self._copies = copies or Copies()
        self._scored: dict[tuple[str, ...], Assessment] = {}

    def __call__(self, folder: Path, root: Path | None = None) -> Verdict:
        """Judge a bundle; below ``root`` it has to lie at its place."""
        verdict = Verdict(folder)
        try:
            verdict.bundle = bundle = bundles.read(folder)
            spec = check_record(bundle.record)
            if root is not None and (found := folder.relative_to(root).as_posix()) != bundle.place:
                raise Refusal(found, f"is not its place, which is {bundle.place}", "move it there")
            questions = self._questions(bundle.record, spec)
            self._check_numbers(bundle, spec, questions)
            verdict.notes += self._copies.add(bundle)
        except Refusal as refusal:
            verdict.refusals.append(str(refusal))
        except OSError as error:
            verdict.refusals.append(f"{folder.name}: cannot be read ({error.strerror}); {AGAIN}")
        return verdict

    def _questions(self, record: RunRecord, spec: RunSpec) -> Questions:
        """The questions that were asked. A benchmark that is built here has to come out as the
        same content; of a published one, the content has to be among those accepted."""
        name, claimed = spec.benchmark.name, str(record.data.get("content_sha"))
        if spec.benchmark.kind == "published" and claimed not in self._contents.get(name, ()):
            raise Refusal(
                RECORD,
                f"was made on a content of '{name}' that is not accepted yet ({claimed[:12]})",
                "ask for it to be added to mubench/leaderboard/benchmarks.yaml",
            )
        try:
            questions: Questions = self._ask(spec)
        except MubenchError as error:
            raise Refusal(
                RECORD, f"cannot be checked here: {error}", "see: mubench data"
            ) from error
        if questions.content_sha != claimed:
            raise Refusal(
                RECORD,
                f"was made on another content of '{name}' ({claimed[:12]}) than this mubench has "
                f"({questions.content_sha[:12]})",
                "run again with this version",
            )
        return questions

    def _check_numbers(self, bundle: Bundle, spec: RunSpec, questions: Questions) -> None:
        record, predictions = bundle.record, bundle.predictions
        roles = ("target", *gold_roles(spec.golds), "method")
        for role in roles:
            if role not in predictions:
                raise Refusal(f"predictions/{role}.jsonl.gz", "is missing", AGAIN)
        for name in predictions:
            if name not in roles:
                raise Refusal(f"predictions/{name}.jsonl.gz", "is of no model of the run", "remove")
        _check_counts(record, questions.examples)
        answers = (file.path + file.sha256 for file in predictions.values())
        split = f"{spec.benchmark.forget_ratio} {spec.benchmark.scope}"
        key = (*answers, f"{spec.seed} {split} {questions.content_sha}")
        if key not in self._scored:
            responses = {role: _answers(bundle, role, questions.examples) for role in roles}
            scores = {
                role: _scored(bundle, role, questions.examples, found)
                for role, found in responses.items()
            }
            self._scored[key] = assess(
                questions.examples, responses, scores, questions.prior, spec.seed
            )
        found = self._scored[key]
        cells = found.cells
        _check_cells(record.cells, cells)
        _check_intervals(cells)
        if list(record.warnings) != found.warnings:
            raise Refusal(RECORD, "its warnings are not those of its numbers", AGAIN)
        for name in ("label", "signals", "forget_quality"):
            said, computed = (one.model_dump()[name] for one in (record, found))
            if not alike(said, computed):
                raise Refusal(RECORD, f"its {name} is not what its predictions give", AGAIN)
        _check_probes(bundle, questions)
        if not any(cell.gap for cell in cells if cell.set == "forget" and cell.headline):
            raise Refusal(
                RECORD,
                "target and gold do not differ on any headline metric of the forget people",
                "train the target until it knows them: there is nothing to forget",
            )


def check_record(record: RunRecord) -> RunSpec:
    """What can be said from the record alone; returns its configuration."""
    _check_origin(record)
    return _check_spec(record)


def _check_origin(record: RunRecord) -> None:
    """The run finished, was made by code that is known, and gives away nothing of a machine."""
    if record.status != "ok":
        raise Refusal(RECORD, f"the run is '{record.status}'", "submit a run that finished")
    if record.paper:
        raise Refusal(RECORD, "holds the paper track, whose numbers have no intervals", AGAIN)
    if not _RUN_ID.fullmatch(record.run_id):
        raise Refusal(RECORD, f"'{record.run_id}' is no run id", AGAIN)
    try:
        made = datetime.fromisoformat(record.created)
        future = made > datetime.now(UTC)
    except (ValueError, TypeError) as error:
        raise Refusal(RECORD, f"created: '{record.created}' is no time in UTC", AGAIN) from error
    if future:
        raise Refusal(RECORD, f"was made in the future ({record.created})", "set the clock right")
    package = record.provenance.get("package")
    package = package if isinstance(package, dict) else {}
    if not _COMMIT.fullmatch(str(package.get("commit"))) or package.get("dirty") is not False:
        changed = package.get("dirty") is True
        raise Refusal(
            RECORD,
            "was made by changed code" if changed else "does not say which code made it",
            "run again from a clean checkout or a release of mubench",
        )
    _check_costs(record)
    dumped = record.model_dump(mode="json", exclude={"cells"})
    if redact(dumped) != dumped:
        raise Refusal(RECORD, f"{_first_leak(dumped)} holds a path, a secret or a mail", AGAIN)


def _check_costs(record: RunRecord) -> None:
    """The method says what it is, and what it took are numbers that add up."""
    try:
        _METHOD.validate_python(record.method)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise Refusal(RECORD, f"method.{where}: {first['msg']}", AGAIN) from error
    for number, stage in enumerate(record.stages):
        for name, value in (
            ("seconds", stage.seconds),
            ("peak_mb", stage.peak_mb),
            ("detail.flops", stage.detail.get("flops", 0)),
        ):
            if not _is_number(value) or not 0 <= value <= COST_LIMIT:
                raise Refusal(RECORD, f"stages[{number}].{name} is no cost", AGAIN)


def _first_leak(value: Any, path: str = "") -> str:
    """Where the first string stands that is not clean."""
    parts = value.items() if isinstance(value, dict) else enumerate(value)
    for key, part in parts:
        here = f"{path}.{key}" if path else str(key)
        if redact(part) != part:
            return here if isinstance(part, str) else _first_leak(part, here)
    return path


def _check_spec(record: RunRecord) -> RunSpec:
    """The configuration is a valid one, on a benchmark as published, and is what was run."""
    try:
        spec = RunSpec.model_validate(record.spec)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field_ = ".".join(map(str, first["loc"]))
        raise Refusal(RECORD, f"spec.{field_}: {first['msg']}", AGAIN) from error
    for what, name in (
        ("benchmark", spec.benchmark.name),
        ("model", spec.model.name),
        ("method", spec.method.name),
        ("version", str(record.data.get("version"))),
    ):
        if not is_name(name):
            raise Refusal(
                RECORD,
                f"'{visible(name, 60)}' cannot be the name of a {what}",
                "use a-z, 0-9 and - in names",
            )
    named = (record.method.get("name"), record.data.get("benchmark"))
    if named != (spec.method.name, spec.benchmark.name):
        raise Refusal(RECORD, "method and data are not those of its spec", AGAIN)
    if spec.benchmark.name not in presets("benchmarks"):
        raise Refusal(RECORD, f"there is no benchmark '{spec.benchmark.name}'", "see: mubench data")
    own = {"forget_ratio", "scope"}  # other rows
    published = resolve_benchmark(spec.benchmark.name).model_dump(mode="json", exclude=own)
    used = spec.benchmark.model_dump(mode="json", exclude=own)
    changed = sorted(key for key in published if used.get(key) != published[key])
    if changed and changed != ["data_dir"]:
        raise Refusal(
            RECORD,
            f"benchmark.{changed[0]} is not as published",
            f"run again without --set benchmark.{changed[0]}",
        )
    trained = [stage.role for stage in record.stages if stage.kind == "train"]
    for role in ("target", "gold"):
        if role not in trained:
            raise Refusal(RECORD, f"names no training of the {role} model", AGAIN)
    return spec


def _check_counts(record: RunRecord, examples: Sequence[Example]) -> None:
    items: dict[str, int] = {}
    people: dict[str, set[str]] = {}
    for example in examples:
        items[example.set] = items.get(example.set, 0) + 1
        people.setdefault(example.set, set()).add(example.person)
    for what, expected in (
        ("items", items),
        ("persons", {set_: len(found) for set_, found in people.items()}),
    ):
        claimed = {set_: n for set_, n in dict(record.data.get(what) or {}).items() if n}
        if claimed != expected:
            raise Refusal(RECORD, f"data.{what} are not those of the benchmark", AGAIN)


def _answers(bundle: Bundle, role: str, examples: Sequence[Example]) -> dict[str, Response]:
    """The response to every question."""
    where = f"predictions/{role}.jsonl.gz"
    rows = bundle.rows(role, len(examples))
    asked = {example.id: example for example in examples}
    found: dict[str, Response] = {}
    for row in rows:
        if set(row) != {"id", "response", "scores"}:
            raise Refusal(where, "rows need just id, response and scores", AGAIN)
        example = asked.get(row["id"]) if isinstance(row["id"], str) else None
        if example is None:
            raise Refusal(where, f"answers '{row['id']}', which was not asked", AGAIN)
        if example.id in found:
            raise Refusal(where, f"answers '{example.id}' twice", AGAIN)
        found[example.id] = _response(row["response"], example, where)
    return found


def _scored(
    bundle: Bundle, role: str, examples: Sequence[Example], responses: Mapping[str, Response]
) -> dict[str, scoring.ItemScore]:
    """Scores of every question from its response, compared with those in the file."""
    where = f"predictions/{role}.jsonl.gz"
    try:
        found = item_scores(examples, responses)
    except MubenchError as error:
        raise Refusal(where, str(error), AGAIN) from error
    for row in bundle.rows(role, len(examples)):
        if not alike(row["scores"], dict(found[row["id"]].values)):
            raise Refusal(
                where, f"the scores of '{row['id']}' are not those of its response", AGAIN
            )
    return found


def _response(value: Any, example: Example, where: str) -> Response:
    """A response whose every part is of its kind and within its bounds."""

    def refuse(what: str) -> Refusal:
        return Refusal(where, f"the response of '{example.id}' {what}", AGAIN)

    known = {part.name for part in fields(Response)} - {"example_id"}
    if not isinstance(value, dict) or not set(value) <= known:
        raise refuse(f"may have just {', '.join(sorted(known))}")
    if odd := _odd(value):
        raise refuse(odd)
    try:
        response = _RESPONSE.validate_python({"example_id": example.id, **value})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise refuse(f"has an odd {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    if response.status != "ok" or response.error is not None:
        raise refuse("is a failed one")
    # A dual encoder has cosines times its scale there.
    in_words = example.modality in MODALITIES
    if in_words and any(logprob > ROUNDING for logprob in response.logprobs):
        raise refuse("has a log-probability above 0")
    return response


def _odd(value: Any) -> str:
    """What no honest response holds: endless texts, lists and numbers, truth values among them."""
    if isinstance(value, str) and len(value) > STRING_LIMIT:
        return "has an endless text"
    if isinstance(value, int | float) and abs(value) > NUMBER_LIMIT:
        return "has a number out of bounds"
    if isinstance(value, list):
        if len(value) > LIST_LIMIT or any(isinstance(part, bool) for part in value):
            return "has an odd list"
        return next(filter(None, map(_odd, value)), "")
    if isinstance(value, dict):
        return next(filter(None, map(_odd, value.values())), "")
    return ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _check_cells(claimed: Sequence[Cell], computed: Sequence[Cell]) -> None:
    def key(cell: Cell) -> tuple[str, str, str, str]:
        return cell.set, cell.modality, cell.task, cell.metric

    if [key(cell) for cell in claimed] != [key(cell) for cell in computed]:
        raise Refusal(RECORD, "its cells are not those that its predictions give", AGAIN)
    for one, other in zip(claimed, computed, strict=True):
        said, found = one.model_dump(), other.model_dump()
        for name in found:
            if not alike(said[name], found[name]):
                raise Refusal(
                    RECORD,
                    f"{' '.join(key(other))}: {name} is {_shown(said[name])}, its predictions "
                    f"give {_shown(found[name])}",
                    AGAIN,
                )


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "/".join(_shown(part) for part in value.values())
    return f"{value:.6g}" if _is_number(value) else str(value)


def _check_probes(bundle: Bundle, questions: Questions) -> None:
    """The cells of the probes are what their answers give, if there are any."""
    record, seed = bundle.record, int(bundle.record.spec["seed"])

    def rows(name: str) -> list[Any]:
        asked.add(name)
        found = bundle.probe_rows(name)
        if odd := next(filter(None, map(_odd, found)), ""):
            raise Refusal(f"probes/{name}.jsonl.gz", odd, AGAIN)
        return found

    asked: set[str] = set()
    try:
        answers = probe_answers.read(record, lambda probe: questions.probed(probe, seed), rows)
        computed = answers.cells(seed)
    except Refusal:
        raise
    except MubenchError as error:
        raise Refusal("probes", str(error), AGAIN) from error
    if extra := sorted(set(bundle.probes) - asked):
        raise Refusal(f"probes/{extra[0]}.jsonl.gz", "is of no probe of the run", "remove it")
    claimed = [probe.model_dump() for probe in record.probes]
    for line in differing("probes", claimed, [probe.model_dump() for probe in computed]):
        raise Refusal(RECORD, line, AGAIN)


def _check_intervals(cells: Sequence[Cell]) -> None:
    def missing(value: Value) -> bool:
        return value.low is None or value.high is None

    for cell in cells:
        if any(map(missing, (cell.target, cell.gold, cell.method, cell.difference))):
            raise Refusal(
                RECORD,
                f"{cell.set} {cell.modality} {cell.task} {cell.metric} has no interval: "
                f"{cell.persons} persons are too few",
                "run again with a larger benchmark.forget_ratio",
            )
