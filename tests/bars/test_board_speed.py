"""A leaderboard of a thousand submissions: how long it takes to make, to open and to sort.

The submissions are resampled for this test only and written nowhere else: the real ones of
``leaderboards/records``, board by board, and those of a small made-up benchmark, so that the bar is
looked at where there are none yet. A row of the real ones has its seeds, as on the site; of the
made-up ones each is a row of its own, so that the page has a thousand.
"""

from __future__ import annotations

import gzip
import itertools
import json
import shutil
import time
from pathlib import Path

import pytest

from leaderboard import made
from mubench.leaderboard import bundle as bundles
from mubench.leaderboard.build import Find, build, finder
from mubench.rng import stream
from mubench.runner.store import Store, default_root

pytestmark = [pytest.mark.bars, pytest.mark.timeout(1800)]

RECORDS = Path(__file__).parents[2] / "leaderboards" / "records"
SUBMISSIONS = 1000
REFERENCES = ("none", "gold")


class Real:
    """A real submission, read once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.record = json.loads((folder / "record.json").read_text("utf-8"))
        packed = (folder / "predictions" / "method.jsonl.gz").read_bytes()
        rows = [json.loads(line) for line in gzip.decompress(packed).splitlines()]
        self.ids = [json.dumps(row["id"]) for row in rows]
        self.said = [json.dumps({k: row[k] for k in ("response", "scores")})[1:] for row in rows]
        alike: dict[tuple, list[int]] = {}
        for at, row in enumerate(rows):
            alike.setdefault((len(row["response"]["logprobs"]), *sorted(row["scores"])), []).append(
                at
            )
        self.alike = list(alike.values())

    def resampled(self, root: Path, number: int, row: int) -> None:
        """One like it whose answers are drawn with replacement from questions of the same kind."""
        rng = stream(number, "resample")
        folder = root / f"{number:04}"
        shutil.copytree(self.folder, folder)
        said = list(self.said)
        for group in self.alike:
            for at, other in zip(group, rng.choice(group, len(group)), strict=True):
                said[at] = self.said[int(other)]
        lines = (f'{{"id": {id_}, {rest}\n' for id_, rest in zip(self.ids, said, strict=True))
        data = gzip.compress("".join(lines).encode(), 1, mtime=0)
        (folder / "predictions" / "method.jsonl.gz").write_bytes(data)

        values = json.loads(json.dumps(self.record))
        values["run_id"] = f"{number:012x}"
        values["spec"]["method"]["config"]["number"] = row
        moved = float(rng.uniform(0, 1))
        for cell in values["cells"]:
            for part in ("method", "gap"):
                if cell[part]:
                    cell[part] = {end: x and x * moved for end, x in cell[part].items()}
        (folder / "record.json").write_text(json.dumps(values), encoding="utf-8")
        made.seal(folder)


def real(board: str) -> tuple[list[Path], Find]:
    """The submissions of a board, and where their questions are."""
    folders = [folder for folder in bundles.find(RECORDS) if f"/{board}@" in str(folder)]
    return folders, finder(Store(default_root()))


def small(root: Path) -> tuple[list[Path], Find]:
    made.records(root)
    return bundles.find(root), lambda spec: made.Data()


@pytest.fixture(scope="module", params=["made up", "people-mini", "clip-people"])
def thousand(request, tmp_path_factory) -> tuple[Path, int, float]:
    """The site of a thousand submissions, its rows, and the seconds it took."""
    root = tmp_path_factory.mktemp("thousand")
    folders, find = small(root / "small") if request.param == "made up" else real(request.param)
    rows: dict[Path, list[Real]] = {}
    for folder in folders:
        if folder.parent.name not in REFERENCES:
            row = folder if request.param == "made up" else folder.parent
            rows.setdefault(row, []).append(Real(folder))
    assert rows, f"there is no submission of {request.param}"
    numbers = itertools.count()
    turns = itertools.cycle(rows.values())
    for row in itertools.count():
        group = next(turns)
        for submission, number in zip(group, numbers, strict=False):
            submission.resampled(root / "records", number, row)
        if number + 1 >= SUBMISSIONS:
            break
    find(group[0].record["spec"])  # builds the benchmark
    start = time.perf_counter()
    site = build(root / "records", [], root / "site", find)
    seconds = time.perf_counter() - start
    assert (site.rows, site.left_out) == (row + 1, [])
    assert site.runs >= SUBMISSIONS
    return root / "site", site.rows, seconds


def test_the_site_is_made_in_half_a_minute(thousand):
    _, rows, seconds = thousand
    print(f"{rows} rows built in {seconds:.1f} s")
    assert seconds <= 30


def test_the_page_is_small_opens_and_sorts_at_once(thousand):
    from playwright.sync_api import sync_playwright

    site, rows, _ = thousand
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto((site / "index.html").as_uri())
        page.wait_for_selector("#rows tbody tr[data-id]")
        shown = page.evaluate("performance.now()")
        files = [Path(url.removeprefix("file://").replace("%40", "@")) for url in set(asked)]
        size = sum(path.stat().st_size for path in files)
        page.wait_for_selector("body[data-ready]")
        page.wait_for_timeout(2000)
        times = page.evaluate(
            """[...document.querySelectorAll("[data-sort]")].map((button) => button.dataset.sort).map((id) => {
              const start = performance.now();
              document.querySelector(`[data-sort="${CSS.escape(id)}"]`).click();
              document.querySelector("#rows").getBoundingClientRect();
              return performance.now() - start;
            })"""
        )
        count = page.locator("#count").inner_text()
        browser.close()
    print(
        f"{size / 2**20:.2f} MB, table after {shown:.0f} ms, sorts {[round(t) for t in times]} ms"
    )
    assert count.startswith(f"{rows} of {rows}")
    assert size <= 2 * 2**20
    assert shown <= 1000
    assert sorted(times)[len(times) // 2] <= 100
