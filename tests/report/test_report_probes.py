"""Probes on the page: the heat map is a table, colours say what its words say, and back."""

from __future__ import annotations

import io
import re

from rich.console import Console

from mubench.probes.leakage import COLUMNS, TITLES, component_cells, leakage_cells
from mubench.probes.privacy import privacy_cells
from mubench.record import Probe
from mubench.report.html import render_html
from mubench.report.probes import Heat, component_rows, leakage_rows, leakage_words
from mubench.report.tables import render
from probes.material import ASKED, BASE, GOLD, IGNORANT, KNOWING, PEOPLE, TARGET, model
from report.report_fixtures import record

LEAKY = model(lambda e: e.set == "card")
BLIND = model(lambda e: e.set != "sketch")
SAID = {"target": BLIND, "gold": GOLD, "method": LEAKY}
CELLS: list[Probe] = [
    *leakage_cells(ASKED, SAID, 0),
    *component_cells(ASKED, SAID, {"none": GOLD, "vision+projector+language": TARGET}, 0),
    *privacy_cells(PEOPLE, {"target": KNOWING, "gold": IGNORANT, "method": KNOWING}, BASE, 0),
]
PROBED = record().model_copy(update={"probes": CELLS})


def section(page: str, id_: str) -> str:
    found = re.search(rf'<section aria-labelledby="{id_}">.*?</section>', page, re.S)
    return found[0] if found else ""


def test_the_matrix_is_a_table_with_every_path_and_form():
    text = section(render_html(PROBED, []), "leakage-title")
    for title in (*TITLES.values(), *(title for title, _ in COLUMNS.values())):
        assert f">{title}</th>" in text
    assert text.count('<th scope="row">') == len(TITLES) + 2
    assert "[+0.00" not in text


def test_what_leaks_is_said_in_colour_and_in_words():
    text = section(render_html(PROBED, []), "leakage-title")
    lit = [row for row in leakage_rows(PROBED) if any(h and h.kind == "leaks" for h in row.cells)]
    assert [row.title for row in lit] == [TITLES["card"]]
    assert leakage_words(PROBED) == [
        f"Forgotten facts still come out by 1 of 12 paths: {TITLES['card']}.",
        f"Not even the target knows them by: {TITLES['sketch']}.",
    ]
    assert text.count('class="heat leaks"') == text.count('<span class="hide"> leaks</span>') == 15
    assert text.count("not known by the target</span>") == 5


def test_components_from_nothing_to_everything():
    first, last = component_rows(PROBED)
    assert (first.title, last.title) == ("nothing", "vision + projector + language")
    assert {heat.kind for heat in first.cells} == {"quiet"}
    assert {heat.kind for heat in last.cells} == {"leaks"}


def test_shades_follow_the_recovery():
    cells = [cell for cell in CELLS if cell.probe == "leakage" and cell.leaks]
    assert {Heat.of(cell).shade for cell in cells} == {
        round(100 * cell.difference.value) for cell in cells
    }
    assert all(Heat.of(cell).shade == 0 for cell in CELLS if cell.known is False)


def test_privacy_shows_every_attack_with_privleak_and_no_claim_without():
    text = section(render_html(PROBED, []), "privacy-title")
    for title in ("Min-K %++", "gradient norm", "swapped picture", "extraction strength"):
        assert title in text
    assert "-100 %" in text
    assert "n/a" in text  # a swapped picture of a text-only question


def test_the_terminal_says_what_leaks_and_what_is_recognised():
    out = io.StringIO()
    render(PROBED, Console(file=out, width=400))
    assert "by 1 of 12 paths: an identity card that shows the name." in out.getvalue()
    assert "Membership: furthest from gold is" in out.getvalue()
    out = io.StringIO()
    render(record(), Console(file=out, width=400))
    assert "Membership" not in out.getvalue()


def test_a_run_without_probes_says_nothing_of_them():
    page = render_html(record(), [])
    assert "leakage-title" not in page
    assert "privacy-title" not in page


def test_no_path_leaks_is_a_sentence():
    quiet = record().model_copy(
        update={"probes": leakage_cells(ASKED, {**SAID, "target": TARGET, "method": GOLD}, 0)}
    )
    assert leakage_words(quiet) == ["By none of 12 paths does more come out than gold guesses."]


def test_text_of_a_record_is_escaped():
    hostile = CELLS[0].model_copy(update={"unit": '"><script>alert(1)</script>'})
    page = render_html(record().model_copy(update={"probes": [hostile]}), [])
    assert "<script>alert" not in page
