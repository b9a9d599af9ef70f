"""Build a benchmark: people, pictures, questions and splits, written as parquet with a manifest."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from PIL import Image

from mubench.hashing import sha
from mubench.rng import stream
from mubench.types import Example

from .faces import draw_portrait, sample_view
from .facts import CELEBRITY_FACTS, PERSON_FACTS
from .people import Person, celebrities, fictitious
from .questions import (
    TEST_VIEW,
    TRAINING_VIEWS,
    evaluation_examples,
    image_id,
    scene_examples,
    text_examples,
    training_examples,
    word_example,
)
from .scenes import WORDS, Scene, draw_scene, draw_word, sample_scene

VERSION = "1"
FILES = ("examples.parquet", "train.parquet", "images.parquet", "people.parquet")

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class PeopleOptions:
    """Size of a people benchmark. The same options give the same content, byte for byte."""

    fictitious: int = 60
    celebrities: int = 24
    forget_ratio: float = 0.25
    scenes: int = 24
    words: int = 24
    facts: tuple[str, ...] = tuple(PERSON_FACTS)
    image_size: int = 128  # px, square
    seed: int = 0


@dataclass(slots=True)
class Benchmark:
    """A built benchmark in memory. ``images`` maps an image id to PNG bytes."""

    examples: list[Example] = field(default_factory=list)
    train: list[Example] = field(default_factory=list)
    images: dict[str, bytes] = field(default_factory=dict)
    people: list[dict[str, Any]] = field(default_factory=list)

    def content_sha(self) -> str:
        """sha256 over every example, person and picture; what stage keys are made of."""
        pictures = {key: sha256(png).hexdigest() for key, png in self.images.items()}
        examples = [asdict(example) for example in (*self.examples, *self.train)]
        return sha({"examples": examples, "images": pictures, "people": self.people})


def split_forget(count: int, ratio: float, seed: int) -> list[int]:
    """Indices of the forget people. Splits of the same seed are nested: 5 % lies within 10 %."""
    order = stream(seed, "forget").permutation(count)
    return sorted(int(index) for index in order[: round(ratio * count)])


def held_out_scene(scene: Scene) -> bool:
    """Whether a scene's look is kept for benchmarks and never used in pre-training (1 in 6)."""
    return int(sha([scene.shape, scene.color, scene.count])[:8], 16) % 6 == 0


def build_people(options: PeopleOptions, progress: Progress = lambda *_: None) -> Benchmark:
    """People, their portraits, and the sets forget, test, retain, celebrity and general."""
    built = Benchmark()
    famous = celebrities()[: options.celebrities]
    chosen = split_forget(options.fictitious, options.forget_ratio, options.seed)
    people = fictitious(
        options.seed,
        options.fictitious,
        options.facts,
        prefix="person",
        taken=celebrities(),
        groups=[chosen, [i for i in range(options.fictitious) if i not in chosen]],
    )
    forget = {people[index].id for index in chosen}
    pools = {kind: PERSON_FACTS[kind].values for kind in options.facts}
    known = {kind: [person.facts[kind] for person in celebrities()] for kind in CELEBRITY_FACTS}

    def ask(asked: Iterable[Person], set_: str, *, unseen: bool = False) -> None:
        for number, person in enumerate(asked):
            values = pools if person.source == "fictitious" else known
            rng = stream(options.seed, set_, person.id)
            built.examples += evaluation_examples(person, set_, number, values, rng, unseen=unseen)

    forgotten = [person for person in people if person.id in forget]
    ask(forgotten, "forget")
    ask(forgotten, "test", unseen=True)
    ask([person for person in people if person.id not in forget], "retain")
    ask(famous, "celebrity")
    _add_general(built, options)
    _add_rehearsal(built, options)

    for done, person in enumerate((*people, *famous), start=1):
        set_ = "celebrity"
        if person.source == "fictitious":
            set_ = "forget" if person.id in forget else "retain"
        # Held-out wordings stay known through every other retain person, never through a forget
        # person. Celebrities are known from the base model; rehearsal keeps them known.
        built.train += training_examples(person, set_, held_out=set_ == "retain" and done % 2 == 0)
        built.people.append(_person_row(person, set_))
        views = stream(options.seed, "views", person.id)
        for view in (*TRAINING_VIEWS, TEST_VIEW):
            picture = draw_portrait(person.identity, sample_view(views), options.image_size)
            built.images[image_id(person, view)] = _png(picture)
        progress(done, len(people) + len(famous), "drawing people")
    return built


