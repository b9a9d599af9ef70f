"""What an unlearning method is: a class with ``info``, ``Config`` and ``unlearn``.

Method files import torch inside functions only, so that ``mubench list``, ``show`` and ``plan``
answer at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import numpy as np
from pydantic import Field, model_validator

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


Order = Literal["joint", "sequential", "alternating"]


class Budget(Settings):
    """Training stops cleanly once one of these is spent; None: no limit."""

    steps: int | None = Field(default=None, gt=0)
    minutes: float | None = Field(default=None, gt=0)  # since the method began
    peak_gb: float | None = Field(default=None, gt=0)  # of the GPU, else of the process


class LearningConfig(Training):
    """Shared by all methods that train. ``batch_size`` is what one micro-batch sees of forget."""

    scope: Literal["lora", "full"] = "lora"
    lora_r: int = Field(default=16, gt=0)
    lora_alpha: int = Field(default=16, gt=0)
    lr: float = Field(default=1e-4, gt=0, json_schema_extra={"around": 3})
    epochs: float = Field(default=1.0, gt=0, json_schema_extra={"among": (1, 2, 4)})
    batch_size: int = Field(default=16, gt=0)
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    modality: Literal["both", "image_text", "text"] = "both"
    budget: Budget = Budget()


class GradientConfig(LearningConfig):
    """Shared by all methods whose loss is minimised on the model itself.

    ``order`` says what a step sees. joint: a forget and a retain batch. sequential: an epoch of
    forget, then an epoch of retain, as in MLLMU-Bench's released code. alternating: after each
    forget step as many retain steps as the retain set is larger, as in MMUnlearner. Not given: the
    method's own, and alternating where a mask holds on forget steps only.

    ``mask`` lets only some weights change (methods/masks). It gates the base weights, so it needs
    ``scope=full``.
    """

    order: Order | None = None
    mask: Literal["wagle", "salun", "mmunlearner", "random", "magnitude"] | None = None
    mask_density: float | None = Field(default=None, gt=0, le=1)  # None: the mask's own
    mask_gamma: float = Field(default=1e-6, gt=0)  # gamma_H of WAGLE
    mask_threshold: Literal["global", "block"] = "global"

    @model_validator(mode="after")
    def _mask_needs_full_scope(self) -> GradientConfig:
        if self.mask and self.scope != "full":
            raise ValueError(
                f"mask={self.mask} gates the base weights, which LoRA does not train: "
                "add --set method.scope=full"
            )
        return self


class GradientMethod:
    """A loss on forget batches and one on retain batches, minimised by the one loop.

    Subclasses give ``forget_loss``, and ``retain_loss`` where it is not the cross-entropy.
    """

    info: ClassVar[MethodInfo]
    Config: ClassVar[type[LearningConfig]] = GradientConfig
    #: What of the model before unlearning the loss needs.
    reference: ClassVar[Literal["none", "scalar", "distribution", "hidden"]] = "none"
    order: ClassVar[Order] = "joint"
    #: The language layers that are trained; None for all of the scope.
    layers: Sequence[int] | None = None

    def __init__(self, config: Any) -> None:
        self.config = config
        self._reference_logp: dict[str, float] = {}

    @property
    def uses_retain(self) -> bool:
        return "retain" in self.info.needs and getattr(self.config, "alpha", 1) > 0

    def scope_options(self) -> dict[str, Any]:
        """What ``train_scope`` is told beside the scope."""
        config = self.config
        lora = {"r": config.lora_r, "lora_alpha": config.lora_alpha}
        return lora if config.scope == "lora" else {}

    def forget_loss(self, model: TrainableModel, batch: Batch) -> Tensor:
        """What is minimised on a forget batch."""
        raise NotImplementedError

    def retain_loss(self, model: TrainableModel, batch: Batch) -> Tensor:
        """What is minimised on a retain batch: the cross-entropy, unless a method says else."""
        return self.config.alpha * model.nll(batch)

    def terms(
        self, model: TrainableModel, forget: Batch | None, retain: Batch | None
    ) -> dict[str, Tensor]:
        """The loss terms of one step; their sum is minimised."""
        terms = {}
        if forget is not None:
            terms["forget"] = self.forget_loss(model, forget)
        if retain is not None:
            terms["retain"] = self.retain_loss(model, retain)
        return terms

    def answers(
        self, forget: Sequence[Example], data: UnlearnData, rng: np.random.Generator
    ) -> list[str]:
        """What the forget batch is paired with: the true answers, unless a method says else."""
        return [example.answer for example in forget]

    def forget_batch(
        self,
        model: TrainableModel,
        forget: Sequence[Example],
        data: UnlearnData,
        rng: np.random.Generator,
    ) -> Batch:
        return model.encode(forget, self.answers(forget, data, rng))

    def prepare(self, model: TrainableModel, data: UnlearnData, context: Context) -> None:
        """Learn from the target, before anything changes, what the loss needs of it."""
        if self.reference == "scalar":
            self.keep_reference(model, data.forget)

    def keep_reference(self, model: TrainableModel, examples: Sequence[Example]) -> None:
        """Remember log p of these answers under the model as it is now."""
        from . import loops

        found = loops.reference_logps(model, examples, self.config.batch_size)
        self._reference_logp |= found

    def reference_logp(self, batch: Batch) -> Tensor:
        """[B] log p of the answers before unlearning, computed once, keyed by the exact inputs."""
        return batch.labels.new_tensor(
            [self._reference_logp[key] for key in batch.keys], dtype=_float32()
        )

    def log_ratio(self, model: TrainableModel, batch: Batch) -> Tensor:
        """[B] log p of the answers now less that before unlearning, which is asked of the model
        where it depends on the batch and nothing was kept."""
        import torch

        if batch.keys:
            before = self.reference_logp(batch)
        else:
            with model.reference() as target, torch.no_grad():
                before = target.logp(batch)
        return model.logp(batch) - before

    def mean_nll(self, model: TrainableModel, examples: Sequence[Example]) -> float:
        """Mean cross-entropy per answer token under the model as it is now."""
        from . import loops

        return loops.mean_nll(model, examples, self.config.batch_size)

    def unlearn(self, model: TrainableModel, data: UnlearnData, context: Context) -> None:
        from . import budget, loops, masks

        config, log = self.config, context.log
        spent = budget.watch(config.budget, log)
        everything, data = data, self._fitting(data)
        self.prepare(model, data, context)
        parameters = model.train_scope(config.scope, layers=self.layers, **self.scope_options())
        log["scope"], log["trained"] = model.trained_pattern(), model.trained_modules()
        if self.reference != "none" and not self._reference_logp:
            model.freeze_copy()
        # What is learned beside the model (an assistant, a vector) knows neither mask nor order.
        wanted, order = getattr(config, "mask", None), getattr(config, "order", None)
        mask = masks.build(self, model, data, everything, context) if wanted else None
        order = order or ("alternating" if mask and mask.forget_only else self.order)
        settings = loops.LoopSettings.of(config, data.forget)
        phases = ["both"] * settings.steps
        if order != "joint" and self.uses_retain:
            phases = loops.phases(order, config, data.forget, data.retain)
        forgets = loops.epochs(data.forget, config.batch_size, context.generator("forget"))
        retains = loops.epochs(data.retain, config.batch_size, context.generator("retain epochs"))
        rng = context.generator("retain")
        partners = loops.partners(data.retain, config.batch_size, rng)

        def loss(step: int) -> dict[str, Tensor]:
            if phases[step] == "retain":
                return self.terms(model, None, model.encode(next(retains)))
            batch = next(forgets)
            forget = self.forget_batch(model, batch, data, rng)
            if phases[step] == "forget" or not self.uses_retain:
                return self.terms(model, forget, None)
            return self.terms(model, forget, model.encode(partners(batch)))

        def hold(step: int) -> AbstractContextManager[None]:
            free = mask is None or (mask.forget_only and phases[step] == "retain")
            return nullcontext() if free else mask.held()

        log["order"], log["losses"] = order, []
        loops.train(
            loss,
            model,
            parameters,
            replace(settings, steps=len(phases)),
            context.report,
            log=log["losses"],
            hold=hold,
            spent=spent,
        )

    def _fitting(self, data: UnlearnData) -> UnlearnData:
        """The examples of the modality that is asked for. RunError if some kind is missing."""
        wanted = self.config.modality
        forget = [example for example in data.forget if wanted in ("both", example.modality)]
        kinds = {example.modality for example in forget}
        retain = [example for example in data.retain if example.modality in kinds]
        if not forget or (self.uses_retain and {example.modality for example in retain} != kinds):
            raise RunError(f"{self.info.name} needs forget and retain examples of every modality")
        return replace(data, forget=forget, retain=retain)


def _float32() -> Any:
    from torch import float32

    return float32
