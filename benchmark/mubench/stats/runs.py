"""Intervals over repeated runs, e.g. seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import mean, stdev

from scipy import special  # type: ignore[import-untyped,unused-ignore]

from mubench.types import Estimate


def over_runs(values: Sequence[float]) -> Estimate:
    """The mean of independent runs with its 95 % t interval; one run has no interval.

    Three runs have two degrees of freedom: the half width is 2.5 standard deviations.
    """
    middle = mean(values)
    if len(values) < 2:
        return Estimate(middle)
    half = float(special.stdtrit(len(values) - 1, 0.975)) * stdev(values) / math.sqrt(len(values))
    return Estimate(middle, middle - half, middle + half)
