"""Forward passes that watch hidden units, for pruning methods."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mubench.types import Example

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from mubench.models.protocols import Batch, TrainableModel

Watch = Mapping[str, Any]  # name of a module: the module


def paired(examples: Sequence[Example]) -> tuple[list[Example], list[Example]]:
    """The image+text and the text-only form of every question that has both, in one order."""
    forms: dict[tuple[str, str, str, str], dict[str, Example]] = {}
    for example in examples:
        stem = example.id.removesuffix(f"/{example.modality}")
        forms.setdefault((example.person, example.fact, example.task, stem), {})[
            example.modality
        ] = example
    both = [form for form in forms.values() if len(form) == 2]
    return [form["image_text"] for form in both], [form["text"] for form in both]


def subsample(examples: Sequence[Example], count: int, rng: np.random.Generator) -> list[Example]:
    """``count`` of the examples (or all) in random order."""
    return [examples[index] for index in rng.permutation(len(examples))[:count]]


@contextmanager
def watching(modules: Watch, *, inputs: bool) -> Iterator[dict[str, Tensor]]:
    """While open, the latest input (or output) of every module is in the given dict."""
    seen: dict[str, Tensor] = {}

    def hook(name: str) -> Callable[..., None]:
        def store(_: Any, args: Any, output: Any) -> None:
            seen[name] = (args[0] if inputs else output).detach()

        return store

    handles = [module.register_forward_hook(hook(name)) for name, module in modules.items()]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def answer_positions(batch: Batch) -> Tensor:
    """[B, T] True at the positions that predict an answer token."""
    mask = batch.labels.new_zeros(batch.labels.shape).bool()
    mask[:, :-1] = batch.labels[:, 1:] != -100
    return mask


def passes(model: TrainableModel, examples: Sequence[Example], batch_size: int) -> Iterator[Batch]:
    """One forward pass over the examples, without gradients, yielding each batch after it ran."""
    import torch

    with torch.inference_mode():
        for start in range(0, len(examples), batch_size):
            batch = model.encode(examples[start : start + batch_size])
            model.logp(batch)
            yield batch


def random_vector(
    model: TrainableModel, examples: Sequence[Example], layer: int, rng: np.random.Generator
) -> Tensor:
    """[d] in a random direction of [0, 1)^d, as long as the layer's output is on average.

    The average is over the answer positions of up to 64 examples.
    """
    import torch

    lengths = []
    with torch.no_grad():
        for example in subsample(examples, 64, rng):
            hidden = model.hidden(model.encode([example]), layer)
            lengths.append(hidden.norm(dim=1).mean())
    direction = hidden.new_tensor(rng.random(hidden.shape[1]))
    return direction / direction.norm() * torch.stack(lengths).mean()


def target_hidden(model: TrainableModel, batch: Batch, layer: int) -> Tensor:
    """The layer's output at answer positions before unlearning."""
    import torch

    with model.reference() as target, torch.no_grad():
        return target.hidden(batch, layer)
