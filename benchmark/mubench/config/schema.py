"""Everything that can be set about a run, typed; unknown keys are refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mubench.types import Fold, ModelKind, Scope


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


class TargetTraining(Training):
    """``same_steps``: gold takes as many steps as the target, not as many epochs."""

    same_steps: bool = False


class Prediction(Settings):
    batch_size: int = Field(default=32, gt=0)
    max_new_tokens: int = Field(default=32, gt=0)
    track: Literal["strict", "paper"] = "strict"  # paper: MLLMU-Bench's own scoring as well


class Gate(Settings):
    """The target must beat the answer prior by this much on forget, or nothing is unlearned."""

    margin: float = Field(default=0.2, ge=-1, le=1)


class Probing(Settings):
    """What is tried beside the evaluation questions; see `mubench.probes`."""

    leakage: bool = False  # every path to a fact, and the target's components put back
    privacy: bool = False  # membership inference and memorisation
    recovery: bool = False  # of dual encoders: prototypes of few pictures, and relearning


class ModelSettings(Settings):
    """Where a model comes from. ``source``: package data, a hub id, or a local folder."""

    name: str
    title: str
    source: str
    kind: ModelKind = "mllm"
    revision: str | None = None
    gold: str | None = None  # where both were published: then the target is ``source`` as it is
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    benchmark: str
    parameters: float = Field(gt=0)  # for estimates of memory
    examples_per_second: float | None = None  # training speed, where measured (see `speed_note`)
    speed_note: str = ""


class BenchmarkSettings(Settings):
    """Common to all benchmarks: who is forgotten. Fold ``dev`` forgets others, for tuning."""

    name: str
    title: str
    forget_ratio: float = Field(ge=0, lt=1)
    fold: Fold = "test"
    scope: Scope = "identity"
    #: Sets of CLIP_benchmark for dual encoders, as utility: short names, owner/name, or folders.
    utility: tuple[str, ...] = ()
    #: The kinds of model that it asks.
    models: ClassVar[tuple[ModelKind, ...]] = ("mllm",)

    @property
    def is_published(self) -> bool:
        """Whether it is fetched, and not built here."""
        return False

    @model_validator(mode="after")
    def _associations_are_pairs(self) -> BenchmarkSettings:
        if self.scope == "association" and "clip" not in self.models:
            raise ValueError(f"{self.name} knows scope=identity only: it asks about whole people")
        if self.utility and "clip" not in self.models:
            raise ValueError(f"{self.name} has no utility sets: they are pairs for CLIP models")
        return self


class PopulationSettings(BenchmarkSettings):
    """People drawn and written on this machine."""

    fictitious: int = Field(default=60, ge=4)
    celebrities: int = Field(default=24, ge=0, le=153)
    holdout: int = Field(default=15, ge=0)  # people of the same kind whom nobody is trained on
    scenes: int = Field(default=24, ge=0)
    words: int = Field(default=24, ge=0)
    facts: tuple[str, ...] = ()  # empty: every kind there is
    image_size: int = Field(default=128, ge=48, le=336)
    seed: int = Field(default=0, ge=0)
    faces: Path | None = None  # a folder of the user's own pictures, one folder a person
    celebrity_faces: str | None = None  # a folder, or hub:owner/name[@revision]


class PeopleSettings(PopulationSettings):
    """Questions about them, with pictures and with names."""

    kind: Literal["people"]


class ClipPeopleSettings(PopulationSettings):
    """The same people as pairs of picture and caption. Scope ``association``: only the name is to
    go, and what else is known of the forget people has to stay."""

    kind: Literal["clip-people"]
    models: ClassVar[tuple[ModelKind, ...]] = ("clip",)


class ConceptSettings(BenchmarkSettings):
    """Classes of pictures, of which some are to go: drawn on this machine, or a published set."""

    kind: Literal["clip-concepts"]
    models: ClassVar[tuple[ModelKind, ...]] = ("clip",)
    scope: Literal["identity"] = "identity"
    classes: int = Field(gt=0)
    dataset: str | None = None  # a set in CLIP_benchmark's layout: owner/name on the Hub
    revision: str | None = None  # commit or tag on the Hub; the newest if left out
    data_dir: Path | None = None  # a copy of its files
    families: tuple[tuple[str, ...], ...] = ()  # classes that look alike, of a published set
    #: Of each class; of a published set, the first there are.
    train_pictures: int = Field(default=20, ge=1)
    test_pictures: int = Field(default=50, ge=1)
    scenes: int = Field(default=24, ge=0)
    words: int = Field(default=24, ge=0)
    image_size: int = Field(default=64, ge=48, le=336)  # of what is drawn
    seed: int = Field(default=0, ge=0)

    @property
    def is_published(self) -> bool:
        return self.dataset is not None


class PublishedSettings(BenchmarkSettings):
    """A published data set, from the Hugging Face Hub or from a local copy of its files."""

    kind: Literal["published"]
    dataset: str
    revision: str | None = None  # commit or tag on the Hub; the newest if left out
    data_dir: Path | None = None

    @property
    def is_published(self) -> bool:
        return True


class SalmuSettings(PublishedSettings):
    """SALMUBench: pairs of picture and caption, for its own pair of models."""

    kind: Literal["salmubench"]  # type: ignore[assignment]
    models: ClassVar[tuple[ModelKind, ...]] = ("clip",)


AnyBenchmark = (
    PeopleSettings | ClipPeopleSettings | ConceptSettings | PublishedSettings | SalmuSettings
)

BENCHMARKS: Mapping[str, type[BenchmarkSettings]] = {
    "people": PeopleSettings,
    "clip-people": ClipPeopleSettings,
    "clip-concepts": ConceptSettings,
    "published": PublishedSettings,
    "salmubench": SalmuSettings,
}


class MethodSettings(Settings):
    """The method's own configuration is validated by its ``Config`` class."""

    name: str
    target: str  # module:attribute, or file:attribute
    config: dict[str, Any]


class RunSpec(Settings):
    """A cell: (benchmark, model, method, seed), fully resolved."""

    benchmark: AnyBenchmark = Field(discriminator="kind")
    model: ModelSettings
    target: TargetTraining
    gate: Gate = Gate()
    method: MethodSettings
    predict: Prediction = Prediction()
    probe: Probing = Probing()
    seed: int = Field(default=0, ge=0)
    golds: int = Field(default=1, ge=1, le=20)  # gold models, each with random streams of its own
