"""A submission: a folder that says what a run found, and from which anybody can score it again.

    <benchmark>@<version>/<model>/<method>/<run_id>/
        submission.json             hashes of all else, who submits, where the weights are
        record.json                 the run's record: every number, setting and version
        predictions/<name>.jsonl.gz id, response and scores of every question
        probes/<name>.jsonl.gz      answers to the probes that were asked for
        weights/...                 the delta, where it is small and was to be attached

Questions, answers and pictures are the benchmark's and no part of it.
"""

from __future__ import annotations

import gzip
import json
import marshal
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from mubench.errors import DamagedError, OutputError, UsageError
from mubench.hashing import file_sha, sha
from mubench.record import Artifact, RunRecord
from mubench.runner import probe_answers

from . import strict
from .redact import own_names, redact
from .strict import AGAIN, Refusal

MANIFEST, RECORD = "submission.json", "record.json"
END = ".jsonl.gz"
#: Bytes of a delta that may be attached.
ATTACH_LIMIT = 16 * 2**20
_FILES = re.compile(
    r"submission\.json|record\.json|predictions/[a-z0-9][a-z0-9._-]{0,60}\.jsonl\.gz"
    r"|probes/[a-z0-9][a-z0-9._+-]{0,60}\.jsonl\.gz"
    r"|weights/[a-z0-9][a-z0-9._-]{0,60}\.(safetensors|json)"
)


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Weights(_Model):
    """Where the unlearned weights are: nowhere public, on the Hub, or in the bundle."""

    kind: Literal["none", "hub", "attached"] = "none"
    repo: str | None = Field(default=None, pattern=r"^[\w.-]+/[\w.-]+$")
    revision: str | None = Field(default=None, pattern=r"^[0-9a-f]{40}$")
    fingerprint: str | None = Field(default=None, pattern=r"^[0-9a-f]{8,64}$")


class Submission(_Model):
    """``sha256`` is over all the rest, so that one changed byte anywhere is found."""

    schema_version: Literal[1] = 1
    run_id: str
    by: str = Field(default="", max_length=60)
    weights: Weights = Weights()
    files: list[Artifact]
    sha256: str

    @staticmethod
    def digest(values: dict[str, Any]) -> str:
        return sha({key: value for key, value in values.items() if key != "sha256"})


@dataclass(frozen=True)
class Bundle:
    """A submission whose files are what its manifest says; nothing is recomputed yet."""

    folder: Path
    submission: Submission
    record: RunRecord

    @property
    def place(self) -> str:
        return place(self.record)

    @property
    def predictions(self) -> dict[str, Artifact]:
        """Prediction files by name: target, gold, method, ..."""
        return {
            Path(file.path).name.removesuffix(END): file
            for file in self.submission.files
            if file.path.startswith("predictions/")
        }

    @property
    def probes(self) -> list[str]:
        """Files of the probes' answers by name: leakage.target, ..."""
        files = (file.path for file in self.submission.files)
        return [Path(path).name.removesuffix(END) for path in files if path.startswith("probes/")]

    def probe_rows(self, name: str) -> list[Any]:
        """One row a question of a probe, as written. Refusal if they are not readable."""
        path = f"probes/{name}{END}"
        if name not in self.probes:
            raise Refusal(path, "is missing", AGAIN)
        return _parsed(path, self._lines(path))

    def rows(self, name: str, asked: int | None = None) -> list[dict[str, Any]]:
        """One row a question, as written; Refusal if they are not readable, or not ``asked``."""
        path = f"predictions/{name}{END}"
        lines = self._lines(path)
        if asked is not None and len(lines) != asked:
            raise Refusal(path, f"has {len(lines)} rows, the benchmark {asked} questions", AGAIN)
        return _parsed(path, lines)

    def trusted_rows(self, name: str) -> list[dict[str, Any]]:
        """The rows of a bundle that was validated before: read fast."""
        path = f"predictions/{name}{END}"
        lines = self._lines(path)
        try:
            return list(from_json(b"[" + b",".join(lines) + b"]", cache_strings="keys"))
        except ValueError as error:
            raise Refusal(path, f"is not JSON ({error})", AGAIN) from error

    def _lines(self, path: str) -> list[bytes]:
        text = strict.unpack((self.folder / path).read_bytes(), path)
        return text.removesuffix(b"\n").split(b"\n") if text else []


