"""Where the right candidates of a gallery stand, for every question; each item embedded once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import normalize

from mubench.errors import RunError
from mubench.types import Candidate, Example, Response

#: Rows of a gallery whose similarities are held at a time.
BLOCK = 65_536


class Embedder(Protocol):
    """What is needed of a dual encoder: [N, D] features of length 1, on the CPU."""

    def embed_images(self, ids: Sequence[str], batch: int) -> Tensor: ...
    def embed_texts(self, texts: Sequence[str], batch: int) -> Tensor: ...
    def scale(self) -> float: ...


class Features:
    """Features of pictures, or of texts, by what they are of."""

    def __init__(self, items: Iterable[str], embed: Callable[[Sequence[str]], Tensor]) -> None:
        unique = list(dict.fromkeys(items))
        self._place = {item: place for place, item in enumerate(unique)}
        self._rows = embed(unique) if unique else torch.empty(0, 1)

    def __getitem__(self, items: Sequence[str]) -> Tensor:
        """[len(items), D]"""
        return self._rows[[self._place[item] for item in items]]


class Retrieval:
    """The answers of one model to ``asked``, from features that are made here at once.

    ``gallery`` gives candidates by name. A gallery is compared in blocks, so that one of 100,000
    texts takes no more memory than its features.
    """

    def __init__(
        self,
        model: Embedder,
        gallery: Callable[[str], Sequence[Candidate]],
        asked: Sequence[Example],
        batch: int,
    ) -> None:
        names = dict.fromkeys(example.gallery for example in asked if example.gallery)
        self._galleries = {name: gallery(name) for name in names}
        candidates = [one for many in self._galleries.values() for one in many]
        images = [id_ for one in candidates for id_ in one.images]
        texts = [text for one in candidates for text in one.texts]
        for example in asked:
            images += [example.image] if example.image else []
            texts += [example.question] if _reads(example) else []
            (texts if example.image else images).extend(example.choices)
        self._images = Features(images, lambda ids: model.embed_images(ids, batch))
        self._texts = Features(texts, lambda them: model.embed_texts(them, batch))
        self._scale = model.scale()
        self._labels = {name: [one.label for one in many] for name, many in self._galleries.items()}
        self._rows: dict[str, Tensor] = {}

    def response(self, example: Example) -> Response:
        """Its options' scaled cosines, or the place of the right candidates in its gallery."""
        if not example.gallery:
            items = self._texts if example.image else self._images
            logits = self._scale * items[example.choices] @ self._query(example)
            lengths = (1,) * len(example.choices)
            return Response(example.id, "ok", tuple(logits.tolist()), lengths)
        if example.image and _reads(example):
            return self._agreement(example)
        return self._place(example)

    def _query(self, example: Example) -> Tensor:
        items = self._images[[example.image]] if example.image else self._texts[[example.question]]
        return items[0]

    def _gallery(self, name: str) -> Tensor:
        """[N, D] one row a candidate: the direction of the mean of what it is made of."""
        if name not in self._rows:
            many = self._galleries[name]
            images = [(at, id_) for at, one in enumerate(many) for id_ in one.images]
            texts = [(at, t) for at, one in enumerate(many) if not one.images for t in one.texts]
            parts = []
            for items, made_of in ((self._images, images), (self._texts, texts)):
                if made_of:
                    owners = torch.tensor([at for at, _ in made_of])
                    features = items[[item for _, item in made_of]]
                    total = features.new_zeros(len(many), features.shape[1])
                    parts.append(total.index_add_(0, owners, features))
            self._rows[name] = normalize(torch.stack(parts).sum(0), dim=-1)
        return self._rows[name]

    def _place(self, example: Example) -> Response:
        labels, query = self._labels[example.gallery], self._query(example)
        rows = self._gallery(example.gallery)
        scores = torch.cat([part @ query for part in rows.split(BLOCK)])
        right = torch.tensor([label == example.answer for label in labels])
        if not bool(right.any()) or bool(right.all()):
            raise RunError(
                f"gallery '{example.gallery}' holds {int(right.sum())} right candidates of "
                f"{len(labels)} for '{example.id}': nothing can be found in it"
            )
        return _ranked(example, scores[right], scores[~right], labels[int(scores.argmax())])

    def _agreement(self, example: Example) -> Response:
        """How well picture and text go together, among the pairs of the gallery."""
        own = self._images[[example.image]] * self._texts[[example.question]]
        pairs = self._galleries[example.gallery]
        images = self._images[[one.images[0] for one in pairs]]
        others = (images * self._texts[[one.texts[0] for one in pairs]]).sum(1)
        return _ranked(example, own.sum(1), others, "")


def _reads(example: Example) -> bool:
    """Whether the text of a question is part of what the model sees."""
    return bool(example.question) and (example.image is None or example.task == "membership")


def _ranked(example: Example, right: Tensor, others: Tensor, first: str) -> Response:
    """Ties with others count against the right ones."""
    ahead = [int((others >= score).sum()) for score in right.sort(descending=True).values]
    return Response(
        example.id,
        "ok",
        text=first,
        ranks=tuple(place + before for place, before in enumerate(ahead, start=1)),
        among=len(right) + len(others),
        cosine=float(right.mean()),
    )
