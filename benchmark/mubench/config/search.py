"""What of a method is tuned: fields of its Config that say how values are drawn for them.

``Field(..., json_schema_extra={"log": (0.1, 10)})``: log-uniform between the two.
``{"around": 3}``: log-uniform from the model's own setting / 3 to it * 3, for what depends on the
model's size, e.g. learning rates. ``{"among": (1, 2, 4)}``: one of these, each as likely.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel

Space = Mapping[str, tuple[str, Any]]  # field: how, and its numbers


def space(config: type[BaseModel]) -> Space:
    """The fields that declare how they are drawn."""
    found = {}
    for name, field in config.model_fields.items():
        extra = field.json_schema_extra
        for how in _DRAWS:
            if isinstance(extra, Mapping) and how in extra:
                found[name] = (how, extra[how])
    return found


def draw(how: str, numbers: Any, own: Any, rng: np.random.Generator) -> Any:
    """A value; ``own`` is what the model would use. Two digits: more say nothing in a default."""
    return _DRAWS[how](numbers, own, rng)


def _log(ends: Sequence[float], own: Any, rng: np.random.Generator) -> float:
    low, high = map(math.log, ends)
    return float(f"{math.exp(rng.uniform(low, high)):.1e}")


def _around(factor: float, own: float, rng: np.random.Generator) -> float:
    return _log((own / factor, own * factor), own, rng)


def _among(values: Sequence[Any], own: Any, rng: np.random.Generator) -> Any:
    return values[int(rng.integers(len(values)))]


_DRAWS: Mapping[str, Callable[[Any, Any, np.random.Generator], Any]] = {
    "log": _log,
    "around": _around,
    "among": _among,
}
