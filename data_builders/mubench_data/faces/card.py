"""An identity card: a photo with the name printed under it, so that a picture gives it away."""

from __future__ import annotations

from dataclasses import replace

from PIL import Image, ImageDraw

from ..lettering import fit, font, unprintable
from .identity import Identity
from .portrait import draw_portrait
from .shapes import Colour, mix
from .view import View

_FACTOR = 2  # sub-pixels a pixel
_CARD = (68, 88)  # width and height in hundredths of the picture, as are all lengths below
_PHOTO = (11, 14, 46)  # left, top, side
_NAME = (3, 61.5, 62, 22)  # left, top, width, height
_SMALLEST = 3.4  # letters below this cannot be read in a picture of 224 px

_WHITE: Colour = (255, 255, 255)
_BLACK: Colour = (24, 26, 34)


def draw_id_card(identity: Identity, name: str, view: View, size: int = 192) -> Image.Image:
    """RGB picture of `size` x `size` pixels of a card with portrait and name.

    The view gives the photo's light and dress, the desk's and the card's colour, and how the card
    lies; the pose is calmer than in a portrait. Equal arguments give equal pixels. Errors are
    those of `print_card`.
    """
    pose = replace(
        view, yaw=0.4 * view.yaw, tilt=0.25 * view.tilt, dx=0.0, dy=0.02, zoom=1.06,
        background=mix(view.clothing, _WHITE, 0.8), background_pattern=0,
    )  # fmt: skip
    return print_card(draw_portrait(identity, pose, size), name, view, size)


def print_card(photo: Image.Image, name: str, view: View, size: int = 192) -> Image.Image:
    """A card with any square photo; see `draw_id_card`.

    Raises ValueError for a name that is empty, has characters without a printable form, or cannot
    be printed large enough to be read.
    """
    if not name.strip():
        raise ValueError("an identity card needs a name")
    if missing := unprintable(name):
        raise ValueError(f"cannot print {missing!r} of the name {name!r}")
    unit = size * _FACTOR / 100
    card = _card(photo, name, view.clothing, unit)
    desk = Image.new("RGB", (size * _FACTOR,) * 2, view.background)
    # What is pasted hides by its own mask, so that the corners stay round when the card is turned.
    turned = card.rotate(-0.5 * view.tilt, Image.Resampling.BICUBIC, expand=True)
    x, y = (
        round(50 * unit * (1 + shift) - length / 2)
        for shift, length in zip((view.dx, 0.5 * view.dy), turned.size, strict=True)
    )
    shade = turned.getchannel("A").point(lambda alpha: alpha // 3)
    desk.paste(mix(view.background, _BLACK, 0.8), (round(x + unit), round(y + 1.5 * unit)), shade)
    desk.paste(turned, (x, y), turned)
    return desk.reduce(_FACTOR)


def _card(photo: Image.Image, name: str, accent: Colour, unit: float) -> Image.Image:
    """The card itself, upright, as RGBA with transparent corners."""
    width, height = (round(length * unit) for length in _CARD)
    card = Image.new("RGB", (width, height), mix(accent, _WHITE, 0.92))
    draw = ImageDraw.Draw(card)
    draw.rectangle((0, 0, width, 11 * unit), fill=accent)
    draw.rectangle((0, height - 3.5 * unit, width, height), fill=accent)
    ink = _BLACK if sum(accent) > 400 else _WHITE
    draw.text(
        (width / 2, 5.7 * unit), "IDENTITY CARD",
        fill=ink, font=font(round(5.2 * unit), bold=True), anchor="mm",
    )  # fmt: skip
    left, top, side = (round(length * unit) for length in _PHOTO)
    edge = round(0.8 * unit)
    draw.rectangle((left - edge, top - edge, left + side + edge - 1, top + side + edge - 1), _WHITE)
    card.paste(photo.resize((side, side), Image.Resampling.LANCZOS), (left, top))
    left_, top_, box, tall = (length * unit for length in _NAME)
    face, lines = fit(name, box, tall, largest=round(10 * unit), bold=True)
    if face.size < _SMALLEST * unit:
        raise ValueError(f"the name {name[:60]!r} is too long for an identity card")
    draw.text(
        (left_ + box / 2, top_ + tall / 2), lines, fill=_BLACK, font=face, anchor="mm",
        align="center",
    )  # fmt: skip
    corners = Image.new("L", card.size, 0)
    ImageDraw.Draw(corners).rounded_rectangle((0, 0, width - 1, height - 1), 4 * unit, fill=255)
    card.putalpha(corners)
    return card
