"""MANU: modality-aware neuron unlearning, by the formulas of the paper."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from mubench.config.schema import Settings
from mubench.types import Example, MethodInfo

from . import activations


class MANU:
    """Prunes MLP units that matter for forget and not for retain, in both towers; no training.

    A unit's activation on a sample is pooled over the positions that predict the answer
    (language) or over all patches (vision). Vision units see nothing in a text-only pass: z = 0.
    """

    info = MethodInfo(
        name="manu",
        title="MANU: modality-aware neuron unlearning",
        paper="arXiv:2502.15910",
        formula="S = I(D_f) / (I(D_r) + eps), I = I_abs + I_freq + I_var + I_rms;"
        " the top alpha of every tower is zeroed",
        kind="pruning",
        notes="Units are the inputs of down_proj (language) and fc2 (vision), in all layers.",
    )

    class Config(Settings):
        # Share of units pruned, per tower; activation above which a unit counts as active.
        alpha: float = Field(default=0.05, gt=0, lt=1, json_schema_extra={"log": (0.02, 0.6)})
        tau: float = Field(default=0.1, gt=0, json_schema_extra={"log": (0.01, 1)})
        eps: float = Field(default=1e-6, gt=0)
        samples: int = Field(default=512, gt=0)  # questions a set at most, each in both forms
        batch_size: int = Field(default=32, gt=0)

    def __init__(self, config):
        self.config = config

    def unlearn(self, model, data, context):
        import torch

        forget = activations.paired(data.forget)
        retain = activations.paired(data.retain)
        count = min(self.config.samples, len(forget[0]), len(retain[0]))
        blocks = model.neurons()
        matters = {}
        for number, (name, forms) in enumerate((("forget", forget), ("retain", retain))):
            rng = context.generator(name)
            chosen = activations.subsample(list(zip(*forms, strict=True)), count, rng)
            context.report(number, 2, f"activations on {name}")
            matters[name] = self.importance(model, blocks, *zip(*chosen, strict=True))
        context.report(2, 2, "pruning")
        score = {
            block.name: matters["forget"][block.name]
            / (matters["retain"][block.name] + self.config.eps)
            for block in blocks
        }
        for tower in ("language", "vision"):
            members = [block for block in blocks if block.tower == tower]
            ranked = torch.cat([score[block.name] for block in members])
            keep = max(1, round(self.config.alpha * len(ranked)))
            chosen = torch.zeros(len(ranked), dtype=torch.bool)
            chosen[ranked.argsort(descending=True, stable=True)[:keep]] = True
            sizes = [block.count for block in members]
            for block, mask in zip(members, chosen.split(sizes), strict=True):
                units = mask.nonzero().flatten().tolist()
                model.zero(rows=dict.fromkeys(block.up, units), columns={block.down: units})
                context.log[f"pruned {block.name}"] = len(units)

    def importance(
        self,
        model,
        blocks,
        with_image: Sequence[Example],
        text_only: Sequence[Example],
    ):
        """I(D, n) for every unit of every block: {block name: [count]} (paper, section 3)."""
        import torch

        multi = self._moments(model, blocks, with_image)
        text = self._moments(model, blocks, text_only)
        eps = self.config.eps
        result = {}
        for block in blocks:
            m, t = multi[block.name], text[block.name]

            def apart(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
                return (one - other).abs() / (one + other + eps)

            result[block.name] = (
                apart(m["mean"], t["mean"])
                + apart(m["active"], t["active"])
                + (m["variance"] + t["variance"]).sqrt()
                + apart(m["energy"], t["energy"]).sqrt()
            )
        return result

    def _moments(self, model, blocks, examples):
        """Per unit over the samples: mean |z|, count |z| > tau, mean (z - mean |z|)^2, sum z^2."""
        import torch

        watch = {block.name: model.module(block.down) for block in blocks}
        rows: dict[str, list[torch.Tensor]] = {block.name: [] for block in blocks}
        size = self.config.batch_size
        with activations.watching(watch, inputs=True) as seen:
            for batch in activations.passes(model, examples, size):
                where = activations.answer_positions(batch).float()
                samples = len(batch.labels)
                for block in blocks:
                    z = seen.pop(block.name, None)
                    if z is None:  # the vision tower does not run without a picture
                        pooled = torch.zeros(samples, block.count)
                    elif block.tower == "vision":
                        seen_patches = model.patches(z.float(), batch)
                        pooled = torch.stack([picture.mean(0) for picture in seen_patches])
                    else:
                        pooled = torch.einsum("btn,bt->bn", z.float(), where)
                        pooled = pooled / where.sum(1, keepdim=True)
                    rows[block.name].append(pooled.cpu())
        return {name: self.moments(torch.cat(parts)) for name, parts in rows.items()}

    def moments(self, z):
        """The four statistics of activations ``z`` [samples, units]."""
        mean = z.abs().mean(0)
        return {
            "mean": mean,
            "active": (z.abs() > self.config.tau).sum(0).float(),
            "variance": (z - mean).square().mean(0),
            "energy": z.square().sum(0),
        }
