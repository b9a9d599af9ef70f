"""Questions to prefix trees: what many requests have in common stands in the tree once.

A request is a row of *atoms*: token ids, and pictures by name. All requests about one picture are
a unit. A unit's common prefix up to the picture is its trunk; what follows is a tree of tokens,
laid out as one sequence in which a token sees its own ancestors and nothing of its neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mubench.types import Example

Atom = int | str  # a token id, or the name of a picture

#: Most tokens of branches in one pass: what branches cost each other in masked attention is
#: bounded by it, however many questions a picture has.
WIDTH = 1024


def units(examples: Sequence[Example]) -> list[list[Example]]:
    """All questions about one picture together (text-only: about one person), in a fixed order
    with like sizes side by side; always the same for the same examples."""
    found: dict[tuple[str, str], list[Example]] = {}
    for example in examples:
        about = example.person if example.image is None else example.image
        found.setdefault((example.modality, about), []).append(example)
    for unit in found.values():
        unit.sort(key=lambda example: (not example.choices, example.question, example.id))
    return [found[key] for key in sorted(found, key=lambda key: (key[0], _size(found[key]), key))]


def _size(unit: Sequence[Example]) -> int:
    return sum(len(example.question) + sum(map(len, example.candidates)) for example in unit)


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of the model about one example: ``prompts[i]`` and ``answers[i]`` are the
    atoms of candidate i; ``start`` is the prompt of the free answer, where one is wanted."""

    example: Example
    prompts: tuple[list[Atom], ...]
    answers: tuple[list[int], ...]
    start: list[Atom] | None


@dataclass(slots=True)
class Tree:
    """Tokens of several branches in depth-first order.

    ``parents[i] < i``, or -1 at a root; ``depths[i]`` counts from the roots. ``scored``: one
    entry a candidate, (request, candidate, nodes that predict, tokens to predict).
    ``starts``: (request, node after which its free answer begins).
    """

    tokens: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)
    scored: list[tuple[int, int, list[int], list[int]]] = field(default_factory=list)
    starts: list[tuple[int, int]] = field(default_factory=list)
    _children: dict[tuple[int, int], int] = field(default_factory=dict)

    def insert(self, tokens: Sequence[int]) -> list[int]:
        """The nodes of a branch; those it shares with earlier branches are not made again."""
        path, node = [], -1
        for token in tokens:
            child = self._children.get((node, token))
            if child is None:
                child = len(self.tokens)
                self._children[node, token] = child
                self.tokens.append(token)
                self.parents.append(node)
                self.depths.append(0 if node < 0 else self.depths[node] + 1)
            node = child
            path.append(node)
        return path

    def add(self, number: int, request: Request, trunk: int) -> None:
        """All branches of a request whose first ``trunk`` atoms are read already."""
        for candidate, (prompt, answer) in enumerate(
            zip(request.prompts, request.answers, strict=True)
        ):
            own = prompt[trunk:]
            path = self.insert([*_tokens(own), *answer[:-1]])
            self.scored.append((number, candidate, path[len(own) - 1 :], answer))
        if request.start is not None:
            path = self.insert(_tokens(request.start[trunk:]))
            self.starts.append((number, path[-1]))

    def ancestors(self) -> NDArray[np.bool_]:
        """[T, T] True where token i sees token j: its ancestors and itself."""
        seen = np.zeros((len(self.tokens), len(self.tokens)), dtype=bool)
        for node, parent in enumerate(self.parents):
            if parent >= 0:
                seen[node] = seen[parent]
            seen[node, node] = True
        return seen


@dataclass(frozen=True, slots=True)
class Unit:
    """Requests with a common trunk, and their branches in one or more trees."""

    requests: tuple[Request, ...]
    trunk: list[Atom]
    trees: list[Tree]


def pack(requests: Sequence[Request], shared: list[Atom] | None = None) -> Unit:
    """The unit of these requests. ``shared``: what all units begin with, and the whole trunk of
    those without a picture. ValueError if a prompt does not begin with it."""
    shared = shared or []
    rows = [row for request in requests for row in _rows(request)]
    if any(row[: len(shared)] != shared for row in rows):
        raise ValueError("a prompt does not begin with what all are said to begin with")
    # One atom of every prompt stays with its branch: its output predicts the answer's first token.
    length = min(common(rows), min(map(len, rows)) - 1)
    last = max((place for place, atom in enumerate(rows[0]) if isinstance(atom, str)), default=-1)
    if length <= last:
        raise ValueError("the requests of a unit do not show the same pictures")
    if requests[0].example.image is None:
        length = len(shared)
    trees = [Tree()]
    for number, request in enumerate(requests):
        if len(trees[-1].tokens) + _width(request, length) > WIDTH and trees[-1].tokens:
            trees.append(Tree())
        trees[-1].add(number, request, length)
    return Unit(tuple(requests), rows[0][:length], trees)


def _rows(request: Request) -> list[list[Atom]]:
    return [*request.prompts, *([] if request.start is None else [request.start])]


def _width(request: Request, trunk: int) -> int:
    """Tokens of a request's branches, at most."""
    return max(map(len, _rows(request))) - trunk + sum(map(len, request.answers))


def _tokens(atoms: Sequence[Atom]) -> list[int]:
    tokens = [atom for atom in atoms if isinstance(atom, int)]
    if len(tokens) < len(atoms):
        raise ValueError("a picture stands after the common trunk")
    return tokens


def common(rows: Sequence[Sequence[Atom]]) -> int:
    """Length of the common prefix of all rows."""
    first, last = min(rows, key=_order), max(rows, key=_order)
    length = 0
    for one, other in zip(first, last, strict=False):
        if one != other:
            break
        length += 1
    return length


def _order(row: Sequence[Atom]) -> list[tuple[int, str]]:
    return [(atom, "") if isinstance(atom, int) else (-1, atom) for atom in row]
