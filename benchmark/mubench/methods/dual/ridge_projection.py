"""Ridge projection: forget names to zero, retain names held, in the least-squares sense."""

from __future__ import annotations

from pydantic import Field

from mubench.config.schema import Settings
from mubench.types import MethodInfo

from .common import Edit, names


class RidgeProjection(Edit):
    """The map of text features P that minimises |T_f P|^2 + keep |T_r P - T_r|^2 + ridge |P - I|^2.
    It is applied to the images that names are compared with: <z P^T, t> = <z, t P>.

    With as many retain names as dimensions, all directions are held and nothing is forgotten.
    """

    info = MethodInfo(
        name="ridge-projection",
        title="Ridge projection",
        paper="mubench",
        formula="W' = W P^T, P = (T_f^T T_f + keep T_r^T T_r + ridge I)^-1"
        " (keep T_r^T T_r + ridge I)",
        kind="editing",
        models=("clip",),
        notes="keep 1, ridge 0.1. Rows of T: the mean over a name's captions. Image tower alone.",
    )

    class Config(Settings):
        keep: float = Field(default=1.0, ge=0, json_schema_extra={"log": (0.01, 1)})
        ridge: float = Field(default=0.1, gt=0)
        batch_size: int = Field(default=64, gt=0)

    def unlearn(self, model, data, context):
        size = self.config.batch_size
        away, _ = names(model, data.forget, size)
        kept, _ = names(model, data.retain, size)
        found = ridge(away.double(), kept.double(), self.config.keep, self.config.ridge)
        model.project("image", found.T.type_as(away))


def ridge(away, kept, keep, strength):
    """[D, D] P of the class's docstring, from rows [N, D] of both sets."""
    import torch

    held = keep * kept.T @ kept
    held += strength * torch.eye(len(held)).type_as(held)
    return torch.linalg.solve(away.T @ away + held, held)