def _parsed(path: str, lines: list[bytes]) -> list[Any]:
    rows = strict.parse(b"[" + b",".join(lines) + b"]", path, strict.UNPACKED_LIMIT)
    if len(rows) != len(lines) or not all(isinstance(row, dict) for row in rows):
        raise Refusal(path, "does not hold one object a line", AGAIN)
    return list(rows)


def place(record: RunRecord) -> str:
    """Where a record belongs below ``records/``."""
    spec, data = record.spec, record.data
    benchmark = f"{data['benchmark']}@{data['version']}"
    return "/".join((benchmark, spec["model"]["name"], spec["method"]["name"], record.run_id))


def pack(
    run: Path,
    root: Path,
    *,
    by: str = "",
    weights: Weights | None = None,
    delta: Path | None = None,
) -> Path:
    """Make the bundle of a run folder at its place below ``root`` and return it.

    ``delta``: a folder with weights to attach. UsageError if the run cannot be submitted.
    """
    values = _redacted(_read(run / RECORD))
    weights = weights or Weights()
    fingerprint = next(
        (stage["detail"].get("fingerprint_after") for stage in reversed(values["stages"])
         if stage["kind"] == "unlearn"), None,
    )  # fmt: skip
    folder = root / place(RunRecord.model_validate(values))
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        (partial / "predictions").mkdir(parents=True)
        for path in sorted((run / "predictions").glob("*.jsonl")):
            if path.name.endswith(".paper.jsonl"):
                continue  # another evaluation, whose numbers have no intervals
            _write_lines(partial / "predictions" / f"{path.stem}{END}", _slim(path))
        for path in sorted((run / probe_answers.FOLDER).glob(f"*{END}")):
            if not path.name.endswith(f".{probe_answers.QUESTIONS}{END}"):
                rows = map(json.loads, gzip.decompress(path.read_bytes()).splitlines())
                _write_lines(partial / "probes" / path.name, _checked(path, rows))
        if delta is not None:
            _attach(delta, partial / "weights")
        values |= {"artifacts": [], "paper": []}
        record = json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        (partial / RECORD).write_text(record, encoding="utf-8")
        manifest = {
            "schema_version": 1,
            "run_id": values["run_id"],
            "by": by,
            "weights": weights.model_copy(update={"fingerprint": fingerprint}).model_dump(),
            "files": [_artifact(partial, path) for path in strict.listing(partial).values()],
        }
        _write_manifest(partial, manifest)
        if folder.exists():
            shutil.rmtree(folder)
        partial.replace(folder)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise OutputError(f"cannot write {folder}: {error.strerror}") from error
    return folder


def _read(path: Path) -> dict[str, Any]:
    try:
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        RunRecord.model_validate(value)
    except OSError as error:
        raise UsageError(f"no run at {path.parent}: {path} cannot be read") from error
    except ValueError as error:
        raise DamagedError(f"{path} is not a run record: {strict.visible(str(error))}") from error
    return value


def _redacted(values: dict[str, Any]) -> dict[str, Any]:
    spec = values["spec"]
    spared = {spec[part]["name"] for part in ("benchmark", "model", "method")}
    names = own_names(spared)
    return {key: redact(part, names if key == "provenance" else ()) for key, part in values.items()}


