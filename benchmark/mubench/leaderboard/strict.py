"""Reading what strangers send: nothing is believed, and each refusal is one line."""

from __future__ import annotations

import json
import math
import os
import re
import stat
import unicodedata
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mubench.errors import DamagedError

#: Bytes of a JSON file, of an unpacked prediction file, and of a whole bundle.
JSON_LIMIT = 8 * 2**20
UNPACKED_LIMIT = 64 * 2**20
BUNDLE_LIMIT = 64 * 2**20
#: Files of a bundle.
FILE_LIMIT = 64
#: Characters of one string; an honest answer is a few hundred long.
STRING_LIMIT = 20_000
_WHOLE_LIMIT = 10**21  # operations of a long training are the largest honest count
_PLAIN_JOINERS = "\u200c\u200d"
_PRINTABLE = re.compile(rb"[ -~\n]*").fullmatch
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._+-]{0,62}[a-z0-9])?")


class Refusal(DamagedError):
    """A submission that is not accepted: what is wrong, where, and how to mend it."""

    def __init__(self, where: str, what: str, mend: str) -> None:
        self.where, self.what, self.mend = (visible(text) for text in (where, what, mend))
        super().__init__(f"{self.where}: {self.what}; {self.mend}")

    def __reduce__(self) -> tuple[type[Refusal], tuple[str, str, str]]:
        """Made of three texts, also where another process found it."""
        return Refusal, (self.where, self.what, self.mend)


AGAIN = "make the bundle again with 'mubench submit'"


def visible(text: str, limit: int = 300) -> str:
    """``text`` on one line, with characters that hide or reorder others spelt out."""
    shown = "".join(c if _harmless(c) else f"<U+{ord(c):04X}>" for c in text)
    flat = " ".join(shown.split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "\u2026"


def _harmless(char: str) -> bool:
    if char in "\n\t" or char in _PLAIN_JOINERS:
        return True
    return unicodedata.category(char) not in {"Cc", "Cf", "Cn", "Cs", "Co", "Zl", "Zp"}


def is_name(text: str) -> bool:
    """Whether this may be the name of a benchmark, model, method or run, and of a folder."""
    return _NAME.fullmatch(text) is not None and ".." not in text


def listing(folder: Path) -> dict[str, Path]:
    """Every file below ``folder`` by relative path. Links and special files are refused unread."""
    found: dict[str, Path] = {}
    total = 0
    for entry in _walk(folder):
        name = entry.relative_to(folder).as_posix()
        info = entry.lstat()
        if stat.S_ISLNK(info.st_mode):
            raise Refusal(name, "is a link", "put the file itself there")
        if not stat.S_ISREG(info.st_mode):
            raise Refusal(name, "is no ordinary file", "remove it")
        found[name] = entry
        total += info.st_size
        if len(found) > FILE_LIMIT:
            raise Refusal(str(folder.name), f"has more than {FILE_LIMIT} files", AGAIN)
        if total > BUNDLE_LIMIT:
            mend = "refer to weights on the Hub instead of attaching them"
            raise Refusal(folder.name, f"is larger than {BUNDLE_LIMIT >> 20} MB", mend)
    return found


def _walk(folder: Path) -> Iterator[Path]:
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path))
        else:
            yield Path(entry.path)


def unpack(data: bytes, where: str) -> bytes:
    """The content of one gzip member of at most ``UNPACKED_LIMIT`` bytes."""
    reader = zlib.decompressobj(wbits=31)
    try:
        content = reader.decompress(data, UNPACKED_LIMIT)
    except zlib.error as error:
        raise Refusal(where, f"is no gzip file ({error})", AGAIN) from error
    if reader.unconsumed_tail or (not reader.eof and len(content) >= UNPACKED_LIMIT):
        raise Refusal(where, f"unpacks to more than {UNPACKED_LIMIT >> 20} MB", AGAIN)
    if not reader.eof:
        raise Refusal(where, "is cut off", AGAIN)
    if reader.unused_data:
        raise Refusal(where, "has bytes after its end", AGAIN)
    return content


def parse(data: bytes, where: str, limit: int = JSON_LIMIT) -> Any:
    """JSON as everybody reads it alike: no doubled key, no NaN, no number out of bounds."""
    if len(data) > limit:
        raise Refusal(where, f"is larger than {limit >> 20} MB", AGAIN)

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) != len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise Refusal(where, f"has the key '{twice}' twice", "keep one of them")
        return made

    def constant(text: str) -> float:
        raise Refusal(where, f"holds {text}, which is no number", "leave the value out, or null")

    def real(text: str) -> float:
        value = float(text)
        if not math.isfinite(value):
            raise Refusal(where, f"holds the number {text[:40]}, out of range", AGAIN)
        return value

    def whole(text: str) -> int:
        if len(text) > 22 or abs(int(text)) > _WHOLE_LIMIT:
            raise Refusal(where, f"holds the number {text[:40]}, out of range", AGAIN)
        return int(text)

    try:
        value = json.loads(
            data, object_pairs_hook=once, parse_constant=constant, parse_float=real, parse_int=whole
        )
    except RecursionError as error:
        raise Refusal(where, "is nested too deeply", AGAIN) from error
    except UnicodeDecodeError as error:
        raise Refusal(where, "is not UTF-8", AGAIN) from error
    except ValueError as error:
        raise Refusal(where, f"is not JSON ({error})", AGAIN) from error
    return value


def is_plain(data: bytes) -> bool:
    """Whether JSON text holds nothing but short strings of ordinary ASCII: most does."""
    longest = max(map(len, data.split(b'"')))
    return data.isascii() and b"\\u" not in data and longest < 1000 and _PRINTABLE(data) is not None


def check_texts(value: Any, where: str, path: str = "") -> None:
    """Refuse strings that are endless, or hold characters that hide or reorder what is read."""
    if isinstance(value, str):
        if len(value) > STRING_LIMIT:
            raise Refusal(where, f"{path} is {len(value)} characters long", "shorten it")
        if not value.isprintable():
            odd = [char for char in value if not _harmless(char)]
            if odd:
                raise Refusal(
                    where, f"{path} holds the invisible character U+{ord(odd[0]):04X}", "remove it"
                )
    elif isinstance(value, dict):
        for key, part in value.items():
            check_texts(key, where, f"a key of {path}" if path else "a key")
            check_texts(part, where, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for number, part in enumerate(value):
            check_texts(part, where, f"{path}[{number}]")
