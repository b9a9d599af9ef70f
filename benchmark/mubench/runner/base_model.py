"""Make the base checkpoint of ``llava-tiny`` that ships with the package: ``make base-model``.

    python -m mubench.runner.base_model --out FOLDER [--epochs N]

Seeded; about half an hour on two cores.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mubench.methods.loops import LoopSettings, epochs, steps_per_epoch, train
from mubench.models.hf_mllm import HFVisionLanguageModel
from mubench.models.tiny import SHAPE, build_llava, build_processor, build_tokenizer
from mubench.rng import integer, stream

SEED = 20_000


class Readers(torch.nn.Module):
    """One attention query and one linear head per attribute over the projected patches.

    This is how a language model will read them; the readers are thrown away.
    """

    def __init__(self, sizes: Mapping[str, int], width: int) -> None:
        super().__init__()
        self.names = list(sizes)
        self.queries = torch.nn.Parameter(0.1 * torch.randn(len(sizes), width))
        self.attention = torch.nn.MultiheadAttention(width, SHAPE["heads"], batch_first=True)
        self.heads = torch.nn.ModuleList([torch.nn.Linear(width, size) for size in sizes.values()])

    def forward(self, patches: torch.Tensor) -> dict[str, torch.Tensor]:
        """Logits per attribute, from patches [B, P, width]."""
        queries = self.queries.expand(len(patches), -1, -1)
        read, _ = self.attention(queries, patches, patches, need_weights=False)
        return {
            name: head(read[:, place])
            for place, (name, head) in enumerate(zip(self.names, self.heads, strict=True))
        }


def train_tower(
    model: HFVisionLanguageModel, labels: Mapping[str, Mapping[str, str]], rounds: int, size: int
) -> float:
    """Teach tower and projector what pictures show, before any language; returns the accuracy.

    Trained through the language model alone, the tower never gets off the ground: answers' prior
    is learned first and the picture is ignored.
    """
    values: dict[str, list[str]] = {}
    for shown in labels.values():
        for name, value in shown.items():
            if value not in values.setdefault(name, []):
                values[name].append(value)
    core = model.model.model
    readers = Readers({name: len(of) for name, of in values.items()}, SHAPE["text_width"])
    parameters = [
        *core.vision_tower.parameters(),
        *core.multi_modal_projector.parameters(),
        *readers.parameters(),
    ]
    ids = list(labels)
    pixels = torch.cat([model.encoder.picture(id_).tensors["pixel_values"] for id_ in ids])
    truth = {
        name: torch.tensor([of.index(labels[i][name]) if name in labels[i] else -100 for i in ids])
        for name, of in values.items()
    }
    rng = stream(SEED, "tower")
    per_round = len(ids) // size
    order = [rng.permutation(len(ids))[: per_round * size] for _ in range(rounds)]
    chosen = torch.from_numpy(np.concatenate(order)).reshape(-1, size)
    hits: list[float] = []

    def loss(step: int) -> dict[str, torch.Tensor]:
        rows = chosen[step]
        patches = torch.stack(list(core.get_image_features(pixels[rows]).pooler_output))
        terms, right, asked = {}, 0, 0
        for name, logits in readers(patches).items():
            wanted = truth[name][rows]
            known = int((wanted != -100).sum())
            if known:
                terms[name] = torch.nn.functional.cross_entropy(logits, wanted)
                right += int((logits.argmax(1) == wanted).sum())
                asked += known
        hits.append(right / asked)
        return terms

    settings = LoopSettings(
        steps=len(chosen),
        lr=2e-3,
        weight_decay=0.05,
        warmup=0.03,
        schedule="cosine",
        max_grad_norm=1.0,
    )
    train(loss, model, parameters, settings, printed("tower"))
    return sum(hits[-50:]) / len(hits[-50:])


def printed(what: str) -> Callable[[int, int, str], None]:
    def report(done: int, total: int, text: str) -> None:
        if done % 100 == 0 or done == total:
            print(f"{what} {done}/{total} {text}", flush=True)

    return report


def keep_notes(folder: Path, log: Sequence[dict[str, float]], **notes: Any) -> None:
    """Write how a checkpoint was made beside it; ``log``: the losses of its steps."""
    losses = [entry["nll"] for entry in log[-100:]]
    made = {"command": "make base-model", "seed": SEED, **notes}
    made["final_loss"] = sum(losses) / len(losses)
    (folder / "training.json").write_text(json.dumps(made, indent=2) + "\n")


def main() -> None:
    from mubench_data.build import PeopleOptions
    from mubench_data.facts import PERSON_FACTS
    from mubench_data.people import celebrities, fictitious
    from mubench_data.pretraining import CorpusOptions, build_corpus, vocabulary_texts

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=float, default=5.0)
    parser.add_argument("--tower-epochs", type=int, default=24)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=1.5e-3)
    parser.add_argument("--small", action="store_true", help="a corpus of seconds, for trying out")
    arguments = parser.parse_args()

    mini = PeopleOptions()
    avoid = fictitious(mini.seed, mini.fictitious, mini.facts, prefix="person", taken=celebrities())
    options = CorpusOptions(seed=SEED)
    if arguments.small:
        options = CorpusOptions(seed=SEED, portraits=200, people=10, scenes=100, words=50)
    corpus = build_corpus(options, avoid)
    # Names of people nobody is asked about: the tokenizer knows names, the model no one.
    strangers = fictitious(SEED + 1, 400, tuple(PERSON_FACTS), prefix="stranger", taken=avoid)
    tokenizer = build_tokenizer(
        vocabulary_texts(corpus, [person.name for person in strangers]), SHAPE["vocabulary"]
    )
    model = HFVisionLanguageModel(
        build_llava(tokenizer, integer(SEED, "init")),
        build_processor(tokenizer),
        corpus.images.__getitem__,
    )
    torch.manual_seed(SEED)
    shown = train_tower(model, corpus.labels, arguments.tower_epochs, 128)
    print(f"tower: {shown:.3f} of attributes right in training", flush=True)
    size = arguments.batch_size
    steps = int(arguments.epochs * steps_per_epoch(corpus.examples, size))
    source = epochs(corpus.examples, size, stream(SEED, "batches"))
    settings = LoopSettings(
        steps=steps,
        lr=arguments.lr,
        weight_decay=0.01,
        warmup=0.05,
        schedule="cosine",
        max_grad_norm=1.0,
    )
    torch.manual_seed(SEED)
    log = train(
        lambda _: {"nll": model.nll(model.encode(next(source)))},
        model,
        model.train_scope("full"),
        settings,
        printed("language"),
    )
    arguments.out.mkdir(parents=True, exist_ok=True)
    model.save(arguments.out)
    keep_notes(
        arguments.out,
        log,
        tower_accuracy=shown,
        examples=len(corpus.examples),
        steps=steps,
        batch_size=size,
        lr=arguments.lr,
    )


if __name__ == "__main__":
    main()
