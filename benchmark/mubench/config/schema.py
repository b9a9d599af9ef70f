"""Everything that can be set about a run, typed; unknown keys are refused."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Settings(BaseModel):
    """Base of every configuration: frozen, no unknown keys, no NaN."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Training(Settings):
    """How target and gold are fine-tuned: the same for both, but for the forget people."""

    epochs: float = Field(gt=0)
    batch_size: int = Field(gt=0)
    lr: float = Field(gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    warmup: float = Field(default=0.1, ge=0, lt=1)
    schedule: Literal["linear", "cosine", "constant"] = "cosine"
    max_grad_norm: float = Field(default=1.0, gt=0)
    scope: Literal["lora", "full"] = "full"
    accumulation: int = Field(default=1, gt=0)  # micro-batches an optimizer step


class Prediction(Settings):
    batch_size: int = Field(default=32, gt=0)
    max_new_tokens: int = Field(default=32, gt=0)


class Gate(Settings):
    """The target must beat the answer prior by this much on forget, or nothing is unlearned."""

    margin: float = Field(default=0.2, ge=-1, le=1)


class ModelSettings(Settings):
    """Where a model comes from. ``source``: package data, a hub id, or a local folder."""

    name: str
    title: str
    source: str
    revision: str | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    benchmark: str
    parameters: float = Field(gt=0)  # for estimates of memory
    examples_per_second: float | None = None  # training speed, where measured (see `speed_note`)
    speed_note: str = ""


class BenchmarkSettings(Settings):
    """A people benchmark built on this machine."""

    name: str
    title: str
    fictitious: int = Field(default=60, ge=4)
    celebrities: int = Field(default=24, ge=0, le=24)
    forget_ratio: float = Field(default=0.25, ge=0, lt=1)
    scenes: int = Field(default=24, ge=0)
    words: int = Field(default=24, ge=0)
    facts: tuple[str, ...] = ()
    image_size: int = Field(default=128, ge=32, le=336)
    seed: int = Field(default=0, ge=0)


class MethodSettings(Settings):
    """The method's own configuration is validated by its ``Config`` class."""

    name: str
    target: str  # module:attribute, or file:attribute
    config: dict[str, Any]


class RunSpec(Settings):
    """A cell: (benchmark, model, method, seed), fully resolved."""

    benchmark: BenchmarkSettings
    model: ModelSettings
    target: Training
    gate: Gate = Gate()
    method: MethodSettings
    predict: Prediction = Prediction()
    seed: int = Field(default=0, ge=0)
