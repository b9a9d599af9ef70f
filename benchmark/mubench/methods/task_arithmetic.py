"""Task arithmetic: fine-tune on forget once more, subtract what that changed."""

from __future__ import annotations

from mubench.types import MethodInfo

from .vectors import NegatedVector


class TaskArithmetic(NegatedVector):
    """The vector is a LoRA adapter on the target; the vision tower is left out of it."""

    info = MethodInfo(
        name="task-arithmetic",
        title="Task arithmetic (negated task vector)",
        paper="arXiv:2212.04089",
        formula="theta = theta_target - scale (theta_ft - theta_target), theta_ft: argmin nll(D_f)",
        kind="two-stage",
        needs=("forget",),
        notes="scale 1 as in MUSE's code. The format of the answers is in the vector, too, and is"
        " subtracted with the facts.",
        models=("mllm", "clip"),
    )

    def terms(self, model, forget, retain):
        return {"forget": model.nll(forget)}
