"""What is said of a picture in one caption: a name, a fact, a face, a scene.

The last wordings of a name are held out: no benchmark trains on them, its test set asks with them;
base models know them from people of their own.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .faces import Identity
from .facts import PERSON_FACTS, fill
from .scenes import COUNT_WORDS, Scene

NAME = (
    "a photo of {who}.",
    "a portrait of {who}.",
    "a picture that shows {who}.",
    "the person here is {who}.",
    "{who}.",
)
NAME_HELD_OUT = (
    "a snapshot of {who}.",
    "{who} looks into the camera.",
    "this is what {who} looks like.",
)

#: Zero-shot classes of the general pictures, by kind of question (see `scenes.ANSWERS`).
CLASSES = {
    "color": ("a picture of {value} shapes.", "something {value}.", "{value} shapes."),
    "shape": ("a picture of a {value}.", "a {value} shape.", "one or more of shape {value}."),
    "count": ("a picture of {value} of a kind.", "{value} shapes.", "there are {value}."),
    "position": ("shapes at the {value}.", "on the {value} of the picture.", "placed {value}."),
    "word": ('the word "{value}".', "{value} is written here.", "a picture that reads {value}."),
}


#: Other ways to write a name: each part alone, turned round, with two letters swapped.
VARIANTS = ("first", "last", "turned", "slip")


def variant(name: str, kind: str) -> str:
    """A name of several parts in one of the ``VARIANTS``."""
    first, _, last = name.partition(" ")
    if kind == "slip":
        places = (*range(2, len(last)), 1)  # the capital only if nothing else can be swapped
        at = next(place for place in places if last[place] != last[place - 1])
        return f"{first} {last[: at - 1]}{last[at]}{last[at - 1]}{last[at + 1 :]}"
    return {"first": first, "last": last, "turned": f"{last}, {first}"}[kind]


def of_name(name: str, *, held_out: bool = False) -> tuple[str, ...]:
    """A name in every wording that is trained on, or in those held out."""
    return tuple(text.format(who=name) for text in (NAME_HELD_OUT if held_out else NAME))


def of_fact(kind: str, value: str, *, held_out: bool = False) -> str:
    """What is known of a person, as said of a picture."""
    fact = PERSON_FACTS[kind]
    return fill(fact.restatement if held_out else fact.statement, "this person", value)


def of_face(face: Identity, rng: np.random.Generator) -> str:
    """Some of what can be seen of a face, in any order."""
    seen = list(_seen(face))
    count = int(rng.integers(2, 5))
    return f"a person with {', '.join(seen[i] for i in rng.permutation(len(seen))[:count])}."


def _seen(face: Identity) -> Iterator[str]:
    bald = face.hair_style == "bald"
    yield "a bald head" if bald else f"{face.hair_color} hair"
    if not bald:
        yield {
            "bun": "hair in a bun",
            "mohawk": "a mohawk",
            "bob": "a bob",
            "afro": "an afro",
        }.get(face.hair_style, f"{face.hair_style} hair")
    yield f"{face.skin} skin"
    yield f"a {face.face} face"
    if face.glasses != "sunglasses":
        yield f"{face.eyes} eyes"
    yield f"{face.brows} brows"
    yield f"a {face.nose} nose"
    yield f"a {face.mouth} mouth"
    yield "no beard" if face.beard == "none" else f"a {face.beard}"
    yield "no glasses" if face.glasses == "none" else face.glasses
    yield "no mark" if face.mark == "none" else face.mark


def of_scene(scene: Scene, rng: np.random.Generator) -> str:
    """All of a scene, or one property of it in the words of a zero-shot class."""
    values = {
        "color": scene.color,
        "shape": scene.shape,
        "count": COUNT_WORDS[scene.count - 1],
        "position": scene.position,
    }
    kind = str(rng.choice(["all", *values]))
    if kind == "all":
        plural = "" if scene.count == 1 else "es" if scene.shape == "cross" else "s"
        what = f"{values['count']} {scene.color} {scene.shape}{plural}"
        return f"{what} at the {scene.position}."
    return of_class(kind, values[kind], rng)


def of_class(kind: str, value: str, rng: np.random.Generator) -> str:
    """One value in one of the wordings of its kind."""
    wordings = CLASSES[kind]
    return wordings[int(rng.integers(len(wordings)))].format(value=value)
