"""Pictures of people who exist, from any data set on the Hub, as folders named after them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mubench.data.hub import fetch, repository
from mubench.errors import MissingError

from .rows import table

#: How a setting says that a folder is to come from the Hub: ``hub:owner/name[@revision]``.
PREFIX = "hub:"
COLUMNS = ("name", "image")


def portraits(address: str, wanted: Iterable[str], endpoint: str | None = None) -> Path:
    """A folder with one sub-folder of pictures for each of the ``wanted`` names that is there.

    ``address``: ``hub:owner/name[@revision]``, a data set in parquet with the columns ``name`` and
    ``image``. MissingError if it shows none of them. The folder lies in the client's cache.
    """
    from huggingface_hub import cached_assets_path

    repo, _, revision = address.removeprefix(PREFIX).partition("@")
    found = repository(repo, revision=revision, endpoint=endpoint)
    folder = Path(
        cached_assets_path("mubench", namespace=repo.replace("/", "--"), subfolder=found.revision)
    )
    files = fetch(found, {"pictures": found.match("*.parquet")}).parts["pictures"]
    # Only names that were asked for become paths: the others are not trusted.
    names = {name.casefold(): name for name in wanted}
    counts: dict[str, int] = {}
    for row in table(files, COLUMNS):
        name = names.get(row["name"].text().casefold())
        if name is not None:
            counts[name] = counts.get(name, 0) + 1
            own = folder / name
            own.mkdir(exist_ok=True)
            # Whatever the encoding: it is read from the bytes, not from the name.
            (own / f"{counts[name]:04d}.png").write_bytes(row["image"].picture())
    if not counts:
        raise MissingError(f"{found} shows nobody of the wanted people in its column 'name'")
    return folder
