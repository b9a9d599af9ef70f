"""Lipschitz unlearning: features of made-up pictures of the forget names stop to respond."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from pydantic import Field

from mubench.config.schema import Training
from mubench.types import MethodInfo

from ..base import UnlearnData
from .common import Edit, names


class Lipschitz(Edit):
    """Sees no picture of the forget people: it makes them up from their captions."""

    info = MethodInfo(
        name="lipschitz",
        title="Lipschitz-regularised zero-shot unlearning",
        paper="arXiv:2407.07485",
        formula="L = 1/(2n) sum_n sum_b (|t - z'| + |z - z'|) / (2 |x - x'|), x' = x + N(0,"
        " sigma^2), z' without gradient, x: made up by ascent on the logit of a forget name",
        kind="gradient",
        models=("clip",),
        notes="n, the sigmas, samples, ascent, lr, weight decay and 25 tensors a tower: the"
        " released code for ViT, whose images have 224 pixels. Stops once made-up pictures are"
        " named right in at most a tenth of cases. Of pairs it reads captions alone.",
    )

    class Config(Training):
        scope: Literal["full"] = "full"
        sigmas: tuple[float, ...] = Field(default=(0.1, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0), min_length=1)
        noises: int = Field(default=25, gt=0)
        tensors: int = Field(default=25, gt=0)  # a tower, times the number of the sigma
        samples: int = Field(default=64, gt=0)  # made-up pictures a name
        ascents: int = Field(default=3000, gt=0)
        step: float = Field(default=25.0, gt=0)
        jitter: int = Field(default=16, ge=0)  # pixels
        confidence: float = Field(default=0.9, gt=0, lt=1)
        stop: float = Field(default=0.1, ge=0, le=1)
        epochs: float = Field(default=30.0, gt=0)  # over all sigmas
        batch_size: int = Field(default=64, gt=0)
        lr: float = Field(default=5e-5, gt=0, json_schema_extra={"around": 3})
        weight_decay: float = Field(default=0.2, ge=0)
        warmup: float = Field(default=0.0, ge=0, lt=1)
        schedule: Literal["linear", "cosine", "constant"] = "constant"

    def unlearn(self, model, data: UnlearnData, context):
        import torch

        from .. import loops

        config = self.config
        made = self.pictures(model, data, context)
        seed = int(context.generator("noise").integers(2**62))
        noise = torch.Generator().manual_seed(seed)
        rng = context.generator("batches")
        log = context.log
        log["losses"], log["trained"], log["accuracy"] = [], [], [self.accuracy(model, data, made)]
        per_epoch = -(-len(made.names) // config.batch_size)
        steps = max(1, round(config.epochs * per_epoch / len(config.sigmas)))
        for number, sigma in enumerate(config.sigmas, start=1):

            def loss(_, sigma=sigma):
                rows = rng.permutation(len(made.names))[: config.batch_size].tolist()
                return {"lipschitz": response(model, rows_of(made, rows), sigma, config, noise)}

            opened = self.chosen(model, loss, number * config.tensors)
            log["trained"] = sorted({*log["trained"], *model.trained_modules()})
            settings = replace(loops.LoopSettings.of(config, data.forget), steps=steps)
            loops.train(loss, model, opened, settings, context.report, log=log["losses"])
            log["accuracy"].append(self.accuracy(model, data, made))
            if log["accuracy"][-1] <= config.stop:
                break

    def chosen(self, model, loss, count):
        """The ``count`` tensors of each tower with the largest mean |gradient|."""
        import torch

        model.train_scope("full")
        value, found = loss(0)["lipschitz"], []
        for tower in ("image", "text"):
            opened = model.train_scope("full", towers=(tower,))
            gradients = torch.autograd.grad(
                value, opened, retain_graph=True, allow_unused=True, materialize_grads=True
            )
            order = sorted(range(len(opened)), key=lambda at: -float(gradients[at].abs().mean()))
            found += [opened[at] for at in order[:count]]
        for weight in model.train_scope("full"):
            weight.requires_grad_(any(weight is one for one in found))
        return found

    def pictures(self, model, data, context):
        """A batch of made-up pictures with a caption of each forget name."""
        import torch

        every = [*data.forget, *data.retain]
        classes, known = names(model, every, self.config.batch_size)
        seed = int(context.generator("pictures").integers(2**62))
        generator = torch.Generator().manual_seed(seed)
        captions = list({one.keyword: one for one in data.forget}.values())
        found = []
        for number, one in enumerate(captions, start=1):
            batch = model.encode([one] * self.config.samples)
            x = self.ascend(model, batch, classes, known.index(one.keyword), generator)
            found.append(replace(batch, images=x))
            context.report(number, len(captions), f"pictures of {one.keyword}")
        return type(found[0])(*(torch.cat(p) for p in zip(*map(parts, found), strict=True)))

    def ascend(self, model, batch, classes, place, generator):
        """Noise until it is taken for the name at ``place``: jittered ascent on its logit, blurred
        now and then, until the mean probability is ``confidence``."""
        import torch
        from torchvision.transforms.functional import gaussian_blur

        config = self.config
        x = torch.randn(batch.images.shape, generator=generator, dtype=batch.images.dtype).type_as(
            batch.images
        )
        for turn in range(1, config.ascents + 1):
            shift = torch.randint(-config.jitter, config.jitter + 1, (2,), generator=generator)
            seen = x.roll(shift.tolist(), (2, 3)).requires_grad_(True)
            features = model.image_features(replace(batch, images=seen))
            logits = model.logit_scale() * features @ classes.T
            if logits.softmax(1)[:, place].mean() > config.confidence:
                break
            slope = torch.autograd.grad(logits[:, place].sum(), seen)[0]
            slope = slope.roll((-shift).tolist(), (2, 3))
            with torch.no_grad():
                x = x + config.step * (slope - 1e-3 * x)
                if turn % 10 == 0:
                    x = gaussian_blur(x, [3, 3])
        return x.detach()

    def accuracy(self, model, data, made):
        """Share of the made-up pictures that get their name among all."""
        import torch

        size = self.config.batch_size
        classes, known = names(model, [*data.forget, *data.retain], size)
        wanted = list(dict.fromkeys(one.keyword for one in data.forget))
        with torch.no_grad():
            rows = torch.arange(len(made.names)).split(size)
            z = torch.cat([model.image_features(rows_of(made, part.tolist())) for part in rows])
        said = [known[at] for at in (z @ classes.T).argmax(1).tolist()]
        right = [name for name in wanted for _ in range(self.config.samples)]
        return sum(a == b for a, b in zip(said, right, strict=True)) / len(right)


def response(model, batch, sigma, config, generator):
    """The loss: how far features of noisy pictures are from text and clean ones, by the noise."""
    import torch

    z, t = model.image_features(batch), model.text_features(batch)
    total = z.new_zeros(())
    for _ in range(config.noises):
        drawn = torch.randn(batch.images.shape, generator=generator, dtype=z.dtype)
        noise = sigma * drawn.type_as(z)
        with torch.no_grad():
            far = model.image_features(replace(batch, images=batch.images + noise))
        away = (t - far).norm(dim=1) + (z - far).norm(dim=1)
        total = total + (away / (2 * noise.flatten(1).norm(dim=1))).sum()
    return total / (2 * config.noises)


def parts(batch):
    return batch.images, batch.texts, batch.names


def rows_of(batch, rows):
    """Some rows of a batch."""
    return type(batch)(*(part[rows] for part in parts(batch)))
