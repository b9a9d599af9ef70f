"""Two-stage methods: learn what is to be forgotten into an adapter, then subtract the adapter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from .base import Context, GradientMethod, LearningConfig, UnlearnData

if TYPE_CHECKING:
    from mubench.models.protocols import TrainableModel


class NegatedVector(GradientMethod):
    """theta = theta_target - scale * (theta_learned - theta_target).

    ``scale`` enters after ``learn`` alone: the runner keeps the learned adapter as a stage of its
    own, so that a sweep over the scale trains once.
    """

    class Config(LearningConfig):
        scope: Literal["lora"] = "lora"
        scale: float = Field(default=1.0, ge=0, json_schema_extra={"around": 3})

    def learn(self, model: TrainableModel, data: UnlearnData, context: Context) -> None:
        """The first stage: train the adapter that is to be subtracted."""
        super().unlearn(model, data, context)

    def unlearn(self, model: TrainableModel, data: UnlearnData, context: Context) -> None:
        self.learn(model, data, context)
        model.scale_adapter(-self.config.scale)
