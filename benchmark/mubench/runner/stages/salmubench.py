"""The paper stage of SALMUBench: its own metrics of one model, from its published pairs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mubench.config.schema import RunSpec
from mubench.data.load import BenchmarkData
from mubench.rng import stream
from mubench.tracks import salmubench as track
from mubench.types import Example

from . import Report

SEED = 42  # of the paper
DISTRACTORS = 1000  # of forget captions, and of retained ones


def salmubench_track(
    spec: RunSpec, data: BenchmarkData, deltas: Sequence[Path], folder: Path, report: Report
) -> dict[str, Any]:
    """All metrics of one model, into ``scores.json``."""
    from mubench.models.load import load_model

    model = load_model(spec.model, data.image, deltas)
    rows = list(measured(Embedded(model, spec.predict.batch_size), data))
    (folder / "scores.json").write_text(json.dumps(rows), encoding="utf-8")
    return {"metrics": len(rows), **model.notes}


class Embedded:
    """Features of a model by what they are of, each made once."""

    def __init__(self, model: Any, batch: int) -> None:
        self._model, self._batch = model, batch
        self._known: dict[tuple[str, str], Any] = {}

    def images(self, pairs: Sequence[Example]) -> Any:
        return self._all("image", [str(pair.image) for pair in pairs], self._model.embed_images)

    def texts(self, texts: Sequence[str]) -> Any:
        return self._all("text", texts, self._model.embed_texts)

    def _all(self, kind: str, items: Sequence[str], embed: Any) -> Any:
        new = [item for item in dict.fromkeys(items) if (kind, item) not in self._known]
        if new:
            rows = embed(new, self._batch).numpy()
            self._known |= {(kind, item): row for item, row in zip(new, rows, strict=True)}
        return np.stack([self._known[kind, item] for item in items])


def measured(features: Embedded, data: BenchmarkData) -> Iterator[dict[str, Any]]:
    """One row a metric, with the names of the paper."""
    forget = data.train("forget")
    retain = data.train("retain")
    sets = {
        "AssocStr": ("forget", forget),
        "InterIdSim": ("holdout_identity", data.train("holdout_identity")),
        "IntraIdSim": ("holdout_association", data.train("holdout_association")),
        "VisIdInt": ("retain", [pair for pair in retain if pair.fact == "joint"]),
        "FragSim": ("retain", [pair for pair in retain if pair.fact == "fragile"]),
    }
    for metric, (set_, pairs) in sets.items():
        if pairs:
            found = track.cosines(features.images(pairs), _said(features, pairs))
            yield _row(set_, metric, float(found.mean()), len(pairs))
    images, texts = features.images(forget), _said(features, forget)
    disjoint = [pair for pair in retain if pair.fact != "joint"]
    other = [*_drawn(forget, "forget"), *_drawn(disjoint, "retain")]
    said = [pair.answer for pair in forget]
    places = track.ranks(images, texts, features.texts(other), said, other)
    yield _row("forget", "RetFail R@1", float((places == 1).mean()), len(forget))
    yield _row("forget", "RetFail MRR", float((1 / places).mean()), len(forget))
    people = [pair.person for pair in forget]
    yield _row("forget", "ACS", track.coherence(images, texts, people, SEED), len(forget))
    yield from _of_names(features, data, forget)


def _of_names(
    features: Embedded, data: BenchmarkData, forget: Sequence[Example]
) -> Iterator[dict[str, Any]]:
    """IdZSC and CoreAssoc, from what is known of the people."""
    known = {person.id: person for person in data.people}
    held = {pair.person.partition("/")[0] for pair in data.train("holdout_association")}
    alone = [pair for pair in forget if pair.person not in held]
    ids = list(dict.fromkeys(pair.person for pair in alone))
    if len(ids) > 1:
        names = features.texts([f"a photo of {known[id_].name}" for id_ in ids])
        right = [ids.index(pair.person) for pair in alone]
        yield _row("forget", "IdZSC", track.named(features.images(alone), names, right), len(alone))
    told = [pair for pair in forget if pair.fact in known[pair.person].facts]
    if told:
        words = [(known[p.person].name, known[p.person].facts[p.fact]) for p in told]
        found = track.core(
            features.images(told),
            features.texts([f"{name} {value}" for name, value in words]),
            features.texts([f"{value} {name}" for name, value in words]),
        )
        yield _row("forget", "CoreAssoc", float(found.mean()), len(told))


def _said(features: Embedded, pairs: Sequence[Example]) -> Any:
    return features.texts([pair.answer for pair in pairs])


def _drawn(pairs: Sequence[Example], name: str) -> list[str]:
    chosen = stream(SEED, "distractors", name).permutation(len(pairs))[:DISTRACTORS]
    return [pairs[index].answer for index in chosen]


def _row(set_: str, metric: str, value: float, count: int) -> dict[str, Any]:
    return {
        "mode": set_,
        "modality": "image_to_text",
        "task": "retrieval",
        "metric": metric,
        "value": value,
        "n": count,
    }
