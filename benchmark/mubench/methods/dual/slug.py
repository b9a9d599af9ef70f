"""SLUG: one gradient, one step, on one tensor."""

from __future__ import annotations

from pydantic import Field

from mubench.config.schema import Settings
from mubench.types import MethodInfo

from ..base import UnlearnData
from .common import Edit, batched, images, names

TOWERS = ("image", "text")


class SLUG(Edit):
    """The tensor that matters most for forget and least against retain; how far to go is searched.

    Tensors on the Pareto front of both towers are tried in turn. The one is kept that is left with
    the fewest forget names, and among equals with the best retain accuracy on the training pairs.
    """

    info = MethodInfo(
        name="slug",
        title="SLUG: single layer unlearning gradient",
        paper="arXiv:2407.11867",
        formula="theta_l + lambda grad mean (1 - <z_f, t_f>), l on the front of |g_f| / |theta| and"
        " |cos(g_f, g_r)|, g_r of InfoNCE(D_r); lambda by bisection",
        kind="editing",
        models=("clip",),
        notes="lambda starts at |theta| / (10 |g|), 10 probes, until no forget name is among the"
        " top 5 of an image's names: the released code. Biases and embeddings are left alone.",
    )

    class Config(Settings):
        probes: int = Field(default=10, gt=0)
        top: int = Field(default=5, gt=0, json_schema_extra={"among": (1, 5)})
        batch_size: int = Field(default=32, gt=0)

    def unlearn(self, model, data: UnlearnData, context):
        import torch

        fronts = {tower: self.front(model, data, tower) for tower in TOWERS}
        results = []
        for tower, front in fronts.items():
            probe = Probe(model, data, tower, self.config)
            for name, weight, slope in front:
                before = weight.detach().clone()
                left, kept, step = self.search(probe, weight, before, slope)
                with torch.no_grad():
                    weight.copy_(before)
                results.append((-left, kept, name, step, weight, slope))
                context.report(len(results), sum(map(len, fronts.values())), name)
        left, kept, name, step, weight, slope = max(results, key=lambda found: found[:2])
        with torch.no_grad():
            weight.add_(step * slope)
        context.log |= {"trained": [name], "step": step, "forget top": -left, "retain": kept}
        context.log["tried"] = [found[2] for found in results]

    def front(self, model, data, tower):
        """(name, tensor, gradient of the forget loss) of the tower's Pareto front."""
        model.train_scope("full", towers=(tower,))
        opened = {
            name: weight
            for name, weight in model.model.named_parameters()
            if weight.requires_grad and "bias" not in name and "embedding" not in name
        }
        away = self.slopes(model, data.forget, opened, lambda batch: 1 - cosine(model, batch))
        stay = self.slopes(model, data.retain, opened, model.nll)
        scores = {
            name: (
                float(away[name].norm() / weight.detach().norm()),
                alignment(away[name], stay[name]),
            )
            for name, weight in opened.items()
        }
        return [(name, opened[name], away[name]) for name in pareto(scores)]

    def slopes(self, model, pairs, opened, loss):
        """Gradient of the mean loss over all pairs, by name."""
        import torch

        total = {name: torch.zeros_like(weight) for name, weight in opened.items()}
        for part in batched(pairs, self.config.batch_size):
            found = torch.autograd.grad(
                loss(model.encode(part)) * len(part) / len(pairs),
                list(opened.values()),
                allow_unused=True,
                materialize_grads=True,
            )
            for name, gradient in zip(opened, found, strict=True):
                total[name] += gradient
        return total

    def search(self, probe, weight, before, slope):
        """Share of forget images with their name in the top, retain accuracy, and the step: the
        smallest step found that leaves none, else the last."""
        import torch

        step = float(before.norm() / slope.norm()) / 10
        low, high, best = 0.0, None, None
        for _ in range(self.config.probes):
            with torch.no_grad():
                weight.copy_(before + step * slope)
            left, kept = probe()
            if best is None or left == 0 or best[0] > 0:
                best = (left, kept, step)
            if left == 0:
                high = step
            else:
                low = step
            step = 2 * step if high is None else (low + high) / 2
        return best


class Probe:
    """How many forget images still have their name among the first ``top`` of all names, and how
    many retain images are named right. Features of the tower that stays are computed once."""

    def __init__(self, model, data, tower, config):
        self.model, self.data, self.config = model, data, config
        self.tower = tower
        self.kept = {other: self.features(other) for other in TOWERS if other != tower}

    def features(self, tower):
        pairs, size = [*self.data.forget, *self.data.retain], self.config.batch_size
        return (images if tower == "image" else names)(self.model, pairs, size)

    def __call__(self):
        both = {**self.kept, self.tower: self.features(self.tower)}
        (z, whose), (t, known) = both["image"], both["text"]
        order = (z @ t.T).argsort(1, descending=True).tolist()
        gone = {one.keyword for one in self.data.forget}
        left, right = [], []
        for row, name in zip(order, whose, strict=True):
            if name in gone:
                left.append(known.index(name) in row[: self.config.top])
            else:
                right.append(known[row[0]] == name)
        return sum(left) / len(left), sum(right) / len(right)


def cosine(model, batch):
    return (model.image_features(batch) * model.text_features(batch)).sum(1).mean()


def alignment(one, other):
    """|cos| of two gradients; 0 where one is nothing."""
    lengths = float(one.norm() * other.norm())
    return abs(float((one * other).sum())) / lengths if lengths else 0.0


def pareto(scores):
    """Names that no other beats in both: larger importance, smaller alignment."""
    return [
        name
        for name, (importance, aligned) in scores.items()
        if importance > 0
        and not any(
            other[0] >= importance and other[1] <= aligned and other != (importance, aligned)
            for other in scores.values()
        )
    ]
