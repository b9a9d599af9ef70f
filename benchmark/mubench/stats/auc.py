"""How well a score tells two pools of people apart: the area under the ROC curve, with intervals.

AUC is the probability that an item of the first pool scores higher than one of the second; a tie
counts half (Hanley and McNeil 1982, Radiology 143). 0.5 says nothing, and values below 0.5 tell the
pools apart as well as those above. People are resampled within each pool, with all their items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mubench.types import Estimate

from .bootstrap import MIN_PERSONS, TINY, Floats, Values, expanded, unanimous


@dataclass(frozen=True, slots=True)
class Pools:
    """One score for every item of either pool."""

    members: Values
    others: Values


class TwoPools:
    """One set of resampled people of two pools, shared by every score of the same items.

    ``members[i]`` is the person of item ``i`` of the first pool, ``others[i]`` of the second.
    """

    def __init__(
        self,
        members: Sequence[str],
        others: Sequence[str],
        rng: np.random.Generator,
        draws: int = 2000,
    ) -> None:
        if not members or not others:
            raise ValueError("an AUC needs items in both pools")
        self._people: list[Floats] = []  # [items, people] who an item is about, by pool
        self._drawn = []
        for names in (members, others):
            found, person = np.unique(np.asarray(names, dtype=str), return_inverse=True)
            count = len(found)
            self._people.append(np.eye(count)[person])
            self._drawn.append(rng.multinomial(count, [1 / count] * count, draws))
        #: People of the smaller pool: it decides how much is known.
        self.persons = min(of.shape[1] for of in self._people)
        self._pairs = self._drawn_sums(self._by_person(np.ones((len(members), len(others)))))

    def auc(self, scores: Pools) -> Estimate:
        """The AUC in [0, 1] with its 95 % interval; None below ``MIN_PERSONS`` people a pool."""
        value, draws = self._auc(scores)
        return self._estimate(value, draws, 0.0, 1.0)

    def difference(self, a: Pools, b: Pools) -> Estimate:
        """AUC of ``a`` minus AUC of ``b``, on the same items."""
        (one, draws), (other, other_draws) = self._auc(a), self._auc(b)
        return self._estimate(one - other, draws - other_draws, -1.0, 1.0)

    def privleak(self, scores: Pools, gold: Pools) -> Estimate | None:
        """PrivLeak in percent (Shi et al. 2024, MUSE, arXiv:2407.06460): 0 as private as gold.

        100 (A - A_gold) / A_gold with A = 1 - AUC: below 0 members are still recognised, above 0
        they are given away by what was removed. None where gold's A is 0: there is no scale then.
        """
        (value, draws), (base, base_draws) = self._auc(scores), self._auc(gold)
        if 1 - base < TINY:
            return None
        found = 100 * (base - value) / (1 - base)
        if self.persons < MIN_PERSONS or np.any(1 - base_draws < TINY):
            return Estimate(found)
        drawn = 100 * (base_draws - draws) / (1 - base_draws)
        if np.ptp(drawn) < TINY:
            return Estimate(found)
        return expanded(found, drawn, self.persons)

    def _auc(self, scores: Pools) -> tuple[float, Floats]:
        members, others = (
            np.asarray(values, dtype=np.float64) for values in (scores.members, scores.others)
        )
        sizes = tuple(map(len, self._people))
        if (len(members), len(others)) != sizes:
            raise ValueError(f"{len(members)} and {len(others)} scores for {sizes} items")
        if np.isnan(members).any() or np.isnan(others).any():
            raise ValueError("a score is not a number")
        above = members[:, None] > others
        wins = self._by_person(above + 0.5 * (members[:, None] == others))
        value = float(wins.sum() / (sizes[0] * sizes[1]))
        return value, self._drawn_sums(wins) / self._pairs

    def _by_person(self, pairs: Floats) -> Floats:
        """[people, people] sums of an [items, items] table."""
        members, others = self._people
        found: Floats = members.T @ pairs @ others
        return found

    def _drawn_sums(self, table: Floats) -> Floats:
        """The sum of a [people, people] table in every draw."""
        members, others = self._drawn
        sums: Floats = ((members @ table) * others).sum(1)
        return sums

    def _estimate(self, value: float, draws: Floats, least: float, most: float) -> Estimate:
        if self.persons < MIN_PERSONS:
            return Estimate(value)
        if np.ptp(draws) < TINY:
            return unanimous(value, least, most, self.persons)
        return expanded(value, draws, self.persons)
