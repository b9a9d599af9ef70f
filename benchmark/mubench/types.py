"""The records that travel through mubench, one way: build, target, unlearn, predict, score, report.

Standard library only. Every record is immutable, so that a stage can be keyed by its content.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Modality = Literal["image_text", "text"]
Direction = Literal["image_to_text", "text_to_image", "image_to_image", "text_to_text"]
Task = Literal["choice", "generation", "cloze"]
Matching = Literal["retrieval", "zero_shot", "prototype", "membership"]
Set = Literal[
    "forget", "test", "retain", "holdout_identity", "holdout_association", "celebrity", "general"
]
Fold = Literal["test", "dev"]
Scope = Literal["identity", "association"]  # what of the forget people is to go
Role = Literal["target", "gold", "method"]
Capability = Literal["likelihood", "generate"]
ModelKind = Literal["mllm", "clip"]

MODALITIES: tuple[Modality, ...] = ("image_text", "text")
#: What a dual encoder compares: the last two are one tower alone.
DIRECTIONS: tuple[Direction, ...] = (
    "image_to_text",
    "text_to_image",
    "image_to_image",
    "text_to_text",
)
TASKS: tuple[Task, ...] = ("choice", "generation", "cloze")
#: Tasks of a dual encoder beside ``choice``: a place in a gallery.
MATCHINGS: tuple[Matching, ...] = ("retrieval", "zero_shot", "prototype", "membership")
SETS: tuple[Set, ...] = (
    "forget",
    "test",
    "retain",
    "holdout_identity",
    "holdout_association",
    "celebrity",
    "general",
)
FOLDS: tuple[Fold, ...] = ("test", "dev")
ROLES: tuple[Role, ...] = ("target", "gold", "method")


def gold_roles(count: int) -> tuple[str, ...]:
    """The names of ``count`` gold models, which differ by their random streams alone."""
    return ("gold", *(f"gold-{number}" for number in range(1, count)))


#: What each set says about an unlearning method.
ASPECTS: Mapping[str, tuple[Set, ...]] = {
    "efficacy": ("forget",),
    "generalizability": ("test",),
    "utility": ("retain", "holdout_identity", "holdout_association", "celebrity", "general"),
}


@dataclass(frozen=True, slots=True)
class Candidate:
    """One entry of a gallery, which questions of a dual encoder choose from.

    It stands for the mean of the normalised features of its ``texts`` or ``images`` (a class in
    several wordings, the photos of a person); with both, for how well the two go together.
    ``label`` is what it is right for.
    """

    label: str
    texts: tuple[str, ...] = ()
    images: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Example:
    """One question about one person (or scene), in one modality or direction.

    ``person`` is the unit that statistics are clustered by. ``(set, person, fact, task)`` is the
    same for the image+text and the text-only form of a question: they pair by it.

    Of a dual encoder is asked where, in ``gallery``, the candidates labelled ``answer`` stand. It
    sees ``image`` or, where there is none, ``question``; both where their agreement is asked for.
    Training pairs are an ``image`` and a caption, its ``answer``.
    """

    id: str
    set: str
    task: str
    modality: Modality | Direction
    person: str
    fact: str
    question: str
    answer: str
    keyword: str  # what a right answer contains, e.g. the bare value of the fact; "" if not known
    image: str | None = None  # id of an image in the same benchmark data
    choices: tuple[str, ...] = ()  # options of a choice question; one of them equals ``answer``
    perturbed: tuple[str, ...] = ()  # wrong answers in the form of ``paraphrase``, or of ``answer``
    paraphrase: str = ""  # the answer in other words, where it is a sentence
    gallery: str = ""  # name of the candidates that many questions share, see ``Candidate``

    @property
    def candidates(self) -> tuple[str, ...]:
        """The texts whose log-probability is asked for: the options of a choice question; else
        the true answer, its paraphrase if there is one, and the wrong answers in the same form."""
        if self.choices:
            return self.choices
        return (self.answer, *((self.paraphrase,) if self.paraphrase else ()), *self.perturbed)


class Token(NamedTuple):
    """How a model saw one token of the true answer after those before it.

    ``logprob`` is its natural-log probability; ``rank`` the number of other tokens that are at
    least as likely (0: the greedy choice, and no tie); ``mean`` and ``std`` are those of the
    log-probability of a token drawn from the model itself, as Min-K%++ compares with
    (arXiv:2404.02936, eq. 3).
    """

    logprob: float
    rank: int
    mean: float
    std: float


@dataclass(frozen=True, slots=True)
class Response:
    """What a model did with one example.

    ``logprobs[i]`` is the summed natural-log probability of ``Example.candidates[i]`` over its
    ``lengths[i]`` tokens, end token included. ``tokens`` are those of the true answer, and
    ``text`` is the greedy continuation, of questions without options; ``finished`` tells whether
    it ended by itself.

    With a gallery: ``ranks`` (from 1) of the right candidates, ties counted against them, among
    ``among``; ``cosine``, the mean over the right ones; ``text`` is the label of the first.
    """

    example_id: str
    status: Literal["ok", "error"]
    logprobs: tuple[float, ...] = ()
    lengths: tuple[int, ...] = ()
    text: str | None = None
    finished: bool | None = None
    error: str | None = None
    tokens: tuple[Token, ...] = ()
    ranks: tuple[int, ...] = ()
    among: int = 0
    cosine: float | None = None


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its 95 % interval, in the metric's own unit. No interval: None, never 0."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class MethodInfo:
    """What a method is and what it needs; read without loading a model."""

    name: str
    title: str
    paper: str
    formula: str
    kind: Literal["reference", "gradient", "two-stage", "pruning", "editing", "inference"]
    needs: tuple[str, ...] = ("forget", "retain")
    capabilities: tuple[Capability, ...] = ("likelihood",)
    notes: str = ""
    #: The kinds of model that the method is defined for.
    models: tuple[ModelKind, ...] = ("mllm",)
    #: Attacks that need the weights: an inference-time method leaves none of its own to attack.
    weight_access: Literal["measured", "n/a"] = "measured"
    extra: Mapping[str, str] = field(default_factory=dict)
