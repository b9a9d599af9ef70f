"""Target and gold that somebody published: nothing is trained, gold is stored as what differs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mubench.config.schema import ModelSettings, RunSpec
from mubench.errors import DamagedError


def published_model(spec: RunSpec, published: ModelSettings, folder: Path) -> dict[str, Any]:
    """What turns the target into the ``published`` model. DamagedError for one of another shape."""
    from mubench.models.load import load_model

    model, wanted = load_model(spec.model, None), load_model(published, None)
    try:
        model.model.load_state_dict(wanted.model.state_dict())
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise DamagedError(
            f"{published.source} is not of the same shape as {spec.model.source}: {reason}"
        ) from error
    return {"source": published.source, "delta": model.save_delta(folder)}
