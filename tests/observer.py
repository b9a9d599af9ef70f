"""An observer who learns faces from a few views of each person and is then asked who is who.

A small network reads the attributes off a picture; the person whose attributes agree best is
named. Attributes serve as an error-correcting code of the identity (Dietterich and Bakiri 1995),
so that four pictures a person are enough to learn from. Nothing but those pictures is learnt from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from mubench.rng import stream
from mubench_data.faces import ATTRIBUTES, Identity, draw_portrait, sample_view

SEEN = 4  # views a person that are learnt from
_SIZES = [len(values) for values in ATTRIBUTES.values()]


def album(people: Sequence[Identity], views: int, side: int, seed: int = 0) -> NDArray[np.uint8]:
    """(people, views, side, side, 3) portraits, each in a view of its own."""
    rng = stream(seed, "observed-views")
    return np.array(
        [
            [np.asarray(draw_portrait(person, sample_view(rng), side)) for _ in range(views)]
            for person in people
        ]
    )


def corner_hit_rate(pictures: NDArray[np.uint8]) -> float:
    """Share of the later pictures whose person is named by background and light alone.

    All that is looked at is colour and contrast of the two upper corners, which no head ever
    reaches: an eighth of the side each. The nearest person by linear discriminant analysis of
    views 0-3 is named.
    """
    edge = pictures.shape[2] // 8
    cuts = (pictures[:, :, :edge, :edge], pictures[:, :, :edge, -edge:])
    marks = [f(cut.astype(np.float64), axis=(2, 3)) for cut in cuts for f in (np.mean, np.std)]
    features = np.concatenate(marks, axis=2)  # (people, views, 12)
    middles = features[:, :SEEN].mean(axis=1)
    spread = features[:, :SEEN] - middles[:, None]
    within = np.einsum("pvi,pvj->ij", spread, spread) / (len(pictures) * (SEEN - 1))
    whiten = np.linalg.cholesky(np.linalg.inv(within + 1e-3 * np.eye(len(within))))
    asked, known = features[:, SEEN:] @ whiten, middles @ whiten
    named = ((asked[:, :, None] - known) ** 2).sum(axis=3).argmin(axis=2)
    return float((named == np.arange(len(pictures))[:, None]).mean())


def hit_rate(
    people: Sequence[Identity], pictures: NDArray[np.uint8], *, epochs: int = 12, seed: int = 0
) -> float:
    """Share of the later pictures whose person is named, after learning from views 0-3.

    Pictures are (people, views, side, side, 3), the side a multiple of 8. Chance is 1 / people.
    """
    seen, unseen = pictures[:, :SEEN], pictures[:, SEEN:]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        codes = _codes(people)
        network = _network(seen.shape[2])
        _learn(network, _tensor(seen), codes.repeat_interleave(SEEN, 0), epochs)
        network.eval()
        with torch.no_grad():
            read = torch.cat([_read(network, batch) for batch in _tensor(unseen).split(256)])
        named = (read @ codes.T).argmax(1)
    truth = torch.arange(len(people)).repeat_interleave(unseen.shape[1])
    return float((named == truth).double().mean())


def _codes(people: Sequence[Identity]) -> Tensor:
    """(people, values of all attributes) one-hot."""
    rows = [
        functional.one_hot(
            torch.tensor([ATTRIBUTES[f.name].index(getattr(person, f.name)) for person in people]),
            len(ATTRIBUTES[f.name]),
        )
        for f in fields(Identity)
    ]
    return torch.cat(rows, 1).float()


def _tensor(pictures: NDArray[np.uint8]) -> Tensor:
    """(pictures, 3, side, side) within -1..1."""
    flat = np.ascontiguousarray(pictures).reshape(-1, *pictures.shape[2:])
    return torch.from_numpy(flat).permute(0, 3, 1, 2).float() / 127.5 - 1


def _network(side: int) -> nn.Module:
    def stage(inputs: int, outputs: int, *last: nn.Module) -> list[nn.Module]:
        conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        return [conv, nn.BatchNorm2d(outputs), nn.ReLU(), *last]

    return nn.Sequential(
        *stage(3, 24, nn.MaxPool2d(2)),
        *stage(24, 48, nn.MaxPool2d(2)),
        *stage(48, 96, nn.MaxPool2d(2)),
        *stage(96, 96),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(96 * (side // 8) ** 2, 256),
        nn.BatchNorm1d(256),
        nn.ReLU(),
        nn.Linear(256, sum(_SIZES)),
    )


def _read(network: nn.Module, pictures: Tensor) -> Tensor:
    """(pictures, values) log-probability of each value of each attribute."""
    parts = network(pictures).split(_SIZES, 1)
    return torch.cat([functional.log_softmax(part, 1) for part in parts], 1)


def _learn(
    network: nn.Module, pictures: Tensor, codes: Tensor, epochs: int, batch: int = 50
) -> None:
    steps = epochs * (len(pictures) // batch)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for _ in range(epochs):
        for index in torch.randperm(len(pictures)).split(batch)[: steps // epochs]:
            # Small shifts and changes of light stand in for the views that are not there.
            shift = torch.randint(-3, 4, (2,)).tolist()
            shown = pictures[index].roll(shift, (2, 3)) * torch.empty(batch, 1, 1, 1).uniform_(
                0.85, 1.15
            )
            loss = -(_read(network, shown) * codes[index]).sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
