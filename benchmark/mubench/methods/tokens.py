"""Answer tokens of a batch, one after the other: the rows of ``log_dist``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from mubench.models.protocols import Batch, TrainableModel


def tokens(batch: Batch) -> Tensor:
    """[N] ids of the answer tokens."""
    return batch.labels[batch.labels != -100]


def places(batch: Batch) -> Tensor:
    """[N] place of every answer token in its answer, from 0."""
    inside = batch.labels != -100
    return inside.cumsum(1)[inside] - 1


def token_logp(model: TrainableModel, batch: Batch) -> Tensor:
    """[N] log-probability of every answer token."""
    return of_tokens(model.log_dist(batch), batch)


def of_tokens(log_dist: Tensor, batch: Batch) -> Tensor:
    """[N] what [N, V] log-probabilities say of the answer tokens."""
    return log_dist.gather(1, tokens(batch)[:, None]).squeeze(1)


def kl_from_target(model: TrainableModel, batch: Batch) -> Tensor:
    """Mean over the rows of ``log_dist`` of KL(p_target || p): prompt and image positions do not
    enter; of a dual encoder the rows are those of both directions."""
    wanted = target_log_dist(model, batch)
    return kl(wanted, model.log_dist(batch))


def target_log_dist(model: TrainableModel, batch: Batch) -> Tensor:
    """``log_dist`` before unlearning, without gradients."""
    import torch

    with model.reference() as target, torch.no_grad():
        return target.log_dist(batch)


def kl(wanted: Tensor, found: Tensor) -> Tensor:
    """Mean KL(wanted || found) in nats of [N, V] log-probabilities."""
    import torch

    each = torch.nn.functional.kl_div(found, wanted, log_target=True, reduction="none")
    return each.sum(-1).mean()
