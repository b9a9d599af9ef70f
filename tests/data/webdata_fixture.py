"""Small sets in CLIP_benchmark's layout, with invented content."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from data.published_fixtures import picture

NAMES = ("old_shoe", "boot", "left glove", "mitten", "kettle", "teapot", "comb", "brush") * 2
CLASSES = tuple(
    f"{kind}{name}" for kind, name in zip(["red "] * 8 + ["blue "] * 8, NAMES, strict=True)
)
TEMPLATES = ("a photo of a {c}.", "a bad photo of a {c}.", "{c}.")
FAMILIES = [[CLASSES[n], CLASSES[n + 1], CLASSES[n + 8], CLASSES[n + 9]] for n in range(0, 8, 2)]


def shard(samples: Sequence[tuple[str, Mapping[str, bytes]]]) -> bytes:
    """A tar file of samples: (key, content by ending)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for key, parts in samples:
            for ending, data in parts.items():
                member = tarfile.TarInfo(f"{key}.{ending}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def classes(train: int = 2, test: int = 50, names: Sequence[str] = CLASSES) -> dict[str, bytes]:
    """A set for zero-shot classification, its test split in two shards; classes alternate."""
    files = {
        "classnames.txt": "".join(f"{name}\n" for name in names).encode(),
        "zeroshot_classification_templates.txt": "\n".join(TEMPLATES).encode(),
    }
    for split, each in (("train", train), ("test", test)):
        samples = [
            (
                f"s{number:07d}",
                {
                    "png": picture(number + (10_000 if split == "test" else 0)),
                    "cls": str(number % len(names)).encode(),
                },
            )
            for number in range(each * len(names))
        ]
        half = len(samples) if split == "train" else len(samples) // 2
        shards = [part for part in (samples[:half], samples[half:]) if part]
        files[f"{split}/nshards.txt"] = f"{len(shards)}\n".encode()
        files |= {f"{split}/{number}.tar": shard(part) for number, part in enumerate(shards)}
    return files


def captions(pictures: int = 6) -> dict[str, bytes]:
    """A set for retrieval: every picture with two captions, the last with three."""
    samples = []
    for number in range(pictures):
        said = [
            f"picture {number}, said in way {way}" for way in range(2 + (number == pictures - 1))
        ]
        samples.append(
            (f"s{number:07d}", {"jpg": picture(number, "JPEG"), "txt": "\n".join(said).encode()})
        )
    return {
        "dataset_type.txt": b"retrieval\n",
        "test/nshards.txt": b"1\n",
        "test/0.tar": shard(samples),
    }


def write(files: Mapping[str, bytes], folder: Path) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder
