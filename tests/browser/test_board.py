"""The leaderboard in Chromium, opened from disk as a reader does."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from leaderboard import made
from mubench.leaderboard.build import build
from mubench.leaderboard.reported import Reported

pytestmark = pytest.mark.browser

AXE = Path(__file__).with_name("axe.min.js")
EVIL = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
REPORTED = Reported.model_validate(
    {
        "benchmark": "people-mini", "ratio": 0.1, "model": "LLaVA", "method": "GA",
        "values": {"forget choice": 0.0}, "note": EVIL,
        "source": {"title": EVIL, "url": "https://arxiv.org/abs/2610.10358", "where": "Table 2"},
    }
)  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("board")
    evil = made.records(root / "records")
    made.edit_record(
        evil,
        lambda v: (
            v["method"].update(title=EVIL, formula=EVIL, paper=EVIL, notes=EVIL),
            v["provenance"].update(command=EVIL, environment={EVIL: EVIL}),
            v["warnings"].append(EVIL),
        ),
    )
    made.edit_rows(
        evil,
        "method",
        lambda rows: [
            r["response"].update(text=EVIL) or r if r["response"]["text"] else r for r in rows
        ],
    )
    build(root / "records", [REPORTED], root / "site", lambda spec: made.Data())
    return root / "site"


@pytest.fixture(scope="module")
def chromium():
    from playwright.sync_api import sync_playwright

    browser = shutil.which("chromium") or shutil.which("google-chrome")
    assert browser, "make test-browser needs chromium (Debian: apt-get install chromium)"
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def visit(chromium, site):
    """Open a page of the site; at the end nothing may have been complained about or asked for."""
    said, asked, contexts = [], [], []

    def go(address: str = "index.html", *, width=1400, dark=False, touch=False):
        context = chromium.new_context(
            viewport={"width": width, "height": 900}, has_touch=touch,
            color_scheme="dark" if dark else "light",
        )  # fmt: skip
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: said.append(f"dialog {dialog.message}"))
        page.on("request", lambda request: asked.append(request.url))
        name, _, view = address.partition("#")
        page.goto((site / name).as_uri() + (f"#{view}" if view else ""))
        page.wait_for_selector("body[data-ready]")
        return page

    yield go
    for context in contexts:
        context.close()
    assert said == []
    assert all(url.startswith(("file://", "data:", "blob:")) for url in asked)


def methods(page) -> list[str]:
    return page.locator("#rows tr[data-id] th a").all_inner_texts()


def view(page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).fragment)


def row_page(site: Path, method: str) -> str:
    pages = (p for p in (site / "runs").glob("*.html") if f"<h1>{method} " in p.read_text("utf-8"))
    return f"runs/{next(pages).name}"


def test_opens_from_disk_with_rows_and_references(visit):
    page = visit()
    assert methods(page) == ["npo", "manu", "idk", "ga"] or methods(page)[0] == "npo"
    assert methods(page)[-1] == "ga"
    assert "is-gated" in page.locator("#rows tr[data-id]").last.get_attribute("class")
    assert page.locator("#rows tr.reference th").all_inner_texts()[0].startswith("target")
    assert page.locator("#rows tr.reported").count() == 1
    assert page.locator("#pareto svg").count() == 1


def test_sorts_by_one_and_by_several_columns(visit):
    page = visit()
    page.get_by_role("button", name="Method", exact=True).click()
    assert methods(page) == ["ga", "idk", "manu", "npo"]
    assert page.locator("th[aria-sort=ascending]").inner_text().startswith("Method")
    page.locator("button[data-sort=method]").click()
    assert methods(page) == ["npo", "manu", "idk", "ga"]
    page.locator("button[data-sort=model]").click()
    page.locator("button[data-sort=method]").click(modifiers=["Shift"])
    assert methods(page) == ["ga", "idk", "manu", "npo"]
    assert view(page)["sort"] == ["model,method"]
    assert page.locator("th[aria-sort]").count() == 2
    page.locator("button[data-sort=seconds]").click()
    times = page.locator("#rows tr[data-id] td:last-child").all_inner_texts()
    assert times == sorted(times)


def test_searches(visit):
    page = visit()
    page.get_by_label("Search rows").fill("MANU llava")
    assert methods(page) == ["manu"]
    assert page.locator("#count").inner_text().startswith("1 of 4 rows")
    page.get_by_label("Search rows").fill("single-seed")
    assert set(methods(page)) == {"manu", "idk", "ga"}
    page.get_by_label("Search rows").fill("nothing of that name")
    assert page.locator("#empty").is_visible()


def test_filters(visit):
    page = visit()
    page.get_by_text("Filters", exact=True).click()
    page.get_by_label("pruning").check()
    assert methods(page) == ["manu"]
    page.get_by_label("gradient", exact=True).check()
    assert set(methods(page)) == {"manu", "npo", "ga"}
    page.get_by_label("show rows that are not ranked").uncheck()
    assert set(methods(page)) == {"manu", "npo"}
    assert page.locator("#filter-count").inner_text() == " (1)"
    page.get_by_role("button", name="Reset").click()
    assert len(methods(page)) == 4


def test_chooses_columns(visit):
    page = visit()
    before = page.locator("#rows thead tr:nth-child(3) th").count()
    page.get_by_text("Columns", exact=True).click()
    page.get_by_label("forget · text-only · match").check()
    assert page.locator("#rows thead tr:nth-child(3) th").count() == before + 1
    page.get_by_label("Utility", exact=True).uncheck()
    assert "Utility" not in page.locator("#rows thead .group").all_inner_texts()
    assert "cols" in view(page)


def test_scores_instead_of_gaps(visit):
    page = visit()
    gap = page.locator("#rows tr.reference.target td.number").nth(1).inner_text()
    page.get_by_label("score", exact=True).check()
    score = page.locator("#rows tr.reference.target td.number").nth(2).inner_text()
    assert gap.strip() in ("1.00", "") and 0.9 <= float(score) <= 1
    assert view(page)["m"] == ["score"]


def test_the_address_keeps_the_whole_view(visit):
    page = visit()
    page.get_by_label("Search rows").fill("llava")
    page.get_by_label("score", exact=True).check()
    page.locator("button[data-sort=method]").click()
    page.locator("button[data-sort=method]").click()
    page.get_by_text("Filters", exact=True).click()
    page.get_by_label("pruning").check()
    page.get_by_label("gradient", exact=True).check()
    page.get_by_label("show rows that are not ranked").uncheck()
    page.get_by_text("Columns", exact=True).click()
    page.get_by_label("memory").check()
    page.get_by_label("Compare npo").check()
    page.get_by_label("Compare manu").check()
    page.get_by_role("button", name="Compare", exact=True).click()
    page.wait_for_selector("#compare td.delta")
    address = page.url
    shown = page.locator("#rows").inner_text(), page.locator("#compare").inner_text()
    again = visit(f"index.html#{urlsplit(address).fragment}")
    again.wait_for_selector("#compare td.delta")
    assert (again.locator("#rows").inner_text(), again.locator("#compare").inner_text()) == shown
    assert again.url == address
    assert again.get_by_label("Search rows").input_value() == "llava"


def test_compares_with_paired_differences(visit):
    page = visit("index.html#m=score")
    page.get_by_label("Compare npo").check()
    assert page.get_by_role("button", name="Compare", exact=True).is_disabled()
    page.get_by_label("Compare manu").check()
    page.get_by_role("button", name="Compare", exact=True).click()
    page.wait_for_selector("#compare td.delta")
    assert "manu − npo" in page.locator("#compare thead").inner_text()
    first = page.locator("#compare tbody tr").first.locator("td").all_inner_texts()
    npo, manu, difference = (float(x.replace("−", "-")) for x in first)
    assert difference == pytest.approx(manu - npo, abs=0.011)
    title = page.locator("#compare tbody tr").first.locator("td").last.get_attribute("title")
    low, high = (float(x.replace("−", "-")) for x in re.findall(r"[+−]?\d\.\d\d", title)[1:])
    assert low < difference < high
    page.get_by_role("button", name="Close the comparison").click()
    assert page.locator("#compare").is_hidden()


def test_a_page_of_a_row(visit, site):
    page = visit(row_page(site, "npo"))
    assert page.locator("#items li").count() == 20
    page.locator("#which").select_option("leak")
    for item in page.locator("#items li").all()[:5]:
        verdicts = item.locator(".right, .wrong").all_inner_texts()
        assert verdicts[1:] == ["✗ wrong", "✓ right"]
    page.locator("#set").select_option("retain")
    page.locator("#which").select_option("")
    assert "retain" in page.locator("#items li .note").first.inner_text()
    page.locator("#seed").select_option("2")
    # The questions of another seed are drawn when they have come: the first picture may change.
    seen = "(image => { image.scrollIntoView(); return image.naturalWidth === 112; })"
    page.wait_for_function(f"{seen}(document.querySelector('#items img'))")
    assert "mubench run --method npo" in page.locator("pre").first.inner_text()
    assert page.get_by_role("link", name="BibTeX").get_attribute("href").endswith("row.bib")


@pytest.mark.parametrize("width", [1400, 390])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("what", ["board", "row", "compare"])
def test_no_serious_accessibility_violation(visit, site, width, dark, what):
    page = visit(row_page(site, "npo") if what == "row" else "index.html", width=width, dark=dark)
    if what == "compare":
        page.get_by_label("Compare npo").check()
        page.get_by_label("Compare manu").check()
        page.get_by_role("button", name="Compare", exact=True).click()
        page.wait_for_selector("#compare td.delta")
    # The driver's own world: the page's policy stays as it is.
    session = page.context.new_cdp_session(page)
    tree = session.send("Page.getFrameTree")
    world = session.send("Page.createIsolatedWorld", {"frameId": tree["frameTree"]["frame"]["id"]})[
        "executionContextId"
    ]
    run = {"contextId": world, "awaitPromise": True, "returnByValue": True}
    session.send("Runtime.evaluate", {**run, "expression": AXE.read_text("utf-8") + ";0"})
    found = session.send(
        "Runtime.evaluate", {**run, "expression": "axe.run(document, {preload: false})"}
    )
    violations = found["result"]["value"]["violations"]
    serious = [
        f"{v['id']}: {n['target']} {n['failureSummary']}"
        for v in violations
        if v["impact"] in ("serious", "critical")
        for n in v["nodes"]
    ]
    assert serious == []
    assert len(found["result"]["value"]["passes"]) > 10


def test_dark_mode_follows_the_system_and_the_button(visit):
    def paper(page):
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    light, dark = visit(), visit(dark=True)
    assert paper(light) == "rgb(255, 255, 255)" != paper(dark)
    light.get_by_role("button", name="Dark").click()
    assert paper(light) == paper(dark)
    light.reload()
    light.wait_for_selector("body[data-ready]")
    assert paper(light) == paper(dark)


def test_a_phone_scrolls_the_table_and_not_the_page(visit, site):
    for address in ("index.html", row_page(site, "npo")):
        page = visit(address, width=390, touch=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page = visit(width=390, touch=True)
    page.locator("#table").evaluate("table => table.scrollLeft = 400")
    name = page.locator("#rows tr[data-id] th").first.bounding_box()
    assert 0 <= name["x"] < 60  # the method's name stays


def test_by_keyboard_alone(visit):
    page = visit()

    def tab_to(wanted, limit=60):
        for _ in range(limit):
            page.keyboard.press("Tab")
            if page.evaluate(f"document.activeElement.matches({wanted!r})"):
                return
        raise AssertionError(f"{wanted} was not reached")

    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    tab_to("#search")
    page.keyboard.type("llava")
    tab_to("details.menu summary")
    page.keyboard.press("Enter")
    tab_to("#filters input")
    page.keyboard.press("Space")
    page.keyboard.press("Space")
    tab_to("button[data-sort=method]")
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.dataset.sort") == "method", "focus is kept"
    assert methods(page) == ["npo", "manu", "idk", "ga"]
    for _ in range(2):
        tab_to("#rows tbody input[type=checkbox]")
        page.keyboard.press("Space")
    tab_to("#compare-button", 120)
    page.keyboard.press("Enter")
    page.wait_for_selector("#compare td.delta")
    assert page.evaluate("document.activeElement.id") == "compare"


@pytest.mark.parametrize("page_of", ["index.html", "idk"])
def test_nothing_of_a_submission_runs(visit, site, page_of):
    page = visit(page_of if page_of.endswith("html") else row_page(site, page_of))
    if page_of == "idk":
        page.locator("#task").select_option("cloze")
        assert EVIL in page.locator("#items").inner_text()
        page.locator("details").evaluate_all("all => all.forEach(one => one.open = true)")
        assert EVIL in page.locator("main").inner_text()
    else:
        assert EVIL in page.locator("#rows tr.reported").inner_text()
        page.wait_for_selector("#pareto svg")  # charts follow the table
        assert page.locator("#pareto").inner_text()
    page.wait_for_timeout(200)
    assert page.title() != "owned"
    assert page.locator("img[src=x], [onerror]").count() == 0


def test_a_view_of_another_s_making_is_harmless(visit):
    evil = "b=../../x&q=%3Cscript%3E&sort=nothing,-__proto__&cols=x,constructor&f.model=a&sel=zz,yy&compare=1&m=x"
    page = visit(f"index.html#{evil}")
    assert page.locator("#rows thead").is_visible()


def test_prints_the_table_without_controls(visit):
    page = visit()
    page.emulate_media(media="print")
    assert page.locator(".controls").is_hidden()
    assert page.locator("#rows").is_visible()
    assert page.evaluate("getComputedStyle(document.querySelector('#table')).overflow") == "visible"
