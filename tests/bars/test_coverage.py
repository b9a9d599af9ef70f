"""How often 95 % intervals hold the truth: clustered, unbalanced, from 40 to 1,000 items."""

from __future__ import annotations

import pytest

from stats.test_clustered import coverage

pytestmark = pytest.mark.bars

#: Items, people, share right, intraclass correlation.
DESIGNS = (
    (40, 8, 0.5, 0.3),
    (40, 15, 0.2, 0.2),
    (40, 20, 0.5, 0.2),
    (75, 15, 0.5, 0.4),
    (120, 30, 0.5, 0.2),
    (120, 30, 0.2, 0.1),
    (300, 60, 0.5, 0.4),
    (300, 60, 0.2, 0.2),
    (620, 100, 0.5, 0.2),
    (620, 100, 0.2, 0.4),
    (1000, 250, 0.5, 0.4),
    (1000, 250, 0.9, 0.2),
)


@pytest.mark.parametrize("kind", ["mean", "difference"])
@pytest.mark.parametrize("design", DESIGNS, ids=str)
def test_intervals_hold_the_truth_in_95_per_cent(design, kind):
    assert 0.935 <= coverage(*design, kind, 6000) <= 0.965
