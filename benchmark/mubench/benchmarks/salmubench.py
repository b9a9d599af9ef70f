"""SALMUBench (CVPR 2026, arXiv:2603.26316): ``cvc-mmu/salmubench-512-redistributed``.

A picture of a fictitious person with a caption that tells a private fact. Forgotten are pairs;
other facts of the same people (``holdout_association``) and other people (``holdout_identity``)
were learned as well and are shown to no method. Its Compromised model learned all, its Clean model
none: target and gold come from there, and nothing is trained.

Layout: ``data/SPLIT-*.parquet`` with image, text, identity_id (null in part of ``retain_synth``)
and file_name; json files with the people's facts, the kind of fact of each file, and the file names
of the fragile subset.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from mubench.data.hub import Files
from mubench.data.tables import Person, Tables
from mubench.rng import stream
from mubench.types import Candidate, Example

from .classes import pair
from .rows import Cell, Pictures, damaged, json_file, table

RATIOS = {"0": "forget"}  # the published forget set is the only one
SPLITS = ("forget", "holdout_association", "holdout_identity", "retain_synth")
PEOPLE, CAPTIONS, FRAGILE = (
    "identities_metadata.json",
    "sensitive_set_captions_metadata.json",
    "fragile_set_ids.json",
)
FILES: Mapping[str, Sequence[str]] = {
    **{split: (f"data/{split}-*.parquet",) for split in SPLITS},
    **{name: (name,) for name in (PEOPLE, CAPTIONS, FRAGILE)},
}
SEED = 42  # of the paper
#: Captions of each kind in a gallery, and rows of a set that are asked.
SAMPLE = 1000
#: What the people of other rows than the forget set's are told apart by.
OTHER_FACTS, HARMLESS = "/other facts", "/harmless"


@dataclass(frozen=True, slots=True)
class Row:
    """One published pair. ``fact``: the kind of fact, or of harmless caption."""

    id: str
    image: str
    text: str
    person: str
    fact: str


def read(files: Files, rows: Mapping[str, int]) -> Tables:
    """The benchmark as published."""
    kinds = {name: cell["data_field"].text() for name, cell in _json(files, CAPTIONS).items()}
    fragile = {cell.text() for cell in json_file(files.parts[FRAGILE][0]).each()}
    pictures = Pictures()
    found = {split: list(_rows(files, split, kinds, fragile, pictures)) for split in SPLITS}
    forget = {row.person for row in found["forget"]}
    others = {row.person for row in found["holdout_identity"]}
    if both := forget & others:
        raise damaged(f"'{min(both)}' is in forget and in holdout_identity")
    galleries: dict[str, list[Candidate]] = {}
    asked: list[Example] = []
    distractors = _sample([r for r in found["retain_synth"] if r.fact != "joint"], "distractors")
    for name, set_, part in (
        ("forget", "seen", found["forget"]),
        ("holdout_association", "unseen", found["holdout_association"]),
        ("holdout_identity", "unseen", found["holdout_identity"]),
        ("joint", "kept", [row for row in found["retain_synth"] if row.fact == "joint"]),
        ("fragile", "general", [row for row in found["retain_synth"] if row.fact == "fragile"]),
    ):
        chosen = _sample(part, name)
        among = [*chosen, *(row for row in distractors if row not in chosen)]
        galleries[f"{name} captions"] = [
            Candidate(text, (text,)) for text in dict.fromkeys(row.text for row in among)
        ]
        galleries[f"{name} pictures"] = [Candidate(row.text, images=(row.image,)) for row in among]
        asked += _asked(chosen, set_, name)
    everybody = _json(files, PEOPLE)
    return Tables(
        name="salmubench",
        version=files.repository.revision,
        source=files.source,
        people=[
            Person(
                id=id_,
                name=cell["name"].text(),
                role="fictitious" if id_ in forget else "holdout",
                portrait="published",
                facts={
                    key: value.value
                    for key, value in cell.members().items()
                    if isinstance(value.value, str) and value.optional()
                },
            )
            for id_, cell in everybody.items()
            if id_ in forget | others
        ],
        examples=asked,
        train=[
            pair(row.image, "people", row.person, row.fact, row.text, row.text, number)
            for number, row in enumerate(row for split in SPLITS for row in found[split])
        ],
        images=pictures,
        splits={
            "0": sorted(forget),
            "holdout_identity": sorted(others),
            "holdout_association": sorted({row.person for row in found["holdout_association"]}),
        },
        galleries=galleries,
    )


def _json(files: Files, name: str) -> dict[str, Cell]:
    return json_file(files.parts[name][0]).members()


def _rows(
    files: Files, split: str, kinds: Mapping[str, str], fragile: set[str], pictures: Pictures
) -> Iterator[Row]:
    for row in table(files.parts[split], ("image", "text", "identity_id", "file_name")):
        name, person = row["file_name"].text(), row["identity_id"].optional()
        if split == "retain_synth":
            fact = "joint" if person else "fragile" if name in fragile else "disjoint"
            person = f"{person or name}{HARMLESS}"
        elif not person:
            raise row["identity_id"].bad("is empty")
        elif name not in kinds:
            raise row["file_name"].bad(f"'{name}' is not in {CAPTIONS}")
        else:
            fact = kinds[name]
            person = person + (OTHER_FACTS if split == "holdout_association" else "")
        id_ = f"{split}/{name}"
        yield Row(id_, pictures.add(id_, row["image"]), row["text"].text(), person, fact)


def _sample(rows: Sequence[Row], name: str) -> list[Row]:
    """At most ``SAMPLE`` of the rows, drawn by the paper's seed."""
    chosen = stream(SEED, "salmubench", name).permutation(len(rows))[:SAMPLE]
    return [rows[index] for index in sorted(int(i) for i in chosen)]


def _asked(rows: Sequence[Row], set_: str, name: str) -> Iterator[Example]:
    """Picture to caption, and caption to pictures, equal captions once."""
    said: dict[str, Row] = {}
    for row in rows:
        said.setdefault(row.text, row)
        yield _find(row, set_, f"{name} captions", image=row.image)
    for text, row in said.items():
        yield _find(row, set_, f"{name} pictures", text=text)


def _find(
    row: Row, set_: str, gallery: str, *, image: str | None = None, text: str = ""
) -> Example:
    return Example(
        id=f"{row.id}/{'captions' if image else 'pictures'}",
        set=set_,
        task="retrieval",
        modality="image_to_text" if image else "text_to_image",
        person=row.person,
        fact=row.fact,
        question=text,
        answer=row.text,
        keyword=row.text,
        image=image,
        gallery=gallery,
    )
