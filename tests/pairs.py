"""Pairs of picture and caption, as dual encoders are trained on."""

from __future__ import annotations

from mubench.types import Example


def pair(name: str, view: int = 0, set: str = "forget") -> Example:
    return Example(
        id=f"{name}/{view}",
        set=set,
        task="pair",
        modality="image_to_text",
        person=name,
        fact="name",
        question="",
        answer=f"a photo of {name}",
        keyword=name,
        image=f"{name}-{view}",
    )
