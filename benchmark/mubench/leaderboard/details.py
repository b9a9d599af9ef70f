"""What is loaded when it is looked at: questions, answers, pictures, and the people's sums."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mubench.data.load import BenchmarkData
from mubench.types import ASPECTS, ROLES, Example

from .bundle import Bundle
from .rows import Column, Row

Scores = Mapping[str, Mapping[str, float]]  # by question and metric
FORGET = (*ASPECTS["efficacy"], *ASPECTS["generalizability"])
#: Metrics that say whether one answer is right.
JUDGED = ("accuracy", "keyword", "match", "r1")
#: Pixels of the pictures beside the questions.
THUMBNAIL = 112


def write_data(path: Path, name: str, values: Any) -> None:
    """A script that hands JSON to the page: a script, because pages from disk may not fetch."""
    text = json.dumps(values, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"mubench.take({json.dumps(name)},{text});\n", encoding="ascii")


class Questions:
    """What a benchmark asks under one split; writes the answers of rows beside them."""

    def __init__(self, folder: Path, split: str, data: BenchmarkData, shown: Sequence[Column]):
        self.folder = folder
        self.examples = data.examples
        self.content_sha: str = data.manifest["content_sha"]
        self.forget = [e for e in self.examples if e.set in FORGET]
        self._sums = _Sums(self.examples, shown)
        pictures: dict[str, int] = {}
        items = []
        for example in self.examples:
            if example.image and example.image not in pictures:
                pictures[example.image] = len(pictures)
                path = folder / "pictures" / split / f"{pictures[example.image]}.webp"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(_thumbnail(data.image(example.image)))
            items.append(
                [example.set, example.modality, example.task, example.person, example.question,
                 list(example.choices), example.answer, pictures.get(example.image or "")]
            )  # fmt: skip
        write_data(folder / f"items-{split}.js", f"items/{split}", items)
        self._known: dict[str, Scores] = {}

    def add(self, row: Row) -> list[list[dict[str, float]]]:
        """Write what the methods of a row said, and its sums by person; returns for each seed the
        scores of ``forget``, in their order."""
        sums, scores = [], []
        for bundle in row.bundles:
            said = self._said(bundle, "method")
            sums.append(self._sums.of(said))
            scores.append([said[example.id]["scores"] for example in self.forget])
        mean = self._sums.mean(sums)
        write_data(self.folder / "persons" / f"{row.id}.js", f"persons/{row.id}", mean)
        return scores

    def scores(
        self, row: Row, own: Sequence[Sequence[Mapping[str, float]]]
    ) -> list[dict[str, Scores]]:
        """What ranking needs of each seed, the scores of ``forget`` by model: those of the method
        as ``add`` gave them, and those of target and golds, which many rows share."""
        ids = [example.id for example in self.forget]
        found = []
        for bundle, scores in zip(row.bundles, own, strict=True):
            others = [role for role in bundle.predictions if role != "method"]
            by_role = {role: self._shared(bundle, role) for role in others}
            found.append({**by_role, "method": dict(zip(ids, scores, strict=True))})
        return found

    def _shared(self, bundle: Bundle, role: str) -> Scores:
        sha = bundle.predictions[role].sha256
        if sha not in self._known:
            said = self._said(bundle, role)
            self._known[sha] = {e.id: said[e.id]["scores"] for e in self.forget}
        return self._known[sha]

    def _said(self, bundle: Bundle, role: str) -> dict[str, Any]:
        """The answers of a model by question; those that the pages show are written."""
        said = {one["id"]: one for one in bundle.trusted_rows(role)}
        if role in ROLES:
            answers = [_answer(example, said[example.id]) for example in self.examples]
            sha = bundle.predictions[role].sha256[:16]
            write_data(self.folder / "answers" / f"{sha}.js", f"answers/{sha}", answers)
        return said


def _answer(example: Example, row: Mapping[str, Any]) -> list[Any]:
    """What a model said (an option by its number), and whether it was right if that is judged."""
    response, scores = row["response"], row["scores"]
    said = response.get("text")
    if example.choices and response.get("lengths"):
        pairs = zip(response["logprobs"], response["lengths"], strict=True)
        means = [total / length for total, length in pairs]
        said = means.index(max(means))
    elif response.get("ranks"):
        said = f"rank {min(response['ranks'])} among {response['among']}"
    for metric in JUDGED:
        if metric in scores:
            return [said, int(scores[metric] == 1.0)]
    return [said, None]


def _thumbnail(picture: Any) -> bytes:
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    out = io.BytesIO()
    picture.save(out, "webp", quality=80)
    return out.getvalue()


class _Sums:
    """Scores by headline column and person: what paired differences need."""

    def __init__(self, examples: Sequence[Example], shown: Sequence[Column]) -> None:
        columns: dict[tuple[str, str, str], list[Column]] = {}
        for column in shown:
            columns.setdefault((column.set, column.modality, column.task), []).append(column)
        self._people: dict[str, dict[str, int]] = {column.id: {} for column in shown}
        self._items: dict[str, list[tuple[str, str, int]]] = {column.id: [] for column in shown}
        for example in examples:
            for column in columns.get((example.set, example.modality, example.task), ()):
                people = self._people[column.id]
                place = people.setdefault(example.person, len(people))
                self._items[column.id].append((example.id, column.metric, place))

    def of(self, rows: Mapping[str, Any]) -> dict[str, list[list[float]]]:
        """By column: of each person, how many items have this score, and their sum."""
        found = {}
        for column, items in self._items.items():
            people = len(self._people[column])
            counts, totals = found[column] = [[0.0] * people, [0.0] * people]
            for id_, metric, place in items:
                if metric in (scores := rows[id_]["scores"]):
                    counts[place] += 1
                    totals[place] += scores[metric]
        return found

    def mean(self, runs: Sequence[Mapping[str, list[list[float]]]]) -> dict[str, Any]:
        """By column: how many items each person has, and the mean over runs of their sums."""
        made = {}
        for column in self._items:
            sums = zip(*(run[column][1] for run in runs), strict=True)
            counts = [int(n) for n in runs[0][column][0]]
            made[column] = [counts, [round(sum(of) / len(of), 3) for of in sums]]
        return made
