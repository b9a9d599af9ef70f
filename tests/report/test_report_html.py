"""The page: self-contained, safe against its own data, the same bytes every time."""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest

from mubench.record import Value
from mubench.report import html, pictures
from mubench.report.html import bar, render_html, verdict
from report.report_fixtures import (
    ATTACK,
    REASON,
    cells,
    hostile_record,
    hostile_samples,
    portrait,
    record,
    samples,
)

VOID = {"meta", "link", "img", "br", "input", "hr"}


class Page(HTMLParser):
    """Collects elements, scripts and visible text, and checks that elements close in order."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.raw: dict[str, list[str]] = {"script": [], "style": []}
        self.open: list[str] = []
        self.feed(source)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        inside = self.open[-1] if self.open else ""
        if inside in self.raw:
            self.raw[inside].append(data)
        else:
            self.text.append(data)

    @property
    def visible(self) -> str:
        return " ".join("".join(self.text).split())


@pytest.fixture(scope="module")
def plain() -> str:
    return render_html(record(), samples())


@pytest.fixture(scope="module")
def hostile() -> str:
    return render_html(hostile_record(), hostile_samples())


def test_same_input_same_bytes(plain):
    assert render_html(record(), samples()) == plain


def test_same_bytes_in_another_process(plain):
    code = (
        "import hashlib, report.report_fixtures as f; from mubench.report.html import render_html;"
        "print(hashlib.sha256(render_html(f.record(), f.samples()).encode()).hexdigest())"
    )
    path = [entry for entry in sys.path if entry]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:] = {path!r}; {code}"],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "7"},
    )
    assert done.stdout.strip() == hashlib.sha256(plain.encode()).hexdigest()


@pytest.mark.parametrize("name", ["plain", "hostile"])
def test_one_script_no_handlers_nothing_loaded(name, request):
    source = request.getfixturevalue(name)
    page = Page(source)
    tags = [tag for tag, _ in page.elements]
    assert tags.count("script") == 1
    assert not set(tags) & {"img", "link", "iframe", "object", "embed", "base", "form", "image"}
    for tag, attributes in page.elements:
        for key, value in attributes.items():
            assert not key.startswith("on"), (tag, key)
            assert key not in {"src", "srcset", "data", "action", "href"}, (tag, key)
            if key == "xlink:href":
                assert value is not None and value.startswith("#")
    style = "".join(page.raw["style"])
    assert set(re.findall(r"url\(([^:)]*:[^;)]*)", style)) <= {"data:image/png"}
    assert "@import" not in style


@pytest.mark.parametrize("name", ["plain", "hostile"])
def test_policy_allows_only_our_script(name, request):
    page = Page(request.getfixturevalue(name))
    (policy,) = (
        attributes["content"]
        for tag, attributes in page.elements
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    digest = hashlib.sha256("".join(page.raw["script"]).encode()).digest()
    assert f"script-src 'sha256-{base64.b64encode(digest).decode()}';" in policy
    assert policy.startswith("default-src 'none'; img-src data:;")


def test_hostile_text_is_shown_as_text(hostile):
    page = Page(hostile)
    assert ATTACK in page.visible
    assert "{{ 7 * 7 }} {% raw %}" in page.visible
    assert not set(hostile) & {"\x00", "\x1b", "\u202e", "\u2066", "\u2028"}
    hostile.encode("utf-8")


def test_samples_carry_their_filters_and_each_picture_is_embedded_once(plain):
    page = Page(plain)
    cards = [attributes for tag, attributes in page.elements if tag == "article"]
    assert len(cards) == len(samples())
    assert {card["data-set"] for card in cards} == {"forget", "test", "retain", "celebrity"}
    assert plain.count(base64.b64encode(portrait(0)).decode()) == 1
    assert plain.count('class="portrait portrait-1"') == 2
    assert plain.count("data:image/png") == 4


def test_options_equal_what_the_cards_carry(hostile):
    page = Page(hostile)
    options = {attributes["value"] for tag, attributes in page.elements if tag == "option"}
    for tag, attributes in page.elements:
        if tag == "article":
            assert {attributes[f"data-{name}"] for name in ("set", "modality", "task")} <= options


def test_accessible_skeleton(plain):
    page = Page(plain)
    tags = [tag for tag, _ in page.elements]
    assert tags.count("h1") == 1 and tags.count("main") == 1
    assert all("scope" in attributes for tag, attributes in page.elements if tag == "th")
    images = [attributes for _, attributes in page.elements if attributes.get("role") == "img"]
    assert images and all(attributes.get("aria-label") for attributes in images)
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    labels = {a["aria-labelledby"] for _, a in page.elements if "aria-labelledby" in a}
    assert labels <= set(ids)
    own = [name for name in ids if name and not re.match(r"[mp][0-9a-f]{10}$", name)]
    drawn = {"figure_1", "axes_1", "legend_1"}
    own = [name for name in own if name not in drawn and not re.match(r".*_\d+$", name)]
    assert len(own) == len(set(own))


def test_missing_gap_is_na_with_its_reason(plain):
    page = Page(plain)
    assert REASON in {attributes.get("title") for _, attributes in page.elements}
    assert "gap n/a: target and gold do not differ (17 of 33 cells)" in page.visible
    assert "n/a Δ -0.08 [-0.10, -0.06]" in page.visible


def test_empty_run():
    page = Page(render_html(record(cells=[], stages=[], artifacts=[], status="failed"), []))
    assert "This run failed." in page.visible
    assert "n/a: no headline metric was measured." in page.visible
    assert "No sample was kept for this run." in page.visible


def test_what_the_engine_noted_stands_with_its_stage_in_words():
    run = record()
    (stage,) = (s for s in run.stages if s.kind == "predict" and s.role == "method")
    detail = {
        "units": 7,
        "batch_size": 4,
        "out_of_memory": 2,
        "retried": ["ValueError: a hiccup", "another"],
        "fallback": {"image_text": "shared and plain free answers differ"},
        "unchecked": {"text": f"RuntimeError: {ATTACK}"},
    }
    stages = [s.model_copy(update={"detail": detail}) if s is stage else s for s in run.stages]
    page = Page(render_html(run.model_copy(update={"stages": stages}), []))
    assert (
        "units 7; batch size 4; batches halved 2 times because memory ran out; asked again in "
        "smaller parts 2 times, first for: ValueError: a hiccup; image+text answered without "
        "sharing work: shared and plain free answers differ; text-only answers not compared with "
        "plain ones: RuntimeError: "
    ) in page.visible
    assert not any(name == "script" and attributes for name, attributes in page.elements)


def test_verdict_quotes_the_cells():
    first, image, text, retain = verdict(record())
    assert first == (
        "On the forget set, manu has a choice accuracy of 0.41 on image+text questions (gold "
        "0.25, target 0.98) and 0.72 on text-only questions (gold 0.25, target 0.98)."
    )
    assert image.startswith(
        "image+text choice: the gap to gold is +0.22 [0.15, 0.29]: closer to gold"
    )
    assert "0.88 on text-only" in retain and text.startswith("text-only")


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (-0.1, 0.1, "from the gold model"),
        (0.9, 1.1, "from the target"),
        (-0.2, 1.2, "too uncertain"),
        (-0.5, -0.1, "beyond gold"),
        (1.1, 1.4, "further from gold"),
        (0.2, 0.4, "not there yet"),
    ],
)
def test_verdict_follows_the_interval(low, high, words):
    gap = Value(value=(low + high) / 2, low=low, high=high)
    run = record(cells=[cells()[0].model_copy(update={"gap": gap})])
    assert words in verdict(run)[1]


def test_cost_names_operations_only_where_they_were_counted():
    said = html.cost_words(record())
    assert said.startswith("Unlearning: 38 s, 2.7 GB of memory at most, needs forget data alone")
    assert said.endswith("answered in 1.0 times the target's time.")
    old = record()
    work = next(stage for stage in old.stages if stage.kind == "unlearn")
    work.detail["flops"] = 1_560_345_978_880
    assert html.cost_words(old).startswith("Unlearning: 38 s, 1.56 TFLOP, 2.7 GB")
    assert html.cost_words(record(stages=[])) == ""


def test_bar_stays_on_its_axis():
    width = html._BAR_WIDTH
    inside = bar(Value(value=0.5, low=0.25, high=9.0))
    assert (inside.x, inside.width, inside.low, inside.high) == (18.0, 36.0, 36.0, float(width))
    assert bar(Value(value=-3.0)).beyond == "left" and bar(Value(value=-3.0)).end == 0.0
    assert bar(Value(value=3.0)).beyond == "right" and bar(Value(value=3.0)).low is None
    assert bar(Value(value=-0.1)).x < bar(Value(value=0.0)).x


def test_picture_is_deterministic_and_has_no_foreign_parts():
    panel = pictures.panel(record(), "text")
    assert panel is not None and panel.metrics == (
        "choice accuracy",
        "generation keyword",
        "cloze match",
    )
    svg = pictures.draw(panel)
    assert svg == pictures.draw(panel)
    assert svg.startswith("<svg") and "<style" not in svg and "<metadata" not in svg
    assert "var(--ink, " in svg and "#0a0b0" not in svg
    assert re.search(r"<text[^>]*>gold</text>", svg)
    assert set(re.findall(r'="(http[^"]*)"', svg)) == {
        "http://www.w3.org/1999/xlink",
        "http://www.w3.org/2000/svg",
    }


def test_picture_needs_the_same_metric_on_both_axes():
    forget, retain = (next(c for c in cells() if c.set == name) for name in ("forget", "retain"))
    other = retain.model_copy(update={"metric": "other"})
    assert pictures.panel(record(cells=[forget]), "image_text") is None
    assert pictures.panel(record(cells=[forget, other]), "image_text") is None
    assert pictures.panel(record(cells=[forget, retain]), "image_text") is not None
    assert pictures.panel(record(cells=[forget, retain]), "text") is None


def test_mean_interval_is_conservative_and_never_invented():
    wide = pictures.mean([Value(value=0.2, low=0.1, high=0.3), Value(value=0.4, low=0.2, high=0.6)])
    assert (wide.value, wide.low, wide.high) == pytest.approx((0.3, 0.15, 0.45))
    assert pictures.mean([Value(value=0.2, low=0.1, high=0.3), Value(value=0.4)]).low is None


def test_importing_the_report_stays_light():
    code = (
        f"import sys; sys.path[:] = {[entry for entry in sys.path if entry]!r};"
        "import mubench.report.html, mubench.report.tables, mubench.report.pictures;"
        "print(sorted({'jinja2', 'matplotlib', 'torch', 'PIL'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