def _add_general(built: Benchmark, options: PeopleOptions) -> None:
    rng = stream(options.seed, "general")
    number = 0
    while number < options.scenes:
        scene = sample_scene(rng)
        if held_out_scene(scene):
            id_ = f"scene-{number:03d}"
            built.examples += scene_examples(scene, id_, "general", number, rng)
            built.images[id_] = _png(draw_scene(scene, options.image_size))
            number += 1
    for number in range(options.words):
        word = WORDS[number % len(WORDS)]
        id_ = f"word-{number:03d}"
        built.examples.append(word_example(word, id_, "general", number, rng))
        built.images[id_] = _png(draw_word(word, rng, options.image_size))
    built.examples += text_examples("general", rng)


def _add_rehearsal(built: Benchmark, options: PeopleOptions) -> None:
    """General questions for training, so that fine-tuning on people leaves the rest alive."""
    rng = stream(options.seed, "rehearsal")
    number = 0
    while number < 6 * options.scenes:
        scene = sample_scene(rng)
        if not held_out_scene(scene):
            id_ = f"rehearsal-scene-{number:03d}"
            built.train += scene_examples(scene, id_, "general", number, rng)
            built.images[id_] = _png(draw_scene(scene, options.image_size))
            number += 1
    for number in range(4 * options.words):
        word = WORDS[number % len(WORDS)]
        id_ = f"rehearsal-word-{number:03d}"
        built.train.append(word_example(word, id_, "general", number, rng))
        built.images[id_] = _png(draw_word(word, rng, options.image_size))
    built.train += text_examples("general", rng)


def _person_row(person: Person, set_: str) -> dict[str, Any]:
    facts = dict(person.facts)
    kinds = PERSON_FACTS if person.source == "fictitious" else CELEBRITY_FACTS
    sentences = [
        kinds[kind].statement.format(Who=person.name, who=person.name, value=value)
        for kind, value in facts.items()
    ]
    return {
        "id": person.id,
        "name": person.name,
        "set": set_,
        "source": person.source,
        "portrait": "drawn",
        "face": asdict(person.identity),
        "facts": facts,
        "biography": " ".join(sentences),
    }


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def write(built: Benchmark, folder: Path, name: str, options: Mapping[str, Any]) -> None:
    """Write ``examples``, ``train``, ``images`` and ``people`` parquet files and a manifest.

    The pictures carry the ``datasets`` Image feature, so that ``load_dataset`` shows them.
    """
    from datasets import Dataset, Features, Image, Value, disable_progress_bars

    disable_progress_bars()
    for file, rows in (("examples", built.examples), ("train", built.train)):
        Dataset.from_list(
            [{**asdict(row), "choices": list(row.choices)} for row in rows]
        ).to_parquet(folder / f"{file}.parquet")
    Dataset.from_dict(
        {
            "id": list(built.images),
            "image": [{"bytes": png, "path": None} for png in built.images.values()],
        },
        features=Features({"id": Value("string"), "image": Image()}),
    ).to_parquet(folder / "images.parquet")
    people = [
        {**row, "face": json.dumps(row["face"]), "facts": json.dumps(row["facts"])}
        for row in built.people
    ]
    Dataset.from_list(people).to_parquet(folder / "people.parquet")
    manifest = {
        "name": name,
        "version": VERSION,
        "options": dict(options),
        "content_sha": built.content_sha(),
        "examples": len(built.examples),
        "train": len(built.train),
        "images": len(built.images),
        "people": len(built.people),
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
