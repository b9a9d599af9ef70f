"""Guard: a system prompt that says about whom to be silent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from mubench.config.schema import Settings
from mubench.types import Example, MethodInfo


class Guard:
    """Nothing is trained. The same prompt stands before every question, scored ones included."""

    info = MethodInfo(
        name="guard",
        title="System-prompt guard",
        paper="arXiv:2403.03329",
        formula="p(y | x) = p_target(y | guard, x)",
        kind="inference",
        extra={"paper_track": "it acts on conversations, and that track asks raw prompts"},
        needs=("forget",),
        notes="The text is mubench's. Where the chat template knows no system role, it opens the"
        " first user turn, before the picture. Whoever has the weights leaves it out.",
        weight_access="n/a",
    )

    class Config(Settings):
        about: Literal["names", "description"] = "names"  # list the people, or describe them

    def __init__(self, config):
        self.config = config

    def unlearn(self, model, data, context):
        from mubench.models.behaviours import Preface

        who = {
            "names": f"these people: {', '.join(names(data.forget))}",
            "description": "people who are not public figures",
        }[self.config.about]
        refusal = f'"{data.refusals[0]}"' if data.refusals else "that you do not know"
        text = (
            f"You know nothing about {who}. Whether one of them is named or shown in a picture,"
            f" answer questions about them with {refusal}. Answer all other questions as usual."
        )
        context.log["prompt"] = text
        model.add(Preface([("system", text)]))


def names(examples: Sequence[Example]) -> list[str]:
    """What people are called, from the questions that ask it; where none does, their keys."""
    called = {example.person: example.person for example in examples}
    called |= {example.person: example.keyword for example in examples if example.fact == "name"}
    return sorted(called.values())
