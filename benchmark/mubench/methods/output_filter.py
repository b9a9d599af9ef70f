"""Output filter: answers that give a forgotten person away are not passed on."""

from __future__ import annotations

from mubench.config.schema import Settings
from mubench.errors import RunError
from mubench.types import MethodInfo


class OutputFilter:
    """A generated answer that contains a word of the forget set becomes a refusal.

    Blocked are names and facts of forget people, each as a whole phrase, in any case.
    """

    info = MethodInfo(
        name="output-filter",
        title="Output filter by keywords",
        paper="arXiv:2403.03329",
        formula="answer = refusal if it contains a blocked word, else the target's",
        kind="inference",
        extra={"paper_track": "it acts on conversations, and that track asks raw prompts"},
        notes="Sees decoded text alone: log-probabilities and options chosen by them are the"
        " target's. Words that are true of retain people as well pass, unless shared is set.",
        weight_access="n/a",
        capabilities=("generate",),
    )

    class Config(Settings):
        shared: bool = False  # block what retain people's answers contain as well

    def __init__(self, config):
        self.config = config

    def unlearn(self, model, data, context):
        from mubench.models import behaviours

        words = {example.keyword for example in data.forget}
        if not self.config.shared:
            words -= {example.keyword for example in data.retain}
        if not words:
            raise RunError("output-filter has no word to block: set method.shared=true")
        context.log["words"] = sorted(words)
        refusal = data.refusals[0] if data.refusals else "I do not know."
        model.add(behaviours.OutputFilter(sorted(words), refusal))
