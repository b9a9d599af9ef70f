"""Retakes the pictures in the docs, in both widths and both themes: make pictures RUN=RUN_FOLDER.
Of a run with `--probe leakage`, the leakage matrix, too.

python tests/browser/pictures.py RUN_FOLDER/report.html docs/report
python tests/browser/pictures.py leaderboards/site/index.html docs/leaderboard
"""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path

from PIL import Image

#: Width in CSS pixels, and how much of a long page is shown.
SIZES = ((1400, 1700), (390, 1700))
COLOURS = 96  # enough for text and drawn faces, and a quarter of the bytes


def keep(shot: bytes, path: Path) -> None:
    picture = Image.open(io.BytesIO(shot)).convert("RGB")
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)


def take(page_file: Path, out: Path) -> None:
    """One PNG a width and theme; needs playwright and Debian's chromium."""
    from playwright.sync_api import sync_playwright

    out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        for width, height in SIZES:
            for theme in ("light", "dark"):
                view = {"width": width, "height": height}
                context = browser.new_context(viewport=view, color_scheme=theme)
                page = context.new_page()
                page.goto(page_file.resolve().as_uri())
                page.wait_for_timeout(1500)  # charts follow the table
                keep(page.screenshot(), out / f"{width}-{theme}.png")
                heat = page.query_selector("section:has(.heat)")
                if heat and (width, theme) == (1400, "light"):
                    keep(heat.screenshot(), out / "leakage.png")
                context.close()
        browser.close()


if __name__ == "__main__":
    take(Path(sys.argv[1]), Path(sys.argv[2]))
