"""What an unlearning method is: a class with ``info``, ``Config`` and ``unlearn``.

Method files import torch inside functions only, so that ``mubench list``, ``show`` and ``plan``
answer at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import numpy as np
from pydantic import Field

from mubench.config.schema import Settings, Training
from mubench.errors import RunError
from mubench.rng import stream
from mubench.types import Example, MethodInfo

if TYPE_CHECKING:
    from torch import Tensor

    from mubench.models.protocols import Batch, TrainableModel


@dataclass(frozen=True, slots=True)
class UnlearnData:
    """What a method may learn from: training examples of both sets, and refusal sentences."""

    forget: Sequence[Example]
    retain: Sequence[Example]
    refusals: Sequence[str] = ()


@dataclass(slots=True)
class Context:
    """Seed, progress and log of one unlearning run."""

    seed: int
    report: Callable[[int, int, str], None] = lambda *_: None
    log: dict[str, Any] = field(default_factory=dict)

    def generator(self, name: str) -> np.random.Generator:
        """A named random stream; the same name gives the same draws under the same seed."""
        return stream(self.seed, "method", name)


class Method(Protocol):
    """One instance is one run of the method with its validated ``config``."""

    info: ClassVar[MethodInfo]
    Config: ClassVar[type[Settings]]

    def __init__(self, config: Any) -> None: ...
    def unlearn(self, model: TrainableModel, data: UnlearnData, context: Context) -> None:
        """Change ``model`` in place; the runner saves what changed."""
        ...


class GradientConfig(Training):
    """Shared by all gradient methods. ``batch_size`` is what one micro-batch sees of forget."""

    scope: Literal["lora", "full"] = "lora"
    lora_r: int = Field(default=16, gt=0)
    lora_alpha: int = Field(default=16, gt=0)
    lr: float = Field(default=1e-4, gt=0)
    epochs: float = Field(default=1.0, gt=0)
    batch_size: int = Field(default=16, gt=0)
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    modality: Literal["both", "image_text", "text"] = "both"


class GradientMethod:
    """A loss on forget and retain batches, minimised by the one loop.

    Subclasses give ``terms``. Each step pairs a forget batch with as many random retain examples
    of the same modality (open-unlearning's anchoring on forget).
    """

    info: ClassVar[MethodInfo]
    Config: ClassVar[type[GradientConfig]] = GradientConfig
    #: What of the model before unlearning the loss needs.
    reference: ClassVar[Literal["none", "scalar", "distribution"]] = "none"

    def __init__(self, config: Any) -> None:
        self.config = config
        self._reference_logp: dict[str, float] = {}

    def terms(self, model: TrainableModel, forget: Batch, retain: Batch) -> dict[str, Tensor]:
        """Named loss terms; their sum is minimised."""
        raise NotImplementedError

    def answers(
        self, forget: Sequence[Example], data: UnlearnData, rng: np.random.Generator
    ) -> list[str]:
        """What the forget batch is paired with: the true answers, unless a method says else."""
        return [example.answer for example in forget]

    def reference_logp(self, batch: Batch) -> Tensor:
        """[B] log p of the answers before unlearning, computed once, keyed by the exact inputs."""
        return batch.labels.new_tensor(
            [self._reference_logp[key] for key in batch.keys], dtype=_float32()
        )

    def unlearn(self, model: TrainableModel, data: UnlearnData, context: Context) -> None:
        from . import loops

        config = self.config
        forget = _of_modality(data.forget, config.modality)
        retain = {
            modality: [example for example in data.retain if example.modality == modality]
            for modality in {example.modality for example in forget}
        }
        if not forget or not all(retain.values()):
            raise RunError(f"{self.info.name} needs forget and retain examples of every modality")
        if self.reference == "scalar":
            self._reference_logp = loops.reference_logps(model, forget, config.batch_size)
        options = {"r": config.lora_r, "lora_alpha": config.lora_alpha}
        parameters = model.train_scope(config.scope, **(options if config.scope == "lora" else {}))
        if self.reference == "distribution":
            model.freeze_copy()
        source = loops.epochs(forget, config.batch_size, context.generator("forget"))
        rng = context.generator("retain")

        def loss(_: int) -> dict[str, Tensor]:
            batch = next(source)
            pool = retain[batch[0].modality]
            paired = [pool[index] for index in rng.integers(len(pool), size=len(batch))]
            return self.terms(
                model,
                model.encode(batch, self.answers(batch, data, rng)),
                model.encode(paired),
            )

        settings = loops.LoopSettings.of(config, forget)
        context.log["trained"] = model.trained_modules()
        context.log["losses"] = loops.train(loss, model, parameters, settings, context.report)


def _of_modality(examples: Sequence[Example], modality: str) -> list[Example]:
    return [example for example in examples if modality in ("both", example.modality)]


def _float32() -> Any:
    from torch import float32

    return float32
