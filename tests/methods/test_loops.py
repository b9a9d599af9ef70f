"""The one training loop: batches, accumulation, schedule, failure."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from mubench.errors import RunError
from mubench.methods import loops
from tiny_models import examples

SETTINGS = loops.LoopSettings(
    steps=3, lr=0.1, weight_decay=0.0, warmup=0.0, schedule="constant", max_grad_norm=1e9
)


def pool(images: int, texts: int):
    shown, told = examples()[:2]
    return [
        replace(one, id=f"{one.modality}-{number}", question="why " * (number * 7 % 5 + 1))
        for one, count in ((shown, images), (told, texts))
        for number in range(count)
    ]


@pytest.mark.parametrize(("images", "texts"), [(0, 1), (5, 5), (7, 30), (33, 64), (130, 3)])
@pytest.mark.parametrize("size", [1, 2, 4, 16])
def test_an_epoch_shows_everything_once_in_batches_of_one_modality(images, texts, size):
    made = pool(images, texts)
    epoch = list(loops.batches(made, size, np.random.default_rng(0)))
    assert loops.steps_per_epoch(made, size) == len(epoch)
    assert Counter(one.id for batch in epoch for one in batch) == Counter(one.id for one in made)
    assert all(len({one.modality for one in batch}) == 1 for batch in epoch)
    assert all(0 < len(batch) <= size for batch in epoch)


def test_epochs_follow_the_generator_and_differ_from_each_other():
    made = pool(6, 6)
    count = loops.steps_per_epoch(made, 2)

    def ids(seed):
        source = loops.epochs(made, 2, np.random.default_rng(seed))
        return [[one.id for one in next(source)] for _ in range(2 * count)]

    assert ids(4) == ids(4) != ids(5)
    assert ids(4)[:count] != ids(4)[count:]
    for half in (ids(4)[:count], ids(4)[count:]):
        assert sorted(sum(half, [])) == sorted(one.id for one in made)


def test_similar_lengths_share_a_batch():
    made = pool(0, 32)
    epoch = list(loops.batches(made, 4, np.random.default_rng(0)))
    spreads = [
        max(lengths) - min(lengths)
        for batch in epoch
        if (lengths := [len(e.question) for e in batch])
    ]
    assert np.mean(spreads) < np.ptp([len(one.question) for one in made]) / 2


def test_partners_are_of_the_batch_s_modality_as_many_and_of_like_length():
    made = [
        replace(one, id=f"{number}/{modality}", question="q" * (1 + number), modality=modality)
        for number, one in enumerate(examples() * 12)
        for modality in ("image_text", "text")
    ]
    paired = loops.partners(made, 4, np.random.default_rng(0))
    spreads: list[int] = []
    seen: Counter[str] = Counter()
    half = len(made) // 2
    assert half % 4 == 0
    for turn in range(2 * (half // 4)):  # an epoch of each modality
        modality = ("image_text", "text")[turn % 2]
        found = paired([one for one in made if one.modality == modality][:4])
        assert len(found) == 4
        assert {one.modality for one in found} == {modality}
        spreads.append(np.ptp([len(one.question) for one in found]))
        seen.update(one.id for one in found)
    assert seen == Counter(one.id for one in made)
    assert np.mean(spreads) < np.ptp([len(one.question) for one in made]) / 4
    assert len(paired(made[:3:2])) == 2


def test_partners_of_pairs_are_drawn_whatever_their_length():
    pairs = [replace(examples()[0], task="pair", question="q" * n) for n in range(1, 40)]
    paired = loops.partners(pairs, 8, np.random.default_rng(3))
    rng = np.random.default_rng(3)
    for _ in range(3):
        assert paired(pairs[:5]) == [pairs[i] for i in rng.integers(39, size=5)]


# -- training a line through points --------------------------------------------------------------


class Line:
    def __init__(self):
        self.model = torch.nn.Linear(3, 1, dtype=torch.float64)
        with torch.no_grad():
            self.model.weight.zero_()
            self.model.bias.zero_()


POINTS = torch.from_numpy(np.random.default_rng(1).normal(size=(48, 3)))
VALUES = POINTS @ torch.tensor([1.0, -2, 0.5], dtype=torch.float64) + 3


def fit(size, **changes):
    """Train on the points in order, ``size`` a micro-batch; weights, losses, gradients per step."""
    line = Line()
    place = iter(range(0, len(POINTS), size))
    gradients, rates = [], []

    def loss(_):
        start = next(place)
        found = line.model(POINTS[start : start + size]).squeeze(1)
        return {"square": (found - VALUES[start : start + size]).square().mean()}

    def before_step(optimizer, *_):
        gradients.append(line.model.weight.grad.clone())
        rates.append(optimizer.param_groups[0]["lr"])

    hook = register_optimizer_step_pre_hook(before_step)
    try:
        log = loops.train(
            loss, line, list(line.model.parameters()), replace(SETTINGS, **changes), lambda *_: None
        )
    finally:
        hook.remove()
    return SimpleNamespace(
        weight=line.model.weight.detach(), log=log, gradients=gradients, rates=rates, line=line
    )


def test_two_micro_batches_of_eight_equal_one_batch_of_sixteen():
    whole, halves = fit(16), fit(8, accumulation=2)
    assert len(whole.gradients) == len(halves.gradients) == 3
    for one, other in zip(whole.gradients, halves.gradients, strict=True):
        torch.testing.assert_close(one, other)
    torch.testing.assert_close(whole.weight, halves.weight)
    assert whole.weight.abs().min() > 0.01


def test_gradients_are_clipped_to_the_norm():
    found = fit(16, max_grad_norm=0.25)
    assert fit(16).gradients[0].norm() > 1
    assert all(gradient.norm() <= 0.25 for gradient in found.gradients)


@pytest.mark.parametrize(
    ("schedule", "wanted"),
    [
        ("constant", [0, 0.1, 0.1, 0.1]),
        ("linear", [0, 0.1, 0.1 * 2 / 3, 0.1 / 3]),
        ("cosine", [0, 0.1, 0.075, 0.025]),
    ],
)
def test_the_rate_warms_up_then_follows_the_schedule(schedule, wanted):
    assert fit(12, steps=4, warmup=0.25, schedule=schedule).rates == pytest.approx(wanted)


def test_the_loss_log_has_a_row_a_step_and_the_fit_improves():
    found = fit(8, steps=6)
    assert len(found.log) == 6
    assert found.log[0]["square"] == pytest.approx(VALUES[:8].square().mean().item())
    fitted = found.line.model(POINTS).squeeze(1)
    assert (fitted - VALUES).square().mean() < 0.9 * VALUES.square().mean()
    assert not found.line.model.training


def test_progress_is_reported_after_every_step():
    seen = []
    line = Line()
    loops.train(
        lambda _: {"square": line.model(POINTS[:4]).square().sum()},
        line,
        list(line.model.parameters()),
        SETTINGS,
        lambda done, total, note: seen.append((done, total, note.split()[0])),
    )
    assert seen == [(1, 3, "loss"), (2, 3, "loss"), (3, 3, "loss")]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_names_its_step(bad):
    line = Line()
    parameters = list(line.model.parameters())

    def loss(step):
        value = line.model(POINTS[:4]).square().sum()
        return {"fine": value, "bad": value * bad if step == 1 else value}

    line.model.bias.data.fill_(1)
    with pytest.raises(RunError, match=r"step 2 of 3.*lower the lr"):
        loops.train(loss, line, parameters, SETTINGS, lambda *_: None)
    assert torch.isfinite(line.model.weight).all()


def test_reference_values_do_not_depend_on_the_batch_size():
    from methods.toy import Toy, forget

    model = Toy()
    made = [*forget(), *forget("image_text")]
    whole = loops.reference_logps(model, made, 4)
    assert loops.reference_logps(model, made, 1) == pytest.approx(whole)
    encoded = model.encode(made)
    assert list(whole) != []
    assert [whole[key] for key in encoded.keys] == pytest.approx(model.logp(encoded).tolist())
