"""From answers to everything that is said about a run. Pure: no files, no model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mubench.errors import RunError
from mubench.metrics.forget_quality import forget_quality
from mubench.metrics.health import signals
from mubench.metrics.labels import label
from mubench.metrics.scoring import ItemScore, build_cells, collapse_warnings, score
from mubench.record import Assessment
from mubench.types import Example, Response


def item_scores(
    examples: Sequence[Example], responses: Mapping[str, Response]
) -> dict[str, ItemScore]:
    """The scores of every example. RunError if one has no response."""
    missing = [example.id for example in examples if example.id not in responses]
    if missing:
        raise RunError(f"{len(missing)} responses are missing, the first is {missing[0]}")
    return {example.id: score(example, responses[example.id]) for example in examples}


def assess(
    examples: Sequence[Example],
    responses: Mapping[str, Mapping[str, Response]],
    scores: Mapping[str, Mapping[str, ItemScore]],
    prior: Mapping[str, float],
    seed: int,
) -> Assessment:
    """Cells, label, signals and forget quality. ``responses`` and ``scores`` (of ``item_scores``)
    are by role, target, method, gold and further golds, and by example."""
    cells = build_cells(examples, scores, prior, seed)
    ordered = sorted(examples, key=lambda example: example.id)
    found = signals(ordered, responses)
    return Assessment(
        cells=cells,
        label=label(cells, found),
        signals=found,
        forget_quality=forget_quality(ordered, scores),
        warnings=collapse_warnings(cells),
    )
