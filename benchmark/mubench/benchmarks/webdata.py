"""Sets in the layout of CLIP_benchmark: ``clip-benchmark/wds_*`` on the Hub, or a folder like it.

``classnames.txt`` and ``zeroshot_classification_templates.txt`` (``{c}`` for the class), or
``dataset_type.txt`` with "retrieval"; below ``train`` and ``test``, ``nshards.txt`` and tar files
of pictures with a ``.cls`` (number of the class) or ``.txt`` (captions, one a line) each.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from mubench.data.hub import Files, Repository, fetch, repository
from mubench.errors import DamagedError, MissingError, UsageError, unknown
from mubench.types import Candidate, Example

from .classes import zero_shot
from .concepts import ClassSet
from .utility import Utility

#: In ids of pictures, so that a set can be utility where its classes are forgotten.
UTILITY = "utility"
PICTURES = ("webp", "png", "jpg", "jpeg")
NAMES, TEMPLATES, TYPE = (
    "classnames.txt",
    "zeroshot_classification_templates.txt",
    "dataset_type.txt",
)
#: Sets by a short name.
KNOWN = {
    "flickr30k": "clip-benchmark/wds_flickr30k",
    "coco": "clip-benchmark/wds_mscoco_captions",
    "imagenet": "clip-benchmark/wds_imagenet1k",
    "cifar10": "clip-benchmark/wds_vtab-cifar10",
    "cifar100": "clip-benchmark/wds_vtab-cifar100",
}

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class Sample:
    """A picture in a tar file, and what is said of it, read when it is wanted."""

    key: str
    file: Path
    offset: int
    size: int
    label: str

    def picture(self) -> bytes:
        with open(self.file, "rb") as handle:
            handle.seek(self.offset)
            return handle.read(self.size)


@dataclass(frozen=True, slots=True)
class WebData:
    """A set whose files are on this machine; ``samples`` by split, in their order."""

    name: str
    files: Files
    names: tuple[str, ...]
    wordings: tuple[str, ...]
    samples: dict[str, list[Sample]]

    @property
    def classes(self) -> tuple[str, ...]:
        """The names; one that comes again (as ImageNet's crane) with its number."""
        first = {name: place for place, name in reversed([*enumerate(self.names)])}
        return tuple(
            name if first[name] == place else f"{name} ({place})"
            for place, name in enumerate(self.names)
        )


def address(source: str) -> tuple[str, str, Path | None]:
    """(repository, revision, folder) of a short name, ``owner/name[@revision]`` or a folder."""
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder.name, "", folder
    repo, _, revision = KNOWN.get(source, source).partition("@")
    if "/" not in repo:
        raise unknown("set", source, KNOWN, "(or owner/name on the Hub, or a folder)")
    return repo, revision, None


def load(
    repo: str,
    splits: Sequence[str],
    *,
    revision: str = "",
    data_dir: Path | None = None,
    endpoint: str | None = None,
    progress: Progress | None = None,
) -> WebData:
    """A set from the Hub, or from a copy of its files. MissingError for files that are not there,
    DamagedError for what they should not hold."""
    found = repository(repo, revision=revision, data_dir=data_dir, endpoint=endpoint)
    about = [name for name in (NAMES, TEMPLATES, TYPE) if name in found.paths]
    wanted: dict[str, tuple[str, ...]] = {name: (name,) for name in about}
    wanted |= {split: _shards(found, split) for split in splits}
    files = fetch(found, wanted, progress)
    lines = {
        name: _lines(files.parts[name][0]) if name in about else ()
        for name in (NAMES, TEMPLATES, TYPE)
    }
    pairs = lines[TYPE][:1] == ("retrieval",)
    if not pairs and not (lines[NAMES] and lines[TEMPLATES]):
        raise MissingError(f"{found} has no {NAMES} with {TEMPLATES}, and is not for retrieval")
    ending = "txt" if pairs else "cls"
    samples = {
        split: [one for file in files.parts[split] for one in _samples(file, ending)]
        for split in splits
    }
    name = repo.rpartition("/")[2].removeprefix("wds_").removeprefix("vtab-")
    return WebData(name, files, lines[NAMES], lines[TEMPLATES], samples)


def _shards(found: Repository, split: str) -> tuple[str, ...]:
    """The tar files of a split, as many as its ``nshards.txt`` says."""
    count = f"{split}/nshards.txt"
    if count not in found.paths:
        raise MissingError(f"{found} has no {count}: it has no split '{split}' in this layout")
    path = found.open(count)
    text = path.read_text(encoding="utf-8").strip()
    if not text.isdecimal():
        raise DamagedError(f"{path} should hold a number, holds '{text[:40]}'")
    paths = tuple(f"{split}/{number}.tar" for number in range(int(text)))
    for one in paths:
        if one not in found.paths:
            raise MissingError(f"{found} has no {one}, one of {text} by its {count}")
    return paths


def _lines(path: Path) -> tuple[str, ...]:
    try:
        return tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    except UnicodeDecodeError as error:
        raise DamagedError(f"{path} is not UTF-8") from error


def _samples(file: Path, ending: str) -> Iterator[Sample]:
    """The samples of a tar file: members of one name, up to its first dot, stand together."""
    try:
        with tarfile.open(file, "r:") as tar:
            members = (member for member in tar if member.isfile())
            for key, group in groupby(members, lambda member: _split(member.name)[0]):
                parts = {_split(member.name)[1]: member for member in group}
                picture = next((parts[kind] for kind in PICTURES if kind in parts), None)
                if picture is None or ending not in parts:
                    raise DamagedError(f"{file}: '{key}' has no picture or no .{ending}")
                said = tar.extractfile(parts[ending])
                assert said is not None  # it is a file
                text = said.read().decode("utf-8")
                yield Sample(key, file, picture.offset_data, picture.size, text)
    except (tarfile.TarError, EOFError, UnicodeDecodeError) as error:
        raise DamagedError(f"{file} is not a readable tar file of samples: {error}") from error


def _split(name: str) -> tuple[str, str]:
    folder, slash, last = name.rpartition("/")
    key, _, kind = last.partition(".")
    return f"{folder}{slash}{key}", kind.lower()


def by_class(of: WebData, split: str, most: int | None = None) -> dict[str, list[Sample]]:
    """The first ``most`` samples of each class, or all."""
    found: dict[str, list[Sample]] = {one: [] for one in of.classes}
    for sample in of.samples[split]:
        text = sample.label.strip()
        if not text.isdecimal() or int(text) >= len(of.classes):
            raise DamagedError(
                f"{sample.file}: '{sample.key}' is of class '{text[:20]}', there are "
                f"{len(of.classes)}"
            )
        own = found[of.classes[int(text)]]
        if most is None or len(own) < most:
            own.append(sample)
    return found


def class_set(of: WebData, families: Sequence[Sequence[str]], train: int, test: int) -> ClassSet:
    """Its classes, with at most ``train`` and ``test`` pictures each. UsageError for a family with
    a class that it does not have."""
    spelt = {_plain(one): one for one in of.classes}
    for one in (one for family in families for one in family):
        if _plain(one) not in spelt:
            raise unknown("class in benchmark.families", one, of.classes)
    chosen = {"train": by_class(of, "train", train), "test": by_class(of, "test", test)}
    empty = [one for one, samples in chosen["train"].items() if not samples]
    if empty:
        raise UsageError(f"class '{empty[0]}' of {of.name} has no picture to train on")
    shown = {split: _ids(of, split, samples) for split, samples in chosen.items()}
    return ClassSet(
        name=of.name,
        version=of.files.repository.revision,
        source=of.files.source,
        portrait="published",
        wordings=of.wordings,
        held_out=of.wordings,
        families=[[spelt[_plain(one)] for one in family] for family in families],
        train=shown["train"],
        test=shown["test"],
        images=_pictures(of, chosen),
    )


def _plain(name: str) -> str:
    """A name in whichever spelling: some sets write ``aquarium_fish``."""
    return name.replace("_", " ").casefold()


def utility(of: WebData) -> Utility:
    """The test split asked as CLIP_benchmark does: zero-shot classes with all wordings, or pictures
    and captions both ways."""
    if not of.names:
        return _captions(of)
    samples = by_class(of, "test")
    classes = [
        Candidate(one, tuple(text.replace("{c}", name) for text in of.wordings))
        for one, name in zip(of.classes, of.names, strict=True)
    ]
    asked = zero_shot(of.name, "general", "", of.name, _ids(of, UTILITY, samples))
    pictures = _pictures(of, {UTILITY: samples})
    found = {f"{of.name} classes": classes}
    return Utility(of.name, list(asked), found, pictures, source=of.files.source)


def _captions(of: WebData) -> Utility:
    captions, pictures, asked = [], [], []
    for sample in of.samples["test"]:
        id_, texts = _id(of, UTILITY, sample), sample.label.splitlines()
        captions += [Candidate(id_, (text,)) for text in texts]
        pictures.append(Candidate(id_, images=(id_,)))
        asked.append(_find(of.name, id_, f"{of.name} captions", image=id_))
        asked += [_find(of.name, id_, f"{of.name} pictures", text=text) for text in texts]
    return Utility(
        of.name,
        asked,
        {f"{of.name} captions": captions, f"{of.name} pictures": pictures},
        _pictures(of, {UTILITY: {"": of.samples["test"]}}),
        source=of.files.source,
    )


def _find(
    name: str, id_: str, gallery: str, *, image: str | None = None, text: str = ""
) -> Example:
    return Example(
        id=f"{id_}/retrieval/{text}",
        set="general",
        task="retrieval",
        modality="image_to_text" if image else "text_to_image",
        person=id_,
        fact=name,
        question=text,
        answer=id_,
        keyword=id_,
        image=image,
        gallery=gallery,
    )


def _id(of: WebData, split: str, sample: Sample) -> str:
    return f"{of.name}/{split}/{sample.file.stem}/{sample.key}"


def _ids(of: WebData, split: str, samples: Mapping[str, Sequence[Sample]]) -> dict[str, list[str]]:
    return {one: [_id(of, split, sample) for sample in own] for one, own in samples.items()}


def _pictures(
    of: WebData, chosen: Mapping[str, Mapping[str, Sequence[Sample]]]
) -> Iterator[tuple[str, bytes]]:
    for split, samples in chosen.items():
        for own in samples.values():
            for sample in own:
                yield _id(of, split, sample), sample.picture()
