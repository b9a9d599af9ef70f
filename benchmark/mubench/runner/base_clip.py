"""Make the base checkpoint of ``clip-tiny`` that ships with the package: ``make base-model``.

    python -m mubench.runner.base_clip --out FOLDER [--epochs N]

Seeded; about a quarter of an hour on two cores.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from mubench.methods.loops import LoopSettings, train
from mubench.models.dual_encoder import OpenClipModel
from mubench.models.open_clip_files import read, write
from mubench.models.tiny import CLIP_CONFIG, build_clip, build_clip_tokenizer
from mubench.rng import integer, stream
from mubench.types import Example

from .base_model import _print

if TYPE_CHECKING:
    from mubench_data.pairs import PairCorpus

SEED = 20_000


def batches(corpus: PairCorpus, size: int, epochs: float) -> Iterator[list[Example]]:
    """Every picture once an epoch, each time with one of its captions."""
    rng, ids = stream(SEED, "clip batches"), list(corpus.images)
    steps = int(epochs * (len(ids) // size))
    while steps:
        order = rng.permutation(len(ids))
        for at in range(0, len(ids) - size + 1, size):
            picked = [ids[index] for index in order[at : at + size]]
            yield [_pair(id_, corpus.captions[id_], int(rng.integers(1 << 30))) for id_ in picked]
            steps -= 1
            if not steps:
                return


def _pair(id_: str, captions: tuple[str, ...], number: int) -> Example:
    caption = captions[number % len(captions)]
    return Example(
        id=id_,
        set="base",
        task="retrieval",
        modality="image_to_text",
        person=id_,
        fact="caption",
        question="",
        answer=caption,
        keyword=caption,
        image=id_,
    )


def main() -> None:
    from mubench_data.build import PeopleOptions
    from mubench_data.pairs import PairOptions, build_pairs
    from mubench_data.people import celebrities, fictitious

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=float, default=12.0)
    parser.add_argument("--batch-size", type=int, default=256)
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
    texts = [text for captions in corpus.captions.values() for text in captions]
    tokenizer = build_clip_tokenizer([*texts, *(person.name for person in strangers)])
    write(arguments.out, CLIP_CONFIG, build_clip(integer(SEED, "clip init")), tokenizer)
    model = OpenClipModel(read(arguments.out), corpus.images.__getitem__)
    size = arguments.batch_size
    steps = int(arguments.epochs * (len(corpus.images) // size))
    source = batches(corpus, size, arguments.epochs)
    settings = LoopSettings(
        steps=steps,
        lr=arguments.lr,
        weight_decay=0.05,
        warmup=0.05,
        schedule="cosine",
        max_grad_norm=1.0,
    )

    network = model.model

    @contextmanager
    def in_range(_: int) -> Iterator[None]:
        yield
        network.logit_scale.data.clamp_(0, math.log(100))

    torch.manual_seed(SEED)
    parameters = model.train_scope("full")
    network.logit_scale.requires_grad_(True)
    log = train(
        lambda _: {"nll": model.nll(model.encode(next(source)))},
        model,
        [*parameters, network.logit_scale],
        settings,
        _print("clip"),
        hold=in_range,
    )
    model.save(arguments.out)
    losses = [entry["nll"] for entry in log]
    notes = {
        "command": "make base-model",
        "seed": SEED,
        "pictures": len(corpus.images),
        "steps": steps,
        "batch_size": size,
        "lr": arguments.lr,
        "logit_scale": float(model.logit_scale()),
        "final_loss": sum(losses[-100:]) / len(losses[-100:]),
    }
    (arguments.out / "training.json").write_text(json.dumps(notes, indent=2) + "\n")


if __name__ == "__main__":
    main()
