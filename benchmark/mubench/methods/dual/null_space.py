"""Null-space projection: image features lose what points to the forget names."""

from __future__ import annotations

from pydantic import Field

from mubench.config.schema import Settings
from mubench.types import MethodInfo

from .common import Edit, names


class NullSpace(Edit):
    """Closed form, without images: only the image tower's final map changes.

    The text tower is left alone, for there the forget captions would become zero vectors, whose
    direction means nothing.
    """

    info = MethodInfo(
        name="null-space",
        title="Null-space projection",
        paper="arXiv:2512.14137 (the idea; this form is mubench's)",
        formula="W' = W (I - strength U U^T), U: orthonormal basis of the forget names' text"
        " features",
        kind="editing",
        needs=("forget",),
        models=("clip",),
        notes="strength 1: forget names get a cosine of 0 with every image. A name's feature is"
        " the mean over its captions.",
    )

    class Config(Settings):
        strength: float = Field(default=1.0, gt=0, le=1, json_schema_extra={"log": (0.2, 1)})
        batch_size: int = Field(default=64, gt=0)

    def unlearn(self, model, data, context):
        import torch

        features, known = names(model, data.forget, self.config.batch_size)
        basis = orthonormal(features.double())
        context.log["names"], context.log["rank"] = len(known), basis.shape[1]
        matrix = torch.eye(len(basis)).type_as(basis)
        matrix -= self.config.strength * basis @ basis.T
        model.project("image", matrix.type_as(features))


def orthonormal(rows):
    """[D, rank] basis of the span of rows [N, D]; directions below rounding are left out."""
    import torch

    _, sizes, directions = torch.linalg.svd(rows, full_matrices=False)
    return directions[sizes > 1e-6 * sizes[0]].T
