"""Places in a gallery, on features that are given."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from mubench.errors import RunError
from mubench.models import retrieval
from mubench.models.retrieval import Retrieval
from mubench.types import Candidate, Example

#: Angles in degrees, by picture or text.
ANGLES = {
    "ann-0": 0, "ann-1": 20, "bo-0": 90, "cy-0": 180,
    "Ann": 10, "Annie": 30, "Bo": 80, "Cy": 175, "between": 60, "Twin": 10,
}  # fmt: skip


class Given:
    """Counts how often a thing is embedded."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def embed_images(self, ids: Sequence[str], batch: int) -> Tensor:
        self.seen += ids
        angles = torch.tensor([ANGLES[id_] for id_ in ids]).deg2rad()
        return torch.stack([angles.cos(), angles.sin()], dim=1)

    embed_texts = embed_images

    def scale(self) -> float:
        return 10.0


GALLERIES = {
    "names": [Candidate(name, (name,)) for name in ("Ann", "Bo", "Cy")],
    "ensembles": [Candidate("Ann", ("Ann", "Annie")), Candidate("Bo", ("Bo",))],
    "photos": [
        Candidate(id_.partition("-")[0], images=(id_,))
        for id_ in ("ann-0", "ann-1", "bo-0", "cy-0")
    ],
    "prototypes": [Candidate("Ann", images=("ann-0", "ann-1")), Candidate("Bo", images=("bo-0",))],
    "pairs": [Candidate("", ("Bo",), ("bo-0",)), Candidate("", ("Ann",), ("cy-0",))],
    "twins": [Candidate("Ann", ("Ann",)), Candidate("Bo", ("Twin",))],
    "one kind": [Candidate("Ann", ("Ann",)), Candidate("Ann", ("Annie",))],
}


def ask(gallery: str = "", **given: object) -> Example:
    values = {
        "id": f"{gallery}/{given.get('image')}/{given.get('question')}", "set": "forget",
        "task": "retrieval", "modality": "image_to_text", "person": "p", "fact": "name",
        "question": "", "answer": "Ann", "keyword": "Ann", "gallery": gallery,
    }  # fmt: skip
    return Example(**(values | given))


def answer(example: Example):
    return Retrieval(Given(), GALLERIES.__getitem__, [example], 4).response(example)


def test_the_place_of_a_name() -> None:
    found = answer(ask("names", image="ann-1"))  # 10, 60 and 155 degrees away
    assert (found.ranks, found.among, found.text) == ((1,), 3, "Ann")
    assert found.cosine == pytest.approx(torch.tensor(10.0).deg2rad().cos().item())
    found = answer(ask("names", image="bo-0"))
    assert (found.ranks, found.text) == ((2,), "Bo")  # 80, 10 and 85 degrees away
    found = answer(ask("names", image="cy-0"))
    assert (found.ranks, found.text) == ((3,), "Cy")


def test_every_right_photo_has_its_place() -> None:
    found = answer(ask("photos", question="Ann", answer="ann"))
    assert (found.ranks, found.among) == ((1, 2), 4)
    found = answer(ask("photos", question="between", answer="ann"))  # 60 and 40, bo's 30
    assert (found.ranks, found.text) == ((2, 3), "bo")


def test_a_tie_counts_as_wrong() -> None:
    assert answer(ask("twins", image="ann-0")).ranks == (2,)


def test_wordings_and_photos_are_averaged_as_features() -> None:
    """Ann's mean direction is 20 degrees: at 51 she is nearer than Bo (80), 'Ann' alone is not."""
    rows = Retrieval(Given(), GALLERIES.__getitem__, [ask("ensembles", image="ann-0")], 4)
    mean = rows._gallery("ensembles")[0]
    wanted = torch.tensor(20.0).deg2rad()
    torch.testing.assert_close(mean, torch.stack([wanted.cos(), wanted.sin()]))
    rows = Retrieval(Given(), GALLERIES.__getitem__, [ask("prototypes", image="ann-0")], 4)
    ten = torch.tensor(10.0).deg2rad()
    torch.testing.assert_close(rows._gallery("prototypes")[0], torch.stack([ten.cos(), ten.sin()]))


def test_a_pair_is_compared_with_pairs() -> None:
    """Ann's own pair is 10 degrees apart; the others 10 (a tie) and 170."""
    pair = ask("pairs", image="ann-1", question="Ann", task="membership", answer="")
    found = answer(pair)
    assert (found.ranks, found.among) == ((2,), 3)


def test_options_are_scaled_cosines() -> None:
    found = answer(ask(image="ann-0", choices=("Ann", "Cy"), task="choice"))
    cosines = torch.tensor([10.0, 175.0]).deg2rad().cos()
    assert found.logprobs == pytest.approx((10 * cosines).tolist(), abs=1e-5)
    assert found.lengths == (1, 1)
    assert answer(ask(question="Bo", choices=("bo-0", "cy-0"), task="choice")).logprobs[0] > 9


def test_nothing_is_embedded_twice() -> None:
    model = Given()
    asked = [ask("names", image="ann-0"), ask("photos", question="Ann"), ask("names", image="bo-0")]
    Retrieval(model, GALLERIES.__getitem__, asked, 4)
    assert len(model.seen) == len(set(model.seen))


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    example = ask("photos", question="between", answer="ann")
    whole = answer(example)
    monkeypatch.setattr(retrieval, "BLOCK", 1)
    assert answer(example) == whole


def test_a_gallery_of_100_000_texts() -> None:
    """Several blocks; every query finds its text where the features put it."""
    count, asked = 100_000, range(0, 100_000, 9_973)
    assert count > retrieval.BLOCK
    rows = torch.nn.functional.normalize(
        torch.randn(count, 16, generator=torch.Generator().manual_seed(0)), dim=1
    )

    class Many(Given):
        def embed_images(self, ids: Sequence[str], batch: int) -> Tensor:
            return rows[[(7 * int(id_)) % count for id_ in ids]]

        def embed_texts(self, texts: Sequence[str], batch: int) -> Tensor:
            return rows[[int(text) for text in texts]]

    names = [Candidate(str(i), (str(i),)) for i in range(count)]
    examples = [ask("all", image=str(i), answer=str(i)) for i in asked]
    made = Retrieval(Many(), lambda _: names, examples, 256)
    for i, example in zip(asked, examples, strict=True):
        scores = rows @ rows[(7 * i) % count]
        found = made.response(example)
        assert found.among == count
        assert found.text == str((7 * i) % count)
        # Sums are rounded otherwise in blocks: a near tie may fall either way.
        assert found.ranks[0] == pytest.approx(int((scores >= scores[i]).sum()), abs=1)


@pytest.mark.parametrize("gallery", ["one kind", "names"])
def test_a_gallery_without_right_or_wrong_candidates_is_refused(gallery: str) -> None:
    answer_ = "Ann" if gallery == "one kind" else "Nobody"
    with pytest.raises(RunError, match=gallery):
        answer(ask(gallery, image="ann-0", answer=answer_))