def _slim(path: Path) -> list[str]:
    """The rows with the example's id instead of the example, which is the benchmark's, and without
    single tokens, from which no number of the record is made."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        row["response"].pop("tokens", None)
        rows.append({"id": row.pop("example")["id"], **row})
    return _checked(path, rows)


def _checked(path: Path, rows: Iterable[Any]) -> list[str]:
    """Rows of the file as compact lines. UsageError if they hold what is no number."""
    try:
        return [_compact(row) for row in rows]
    except ValueError as error:
        raise UsageError(
            f"{path} holds NaN or infinite log-probabilities: the model is broken, and such a run "
            "cannot be submitted"
        ) from error


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    path.parent.mkdir(exist_ok=True)
    text = "".join(f"{line}\n" for line in lines)
    path.write_bytes(gzip.compress(text.encode(), 9, mtime=0))


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _attach(delta: Path, folder: Path) -> None:
    files = [path for path in delta.glob("*") if path.suffix in (".safetensors", ".json")]
    files = [path for path in files if path.name not in ("stage.json", "log.json")]
    if not any(path.suffix == ".safetensors" for path in files):
        raise UsageError(f"{delta} holds no safetensors to attach")
    if (size := sum(path.stat().st_size for path in files)) > ATTACH_LIMIT:
        raise UsageError(
            f"the weights take {size >> 20} MB, more than {ATTACH_LIMIT >> 20} MB: upload them to "
            "the Hub and give --weights hub:OWNER/NAME@COMMIT"
        )
    folder.mkdir()
    for path in files:
        shutil.copyfile(path, folder / path.name.lower())


def _artifact(folder: Path, path: Path) -> dict[str, Any]:
    name = path.relative_to(folder).as_posix()
    return {"path": name, "sha256": file_sha(path), "bytes": path.stat().st_size}


def _write_manifest(folder: Path, values: dict[str, Any]) -> None:
    made = Submission(**values, sha256=Submission.digest(values))
    (folder / MANIFEST).write_text(made.model_dump_json(indent=1) + "\n", encoding="utf-8")


def find(root: Path) -> list[Path]:
    """Every bundle at or below ``root``, in order of their names."""
    if (root / MANIFEST).exists() or (root / RECORD).exists():
        return [root]
    return sorted({path.parent for name in (MANIFEST, RECORD) for path in root.rglob(name)})


def read(folder: Path) -> Bundle:
    """A bundle whose every byte is what its manifest says. Refusal if it is not."""
    files = strict.listing(folder)
    for name in files:
        if not _FILES.fullmatch(name):
            raise Refusal(name, "does not belong into a bundle", "remove it")
    for name in (MANIFEST, RECORD):
        if name not in files:
            raise Refusal(name, "is missing", AGAIN)
    submission = _submission(files[MANIFEST])
    listed = [file.path for file in submission.files]
    if len(set(listed)) != len(listed):
        raise Refusal(MANIFEST, "lists a file twice", AGAIN)
    for name in listed:
        if not _FILES.fullmatch(name) or name == MANIFEST:
            raise Refusal(MANIFEST, f"lists '{name}', which does not belong into a bundle", AGAIN)
        if name not in files:
            raise Refusal(name, "is listed in submission.json and missing", AGAIN)
    for name in files:
        if name not in listed and name != MANIFEST:
            raise Refusal(name, "is not listed in submission.json", "remove it")
    for file in submission.files:
        size = files[file.path].stat().st_size
        if size != file.bytes or file_sha(files[file.path]) != file.sha256:
            raise Refusal(file.path, "is not what was submitted: its hash differs", AGAIN)
    return Bundle(folder, submission, _record(files[RECORD]))


def trusted(folder: Path) -> Bundle:
    """A bundle that ``read`` found in order before: read fast."""
    submission = Submission.model_validate_json((folder / MANIFEST).read_bytes())
    return Bundle(folder, submission, RunRecord.model_validate_json((folder / RECORD).read_bytes()))


def _submission(path: Path) -> Submission:
    data = path.read_bytes()
    values = strict.parse(data, MANIFEST)
    strict.check_texts(values, MANIFEST)
    made: Submission = _validated(Submission, values, MANIFEST)
    if made.sha256 != Submission.digest(made.model_dump()):
        raise Refusal(MANIFEST, "is not what was submitted: its hash differs", AGAIN)
    if data.decode() != made.model_dump_json(indent=1) + "\n":
        raise Refusal(MANIFEST, "is not in the form that mubench writes", AGAIN)
    return made


def _record(path: Path) -> RunRecord:
    data = path.read_bytes()
    values = strict.parse(data, RECORD)
    if not strict.is_plain(data):
        strict.check_texts(values, RECORD)
    record: RunRecord = _validated(RunRecord, values, RECORD)
    if not _says(record.model_dump(mode="json"), values):
        raise Refusal(RECORD, "holds a value of another type than mubench writes", AGAIN)
    return record


def _says(read: Any, written: Any) -> bool:
    """Whether what was read is what was written, not converted; left-out defaults may be added."""
    if marshal.dumps(read, 2) == marshal.dumps(
        written, 2
    ):  # unlike ==, tells 1, 1.0 and True apart
        return True
    if isinstance(written, dict):
        return isinstance(read, dict) and all(
            key in read and _says(read[key], part) for key, part in written.items()
        )
    if isinstance(written, list):
        same = isinstance(read, list) and len(read) == len(written)
        return same and all(map(_says, read, written))
    return isinstance(read, bool) == isinstance(written, bool) and bool(read == written)


def _validated(kind: Any, values: Any, where: str) -> Any:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(map(str, first["loc"])) or "the whole"
        raise Refusal(where, f"{field}: {first['msg']}", AGAIN) from error
