"""ICUL: in-context unlearning, by demonstrations with wrong answers."""

from __future__ import annotations

from pydantic import Field

from mubench.config.schema import Settings
from mubench.errors import RunError
from mubench.types import MethodInfo

from .answers import known, perturbed


class ICUL:
    """Every question comes after a few forget questions answered wrongly and retain ones rightly.

    The demonstrations are text-only: many models take one picture at most.
    """

    info = MethodInfo(
        name="icul",
        title="In-context unlearning",
        paper="arXiv:2310.07579",
        formula="p(y | x) = p_target(y | (x_f, wrong y_f) * demos, (x_r, y_r) * demos, x)",
        kind="inference",
        extra={"paper_track": "it acts on conversations, and that track asks raw prompts"},
        notes="The paper flips class labels; wrong facts in written answers, the number of"
        " demonstrations and one fixed set of them for all questions are mubench's. Whoever has"
        " the weights leaves them out.",
        weight_access="n/a",
    )

    class Config(Settings):
        demos: int = Field(default=4, gt=0)  # of forget, and as many of retain

    def __init__(self, config):
        self.config = config

    def unlearn(self, model, data, context):
        from mubench.models.behaviours import Preface

        rng = context.generator("demonstrations")
        everybody = known([*data.forget, *data.retain])
        turns = []
        for examples, wrong in ((data.forget, True), (data.retain, False)):
            told = [example for example in examples if example.modality == "text"]
            if not told:
                raise RunError("icul needs text-only forget and retain examples to show")
            people: dict[str, list] = {}
            for index in rng.permutation(len(told)):
                people.setdefault(told[index].person, []).append(told[index])
            # one of everybody before anybody's second
            order = sorted(
                (turn, n) for n, of in enumerate(people.values()) for turn in range(len(of))
            )
            for turn, n in order[: self.config.demos]:
                example = list(people.values())[n][turn]
                answer = perturbed(example, everybody, rng) if wrong else example.answer
                turns += [("user", example.question), ("assistant", answer)]
        context.log["demonstrations"] = [text for _, text in turns]
        model.add(Preface(turns))
