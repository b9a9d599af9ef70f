"""Prefix trees: every token once, every branch sees its own past and nothing else."""

from __future__ import annotations

import random

import pytest

from mubench.models import packing
from mubench.models.packing import Request, Tree, common, pack, units
from tiny_models import MODALITIES, PEOPLE, choice, examples

SHOWN = choice("Anna Berg", "image_text")


def request(*rows, start=None, example=SHOWN):
    """Candidates as (prompt, answer) pairs."""
    return Request(example, tuple(p for p, _ in rows), tuple(a for _, a in rows), start)


def test_units_hold_every_question_once_and_one_picture_each():
    asked = examples() + [choice(person, modality) for person in PEOPLE for modality in MODALITIES]
    made = units(asked)
    assert sorted(e.id for unit in made for e in unit) == sorted(e.id for e in asked)
    for unit in made:
        assert len({(e.modality, e.image) for e in unit}) == 1
        assert len({e.person for e in unit}) == 1
    assert len(made) == 2 * len(PEOPLE)


def test_units_do_not_depend_on_the_order_of_the_questions():
    asked = examples()
    shuffled = random.Random(3).sample(asked, len(asked))
    assert units(shuffled) == units(asked)


def test_a_branch_sees_its_ancestors_and_itself_alone():
    tree = Tree()
    assert tree.insert([5, 6, 7]) == [0, 1, 2]
    assert tree.insert([5, 6, 8, 9]) == [0, 1, 3, 4]
    assert tree.insert([4]) == [5]
    assert tree.tokens == [5, 6, 7, 8, 9, 4]
    assert tree.depths == [0, 1, 2, 2, 3, 0]
    seen = [{at for at, sees in enumerate(row) if sees} for row in tree.ancestors()]
    assert seen == [{0}, {0, 1}, {0, 1, 2}, {0, 1, 3}, {0, 1, 3, 4}, {5}]


def test_a_tree_predicts_every_answer_token_from_the_token_before_it():
    unit = pack([request(([1, "p", 2, 3], [7, 9]), ([1, "p", 2, 3], [8, 9]), start=[1, "p", 2, 3])])
    assert unit.trunk == [1, "p", 2]
    (tree,) = unit.trees
    assert tree.tokens == [3, 7, 8]  # the last answer token is predicted, never read
    assert tree.scored == [(0, 0, [0, 1], [7, 9]), (0, 1, [0, 2], [8, 9])]
    assert tree.starts == [(0, 0)]


def test_the_trunk_ends_where_prompts_part_even_within_the_answer():
    unit = pack([request((["p", 1, 2], [4])), request((["p", 1], [2, 5]))])
    assert unit.trunk == ["p"]
    assert unit.trees[0].tokens == [1, 2]
    assert unit.trees[0].scored == [(0, 0, [1], [4]), (1, 0, [0, 1], [2, 5])]


def test_without_a_picture_the_trunk_is_what_all_units_share():
    text = choice("Anna Berg", "text")
    rows = [request(([1, 2, number], [9]), example=text) for number in (3, 4)]
    assert pack(rows).trunk == []
    assert pack(rows).trees[0].tokens == [1, 2, 3, 4]
    assert pack(rows, [1]).trunk == [1]
    assert pack(rows, [1]).trees[0].tokens == [2, 3, 4]
    with pytest.raises(ValueError, match="does not begin"):
        pack(rows, [1, 2, 3])


def test_branches_beyond_the_width_make_another_tree(monkeypatch):
    monkeypatch.setattr(packing, "WIDTH", 8)
    rows = [request((["p", *range(10 * n, 10 * n + 5)], [9])) for n in range(4)]
    unit = pack(rows)
    assert len(unit.trees) == 4
    assert [number for tree in unit.trees for number, *_ in tree.scored] == [0, 1, 2, 3]


@pytest.mark.parametrize("rows", [(["p", 1], ["q", 1]), ([1, "p", 2], [3, "p", 2])])
def test_requests_of_a_unit_must_share_their_pictures(rows):
    with pytest.raises(ValueError, match="same pictures"):
        pack([request((row, [9])) for row in rows])


def test_common_prefix():
    assert common(([1, 2, 3], [1, 2], [1, 2, 9])) == 2
    assert common((["p", 2], ["q", 2])) == 0
    assert common(([1],)) == 1
