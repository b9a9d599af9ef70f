"""The pages as files: what is in them, in which order, and that no text of a submission is code."""

from __future__ import annotations

import csv
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from leaderboard import made
from mubench.errors import DamagedError
from mubench.leaderboard.build import build
from mubench.leaderboard.reported import read
from mubench.leaderboard.rows import over_seeds
from mubench.record import Value

EVIL = "<script>document.title='owned'</script><img src=x onerror=alert(1)>\"'&"


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """Methods near gold, on the way, with three seeds, broken, and both references."""
    root = tmp_path_factory.mktemp("site")
    evil = made.records(root / "records")
    made.edit_record(evil, lambda v: v["method"].update(title=EVIL, formula=EVIL, paper=EVIL))
    damaged = made.bundle(root / "records", "simnpo", forget=0.5)
    (damaged / "record.json").write_text("{}")
    done = build(root / "records", [], root / "site", lambda spec: made.Data())
    assert done.rows == 6 and done.runs == 8
    assert len(done.left_out) == 1 and "simnpo" in done.left_out[0]
    return root / "site"


def data(site: Path) -> dict:
    return json.loads((site / "data" / "people-mini@1.json").read_text("utf-8"))


def row(site: Path, method: str) -> dict:
    return next(row for row in data(site)["rows"] if row["method"] == method)


def test_rows_stand_by_their_distance_to_gold_and_broken_ones_are_not_ranked(site):
    rows = data(site)["rows"]
    assert [r["method"] for r in rows] == ["npo", "idk", "manu", "ga"]
    assert [r["rank"] is None for r in rows] == [False, False, False, True]
    assert rows[0]["rank"][0] == 1
    assert "of utility" in row(site, "ga")["gated"]
    assert all(low <= high for low, high in (r["rank"] for r in rows[:3]))
    assert {one["name"] for one in data(site)["references"]} >= {"target", "gold"}


def test_seeds_make_one_row_and_few_of_them_a_badge(site):
    assert (row(site, "npo")["seeds"], row(site, "npo")["badges"]) == (3, ["rescored"])
    assert row(site, "manu")["badges"] == ["rescored", "single-seed"]


def test_operations_are_shown_where_they_were_counted(site):
    assert row(site, "npo")["flops"] == 3.2e12 + 1
    assert row(site, "manu")["flops"] is None
    pages = {name: (site / "runs" / f"{row(site, name)['id']}.html") for name in ("npo", "manu")}
    assert "<dt>Compute</dt><dd>3.2 TFLOP</dd>" in pages["npo"].read_text("utf-8")
    assert "<dt>Compute</dt><dd>n/a</dd>" in pages["manu"].read_text("utf-8")
    (header, *lines) = csv.reader((pages["npo"].with_suffix("") / "row.csv").open())
    assert {line[header.index("unlearning_flops")] for line in lines} == {
        "3200000000000.0", "3200000000001.0", "3200000000002.0",
    }  # fmt: skip


def test_probes_have_columns_and_a_heat_map(site):
    columns = {c["id"]: (at, c) for at, c in enumerate(data(site)["columns"])}
    shown = {
        "leakage/image/free/free": ("leakage", "trained photo", "image_text"),
        "membership/text/min_k_plus/auc": ("privacy", "Min-K %++", "text"),
        "recovery/relearned/accuracy": ("leakage", "relearned", "image_to_text"),
        "memorisation/text/extraction_strength": ("privacy", "extraction strength", "text"),
    }
    for id_, told in shown.items():
        at, column = columns[id_]
        assert (column["group"], column["set"], column["modality"]) == told
        assert row(site, "npo")["score"][at][0] == 400
        assert row(site, "npo")["delta"][at] == [300, 200, 400]
        assert row(site, "manu")["score"][at] is row(site, "manu")["delta"][at] is None
    assert "leakage/name/choice/choice" not in columns  # on the page of the row
    page = (site / "runs" / f"{row(site, 'npo')['id']}.html").read_text("utf-8")
    assert "trained photo, vision put back" in page
    heat = site / "data" / "people-mini@1" / "leakage"
    assert [path.stem for path in heat.iterdir()] == [row(site, "npo")["id"]]
    assert (row(site, "npo")["probed"], row(site, "manu")["probed"]) == (True, False)
    text = next(heat.iterdir()).read_text("ascii")
    assert '[["trained photo","free",[300,200,400],true],["the name, no picture","choice",' in text


def test_a_metric_is_named_as_its_task_means_it(site):
    titles = {c["id"]: c["title"] for c in data(site)["columns"]}
    assert titles["forget/text/choice/accuracy"] == "Choice accuracy"
    assert titles["forget/text/cloze/match"] == "Cloze accuracy"


def test_what_is_shown_is_what_was_measured(site):
    shown = row(site, "manu")
    record = made.run_values("manu", 0, 0.7, 0.9)[0]
    columns = [c["id"] for c in data(site)["columns"]]
    for cell in filter(lambda cell: cell["headline"], record["cells"]):
        at = columns.index("/".join(cell[k] for k in ("set", "modality", "task", "metric")))
        assert shown["score"][at][0] == round(1000 * cell["method"]["value"])
        assert (shown["gap"][at] is None) == (cell["gap"] is None)


def test_the_interval_over_seeds_holds_both_kinds_of_chance():
    one = Value(value=0.5, low=0.4, high=0.6)
    assert over_seeds([one]) == one
    alike = over_seeds([one, one, one])
    assert (alike.low, alike.high) == pytest.approx((0.4, 0.6))
    spread = over_seeds([Value(value=x, low=x - 0.1, high=x + 0.1) for x in (0.4, 0.5, 0.6)])
    half = (0.1**2 + (4.302653 * 0.1 / 3**0.5) ** 2) ** 0.5
    assert (spread.value, spread.low, spread.high) == pytest.approx((0.5, 0.5 - half, 0.5 + half))
    assert over_seeds([one, Value(value=0.7)]) == Value(value=0.6)


