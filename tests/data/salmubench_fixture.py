"""SALMUBench's files in small: same names, columns and nesting, invented content."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from data.published_fixtures import cell

KINDS = ("city", "job", "blood_type")
VALUES = {
    "city": ("Aby", "Boro", "Cole"),
    "job": ("baker", "cook", "diver"),
    "blood_type": ("A+", "B-", "O+"),
}
SCHEMA = pa.schema(
    [
        ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        ("text", pa.string()),
        ("identity_id", pa.string()),
        ("file_name", pa.string()),
    ]
)
#: The last two people are in holdout_identity, the others in forget; the first three have facts
#: that stay.
PEOPLE = [f"{number:05d}" for number in range(9)]
FORGET, OTHERS = PEOPLE[:7], PEOPLE[7:]


def identity(number: int) -> dict[str, Any]:
    own = {kind: VALUES[kind][number % 3] for kind in KINDS}
    return {
        "name": f"Nam{number} Sur{number}",
        "country_code": "GB",
        **own,
        "emails": ["a@b.example"],
    }


def content() -> tuple[dict[str, list[dict[str, Any]]], dict[str, Any]]:
    """Rows by split, and the json files by name."""
    people = {id_: identity(number) for number, id_ in enumerate(PEOPLE)}
    splits: dict[str, list[dict[str, Any]]] = {
        "forget": [], "holdout_association": [], "holdout_identity": [], "retain_synth": []
    }  # fmt: skip
    captions: dict[str, Any] = {}
    seed = 0

    def add(split: str, person: str | None, kind: str, text: str) -> None:
        nonlocal seed
        seed += 1
        name = f"{person or 'x'}_{seed:04d}.jpg"
        splits[split].append(
            {"image": cell(seed), "text": text, "identity_id": person, "file_name": name}
        )
        if split != "retain_synth":
            captions[name] = {"data_field": kind, "caption": text}

    for number, id_ in enumerate(PEOPLE):
        for kind in KINDS:
            held = kind == "job" and number < 3
            split = "holdout_association" if held else "forget"
            split = "holdout_identity" if id_ in OTHERS else split
            for way in range(2):
                said = f"Way {way}: {people[id_]['name']}, {kind} {people[id_][kind]}."
                add(split, id_, kind, said)
    for number, id_ in enumerate(FORGET):
        add("retain_synth", id_, "", f"A person in place {number}.")
    for number in range(12):
        add("retain_synth", None, "", f"A harmless picture {number}.")
    fragile = [row["file_name"] for row in splits["retain_synth"][-4:]]
    return splits, {
        "identities_metadata.json": people,
        "sensitive_set_captions_metadata.json": captions,
        "fragile_set_ids.json": fragile,
        "sensitive_set_generic_captions.json": dict.fromkeys(captions, "A person."),
    }


def write(folder: Path, splits: Any = None, files: Any = None) -> Path:
    """All of it, forget in two shards."""
    usual = content()
    for split, rows in (splits or usual[0]).items():
        count = 2 if split == "forget" else 1
        size = -(-len(rows) // count)
        for shard in range(count):
            path = folder / f"data/{split}-{shard:05d}-of-{count:05d}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            part = rows[shard * size : (shard + 1) * size]
            pyarrow.parquet.write_table(pa.Table.from_pylist(part, schema=SCHEMA), path)
    for name, value in (files or usual[1]).items():
        (folder / name).write_text(json.dumps(value), encoding="utf-8")
    return folder
