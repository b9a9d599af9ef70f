"""Make the base checkpoint of ``clip-tiny`` that ships with the package: ``make base-model``.

    python -m mubench.runner.base_clip --out FOLDER [--steps N]

Its image tower is that of ``llava-tiny``, locked (LiT, arXiv:2111.07991): what is learned is to
pool its patches, and the text tower. So the multimodal model stands on the tower of the dual
encoder, and one can be put into the other. Seeded; about ten minutes on two cores.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import normalize

from mubench.benchmarks.classes import pair
from mubench.methods.loops import LoopSettings, train
from mubench.models.dual_encoder import OpenClipModel
from mubench.models.load import package_folder
from mubench.models.open_clip_files import read, write
from mubench.models.tiny import CLIP_CONFIG, build_clip, build_clip_tokenizer
from mubench.models.towers import to_open_clip
from mubench.rng import integer, stream
from mubench.types import Example

from .base_model import SEED, keep_notes, printed

if TYPE_CHECKING:
    from mubench.models.protocols import PairBatch
    from mubench_data.pairs import PairCorpus

TOWER = "vision_tower."


class Locked(OpenClipModel):
    """The blocks of its image tower do not change, so that they see every picture once."""

    _seen: dict[str, int]

    @torch.no_grad()
    def look(self, ids: list[str], batch: int) -> None:
        """Keep the patches of these pictures, [N, patches, width]."""
        visual = self.model.visual
        parts = (
            super(Locked, self).pixels(ids[at : at + batch]) for at in range(0, len(ids), batch)
        )
        self._patches = torch.cat([visual.transformer(visual._embeds(part)) for part in parts])
        self._seen = {id_: place for place, id_ in enumerate(ids)}

    def pixels(self, ids: list[str]) -> Tensor:  # type: ignore[override]
        return self._patches[[self._seen[id_] for id_ in ids]]

    def image_features(self, batch: PairBatch) -> Tensor:
        visual = self.model.visual
        return normalize(visual._pool(batch.images)[0] @ visual.proj, dim=-1)


def batches(corpus: PairCorpus, size: int) -> Iterator[list[Example]]:
    """``size`` subjects, each with one caption and two pictures where it has them; no end."""
    rng = stream(SEED, "clip batches")
    while True:
        order = rng.permutation(len(corpus.subjects))
        for at in range(0, len(order) - size + 1, size):
            found = []
            for index in order[at : at + size]:
                ids, captions = corpus.subjects[index]
                caption = captions[int(rng.integers(len(captions)))]
                shown = [ids[view] for view in rng.permutation(len(ids))[:2]]
                found += [pair(one, "base", one, "caption", caption, caption) for one in shown]
            yield found


def main() -> None:
    from safetensors.torch import load_file

    from mubench_data.build import PeopleOptions
    from mubench_data.pairs import PairOptions, build_pairs
    from mubench_data.people import celebrities, fictitious

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch-size", type=int, default=160, help="captions a step")
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--small", action="store_true", help="a corpus of seconds, for trying out")
    arguments = parser.parse_args()

    mini = PeopleOptions()
    avoid = fictitious(mini.seed, mini.fictitious, mini.facts, prefix="person", taken=celebrities())
    options = PairOptions(seed=SEED)
    if arguments.small:
        options = PairOptions(seed=SEED, faces=100, people=10, scenes=100, words=50)
    corpus = build_pairs(options, avoid)
    # Names of people nobody is asked about: the tokenizer knows names, the model no one.
    strangers = fictitious(SEED + 1, 400, (), prefix="stranger", taken=avoid)
    texts = [text for _, captions in corpus.subjects for text in captions]
    tokenizer = build_clip_tokenizer([*texts, *(person.name for person in strangers)])
    network = build_clip(integer(SEED, "clip init"))
    weights = load_file(package_folder("llava-tiny") / "model.safetensors")
    tower = {key.removeprefix(TOWER): value for key, value in weights.items() if TOWER in key}
    network.visual.load_state_dict(to_open_clip(tower), strict=False)
    write(arguments.out, CLIP_CONFIG, network, tokenizer)
    model = Locked(read(arguments.out), corpus.images.__getitem__)
    network = model.model
    model.look(list(corpus.images), 256)
    source = batches(corpus, arguments.batch_size)
    settings = LoopSettings(
        steps=arguments.steps,
        lr=arguments.lr,
        weight_decay=0.05,
        warmup=0.05,
        schedule="cosine",
        max_grad_norm=1.0,
    )
    network.requires_grad_(True)
    for name in to_open_clip(tower):
        network.visual.get_parameter(name).requires_grad_(False)

    @contextmanager
    def in_range(_: int) -> Iterator[None]:
        yield
        network.logit_scale.data.clamp_(0, math.log(100))

    torch.manual_seed(SEED)
    log = train(
        lambda _: {"nll": model.nll(model.encode(next(source)))},
        model,
        [parameter for parameter in network.parameters() if parameter.requires_grad],
        settings,
        printed("clip"),
        hold=in_range,
    )
    model.save(arguments.out)
    keep_notes(
        arguments.out,
        log,
        pictures=len(corpus.images),
        steps=arguments.steps,
        batch_size=arguments.batch_size,
        lr=arguments.lr,
        logit_scale=model.scale(),
    )


if __name__ == "__main__":
    main()
