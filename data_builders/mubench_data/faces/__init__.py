"""Pictures of fictitious people, drawn from named attributes.

An `Identity` says who is shown and a `View` says how (pose, light, clothes, background,
drawing style).  The two are sampled apart, so nothing in a view tells who is shown.
"""

from .identity import ATTRIBUTES, Identity, describe, distance, sample_identities
from .portrait import draw_portrait
from .view import PATTERN_COUNT, STYLES, View, canonical_view, sample_view

__all__ = [
    "ATTRIBUTES",
    "PATTERN_COUNT",
    "STYLES",
    "Identity",
    "View",
    "canonical_view",
    "describe",
    "distance",
    "draw_portrait",
    "sample_identities",
    "sample_view",
]
