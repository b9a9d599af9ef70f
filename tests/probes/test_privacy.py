"""Membership and memorisation from planted tokens: who is asked about, and what the cells say."""

from __future__ import annotations

import pytest

from mubench.metrics.privacy import ATTACKS
from mubench.probes.privacy import SWAPPED, Questions, Seen, privacy_cells, questions
from mubench.types import ROLES
from probes.material import BASE, DATA, IGNORANT, KNOWING, PEOPLE, seen


def cells(method, asked=PEOPLE):
    models = {"target": KNOWING, "gold": IGNORANT, "method": method}
    return {(c.probe, c.metric, *c.axes.values()): c for c in privacy_cells(asked, models, BASE, 0)}


def test_members_are_forgotten_people_and_the_others_were_never_trained_on():
    trained = {e.person for e in DATA.train("forget", "retain", "celebrity")}
    assert {e.person for e in PEOPLE.members} == DATA.forget
    assert len({e.person for e in PEOPLE.others}) == 8
    assert not {e.person for e in PEOPLE.others} & trained
    forms = [
        {(e.task, e.modality, e.image and e.image[-1]) for e in pool}
        for pool in (PEOPLE.members, PEOPLE.others)
    ]
    assert forms[0] == forms[1]


def test_a_swapped_picture_shows_a_retained_person():
    own = {f"swapped/{e.id}": e for e in (*PEOPLE.members, *PEOPLE.others)}
    assert {e.id for e in PEOPLE.swapped} == {id_ for id_, e in own.items() if e.image}
    for example in PEOPLE.swapped:
        shown = example.image.split("/")[0]
        assert shown != example.person
        assert shown not in DATA.forget
        assert example.question == own[example.id].question
    assert PEOPLE == questions(DATA, 0) != questions(DATA, 1)


def test_every_attack_sees_the_target_and_not_gold():
    found = cells(IGNORANT)
    for modality in ("image_text", "text"):
        for attack in ATTACKS:
            cell = found["membership", "auc", modality, attack]
            assert cell.target.value == 1.0
            assert cell.target.low > 0.6
            assert abs(cell.gold.value - 0.5) < 0.2
            assert cell.difference.value == 0
    assert abs(found["membership", "auc", "image_text", SWAPPED].target.value - 0.5) < 0.2
    assert ("membership", "auc", "text", SWAPPED) not in found


def test_privleak_is_relative_to_gold():
    found = cells(KNOWING)
    cell = found["membership", "privleak", "text", "min_k"]
    assert cell.gold.value == 0
    assert cell.method.value == pytest.approx(-100)
    removed = cells(seen(-9.0))
    assert removed["membership", "privleak", "text", "min_k"].method.value > 50
    same = cells(IGNORANT)["membership", "privleak", "text", "min_k"]
    assert same.method.value == 0


def test_memorisation_is_that_of_the_forgotten_people():
    found = cells(IGNORANT)
    for measure in ("extraction_strength", "exact_memorisation"):
        cell = found["memorisation", measure, "text"]
        assert cell.target.value == 1
        assert cell.gold.value == cell.method.value < 0.5
        assert cell.persons == len(DATA.forget)
        assert not cell.leaks
    assert cells(KNOWING)["memorisation", "exact_memorisation", "text"].leaks


def test_without_gradients_there_is_no_such_attack():
    method = {id_: Seen(one.tokens) for id_, one in IGNORANT.items()}
    found = cells(method)
    assert {key[-1] for key in found if key[0] == "membership"} == {*ATTACKS, SWAPPED} - {
        "grad_norm"
    }


def test_without_holdout_people_only_memorisation_is_measured():
    alone = Questions(PEOPLE.members, (), ())
    assert {key[0] for key in cells(IGNORANT, alone)} == {"memorisation"}


def test_all_cells_are_records_of_all_models():
    for cell in cells(KNOWING).values():
        assert [getattr(cell, role).value for role in ROLES]
        assert cell.persons == len(DATA.forget) + (8 if cell.probe == "membership" else 0)
