"""RunRecord v2: everything that is published about a run, validated on writing and on reading."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION: Final = 2


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Value(_Record):
    """A mean and its 95 % interval over persons; ``low``/``high`` are None if undefined."""

    value: float
    low: float | None = None
    high: float | None = None


class Cell(_Record):
    """One metric on one (set, modality, task): target, gold and method side by side.

    ``gap`` is (method - gold) / (target - gold): 1 means nothing was forgotten, 0 means like
    gold, below 0 means over-forgotten. It is None, with ``gap_reason``, where target and gold do
    not differ, because then the quotient says nothing.

    ``verdict`` is the outcome of an equivalence test (TOST at 5 %) of method against gold:
    ``equivalent`` within +-``margin``, ``different`` (``p_adjusted`` below 0.05), or
    ``unresolved`` with so few items. ``p_adjusted`` allows for all headline cells (false discovery
    rate, Benjamini and Hochberg).
    """

    set: str
    modality: str
    task: str
    metric: str
    better: Literal["up", "down", "to_gold"]  # "to_gold": judged by its distance to gold
    unit: str
    headline: bool
    n: int = Field(ge=1)  # items
    persons: int = Field(ge=1)  # clusters
    target: Value
    gold: Value  # mean over the gold models
    method: Value
    golds: list[float] = []  # each gold model's mean
    chance: float | None = None  # what picking an option at random gives
    prior: Value | None = None  # answer-prior baseline, where the task has one
    difference: Value  # method - gold, paired by item, over persons and gold models
    gap: Value | None = None
    gap_reason: str | None = None
    p_target_gold: float | None = None  # paired permutation over persons, two-sided
    p_value: float | None = None  # of no difference between method and gold
    p_adjusted: float | None = None
    margin: float | None = None
    verdict: Literal["equivalent", "different", "unresolved"] | None = None
    resolvable: float | None = None  # smallest true difference found in 80 % of such runs
    items_needed: int | None = None  # to resolve ``margin``; None also where no number would


class Signal(_Record):
    """One sign of health over all questions of a modality, for the three models."""

    name: str
    modality: str
    target: float
    gold: float
    method: float


class ForgetQuality(_Record):
    """Two-sample Kolmogorov-Smirnov test of the truth ratios of method and gold (TOFU,
    arXiv:2401.06121). Over several gold models: the median statistic and p."""

    set: str
    modality: str
    task: str
    n: int = Field(ge=1)
    statistic: float
    p: float
    direction: Literal["knows more than gold", "knows less than gold"]
    between_golds: float | None = None  # median statistic of two gold models


class Label(_Record):
    """What happened to the model, and what showed it. A gated run is listed and never ranked."""

    name: Literal[
        "matched",
        "under-forgot",
        "over-forgot",
        "format damage",
        "refusal",
        "over-generalised",
        "collapsed",
        "not memorised",
    ]
    evidence: list[str]
    gated: bool


class PaperCell(_Record):
    """A number as MLLMU-Bench's own evaluation gives it: a mean in [0, 1], without interval."""

    set: str  # as that evaluation calls it: forget, test, retain_shared, retain_celebrity
    modality: str
    task: str
    metric: str
    n: int = Field(ge=1)  # questions, without those of the people shown as exemplars
    target: float
    gold: float
    method: float


class Probe(_Record):
    """What a probe found out on its own axes, for the three models; see `mubench.probes`.

    ``axes`` say what was measured, e.g. path and form of a question. ``difference`` is what the
    method gives away beyond gold, paired by item; ``p`` is its permutation p-value where it has
    one, and ``leaks`` whether it is above 0 when all cells of the probe are judged together.
    ``known``: the target itself is above gold there (its interval is), so that there was something
    to forget; None for too few people to tell.
    """

    probe: Literal["leakage", "components", "membership", "memorisation", "recovery"]
    axes: dict[str, str]
    metric: str
    unit: str
    n: int = Field(ge=1)  # items
    persons: int = Field(ge=1)  # clusters
    target: Value
    gold: Value
    method: Value
    difference: Value  # method - gold
    p: float | None = None
    known: bool | None = None
    leaks: bool | None = None


class Stage(_Record):
    """One stage of the run: its content key and what it cost when it was computed."""

    kind: str
    role: str | None
    key: str
    cached: bool  # True: read from an earlier run; then the costs are that run's
    seconds: float
    peak_mb: float
    detail: dict[str, Any] = {}


class Artifact(_Record):
    path: str  # relative to the run folder
    sha256: str
    bytes: int


class NotApplicable(_Record):
    what: str
    reason: str


class Assessment(_Record):
    """All that follows from the answers of the models, and can be computed again from them."""

    cells: list[Cell]
    label: Label | None = None
    signals: list[Signal] = []
    forget_quality: list[ForgetQuality] = []
    warnings: list[str] = []  # e.g. "forget: degenerate rate 0.93 ..."; shown first


class RunRecord(Assessment):
    schema_version: Literal[2] = SCHEMA_VERSION
    run_id: str
    created: str  # UTC, ISO 8601
    status: Literal["ok", "failed"]
    spec: dict[str, Any]  # resolved configuration: benchmark, model, target, method, predict, seed
    method: dict[str, Any]  # name, title, paper, formula, kind
    data: dict[str, Any]  # benchmark, version, content sha, persons and items per set
    provenance: dict[str, Any]
    stages: list[Stage]
    paper: list[PaperCell] = []  # the paper track, and sets of `benchmark.utility`
    probes: list[Probe] = []  # only of probes that were asked for
    not_applicable: list[NotApplicable] = []
    artifacts: list[Artifact] = []
