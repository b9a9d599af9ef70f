"""The drawing of a portrait.

The canvas has 100 x 100 units, y downwards.  Head parts are given in units relative to the
middle of the face.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from .identity import Identity
from .shapes import CIRCLE, Colour, Points, curve, ellipse, mix
from .view import View

# How each value of an attribute looks.
_SKINS: dict[str, Colour] = {
    "pale": (250, 224, 212), "fair": (244, 198, 168), "olive": (204, 174, 120),
    "tan": (212, 142, 88), "brown": (150, 94, 62), "dark": (88, 54, 42),
}  # fmt: skip
# Bald people have the colour "none", which shows in brows and beard only.
_HAIR_COLORS: dict[str, Colour] = {
    "black": (34, 30, 38), "brown": (112, 68, 36), "blond": (240, 202, 92),
    "red": (204, 76, 30), "grey": (140, 144, 152), "white": (242, 242, 240),
    "blue": (48, 104, 216), "green": (44, 160, 84), "none": (66, 46, 40),
}  # fmt: skip
_EYE_COLORS: dict[str, Colour] = {
    "brown": (96, 52, 24), "blue": (40, 120, 226), "green": (36, 156, 76),
    "grey": (126, 140, 150),
}  # fmt: skip
_FRAMES: dict[str, Colour] = {
    "round glasses": (176, 34, 52), "square glasses": (22, 26, 60), "sunglasses": (14, 14, 18),
}  # fmt: skip
# Half distance between the eyes, half width, half height.  Eyes differ in shape as well,
# because a colour alone is only a few pixels in a small picture.
_EYE_SHAPES: dict[str, tuple[float, float, float]] = {
    "brown": (9.0, 4.6, 4.4), "blue": (10.6, 5.2, 4.6), "green": (9.4, 5.4, 3.4),
    "grey": (8.2, 4.2, 3.8),
}  # fmt: skip
# Half width, half height, squareness (superellipse exponent) and how much the chin narrows.
_FACES: dict[str, tuple[float, float, float, float]] = {
    "round": (26.0, 25.5, 2.0, 0.04), "oval": (22.5, 28.5, 2.1, 0.26),
    "square": (24.5, 27.5, 3.6, 0.08), "long": (19.0, 31.5, 2.5, 0.16),
}  # fmt: skip
# Height of the hair over the skull, and its hairline from right to left (x in half widths).
_CAPS: dict[str, tuple[float, list[tuple[float, float]]]] = {
    "short": (1.1, [(1, 1), (0.9, -8), (0.72, -14), (0.1, -17), (-0.5, -13.5), (-0.88, -9),
                    (-1, 1)]),
    "bun": (1.05, [(1, -4), (0.8, -13), (0, -20), (-0.8, -13), (-1, -4)]),
    "afro": (1.1, [(1, 0), (0.92, -9), (0.6, -15), (0, -16), (-0.6, -15), (-0.92, -9), (-1, 0)]),
    "bob": (1.12, [(1, 20), (0.86, 16), (0.84, -6), (0.8, -11), (0, -11.5), (-0.8, -11),
                   (-0.84, -6), (-0.86, 16), (-1, 20)]),
    "long": (1.13, [(1, 14), (0.9, 2), (0.66, -10), (0.05, -23), (-0.66, -10), (-0.9, 2),
                    (-1, 14)]),
}  # fmt: skip

_INK: Colour = (52, 50, 66)
_PAPER: Colour = (248, 245, 238)
_FLUSH: Colour = (120, 36, 28)
_PIVOT = np.array([50.0, 80.0])  # base of the neck, about which the head tilts
_HEAD = np.array([50.0, 49.0])  # middle of the face
_MAX_YAW = 0.52  # radians at yaw = 1


def draw_portrait(identity: Identity, view: View, size: int = 192) -> Image.Image:
    """RGB picture of `size` x `size` pixels; equal arguments give equal pixels."""
    return draw_people([(identity, view)], size)


def draw_people(people: Sequence[tuple[Identity, View]], size: int) -> Image.Image:
    """RGB picture of several people from back to front, in the first view's setting.

    Setting means background and light; all else comes from each person's own view.
    """
    # Three sub-pixels are enough in the middle; larger pictures show every stair.
    factor = 3 if 64 < size <= 128 else 4
    setting, side = people[0][1], size * factor
    paper = 0.75 if setting.style == "sketch" else 0.0
    image = Image.new("RGB", (side, side), mix(setting.background, _PAPER, paper))
    canvas = ImageDraw.Draw(image, "RGBA")
    figures = [_Figure(identity, view, canvas, side / 100.0) for identity, view in people]
    figures[0].background()
    for figure in figures:
        figure.person()
    return image.reduce(factor).point(_light_table(setting.light) * 3)


def _light_table(gain: float) -> list[int]:
    """Brightness per grey level; gains above 1 saturate softly, so pale tones stay apart."""
    if gain <= 1.0:
        return [round(value * gain) for value in range(256)]
    return [round(255 * (1 - (1 - value / 255) ** gain)) for value in range(256)]


@functools.cache
def _outline(face: str) -> Points:
    """(72, 2) outline of a face, clockwise from the right ear; rows 36.. are the upper half."""
    width, height, power, taper = _FACES[face]
    angles = np.linspace(0.0, 2 * math.pi, 72, endpoint=False)
    cos, sin = np.cos(angles), np.sin(angles)
    x = width * np.sign(cos) * np.abs(cos) ** (2 / power)
    y = height * np.sign(sin) * np.abs(sin) ** (2 / power)
    x *= 1 - taper * np.clip(y / height, 0.0, 1.0) ** 1.5
    return np.stack([x, y], axis=1)


class _Figure:
    """A person being drawn: maps canvas units to pixels and knows the view."""

    def __init__(
        self, identity: Identity, view: View, draw: ImageDraw.ImageDraw, unit: float
    ) -> None:
        self.who, self.view, self.canvas, self.unit = identity, view, draw, unit
        self.sketch = view.style == "sketch"
        self.skin, self.hair = _SKINS[identity.skin], _HAIR_COLORS[identity.hair_color]
        self.width, self.height = _FACES[identity.face][:2]
        angle = math.radians(view.tilt)
        cos, sin = math.cos(angle), math.sin(angle)
        self.turn = np.array([[cos, sin], [-sin, cos]])
        self.cos, self.sin = math.cos(view.yaw * _MAX_YAW), math.sin(view.yaw * _MAX_YAW)
        self.narrow = 1.0 - 0.07 * abs(view.yaw)
        # Features keep their place relative to the outline of the face.
        self.stretch = self.height / 27.5
        self.apart, self.eye_rx, self.eye_ry = _EYE_SHAPES[identity.eyes]
        self.apart *= (self.width / 23.5) ** 0.6

    def body(self, points: Points) -> Points:
        """Canvas units to pixels."""
        shift = 50.0 + 100.0 * np.array([self.view.dx, self.view.dy])
        return ((points - 50.0) * self.view.zoom + shift) * self.unit

    def head(self, points: Points) -> Points:
        """Silhouette parts of the head to pixels: narrowed by yaw and turned by tilt."""
        placed = points * (self.narrow, 1.0) + _HEAD - _PIVOT
        return self.body(placed @ self.turn + _PIVOT)

    def front(self, points: Points, depth: float = 1.0) -> Points:
        """Parts on the front of the head to pixels: they slide over a cylinder with yaw."""
        x = points[:, 0]
        bulge = np.sqrt(np.maximum(self.width**2 - x**2, 0.0))
        slid = x * self.cos + 0.72 * depth * bulge * self.sin
        return self.head(np.stack([slid, points[:, 1] * self.stretch], axis=1))

    def fill(self, pixels: Points, colour: Colour, *, ink: bool = True) -> None:
        """A filled shape; a sketch washes the colour out and inks the outline."""
        flat = pixels.ravel().tolist()
        self.canvas.polygon(flat, fill=mix(colour, _PAPER, 0.6) if self.sketch else colour)
        if self.sketch and ink:
            self.canvas.line(flat + flat[:4], fill=_INK, width=round(1.1 * self.unit))

    def shade(self, pixels: Points, colour: Colour, alpha: int) -> None:
        """A translucent tint; sketches have none."""
        if not self.sketch:
            self.canvas.polygon(pixels.ravel().tolist(), fill=(*colour, alpha))

    def line(self, pixels: Points, colour: Colour, width: float) -> None:
        """A line of `width` units with round ends."""
        thick = max(1, round(width * self.view.zoom * self.unit))
        colour = mix(colour, _INK, 0.6) if self.sketch else colour
        self.canvas.line(pixels.ravel().tolist(), fill=colour, width=thick, joint="curve")
        for x, y in pixels[[0, -1]].tolist():
            self.canvas.circle((x, y), thick / 2, fill=colour)

    def person(self) -> None:
        """All parts, from back to front."""
        self.hair_behind()
        self.shoulders()
        self.ears()
        self.face()
        self.temples()
        self.eyes()
        self.nose()
        self.beard()
        self.mouth()
        self.hair_in_front()
        self.brows()
        self.glasses()
        self.mark()

    def background(self) -> None:
        other = mix(self.view.background, (255, 255, 255), 0.3)
        other = mix(other, _PAPER, 0.75) if self.sketch else other
        pattern, unit = self.view.background_pattern, self.unit
        if pattern == 1:
            self.canvas.rectangle((0, 60 * unit, 100 * unit, 100 * unit), fill=other)
        elif pattern == 2:
            for left in range(-100, 100, 24):
                band = [(left, 0), (left + 12, 0), (left + 112, 100), (left + 100, 100)]
                self.canvas.polygon([v * unit for point in band for v in point], fill=other)
        elif pattern == 3:
            for x, y in ((20 * i + 10 * (j % 2), 20 * j + 8) for i in range(6) for j in range(5)):
                self.canvas.circle((x * unit, y * unit), 4.5 * unit, fill=other)
        elif pattern == 4:
            self.canvas.circle((50 * unit, 46 * unit), 42 * unit, fill=other)

    def shoulders(self) -> None:
        cloth = self.view.clothing
        torso = curve([(4, 112), (8, 97), (24, 89), (40, 85), (60, 85), (76, 89), (92, 97),
                        (96, 112)])  # fmt: skip
        # In a group photo people are small, and the torso must still reach the lower edge.
        self.fill(self.body(np.concatenate([torso, [(96, 180), (4, 180)]])), cloth)
        if self.view.collar == 0:
            self.fill(self.body(ellipse(50, 86, 13, 6)), mix(cloth, (0, 0, 0), 0.25))
        elif self.view.collar == 1:
            self.fill(self.body(np.array([(38.0, 84), (62, 84), (50, 101)])), self.skin)
        neck = np.array([(40.5, 60.0), (59.5, 60), (60.5, 85), (50, 91), (39.5, 85)])
        self.fill(self.body(neck), self.skin)
        shadow = np.array([(40.5, 66.0), (59.5, 66), (60, 82), (50, 86), (40, 82)])
        self.fill(self.body(shadow), mix(self.skin, (60, 20, 20), 0.28), ink=False)
        if self.view.collar == 2:
            flap = np.array([(11.0, 80.0), (0.5, 91), (9, 99), (16, 87)])
            for sign in (-1, 1):
                pixels = self.body(flap * (sign, 1.0) + (50.0, 0.0))
                self.fill(pixels, mix(cloth, (255, 255, 255), 0.35))

    def ear_x(self, sign: int) -> float:
        """The ear on the far side moves behind the face."""
        return sign * (self.width + 0.5 - 4.5 * max(0.0, sign * self.view.yaw))

    def ears(self) -> None:
        for sign in (-1, 1):
            x = self.ear_x(sign)
            self.fill(self.head(ellipse(x, 2.0, 5.0, 7.0)), mix(self.skin, _FLUSH, 0.12))
            inner = self.head(ellipse(x + 0.6 * sign, 2.5, 2.6, 4.2))
            self.shade(inner, _FLUSH, 52)

    def face(self) -> None:
        outline = _outline(self.who.face)
        self.fill(self.head(outline), self.skin)
        # A crescent on the side away from the light gives the head its volume.
        side = -1.0 if self.view.light_side > 0 else 1.0
        half = outline[np.r_[54:72, 0:19]] * (side, 1.0)
        crescent = np.concatenate([half, half[::-1] * (0.78, 0.96)])
        self.shade(self.head(crescent), (70, 20, 30), round(20 + 34 * abs(self.view.light_side)))
        for sign in (-1, 1):
            cheek = self.front(ellipse(sign * self.width * 0.6, 8.5, 4.2, 3.0))
            self.shade(cheek, mix(self.skin, (255, 70, 70), 0.5), 80)
        if self.who.mark == "freckles":  # under a beard, unlike the other marks
            for x, y in ((6.5, 6.5), (10, 4.8), (13.5, 6.8), (8.6, 9.6), (12.4, 10.6)):
                for sign in (-1, 1):
                    spot = self.front(ellipse(sign * x, y, 1.2, 1.15))
                    self.fill(spot, mix(self.skin, (96, 30, 6), 0.7), ink=False)

    def eyes(self) -> None:
        rx, ry, glance = self.eye_rx, self.eye_ry, 1.0 * self.view.yaw
        for sign in (-1, 1):
            x = sign * self.apart
            self.fill(self.front(ellipse(x, -2.0, rx, ry)), (252, 252, 250))
            for left, y, radius, colour in (
                (0.0, -1.8, 3.3, _EYE_COLORS[self.who.eyes]),
                (0.0, -1.8, 1.6, (18, 16, 20)),
                (1.1, -3.0, 0.8, (255, 255, 255)),
            ):
                disc = ellipse(x + glance - left, y, radius, radius)
                self.fill(self.front(disc), colour, ink=False)
            lid = curve([(x - rx, -2.4), (x, -2.2 - ry), (x + rx, -2.4)], 6)
            self.line(self.front(lid), mix(self.skin, (20, 10, 14), 0.75), 1.2)

    def brows(self) -> None:
        knots, width = {
            "thin": ([(-5.0, -9.0), (0.0, -11.0), (5.5, -9.6)], 1.3),
            "thick": ([(-5.5, -9.6), (0.0, -11.0), (5.5, -9.8)], 3.8),
            "slanted": ([(-5.5, -7.2), (0.0, -9.6), (6.0, -12.6)], 2.4),
        }[self.who.brows]
        lift = 0.8 * self.view.expression
        for sign in (-1, 1):
            points = curve(knots, 5) * (sign, 1.0) + (sign * self.apart, -lift)
            self.line(self.front(points), mix(self.hair, (20, 10, 10), 0.25), width)

    def nose(self) -> None:
        dark = mix(self.skin, (90, 20, 20), 0.34)
        light = mix(self.skin, (255, 255, 255), 0.3)
        if self.who.nose == "small":
            self.fill(self.front(ellipse(0, 6.6, 2.6, 2.0), 1.15), dark, ink=False)
        elif self.who.nose == "long":
            bridge = [(-1.2, -4.0), (-1.6, 3.0), (-3.6, 9.6), (0.0, 11.2), (3.6, 9.6), (1.2, 6.0)]
            self.fill(self.front(curve(bridge, 5), 1.15), dark)
            ridge = np.array([(0.3, -3.0), (1.6, 8.0), (-0.6, 8.0)])
            self.shade(self.front(ridge, 1.15), light, 150)
        else:
            self.fill(self.front(ellipse(0, 6.8, 6.6, 3.0), 1.1), dark)
            self.shade(self.front(ellipse(0, 5.6, 3.0, 1.9), 1.15), light, 120)
            for x in (-2.9, 2.9):
                hole = self.front(ellipse(x, 8.0, 1.2, 0.8), 1.1)
                self.fill(hole, mix(dark, (20, 0, 0), 0.6), ink=False)

    def mouth(self) -> None:
        half, thick = {"thin": (6.5, 0.0), "full": (7.0, 3.6), "wide": (11.0, 2.8)}[self.who.mouth]
        bend, y = 1.8 * self.view.expression, 16.5
        middle = curve([(-half, y - bend), (0, y + bend), (half, y - bend)])
        lips = mix(self.skin, (200, 30, 50), 0.6)
        if self.who.mouth == "thin":
            self.line(self.front(middle), mix(self.skin, (60, 0, 10), 0.7), 1.7)
            return
        arch = np.sin(np.linspace(0.0, math.pi, len(middle)))[:, None] * (0.0, thick)
        self.fill(self.front(np.concatenate([middle - arch, (middle + arch)[::-1]])), lips)
        if self.who.mouth == "wide":
            teeth = np.concatenate([middle - arch * 0.5, (middle + arch * 0.55)[::-1]])
            self.fill(self.front(teeth * (0.88, 1.0)), (252, 250, 246), ink=False)
        else:
            self.line(self.front(middle), mix(lips, (60, 0, 20), 0.55), 0.9)

    def beard(self) -> None:
        colour, w = mix(self.hair, (30, 20, 20), 0.12), self.width
        if self.who.beard == "full beard":
            outer = _outline(self.who.face)[0:37] * (1.05, 1.09) + (0.0, 0.5)
            inner = curve([(-w * 0.97, 1.0), (-w * 0.72, 9.0), (-6, 10.6), (0, 10.0), (6, 10.6),
                            (w * 0.72, 9.0), (w * 0.97, 1.0)])  # fmt: skip
            self.fill(np.concatenate([self.head(outer), self.front(inner)]), colour)
            self.fill(self.front(ellipse(0, 16.5, 8.2, 3.6)), mix(self.skin, _FLUSH, 0.2))
        elif self.who.beard == "moustache":
            shape = [(0, 10.4), (6, 10.6), (11, 13.4), (12.6, 16.0), (7, 15.0), (0, 13.8),
                     (-7, 15.0), (-12.6, 16.0), (-11, 13.4), (-6, 10.6), (0, 10.4)]  # fmt: skip
            self.fill(self.front(curve(shape, 4)), colour)
        elif self.who.beard == "goatee":
            shape = [(-6.5, 19.0), (0, 21.2), (6.5, 19.0), (6.4, 25.0), (3.0, 30.0), (0, 31.5),
                     (-3.0, 30.0), (-6.4, 25.0), (-6.5, 19.0)]  # fmt: skip
            self.fill(self.front(curve(shape, 4)), colour)

    def hair_behind(self) -> None:
        style, w, h = self.who.hair_style, self.width, self.height
        dark = mix(self.hair, (0, 0, 0), 0.22)
        crown: list[tuple[float, float]]
        crown = [(-w - 5, 0), (-w * 0.8, -h), (0, -h - 6), (w * 0.8, -h), (w + 5, 0)]
        if style == "afro":
            self.fill(self.head(ellipse(0, -9, w + 15, 33.0)), self.hair)
        elif style == "long":
            ends = [(w + 9, 30), (w + 8, 46), (-w - 8, 46), (-w - 9, 30), (-w - 5, 0)]
            self.fill(self.head(curve([*crown, *ends])), dark)
        elif style == "bob":
            corners = [(w + 9, 22.0), (-w - 9, 22.0)]
            self.fill(self.head(np.concatenate([curve(crown), corners])), dark)
        elif style == "bun":
            self.fill(self.head(ellipse(0, -h - 7, 11.5, 10.0)), self.hair)
            self.fill(self.head(ellipse(0, -h - 1, 8.0, 3.0)), dark)
        elif style == "curly":
            for x, y in ((-1.08, -0.1), (1.08, -0.1), (-1.1, 0.22), (1.1, 0.22)):
                self.fill(self.head(ellipse(w * x, h * y, 8.0, 8.0)), dark)

    def hair_in_front(self) -> None:
        style, w, h = self.who.hair_style, self.width, self.height
        if style in _CAPS:
            lift, hairline = _CAPS[style]
            top = np.concatenate([_outline(self.who.face)[36:], [(w, 0.0)]]) * (1.06, lift)
            line = self.front(curve(hairline) * (w, 1.0))
            self.fill(np.concatenate([self.head(top), line]), self.hair)
            # A soft reflection keeps large dark shapes from looking flat.
            glow = _outline(self.who.face)[44:54] * (1.0, lift)
            band = np.concatenate([glow * (0.9, 0.93), glow[::-1] * (0.78, 0.82)])
            self.shade(self.head(band), (255, 255, 255), 46)
        elif style == "mohawk":
            for x in (-0.52, 0.52):
                stubble = self.head(ellipse(w * x, -h * 0.6, w * 0.26, h * 0.2))
                self.shade(stubble, mix(self.skin, self.hair, 0.35), 110)
            crest = [(-9, -12), (-10, -h * 0.9), (-9, -h - 9), (-5, -h - 6), (-3, -h - 15),
                     (0.5, -h - 8), (4, -h - 15), (5.5, -h - 6), (9.5, -h - 9), (10, -h * 0.9),
                     (9, -12), (0, -15)]  # fmt: skip
            self.fill(self.head(np.array(crest) + (5.0 * self.view.yaw, 0.0)), self.hair)
        elif style == "spiky":
            angles = math.pi * np.linspace(1.02, 1.98, 15)
            reach = np.where(np.arange(15) % 2, 1.42, 1.06)[:, None]
            spikes = reach * np.stack([w * np.cos(angles), h * np.sin(angles)], axis=1)
            fringe = [(0.95, -2), (0.75, -13), (0.5, -8.5), (0.25, -15), (0, -8.5), (-0.25, -15),
                      (-0.5, -8.5), (-0.75, -13), (-0.95, -2)]  # fmt: skip
            front = self.front(np.array(fringe) * (w, 1.0))
            self.fill(np.concatenate([self.head(spikes), front]), self.hair)
        elif style == "curly":
            tints = (self.hair, mix(self.hair, (255, 255, 255), 0.1))
            for index in range(11):
                angle = math.pi * (1.0 + index / 10)
                curl = ellipse(w * math.cos(angle), h * 0.98 * math.sin(angle) - 1, 8.2, 8.2)
                self.fill(self.head(curl), tints[index % 2])
            for index in range(6):
                y = -17 + abs(index - 2.5)
                curl = ellipse(w * (-0.62 + 0.248 * index), y, 6.2, 5.4)
                self.fill(self.front(curl), tints[(index + 1) % 2])

    def lenses(self) -> list[Points]:
        """Outlines of both lenses in head units; empty without glasses."""
        if self.who.glasses == "none":
            return []
        lens = {
            "round glasses": CIRCLE * 8.0,
            "square glasses": np.array([(-8.2, -6.6), (8.2, -6.6), (8.2, 5.8), (-8.2, 5.8)]),
            "sunglasses": curve([(-8.4, -6), (0, -6.8), (8.4, -6), (8.0, 2), (3, 6.4),
                                  (-3, 6.4), (-8.0, 2), (-8.4, -6)], 4),
        }[self.who.glasses]  # fmt: skip
        return [lens + (sign * max(9.0, self.apart), -1.6) for sign in (-1, 1)]

    def temples(self) -> None:
        """What lies behind hair and eyes: the arms of the glasses and the tint of the lenses."""
        for lens in self.lenses():
            edge = lens[np.abs(lens[:, 0]).argmax(), 0]
            arm = np.array([(edge, -3.4), (math.copysign(self.width, edge), -3.4)])
            self.line(self.front(arm), _FRAMES[self.who.glasses], 1.7)
            self.shade(self.front(lens), (235, 246, 255), 70)

    def glasses(self) -> None:
        for lens in self.lenses():
            pixels, frame = self.front(lens), _FRAMES[self.who.glasses]
            if self.who.glasses == "sunglasses":
                self.fill(pixels, frame)
                glint = np.array([(-5.0, -5.0), (-1.5, -5), (-4.5, 2), (-6.5, 0)])
                self.shade(self.front(glint + lens.mean(axis=0)), (255, 255, 255), 90)
            else:
                self.line(np.concatenate([pixels, pixels[:2]]), frame, 2.1)
            # Each lens brings its half of the bridge.
            inner = lens[np.abs(lens[:, 0]).argmin(), 0]
            self.line(self.front(np.array([(inner, -3.0), (0.0, -4.0)]), 1.05), frame, 2.1)

    def mark(self) -> None:
        mark, w = self.who.mark, self.width
        if mark == "earrings":
            for sign in (-1, 1):
                if sign * self.view.yaw < 0.45:  # the far ear is hidden
                    x = self.ear_x(sign) + sign
                    self.fill(self.head(ellipse(x, 12.0, 3.4, 3.4)), (255, 205, 40))
                    self.shade(self.head(ellipse(x - 0.8, 11.0, 1.1, 1.1)), (255, 255, 255), 190)
        elif mark == "a mole":
            self.fill(self.front(ellipse(w * 0.55, 10.5, 2.4, 2.4)), (38, 16, 18))
        elif mark == "a scar":
            colour = mix(self.skin, (190, 20, 50), 0.7)
            for cut, width in (
                ([(-0.66, 4.0), (-0.4, 15.0)], 1.8),
                ([(-0.7, 8.4), (-0.49, 5.2)], 1.2),
                ([(-0.61, 12.2), (-0.4, 9.0)], 1.2),
            ):
                self.line(self.front(np.array(cut) * (w, 1.0)), colour, width)
