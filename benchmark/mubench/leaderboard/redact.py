"""What a submission must not carry: secrets, user names, and where things lie on a machine."""

from __future__ import annotations

import getpass
import platform
import re
from pathlib import Path
from typing import Any

#: Tokens by the marks of those who issue them, and what stands after a telling name.
_SECRETS = re.compile(
    r"\bhf_\w{8,}|\bgh[a-z]_\w{16,}|\bgithub_pat_\w{16,}|\bglpat-[\w-]{16,}|\bsk-[\w-]{16,}"
    r"|\bAKIA[0-9A-Z]{12,}|\bxox[a-z]-[\w-]{8,}|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]+"
    r"|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"
    r"|(?i:(?<=token=)|(?<=password=)|(?<=passwd=)|(?<=secret=)|(?<=api_key=)|(?<=apikey=))"
    r"(?!<)[^\s'\"&]+"
)
_MAIL = re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]+\w")
_POSIX = re.compile(r"(?<![\w/:.<>)\]%])(?:~\w*)?/[\w.~-](?:[^\s'\"<>|:;,()\[\]{}]*)")
_WINDOWS = re.compile(r"(?<!\w)(?:[A-Za-z]:\\|\\\\)[^\s'\"<>|]+")
#: Names that say nothing about anybody.
_COMMON = {"root", "user", "admin", "home", "localhost", "runner", "ubuntu", "debian", "jovyan"}


def redact(value: Any, names: tuple[str, ...] = ()) -> Any:
    """``value`` with every string cleaned; ``names`` are replaced as whole words too."""
    if isinstance(value, str):
        return _text(value, names)
    if isinstance(value, dict):
        return {key: redact(part, names) for key, part in value.items()}
    if isinstance(value, list):
        return [redact(part, names) for part in value]
    return value


def _text(text: str, names: tuple[str, ...]) -> str:
    text = _SECRETS.sub("<secret>", text)
    text = _MAIL.sub("<mail>", text)
    text = _POSIX.sub(_file, text)
    text = _WINDOWS.sub(_file, text)
    for name in names:
        text = re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])", "<user>", text)
    return text


def _file(match: re.Match[str]) -> str:
    """A path without its folders; a last part without a suffix may be a folder of somebody's."""
    last = re.split(r"[/\\]", match[0].rstrip("/\\"))[-1]
    return f"<path>/{last}" if re.fullmatch(r"[\w-]+\.\w{1,12}(:\w+)?", last) else "<path>"


def own_names(spared: set[str]) -> tuple[str, ...]:
    """This user's and machine's names, but for common words and those that are ``spared``."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # no such user, e.g. in a container
        user = ""
    found = {user, Path.home().name, platform.node(), platform.node().split(".")[0]}
    return tuple(sorted(n for n in found if len(n) > 2 and n.lower() not in _COMMON | spared))
