"""What DPO-like methods share: other answers are preferred to the true one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from mubench.types import Example

from .base import Context, GradientConfig, GradientMethod, UnlearnData

if TYPE_CHECKING:
    from torch import Tensor

    from mubench.models.protocols import Batch, TrainableModel


class Preference(GradientMethod):
    """DPO's loss (arXiv:2305.18290, eq. 7) with the target as reference.

    Subclasses give ``preferred``: a fixed choice of answers an example, which come in turn, so that
    the reference needs one pass over them and no second model.
    """

    reference = "scalar"

    class Config(GradientConfig):
        beta: float = Field(default=0.1, gt=0, json_schema_extra={"log": (0.05, 2)})
        alpha: float = Field(default=1.0, ge=0)

    def preferred(self, data: UnlearnData, context: Context) -> Mapping[str, Sequence[Example]]:
        """Copies of every forget example with the answers to prefer, by the example's id."""
        raise NotImplementedError

    def prepare(self, model: TrainableModel, data: UnlearnData, context: Context) -> None:
        preferred = self.preferred(data, context)
        wanted = [example for many in preferred.values() for example in many]
        self.keep_reference(model, [*data.forget, *wanted])
        self._next: dict[str, Iterator[Example]] = {id_: cycle(m) for id_, m in preferred.items()}

    def forget_batch(
        self,
        model: TrainableModel,
        forget: Sequence[Example],
        data: UnlearnData,
        rng: np.random.Generator,
    ) -> Batch:
        """Twice as many rows: the preferred answers, then the true ones."""
        return model.encode([*(next(self._next[example.id]) for example in forget), *forget])

    def forget_loss(self, model: TrainableModel, batch: Batch) -> Tensor:
        from torch.nn.functional import logsigmoid

        beta = self.config.beta
        won, lost = self.log_ratio(model, batch).chunk(2)
        return -(2 / beta) * logsigmoid(beta * (won - lost)).mean()
