"""MIP-Editor: finds paths of influential units through both towers, clears and re-trains them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Literal

from pydantic import Field

from mubench.config.schema import Training
from mubench.errors import UsageError
from mubench.types import MethodInfo

from . import activations


class MIPEditor:
    """A path has the ``top`` units of every layer, chosen one layer after the other by what they
    and the path so far do together, for every forget sample; the union of all paths is edited.

    Language paths are found on text-only forms, vision paths on image+text forms, over positions
    that predict the answer or over all patches. Units are the inputs of down_proj (language) and
    fc2 (vision). Clearing a unit zeroes the rows of its last input matrix: with all of a gated
    unit's rows at zero no gradient would ever reach them.
    """

    info = MethodInfo(
        name="mip-editor",
        title="MIP-Editor: influential neuron path editing",
        paper="arXiv:2511.06793",
        formula="IGI = (sum_k z_k) mean_a sum_k dp/dz_k at a z, k: path and unit (vision: IFI, with"
        " (dlog p/dz)^2); then, on these units alone, L = |h(x_f) - strength |h_0(x_f)| u|^2"
        " + gamma |h(x_r) - h_0(x_r)|^2 + alpha nll(D_r)",
        kind="editing",
        notes="IGI's joint form (a product of two sums over the path) is that of the released code."
        " top 1 a layer: the paper (code: 5). steps 4, layer 7, lr 5e-4, batch 6, 1"
        " epoch: released code. strength, gamma, alpha and samples are mubench's. The code clears"
        " units at token 0 alone, fixes the norm at 10 and draws u without negative parts.",
    )

    class Config(Training):
        scope: Literal["rows"] = "rows"  # of the units' input matrices
        # Units a layer and sample.
        top: int = Field(default=1, gt=0, json_schema_extra={"among": (1, 5, 20)})
        steps: int = Field(default=4, gt=0)  # of the Riemann sum
        samples: int = Field(default=128, gt=0)  # forget questions whose paths are found
        layer: int = Field(default=7, ge=0)  # of the language model, whose output is misdirected
        strength: float = Field(default=1.0, gt=0, json_schema_extra={"log": (0.5, 5)})
        gamma: float = Field(default=1.0, ge=0)
        alpha: float = Field(default=1.0, ge=0)
        lr: float = Field(default=5e-4, gt=0, json_schema_extra={"around": 3})
        epochs: float = Field(default=1.0, gt=0, json_schema_extra={"among": (1, 2, 4)})
        batch_size: int = Field(default=6, gt=0)
        weight_decay: float = Field(default=0.0, ge=0, le=0)  # it would reach rows off the path

    def __init__(self, config):
        self.config = config

    def unlearn(self, model, data, context):
        from . import loops

        config = self.config
        blocks = model.neurons()
        if config.layer >= model.depth():
            raise UsageError(
                f"method.layer={config.layer}: the language model has layers 0 to "
                f"{model.depth() - 1}"
            )
        units = self.units(model, blocks, data, context)
        parameters = model.train_scope(
            "rows", units={up: units[block.name] for block in blocks for up in block.up}
        )
        model.zero(rows={block.up[-1]: units[block.name] for block in blocks}, columns={})
        context.log |= {f"path {name}": len(found) for name, found in units.items()}
        context.log["trained"] = model.trained_modules()

        first = next(block for block in blocks if block.tower == "language")
        size = model.module(first.down).out_features
        direction = context.generator("direction").normal(size=size)
        direction /= (direction**2).sum() ** 0.5
        rng = context.generator("retain")
        partners = loops.partners(data.retain, config.batch_size, rng)
        source = loops.epochs(data.forget, config.batch_size, context.generator("forget"))

        def loss(_):
            batch = next(source)
            retain = model.encode(partners(batch))
            return self.terms(model, direction, model.encode(batch), retain)

        settings = loops.LoopSettings.of(config, data.forget)
        context.log["losses"] = loops.train(loss, model, parameters, settings, context.report)

    def terms(self, model, direction, forget, retain):
        """RMisU on what ``layer`` puts out at the positions that predict the answer."""
        import torch

        config = self.config
        with model.reference() as target, torch.no_grad():
            before_f, before_r = (target.hidden(one, config.layer) for one in (forget, retain))
        now_f = model.hidden(forget, config.layer)
        nll, now_r = model.nll_and_hidden(retain, config.layer)
        norm = before_f.norm(dim=-1, keepdim=True)
        wanted = config.strength * norm * before_f.new_tensor(direction)
        return {
            "misdirection": (now_f - wanted).square().mean(),
            "retention": config.gamma * (now_r - before_r).square().mean(),
            "retain": config.alpha * nll,
        }

    def units(self, model, blocks, data, context) -> dict[str, list[int]]:
        """Block name: the units of that block on the path of any sample."""
        forms = activations.paired(data.forget)
        pairs = list(zip(*forms, strict=True))
        chosen = activations.subsample(pairs, self.config.samples, context.generator("samples"))
        found: dict[str, set[int]] = {block.name: set() for block in blocks}
        size = self.config.batch_size
        for tower, form in (("language", 1), ("vision", 0)):
            members = [block for block in blocks if block.tower == tower]
            for start in range(0, len(chosen), size):
                context.report(start, len(chosen), f"paths through the {tower} tower")
                batch = model.encode([pair[form] for pair in chosen[start : start + size]])
                for block, path in zip(members, self.path(model, members, batch), strict=True):
                    found[block.name] |= set(path.nonzero()[:, 1].tolist())
        return {name: sorted(members) for name, members in found.items()}

    def path(self, model, blocks, batch):
        """Per block of one tower [B, count]: True at the units on a sample's path.

        A layer whose output the model does not use has no units on it.
        """
        import torch

        modules = {block.name: model.module(block.down) for block in blocks}
        with torch.no_grad(), activations.watching(modules, inputs=True) as clean:
            model.logp(batch)
        samples = len(batch.labels)
        if blocks[0].tower == "vision":  # every patch, whatever the shape it comes in
            pictures = model.patches(clean[blocks[0].name], batch)
            counts = batch.labels.new_tensor([len(picture) for picture in pictures])
            owner = torch.ones_like(counts).cumsum(0).sub(1).repeat_interleave(counts)
            active = torch.ones_like(owner).bool()[:, None]
        else:
            owner = torch.ones_like(batch.labels).cumsum(0).sub(1).flatten()
            active = activations.answer_positions(batch).reshape(-1, 1)
        whole = {name: value.reshape(len(owner), -1) for name, value in clean.items()}
        masks, path = {}, []
        for block in blocks:
            scores = self.scores(model, block, modules, whole, {**masks, block.name: active}, batch)
            on = owner.new_zeros(samples, block.count).bool()
            if scores is not None:
                total = scores.new_zeros(on.shape).index_add(0, owner, scores)
                on.scatter_(1, total.topk(self.config.top, dim=-1).indices, True)
            masks[block.name] = active & on[owner]
            path.append(on)
        return path

    def scores(self, model, block, modules, whole, masks, batch):
        """[positions, count] what each unit of ``block`` and the path do together; None if nothing.

        ``whole``: activations by block [positions, count]; ``masks``: where the path's units are,
        and all units of ``block``, last. They are scaled from 0 to what they are; the units of one
        layer share the passes, as in the released code.
        """
        import torch

        vision, slopes = block.tower == "vision", dict.fromkeys(masks, 0.0)
        for step in range(1, self.config.steps + 1):
            scaled = {
                name: (whole[name] * (step / self.config.steps)).requires_grad_() for name in masks
            }
            with _replaced(modules, scaled, masks):
                value = model.logp(batch)
            value = (value if vision else value.exp()).sum()
            found = torch.autograd.grad(value, list(scaled.values()), allow_unused=True)
            if found[-1] is None:
                return None
            for name, slope in zip(scaled, found, strict=True):
                if slope is not None:
                    slope = slope.float() * masks[name]
                    slopes[name] += (slope.square() if vision else slope) / self.config.steps
        z, slope = whole[block.name].float() * masks[block.name], slopes[block.name]
        for name in list(masks)[:-1]:
            z = z + (whole[name].float() * masks[name]).sum(-1, keepdim=True)
            slope = slope + (slopes[name] * masks[name]).sum(-1, keepdim=True)
        return z * slope


@contextmanager
def _replaced(modules, values, masks):
    """While open, the masked inputs of the modules are the given ones [rows, units]."""
    import torch

    def hook(name):
        def replace(_, args):
            now = args[0]
            value = torch.where(masks[name], values[name], now.reshape(values[name].shape))
            return (value.reshape(now.shape), *args[1:])

        return replace

    handles = [modules[name].register_forward_pre_hook(hook(name)) for name in values]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
