"""Numbers taken from papers: shown beside rows that were scored here, never ranked with them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mubench.errors import DamagedError
from mubench.hashing import sha

Text = Annotated[str, Field(min_length=1, max_length=300)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Source(_Model):
    """Where exactly a number stands."""

    title: Text
    url: str = Field(pattern=r"^https://(arxiv\.org|github\.com)/[\w./#-]+$")
    where: Text  # table, section or comment


class Reported(_Model):
    """A row of somebody's table. ``values`` are shares in [0, 1] by the paper's own names."""

    benchmark: str
    ratio: float = Field(gt=0, lt=1)
    model: Text
    method: Text
    values: dict[Text, Annotated[float, Field(ge=0, le=1)]]
    source: Source
    note: str = ""

    @property
    def id(self) -> str:
        return sha(self.model_dump(mode="json"))[:12]


def read(folder: Path) -> list[Reported]:
    """All reported rows below a folder. DamagedError names the file and the row."""
    rows = []
    for path in sorted(folder.glob("*.yaml")):
        try:
            entries: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
            shared = {key: part for key, part in entries.items() if key != "rows"}
            for row in entries["rows"]:
                rows.append(Reported.model_validate({**shared, **row}))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise DamagedError(f"{path}, {row.get('method')}: {where}: {first['msg']}") from error
        except (OSError, ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError) as error:
            raise DamagedError(f"{path} is no list of reported rows: {error}") from error
    return rows
