"""MANU as its released code does it, which differs from the paper in almost every step."""

from __future__ import annotations

from pydantic import Field

from mubench.config.schema import Settings
from mubench.errors import RunError
from mubench.types import MethodInfo

from . import activations

LAYERS = 3  # the last ones of each tower
CHUNK = 10  # batches whose token rows are averaged together
CLAMP = 1e3


class MANUOfficial:
    """Zeroes output rows of the last three layers' MLP matrices.

    Vision rows are scored on image+text passes only, language rows on text-only passes only. The
    released code registers the hooks of all layers under three names, so the three layers share
    one score per matrix: the mean over depth. That is kept.
    """

    info = MethodInfo(
        name="manu-official",
        title="MANU, as released",
        paper="arXiv:2502.15910",
        formula="S = sum_k w_k (I_k(D_f) / (I_k(D_r) + 1e-5) - 1), w = (abs 2, std 2, rms 2)",
        kind="pruning",
        notes="For comparison with published numbers; `manu` follows the paper.",
    )

    class Config(Settings):
        alpha: float = Field(
            default=0.02, gt=0, lt=1, json_schema_extra={"log": (0.02, 0.6)}
        )  # share of rows, vision and language apart
        abs_weight: float = Field(default=2.0, ge=0)
        std_weight: float = Field(default=2.0, ge=0)
        rms_weight: float = Field(default=2.0, ge=0)
        samples: int = Field(default=512, gt=0)
        batch_size: int = Field(default=4, gt=0)

    def __init__(self, config):
        self.config = config

    def unlearn(self, model, data, context):
        import torch

        blocks = model.neurons()
        forget = activations.paired(data.forget)
        retain = activations.paired(data.retain)
        for form, tower in ((0, "vision"), (1, "language")):
            members = [block for block in blocks if block.tower == tower]
            count = min(self.config.samples, len(forget[form]), len(retain[form]))
            context.report(form, 2, f"activations of the {tower} tower")
            scores = {}
            for name, pool in (("forget", forget[form]), ("retain", retain[form])):
                chosen = activations.subsample(pool, count, context.generator(name))
                scores[name] = self._statistics(model, members, chosen)
            weights = (self.config.abs_weight, self.config.std_weight, self.config.rms_weight)
            total = {
                part: sum(
                    weight * (f / (r + 1e-5) - 1)
                    for weight, f, r in zip(weights, found, scores["retain"][part], strict=True)
                )
                for part, found in scores["forget"].items()
            }
            last = sorted(members, key=lambda block: block.layer)[-LAYERS:]
            rows = {
                name: total[name.rpartition(".")[2]]
                for block in last
                for name in (*block.up, block.down)
            }
            ranked = torch.cat(list(rows.values()))
            threshold = ranked.topk(max(1, round(self.config.alpha * len(ranked)))).values[-1]
            for name, score in rows.items():
                units = (score >= threshold).nonzero().flatten().tolist()
                model.zero(rows={name: units}, columns={})
                context.log[f"pruned {name}"] = len(units)
        context.report(2, 2, "pruned")

    def _statistics(self, model, blocks, examples):
        """{matrix: (mean |z|, std, rms)}, averaged over depth, token rows and chunks."""
        import torch

        watch = {name: model.module(name) for block in blocks for name in (*block.up, block.down)}
        chunks: dict[str, list[list[torch.Tensor]]] = {}
        with activations.watching(watch, inputs=False) as seen:
            for number, batch in enumerate(
                activations.passes(model, examples, self.config.batch_size)
            ):
                samples = len(batch.labels)
                for name, z in seen.items():
                    if blocks[0].tower == "vision":
                        pictures = model.patches(z, batch)
                        if len({len(picture) for picture in pictures}) > 1:
                            raise RunError("manu-official needs pictures of one size in a batch")
                        z = torch.stack(pictures)
                    z = z.float().clamp(-CLAMP, CLAMP).cpu()
                    spread = z.std(0) if samples > 1 else torch.zeros_like(z[0])
                    three = torch.stack([z.abs().mean(0), spread, z.square().mean(0).sqrt()], 1)
                    parts = chunks.setdefault(name.rpartition(".")[2], [])
                    if len(parts) <= number // CHUNK:
                        parts.append([])
                    parts[-1].append(three)
        return {
            part: torch.stack([torch.cat(chunk).mean(0) for chunk in found]).mean(0).unbind(0)
            for part, found in chunks.items()
        }
