"""A contact sheet: people in rows, their pictures in columns, for any data set."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont, ImageOps

from .lettering import font, wrap

_PAPER = (252, 252, 250)
_INK = (38, 40, 48)
_FAINT = (118, 122, 132)
_EMPTY = (238, 238, 236)
_LONGEST = 100  # characters of a name that are looked at


def contact_sheet(
    rows: Sequence[tuple[str, Sequence[Image.Image | None]]],
    captions: Sequence[str],
    tile: int = 160,
) -> Image.Image:
    """RGB sheet of one row a person: the name, then pictures of at most `tile` x `tile` px.

    `captions` stand above the columns. A missing picture (None, or a short row) leaves its place
    grey. Raises ValueError for a row with more pictures than captions.
    """
    gap = max(2, tile // 20)
    left, top = round(1.15 * tile), round(0.3 * tile)
    width, height = (
        start + count * (tile + gap) + gap
        for start, count in ((left, len(captions)), (top, len(rows)))
    )
    sheet = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    small, large = font(max(8, tile // 11)), font(max(8, tile // 10))
    for column, caption in enumerate(captions):
        place = (left + gap + column * (tile + gap) + tile // 2, top // 2)
        text = _lines(caption, small, tile, 1)
        draw.text(place, text, fill=_FAINT, font=small, anchor="mm")
    corners = Image.new("L", (4 * tile, 4 * tile))
    ImageDraw.Draw(corners).rounded_rectangle((0, 0, 4 * tile - 1, 4 * tile - 1), 2 * gap, fill=255)
    mask = corners.reduce(4)
    for row, (name, pictures) in enumerate(rows):
        if len(pictures) > len(captions):
            raise ValueError(f"{name!r} has {len(pictures)} pictures for {len(captions)} captions")
        y = top + gap + row * (tile + gap)
        text = _lines(name, large, left - 2 * gap, 4)
        place = (left - gap, y + tile // 2)
        draw.text(place, text, fill=_INK, font=large, anchor="rm", align="right")
        for column in range(len(captions)):
            picture = pictures[column] if column < len(pictures) else None
            place = (left + gap + column * (tile + gap), y)
            sheet.paste(_tile(picture, tile), place, mask)
    return sheet


def _tile(picture: Image.Image | None, side: int) -> Image.Image:
    if picture is None:
        return Image.new("RGB", (side, side), _EMPTY)
    return ImageOps.pad(picture.convert("RGB"), (side, side), Image.Resampling.LANCZOS, _EMPTY)


def _lines(text: str, face: ImageFont.FreeTypeFont, width: float, most: int) -> str:
    """`text` in at most `most` lines; what is too long ends in an ellipsis."""
    lines = wrap(text[:_LONGEST].split(), face, width)
    if len(lines) > most:
        lines[most - 1 :] = [" ".join(lines[most - 1 :])]
    return "\n".join(_shorten(line, face, width) for line in lines)


def _shorten(line: str, face: ImageFont.FreeTypeFont, width: float) -> str:
    if face.getlength(line) <= width:
        return line
    while line and face.getlength(line + "…") > width:
        line = line[:-1]
    return line + "…"
