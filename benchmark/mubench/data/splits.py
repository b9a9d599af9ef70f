"""Who is forgotten: forget people by ratio and fold, on one and the same population.

A built benchmark stores one ``order``: any ratio takes its beginning, so splits are nested. The
``dev`` fold, for tuning, takes its end: other people, of the same kind. Published benchmarks store
one list a ratio, and their dev fold is drawn from the people whom no list names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mubench.errors import UsageError
from mubench.rng import stream
from mubench.types import Fold

#: MLLMU-Bench's ratios, which every report of a population gives.
RATIOS = (0.05, 0.10, 0.15)

Splits = Mapping[str, Sequence[str]]


def forget_count(ratio: float, people: int) -> int:
    """How many of the people a ratio means."""
    return round(ratio * people)


def ratio_key(ratio: float) -> str:
    """The name of a published list, e.g. ``0.05``."""
    return f"{ratio:g}"


def forget_people(splits: Splits, people: Sequence[str], ratio: float, fold: Fold) -> list[str]:
    """Ids of the people to forget, in the order of the split.

    ``people``: all trained fictitious people. UsageError for a ratio that cannot be had.
    """
    if "order" in splits:
        order, count = splits["order"], forget_count(ratio, len(people))
        check_count(count, len(people), len(order), ratio, fold)
        return list(order[:count] if fold == "test" else order[len(order) - count :])
    if ratio_key(ratio) not in splits:
        raise UsageError(
            f"benchmark.forget_ratio={ratio_key(ratio)} is not published: "
            f"there is {', '.join(splits)}"
        )
    listed = list(splits[ratio_key(ratio)])
    if fold == "test":
        return listed
    named = {id_ for ids in splits.values() for id_ in ids}
    others = [id_ for id_ in people if id_ not in named]
    check_count(len(listed), len(people), len(others) // 2, ratio, fold)
    return [others[index] for index in stream(0, "dev").permutation(len(others))[: len(listed)]]


def check_count(count: int, people: int, most: int, ratio: float, fold: Fold) -> None:
    """UsageError unless ``count`` of ``people`` is somebody and at most ``most``."""
    if count < 1:
        raise UsageError(
            f"the forget set is empty: benchmark.forget_ratio={ratio:g} of {people} people is "
            f"nobody; raise it to at least {1 / people:.3f}"
        )
    if count > most:
        raise UsageError(
            f"benchmark.forget_ratio={ratio:g} of {people} people is {count}, but at most {most} "
            f"can be forgotten (fold {fold}): the others carry held-out wordings and comparisons; "
            f"lower it to {most / people:.3f}"
        )
