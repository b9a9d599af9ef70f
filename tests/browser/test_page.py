"""The report page in headless Chromium: its script runs under the page's own policy, and it draws."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from PIL import Image

from mubench.report.html import render_html
from report.report_fixtures import hostile_record, hostile_samples, record, samples

pytestmark = pytest.mark.browser


def chromium(folder, page, *options):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    assert browser, "make test-browser needs chromium (Debian: apt-get install chromium)"
    command = [
        browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={folder / 'profile'}", *options, page.as_uri(),
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


@pytest.fixture(params=["ordinary", "hostile"])
def page(request, tmp_path):
    content = {
        "ordinary": lambda: render_html(record(), samples()),
        "hostile": lambda: render_html(hostile_record(), hostile_samples()),
    }[request.param]()
    path = tmp_path / "report.html"
    path.write_text(content, encoding="utf-8")
    return path


def test_script_runs_under_the_content_policy(page, tmp_path):
    dom = chromium(tmp_path, page, "--dump-dom")
    assert " shown</" in dom  # the sample counter is written by the script alone
    assert 'id="sample-filters" hidden' not in dom


@pytest.mark.parametrize("width", [390, 1280])
def test_page_draws_something(page, tmp_path, width):
    picture = tmp_path / "page.png"
    chromium(tmp_path, page, f"--window-size={width},1400", f"--screenshot={picture}")
    with Image.open(picture) as image:
        colours = image.convert("RGB").getcolors(maxcolors=2**24)
    assert image.size[0] == width
    assert len(colours) > 50