class Tags(HTMLParser):
    """Scripts, listeners, styles and addresses of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.scripts: list[str | None] = []
        self.addresses: list[str] = []
        self.inline: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if tag == "script":
            self.scripts.append(values.get("src"))
        self.addresses += [v for k, v in attrs if k in ("href", "src")]
        self.inline += [k for k, _ in attrs if k.startswith("on") or k == "style"]


def test_pages_hold_no_code_but_the_site_s(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) == 7
    for page in pages:
        text = page.read_text("utf-8")
        tags = Tags(text)
        assert tags.inline == []
        assert all(src and re.fullmatch(r"(\.\./)?static/\w+\.js", src) for src in tags.scripts)
        for address in tags.addresses:
            assert not re.match(r"(?i)(javascript|data|http):|//", address), address
        assert "script-src 'self';" in text and "default-src 'none';" in text
        assert EVIL not in text
    assert "&lt;script&gt;document.title" in "".join(page.read_text("utf-8") for page in pages)


def test_links_lead_to_files(site):
    for page in site.rglob("*.html"):
        for address in Tags(page.read_text("utf-8")).addresses:
            if not address.startswith(("https://", "#")):
                target = page.parent / address.split("#")[0].replace("%40", "@")
                assert target.is_file(), address


def test_data_files_are_json_in_one_call(site):
    found = list((site / "data").rglob("*.js"))
    assert len(found) > 10
    for path in found:
        text = path.read_text("ascii")
        name, _, rest = text.removeprefix("mubench.take(").partition(",")
        json.loads(name)
        json.loads(rest.removesuffix(");\n"))


def test_the_same_submissions_give_the_same_bytes(site, tmp_path, monkeypatch):
    """Written by one process or by several."""
    monkeypatch.setattr("mubench.leaderboard.forks.MANY", 1)
    again = tmp_path / "again"
    build(site.parent / "records", [], again, lambda spec: made.Data())
    names = sorted(p.relative_to(site) for p in site.rglob("*") if p.is_file())
    assert names == sorted(p.relative_to(again) for p in again.rglob("*") if p.is_file())
    assert all((site / name).read_bytes() == (again / name).read_bytes() for name in names)


def test_without_the_benchmark_at_hand_there_are_rows_and_no_answers(site, tmp_path):
    build(site.parent / "records", [], tmp_path / "site", lambda spec: None)
    found = data(tmp_path / "site")
    assert [r["persons"] for r in found["rows"]] == [False] * 4
    folder = tmp_path / "site" / "data" / "people-mini@1"
    assert [path.name for path in folder.iterdir()] == ["leakage"]  # from the records alone


def test_downloads(site):
    folder = site / "runs" / row(site, "npo")["id"]
    assert sorted(p.name for p in folder.iterdir()) == [
        "row.bib", "row.csv", "row.tex", "seed0.json", "seed1.json", "seed2.json",
    ]  # fmt: skip
    lines = list(csv.DictReader((folder / "row.csv").open()))
    assert {line["seed"] for line in lines} == {"0", "1", "2"}
    assert float(lines[0]["target_low"]) <= float(lines[0]["target"])
    assert (folder / "row.tex").read_text().count(r"\\") >= 4
    assert "arXiv" in (folder / "row.bib").read_text()


REPORTED = """
benchmark: mllmu
ratio: 0.1
model: LLaVA
source: {title: A paper, url: "https://arxiv.org/abs/2610.10358", where: Table 2}
rows:
- {method: GA, values: {forget: 0.5}}
- {method: KL, values: {forget: 1.5}}
"""


def test_reported_rows_name_their_source_and_are_refused_by_row(tmp_path):
    (tmp_path / "a.yaml").write_text(REPORTED.replace("1.5", "0.25"))
    rows = read(tmp_path)
    assert [(r.method, r.values["forget"]) for r in rows] == [("GA", 0.5), ("KL", 0.25)]
    for broken, expected in (
        (REPORTED, "KL: values.forget"),
        (REPORTED.replace("https://arxiv", "javascript://arxiv"), "GA: source.url"),
        (REPORTED.replace("where: Table 2", "page: 3"), "GA: source.where"),
        ("[1", "is no list of reported rows"),
        ("- 1", "is no list of reported rows"),
    ):
        (tmp_path / "a.yaml").write_text(broken)
        with pytest.raises(DamagedError, match=re.escape(expected)):
            read(tmp_path)


def test_reported_rows_stand_apart(tmp_path):
    made.bundle(tmp_path / "records", "npo")
    (tmp_path / "a.yaml").write_text(
        REPORTED.replace("1.5", "0.25").replace("mllmu", "people-mini")
    )
    build(tmp_path / "records", read(tmp_path), tmp_path / "site", lambda spec: None)
    found = data(tmp_path / "site")
    assert [r["method"] for r in found["rows"]] == ["npo"]
    assert [r["method"] for r in found["reported"]] == ["GA", "KL"]


def test_a_failed_build_leaves_the_old_site(site, tmp_path, monkeypatch):
    old = shutil.copytree(site, tmp_path / "site")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mubench.leaderboard.build.write_data", full)
    with pytest.raises(Exception, match="No space left"):
        build(site.parent / "records", [], old, lambda spec: made.Data())
    assert (old / "index.html").is_file()
    assert not (tmp_path / ".site.partial").exists()
