"""Words fitted into a box, in a typeface that knows the letters of most European names."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

from PIL import ImageFont


@functools.lru_cache(maxsize=256)
def font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib; Pillow's own typeface has no accents."""
    from matplotlib import get_data_path

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    # The basic layout engine is the one that every Pillow has, so the pixels are the same.
    return ImageFont.truetype(
        Path(get_data_path(), "fonts", "ttf", name), size, layout_engine=ImageFont.Layout.BASIC
    )


@functools.cache
def _missing_glyph() -> bytes:
    return bytes(font(32).getmask("\uffff"))


def unprintable(text: str) -> str:
    """The characters of `text` that the typeface lacks."""
    return "".join(c for c in text if bytes(font(32).getmask(c)) == _missing_glyph())


def fit(
    text: str, width: float, height: float, *, largest: int, bold: bool = False
) -> tuple[ImageFont.FreeTypeFont, str]:
    """The largest font up to `largest` px in which `text` fits into a box, and its wrapped lines.

    Words are never broken; where even 1 px is too large, the words stick out.
    """
    for size in range(largest, 0, -1):
        face = font(size, bold=bold)
        lines = wrap(text.split(), face, width)
        # DejaVu's lines are 1.17 sizes high; Pillow adds 4 px between them.
        tall = len(lines) * (1.17 * size + 4)
        if tall <= height and all(face.getlength(line) <= width for line in lines):
            break
    return face, "\n".join(lines)


def wrap(words: Sequence[str], face: ImageFont.FreeTypeFont, width: float) -> list[str]:
    """As few lines as possible; a word wider than `width` has a line of its own."""
    lines: list[str] = []
    for word in words:
        if lines and face.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines
