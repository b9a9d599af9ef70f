"""The likelihood of pairs, on similarity matrices worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from methods.toy_dual import FORGET, ToyDual
from mubench.errors import RunError
from mubench.models.contrastive import Contrastive
from mubench.models.protocols import PairBatch
from pairs import pair


class Given(Contrastive):
    """A model whose logit matrix is given."""

    image_features = text_features = logit_scale = None  # never asked for

    def __init__(self, logits):
        self.matrix = torch.tensor(logits, dtype=torch.float64, requires_grad=True)

    def logits(self, batch):
        return self.matrix


def batch(*names):
    return PairBatch(torch.zeros(len(names), 1), torch.zeros(len(names), 1), torch.tensor(names))


def test_two_pairs():
    """Logits [[ln 3, 0], [0, 0]]: rows give 3/4, 1/2; columns give 3/4, 1/2."""
    model = Given([[math.log(3), 0], [0, 0]])
    found = model.logp(batch(0, 1))
    assert found.tolist() == pytest.approx([math.log(3 / 4), math.log(1 / 2)])
    model.nll(batch(0, 1)).backward()
    # d/dL of -(1/4) (sum of the four terms) = (1/4) (row softmax + column softmax - 2 I)
    wanted = [[(3 / 4 + 3 / 4 - 2) / 4, (1 / 4 + 1 / 2) / 4], [(1 / 2 + 1 / 4) / 4, -1 / 4]]
    torch.testing.assert_close(model.matrix.grad, torch.tensor(wanted, dtype=torch.float64))


def test_directions_differ_where_the_matrix_is_not_symmetric():
    """Row 0 is sure of its caption; column 0 cannot tell its images apart."""
    model = Given([[0, -50], [0, 0]])
    i2t, t2i = model.log_dist(batch(0, 1)).chunk(2)
    assert i2t.exp()[0].tolist() == pytest.approx([1, 0])
    assert t2i.exp()[0].tolist() == pytest.approx([1 / 2, 1 / 2])
    assert t2i.exp()[1].tolist() == pytest.approx([0, 1])
    assert model.logp(batch(0, 1))[0].item() == pytest.approx(math.log(1 / 2) / 2)


def test_pairs_of_one_name_share_the_target():
    """Two images of Ann: either caption of hers is right, and the best loss is the entropy ln 2."""
    model = Given([[9, 9, -90], [9, 9, -90], [-90, -90, 9]])
    found = model.logp(batch(7, 7, 3))
    assert found.tolist() == pytest.approx([-math.log(2), -math.log(2), 0], abs=1e-12)
    model.nll(batch(7, 7, 3)).backward()
    assert model.matrix.grad.abs().max() < 1e-12
    apart = Given([[9, 9, -90], [9, 9, -90], [-90, -90, 9]])
    apart.nll(batch(7, 8, 3)).backward()
    assert apart.matrix.grad.abs().max() > 0.1  # would push her own caption away


def test_a_batch_of_one_name_is_refused():
    with pytest.raises(RunError, match="two names or more.*of 2 holds one"):
        ToyDual().nll(ToyDual().encode([pair("Ann", 0), pair("Ann", 1)]))


def test_logits_are_scaled_cosines():
    model = ToyDual()
    given = model.encode(FORGET)
    for features in (model.image_features(given), model.text_features(given)):
        assert features.norm(dim=1).tolist() == pytest.approx([1, 1, 1])
    wanted = 5 * model.image_features(given)[0] @ model.text_features(given)[1]
    assert model.logits(given)[0, 1].item() == pytest.approx(wanted.item())
