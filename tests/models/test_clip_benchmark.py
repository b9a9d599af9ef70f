"""The same numbers as the clip-benchmark package gives, on the same checkpoint and pictures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from mubench.metrics.scoring import ItemScore, build_cells, score
from mubench.models.dual_encoder import OpenClipModel
from mubench.models.load import package_folder
from mubench.models.open_clip_files import WEIGHTS, read
from mubench.models.retrieval import Retrieval
from mubench.rng import stream
from mubench.types import ROLES, Candidate, Example
from mubench_data.captions import CLASSES, of_scene
from mubench_data.scenes import ANSWERS, Scene, draw_scene, sample_scene

classification = pytest.importorskip("clip_benchmark.metrics.zeroshot_classification")
retrieval = pytest.importorskip("clip_benchmark.metrics.zeroshot_retrieval")
models = pytest.importorskip("clip_benchmark.models")

RNG = stream(0, "clip-benchmark")
SCENES: list[Scene] = [sample_scene(RNG) for _ in range(60)]
PICTURES: dict[str, Image.Image] = {f"s{i}": draw_scene(s, 64) for i, s in enumerate(SCENES)}
#: Each caption belongs to one picture, as there.
CAPTIONS = [[f"{of_scene(scene, RNG)} {i} {k}" for k in range(3)] for i, scene in enumerate(SCENES)]
COLORS = ANSWERS["color"]
TEMPLATES = CLASSES["color"]


@dataclass
class Loader:
    """Batches of 16, as a DataLoader of theirs gives them."""

    pictures: torch.Tensor
    targets: list

    class dataset:
        classes = COLORS

    def __iter__(self) -> Iterator[tuple[torch.Tensor, object]]:
        for at in range(0, len(self.pictures), 16):
            targets = self.targets[at : at + 16]
            batch = torch.tensor(targets) if isinstance(targets[0], int) else targets
            yield self.pictures[at : at + 16], batch


@pytest.fixture(scope="module")
def theirs():
    """The checkpoint as their own command line loads it."""
    name = f"local-dir:{package_folder('clip-tiny')}"
    model, preprocess, tokenizer = models.load_clip("open_clip", name, "", "", "cpu")
    weights = load_file(package_folder("clip-tiny") / WEIGHTS)
    assert all(value.equal(weights[key]) for key, value in model.state_dict().items())
    pictures = torch.stack([preprocess(picture) for picture in PICTURES.values()])
    return model.eval(), tokenizer, pictures


def cells(task: str, gallery: list[Candidate], queries: list[dict[str, str | None]]):
    examples = [
        Example(
            id=f"q{number}",
            set="general",
            task=task,
            modality="image_to_text",
            person=f"q{number}",
            fact="",
            keyword="",
            gallery="g",
            **{"question": "", **query},
        )
        for number, query in enumerate(queries)
    ]
    model = OpenClipModel(read(package_folder("clip-tiny")), PICTURES.__getitem__)
    found = Retrieval(model, lambda _: gallery, examples, 7)
    items: dict[str, ItemScore] = {e.id: score(e, found.response(e)) for e in examples}
    made = build_cells(examples, dict.fromkeys(ROLES, items), {}, 0)
    return {cell.metric: cell.method.value for cell in made}


def test_retrieval_both_ways(theirs) -> None:
    model, tokenizer, pictures = theirs
    wanted = retrieval.evaluate(
        model, Loader(pictures, CAPTIONS), tokenizer, "cpu", amp=False, recall_k_list=[1, 5, 10]
    )
    texts = [Candidate(f"s{i}", (caption,)) for i, many in enumerate(CAPTIONS) for caption in many]
    images = [Candidate(name, images=(name,)) for name in PICTURES]
    ours = cells("retrieval", texts, [{"image": name, "answer": name} for name in PICTURES])
    for k in (1, 5, 10):
        assert ours[f"r{k}"] == pytest.approx(wanted[f"text_retrieval_recall@{k}"], abs=1e-6)
    back = cells(
        "retrieval",
        images,
        [
            {"question": caption, "answer": f"s{i}"}
            for i, many in enumerate(CAPTIONS)
            for caption in many
        ],
    )
    for k in (1, 5, 10):
        assert back[f"r{k}"] == pytest.approx(wanted[f"image_retrieval_recall@{k}"], abs=1e-6)
    assert 0.02 < ours["r1"] < 1


def _accuracy(logits: torch.Tensor, target: torch.Tensor, topk: tuple[int, ...]) -> list[float]:
    """Theirs takes float() of an array with one element, which numpy no longer does."""
    top = logits.topk(max(topk), 1).indices == target[:, None]
    return [top[:, :k].any(1).float().mean().item() for k in topk]


def test_zero_shot(theirs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classification, "accuracy", _accuracy)
    model, tokenizer, pictures = theirs
    truth = [COLORS.index(scene.color) for scene in SCENES]
    wanted = classification.evaluate(
        model,
        Loader(pictures, truth),
        tokenizer,
        list(COLORS),
        [template.replace("{value}", "{c}") for template in TEMPLATES],
        "cpu",
        amp=False,
    )
    gallery = [
        Candidate(value, tuple(text.format(value=value) for text in TEMPLATES)) for value in COLORS
    ]
    ours = cells(
        "zero_shot",
        gallery,
        [{"image": f"s{i}", "answer": scene.color} for i, scene in enumerate(SCENES)],
    )
    assert ours["accuracy"] == pytest.approx(wanted["acc1"], abs=1e-6)
    assert ours["r5"] == pytest.approx(wanted["acc5"], abs=1e-6)
    assert ours["class_recall"] == pytest.approx(wanted["mean_per_class_recall"], abs=1e-6)
    assert ours["class_recall"] != ours["accuracy"]
