"""What methods and the runner see of a model. Families are never named outside adapters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from mubench.types import Candidate, Capability, Example, Response

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from .encoding import Picture

Tower = Literal["vision", "language"]
Side = Literal["image", "text"]  # the towers of a dual encoder
Scope = Literal["lora", "full", "rows"]
DeltaKind = Literal["none", "lora", "full", "neurons", "rows", "behaviour", "tensors"]


@dataclass(frozen=True, slots=True)
class Batch:
    """Encoded examples of one modality, right-padded.

    ``inputs``: the whole processor output. ``labels`` [B, T]: the answer and its end token, -100
    elsewhere. ``keys``: one hash of the exact inputs per row, for caches of reference values.
    """

    inputs: Mapping[str, Tensor]
    labels: Tensor
    keys: tuple[str, ...]

    @property
    def lengths(self) -> Tensor:
        """[B] number of answer tokens, end token included."""
        return (self.labels != -100).sum(1)


@dataclass(frozen=True, slots=True)
class PairBatch:
    """Images with their captions, for a dual encoder.

    ``images`` [B, C, H, W], ``texts`` [B, T] token ids. ``names`` [B]: the number of what a caption
    says; images and captions of equal numbers are right for each other. ``keys`` is empty: how
    likely a pair is depends on the batch it is in, so nothing of a row may be kept for later.
    """

    images: Tensor
    texts: Tensor
    names: Tensor
    keys: tuple[str, ...] = ()

    @property
    def lengths(self) -> Tensor:
        """[B] choices a row makes: one, its caption."""
        return self.names.new_ones(len(self.names))

    def match(self) -> Tensor:
        """[B, B] whether image i and caption j are right for each other."""
        return self.names[:, None] == self.names


@dataclass(frozen=True, slots=True)
class Neurons:
    """The hidden units of one MLP block, by module name: inputs of ``down``, outputs of ``up``.

    Silencing unit i zeroes row i of each ``up`` (and its bias) and column i of ``down``.
    """

    name: str
    tower: Tower
    layer: int
    count: int
    down: str
    up: tuple[str, ...]


Units = Mapping[str, Sequence[int]]  # module name: indices


class Behaviour(Protocol):
    """What an inference-time method adds to a model instead of changing its weights.

    ``attach`` puts it into one freshly loaded model, where every way of asking passes:

    * before the prompt: around the chat template that the model's ``encoder`` renders with;
    * on the logits: a hook of the Hugging Face model, so that whoever calls ``model(**inputs)`` or
      ``generate`` gets changed logits. Extra keys and values live in the caller's own cache, as
      further layers: what reorders, repeats or crops the cache treats them alike;
    * on the decoded text: around ``answers``.

    ``settings`` are JSON; with the files of ``save`` they are all there is to it.
    """

    kind: ClassVar[str]

    @property
    def settings(self) -> dict[str, Any]: ...
    def attach(self, model: Any) -> None: ...
    def scorer(self, base: Any) -> Scorer:
        """How the evaluation engine reads with the ``transformers`` model it is attached to."""
        ...

    def save(self, folder: Path) -> None: ...
    def digest(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Step:
    """Tokens that a model reads next, in B rows of T, after S tokens it has read before.

    ``positions``: [B, T], or [axes, B, T] where positions have several axes. ``visible``: [B, S+T]
    marks what is no padding (attention is causal), or [B, T, S+T] says what each token may see.
    ``pictures``: those whose tokens stand in this step, in their order. ``ask``: rows and columns
    of the tokens after which logits are wanted. ``crossed``: for models with cross attention, by
    input name, what of the pictures each token attends to [B, T, pictures, tiles].
    """

    ids: Tensor
    positions: Tensor
    visible: Tensor
    ask: tuple[Tensor, Tensor]
    pictures: Sequence[Picture] = ()
    crossed: Mapping[str, Tensor] = field(default_factory=dict)


class Scorer(Protocol):
    """What the evaluation engine asks of a model: the one seam for methods that act on logits.

    A memory holds what was read (a key-value cache) and belongs to the scorer alone: one that
    combines two models keeps a pair of memories, or one with the layers of both, reads the step
    with both, and combines logits.
    Log-probabilities, free generation and every batch layout follow from these three calls.
    """

    def read(self, memory: Any, step: Step) -> tuple[Tensor, Any]:
        """Float32 logits [N, V] at the N asked places, and the memory with the step appended.
        ``memory`` is None at the start; the one given is spent, but for ``cut``."""
        ...

    def rows(self, memory: Any, index: Tensor) -> Any:
        """A memory of its own, of the rows ``index`` [B'] (any may come more than once)."""
        ...

    def cut(self, memory: Any, length: int) -> Any:
        """The memory with only its first ``length`` tokens."""
        ...


class TrainableModel(Protocol):
    """A loaded model as unlearning methods see it.

    Log-probabilities are natural, summed over the answer's tokens including the end token.
    """

    capabilities: frozenset[Capability]

    def encode(
        self, examples: Sequence[Example], answers: Sequence[str] | None = None
    ) -> Batch: ...
    def logp(self, batch: Batch) -> Tensor: ...  # [B]
    def nll(self, batch: Batch) -> Tensor: ...  # scalar: mean over all answer tokens
    def log_dist(self, batch: Batch) -> Tensor: ...  # [answer tokens, vocabulary]
    def hidden(self, batch: Batch, layer: int) -> Tensor: ...  # [answer tokens, width]
    def nll_and_hidden(self, batch: Batch, layer: int) -> tuple[Tensor, Tensor]: ...  # of one pass
    def depth(self) -> int: ...  # layers of the language model
    def reference(self) -> AbstractContextManager[TrainableModel]: ...
    def train_scope(
        self, scope: Scope, *, layers: Sequence[int] | None = None, **options: Any
    ) -> list[torch.nn.Parameter]: ...
    def trained_modules(self) -> list[str]: ...
    def trained_pattern(self) -> str: ...
    def freeze_copy(self) -> None: ...
    def first_layers(self, count: int) -> TrainableModel: ...
    def scale_adapter(self, factor: float) -> None: ...
    def add(self, behaviour: Behaviour) -> None: ...
    def neurons(self) -> list[Neurons]: ...
    def patches(self, activations: Tensor, batch: Batch) -> list[Tensor]: ...
    def module(self, name: str) -> torch.nn.Module: ...
    def zero(self, *, rows: Units, columns: Units) -> None: ...
    def respond(self, examples: Sequence[Example], *, max_new_tokens: int) -> list[Response]: ...
    def answers(
        self, units: Sequence[Sequence[Example]], *, max_new_tokens: int, batch: int, start: int = 0
    ) -> Iterator[list[Response]]: ...
    def save_delta(self, folder: Path) -> DeltaKind: ...
    def load_delta(self, folder: Path) -> None: ...
    def save(self, folder: Path) -> None: ...
    def fingerprint(self) -> str: ...


class DualEncoder(Protocol):
    """A loaded CLIP model as unlearning methods see it.

    A pair is an ``Example`` of task ``pair`` with an image and the caption as its answer;
    ``keyword`` is what the caption says of the image (a name, a city, a class), by which captions
    match. Likelihoods are natural and among the pairs of the batch (``models/contrastive.py``).
    Where names are those of ``TrainableModel``, so is the meaning, and methods that use no others
    fit both.
    """

    capabilities: frozenset[Capability]
    model: Any  # the torch module; its parameters' names are those of ``module`` and of deltas

    def encode(
        self, examples: Sequence[Example], answers: Sequence[str] | None = None
    ) -> PairBatch:
        """A given answer that is not the example's own matches equal ones alone."""
        ...

    def image_features(self, batch: PairBatch) -> Tensor: ...  # [B, D], of length 1
    def text_features(self, batch: PairBatch) -> Tensor: ...  # [B, D], of length 1
    def logit_scale(self) -> Tensor: ...  # scalar, as logits are multiplied by it
    def logits(self, batch: PairBatch) -> Tensor: ...  # [B, B]
    def log_dist(self, batch: PairBatch) -> Tensor: ...  # [2B, B]: of texts, then of images
    def logp(self, batch: PairBatch) -> Tensor: ...  # [B]
    def nll(self, batch: PairBatch) -> Tensor: ...  # scalar: symmetric InfoNCE
    def project(self, tower: Side, matrix: Tensor) -> None:
        """Multiply the features of a tower, before normalisation, by a [D, D] matrix from the
        right: its final map W [width, D] becomes W @ matrix. UsageError if it has no such map."""
        ...

    def train_scope(
        self,
        scope: Scope,
        *,
        layers: Sequence[int] | None = None,
        towers: Sequence[Side] = ("image", "text"),
        **options: Any,
    ) -> list[torch.nn.Parameter]:
        """``full``: all weights of the towers; ``lora``: adapters on their blocks. The logit scale
        is never trained by a method."""
        ...

    def trained_modules(self) -> list[str]: ...
    def trained_pattern(self) -> str: ...
    def freeze_copy(self) -> None: ...
    def reference(self) -> AbstractContextManager[DualEncoder]: ...
    def scale_adapter(self, factor: float) -> None:
        """Multiply all that changed since loading, adapter or weights, by ``factor``."""
        ...

    def module(self, name: str) -> torch.nn.Module: ...
    def answers(
        self, units: Sequence[Sequence[Example]], *, max_new_tokens: int, batch: int, start: int = 0
    ) -> Iterator[list[Response]]: ...
    def save_delta(self, folder: Path) -> DeltaKind:
        """All that differs from the loaded model, whoever changed it: the adapter, or the changed
        tensors by name (kind ``tensors``). ``delta.json`` holds a ``scale``, 1 unless changed,
        by which ``load_delta`` multiplies the difference (models/load.py, scaled_delta)."""
        ...

    def load_delta(self, folder: Path) -> None: ...
    def save(self, folder: Path) -> None: ...
    def fingerprint(self) -> str: ...


#: Returns the picture with this id as RGB.
Images = Callable[[str], Any]
#: Returns the candidates of the gallery with this name.
Gallery = Callable[[str], Sequence[Candidate]]
