"""Units read with a scorer: the trunk once, then the packed branches, then free answers.

Whatever stands before a unit's questions (system text, solved examples, picture) is read once; its
questions, options and answers follow as one packed tree, and free answers grow from the same
memory, branch by branch. Cost: V + P + N q instead of N (V + P + q) for N questions on a picture
(V vision tower, P prefix, q question).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from mubench.types import Example, Response, Token

from .decoding import Growth, grow
from .encoding import Encoder, Picture, Row, crossed
from .packing import Request, Tree, Unit, pack
from .protocols import Scorer, Step
from .traces import traces

#: A preamble of fewer tokens is not worth a pass of its own.
SHORT = 32


@dataclass(slots=True)
class Read:
    """What B rows have read: ``visible`` [B, S] marks what is no padding, ``next`` [B] is the
    position of a token that follows, ``pictures`` [B] what it may attend to across, if anything."""

    memory: Any
    visible: Tensor
    next: Tensor
    pictures: list[Picture] = field(default_factory=list)

    def rows(self, scorer: Scorer, index: Tensor) -> Read:
        """The same of the rows ``index``, with a memory of their own."""
        return Read(
            None if self.memory is None else scorer.rows(self.memory, index),
            self.visible[index],
            self.next[index],
            [self.pictures[row] for row in index.tolist()] if self.pictures else [],
        )

    def crossed(self, attends: Tensor) -> dict[str, Tensor]:
        keys = self.pictures[0].crossed if self.pictures else ()
        return {key: crossed(attends, [p.crossed[key] for p in self.pictures]) for key in keys}


@dataclass(slots=True)
class Answer:
    """What has been found about one request: ``traced`` are the true answer's tokens, ``tokens``
    the ids of the free answer."""

    logprobs: list[float]
    lengths: list[int]
    traced: list[Token] = field(default_factory=list)
    tokens: list[int] | None = None


@dataclass
class Reader:
    """Reads units of one modality at a time. ``positions``: [T] or [axes, T] of a row's tokens
    among its pictures, as the model itself counts them."""

    encoder: Encoder
    scorer: Scorer
    positions: Callable[[Row, Sequence[Picture]], Tensor]
    device: torch.device
    #: By modality: what all units begin with, and its memory once it was read.
    _shared: dict[str, tuple[list[Any], Read | None]] = field(default_factory=dict, init=False)

    def unit(self, unit: Sequence[Example]) -> Unit:
        shared = self.preamble(unit[0].image)
        return pack([self._request(example) for example in unit], shared)

    def _request(self, example: Example) -> Request:
        pairs = [self.encoder.answered(example, text) for text in example.candidates]
        start = None
        if not example.choices:
            ids = self.encoder.prompt(example.question, example.image)[1]
            start = self.encoder.atoms(ids, example.image)
        return Request(
            example,
            tuple(self.encoder.atoms(prompt, example.image) for prompt, _ in pairs),
            tuple(answer for _, answer in pairs),
            start,
        )

    def preamble(self, image: str | None) -> list[Any]:
        """What all units of a modality begin with, where it is worth a pass of its own."""
        kind = "text" if image is None else "image_text"
        if kind not in self._shared:
            atoms = self.encoder.shared(image)
            long = len(self.encoder.expand(atoms)["input_ids"]) >= SHORT
            self._shared[kind] = (atoms if long else [], None)
        return self._shared[kind][0]

    @torch.inference_mode()
    def responses(self, units: Sequence[Unit], limit: int) -> list[list[Response]]:
        """Score all branches of a batch of units of one modality; free answers go on for ``limit``
        tokens at most."""
        trunk = self._trunks(units)
        answers = [
            [Answer([0.0] * len(r.answers), list(map(len, r.answers))) for r in unit.requests]
            for unit in units
        ]
        for part in range(max(len(unit.trees) for unit in units)):
            rows = [row for row, unit in enumerate(units) if part < len(unit.trees)]
            trees = [units[row].trees[part] for row in rows]
            self._branches(trunk, rows, trees, answers, limit)
        return [
            [
                self._response(request.example, answer)
                for request, answer in zip(unit.requests, found, strict=True)
            ]
            for unit, found in zip(units, answers, strict=True)
        ]

    def _trunks(self, units: Sequence[Unit]) -> Read:
        """Read every unit's trunk after the preamble that all share."""
        kind = units[0].requests[0].example.modality
        atoms, start = self._shared[kind]
        count = len(units)
        nobody = torch.zeros(count, 0, dtype=torch.bool, device=self.device)
        if not units[0].trunk:
            return Read(None, nobody, torch.zeros(count, dtype=torch.long, device=self.device))
        if atoms and start is None:
            start = self._extend(None, [atoms], 0)
            self._shared[kind] = (atoms, start)
        if start is not None:
            every = torch.zeros(count, dtype=torch.long, device=self.device)
            start = start.rows(self.scorer, every)
        if all(len(unit.trunk) == len(atoms) for unit in units) and start is not None:
            return start
        return self._extend(start, [unit.trunk for unit in units], len(atoms))

    def _extend(self, start: Read | None, trunks: Sequence[list[Any]], skip: int) -> Read:
        """Rows read from their atom ``skip`` on; positions are those of the whole rows."""
        lines, shown = [], []
        for atoms in trunks:
            row = self.encoder.expand(atoms)
            names = [atom for atom in atoms if isinstance(atom, str)]
            pictures = [self.encoder.picture(name) for name in names]
            before = len(self.encoder.expand(atoms[:skip])["input_ids"])
            positions = self.positions(row, pictures)
            lines.append((row["input_ids"][before:], positions[..., before:]))
            shown += pictures[sum(isinstance(atom, str) for atom in atoms[:skip]) :]
        width = max(len(ids) for ids, _ in lines)
        ids = torch.zeros(len(lines), width, dtype=torch.long)
        positions = torch.zeros(*lines[0][1].shape[:-1], len(lines), width, dtype=torch.long)
        present = torch.zeros(len(lines), width, dtype=torch.bool)
        for number, (tokens, where) in enumerate(lines):
            ids[number, : len(tokens)] = torch.tensor(tokens)
            positions[..., number, : len(tokens)] = where
            present[number, : len(tokens)] = True
        ids, present = ids.to(self.device), present.to(self.device)
        visible = present if start is None else torch.cat([start.visible, present], 1)
        nothing = torch.zeros(0, dtype=torch.long, device=self.device)
        following = torch.tensor([int(where.max()) + 1 for _, where in lines], device=self.device)
        made = Read(None, visible, following, shown)
        attends = (ids == self.encoder.processor.image_token_id).cumsum(1)
        step = Step(
            ids,
            positions.to(self.device),
            visible,
            (nothing, nothing),
            tuple(shown),
            made.crossed(attends) if shown else {},
        )
        _, made.memory = self.scorer.read(start.memory if start else None, step)
        return made

    def _branches(
        self,
        trunk: Read,
        rows: Sequence[int],
        trees: Sequence[Tree],
        answers: Sequence[Sequence[Answer]],
        limit: int,
    ) -> None:
        """One packed tree a row: score its candidates, then let its free answers grow."""
        read = trunk
        if len(rows) < len(trunk.next):
            read = trunk.rows(self.scorer, torch.tensor(rows, device=self.device))
        past, width = read.visible.shape[1], max(len(tree.tokens) for tree in trees)
        ids = torch.zeros(len(trees), width, dtype=torch.long)
        depths = torch.zeros(len(trees), width, dtype=torch.long)
        sees = torch.eye(width, dtype=torch.bool).repeat(len(trees), 1, 1)
        for row, tree in enumerate(trees):
            size = len(tree.tokens)
            ids[row, :size] = torch.tensor(tree.tokens)
            depths[row, :size] = torch.tensor(tree.depths)
            sees[row, :size, :size] = torch.from_numpy(tree.ancestors())
        visible = torch.cat(
            [read.visible[:, None].expand(-1, width, -1), sees.to(self.device)], dim=2
        )
        asked: dict[tuple[int, int], int] = {}
        for row, tree in enumerate(trees):
            nodes = [node for _, _, path, _ in tree.scored for node in path]
            for node in (*nodes, *(node for _, node in tree.starts)):
                asked.setdefault((row, node), len(asked))
        places = torch.tensor(list(asked), device=self.device)
        positions = read.next[:, None] + depths.to(self.device)
        ahead = (read.next + 1).tolist()
        logits, memory = self.scorer.read(
            read.memory,
            Step(
                ids.to(self.device),
                positions,
                visible,
                (places[:, 0], places[:, 1]),
                crossed=read.crossed(torch.ones_like(positions)),
            ),
        )
        self._score(rows, trees, asked, logits, answers)
        best = logits.argmax(-1).tolist()
        grown = []
        for row, tree in enumerate(trees):
            for number, node in tree.starts:
                tokens = answers[rows[row]][number].tokens = [best[asked[row, node]]]
                grown.append(Growth(row, int(depths[row, node]) + ahead[row], tokens))
        starts = [(row, node) for row, tree in enumerate(trees) for _, node in tree.starts]
        del logits
        if starts:
            at = torch.tensor(starts, device=self.device)
            after = Read(memory, read.visible, read.next, read.pictures)
            sees = visible[at[:, 0], at[:, 1]]
            grow(self.scorer, after, grown, sees, self.encoder.ends, limit)
        if read is trunk and trunk.memory is not None:
            trunk.memory = self.scorer.cut(trunk.memory, past)

    def _score(
        self,
        rows: Sequence[int],
        trees: Sequence[Tree],
        asked: dict[tuple[int, int], int],
        logits: Tensor,
        answers: Sequence[Sequence[Answer]],
    ) -> None:
        owners, places, targets = [], [], []
        for row, tree in enumerate(trees):
            for number, candidate, path, wanted in tree.scored:
                owners += [(rows[row], number, candidate)] * len(wanted)
                places += [asked[row, node] for node in path]
                targets += wanted
        if not owners:
            return
        total = logits.logsumexp(-1)
        at = torch.tensor(places, device=self.device)
        found = logits[at, torch.tensor(targets, device=self.device)] - total[at]
        for (unit, number, candidate), value in zip(owners, found.tolist(), strict=True):
            answers[unit][number].logprobs[candidate] += value
        # Where a free answer is wanted, the first candidate is the true answer.
        free = {
            (rows[row], number, 0) for row, tree in enumerate(trees) for number, _ in tree.starts
        }
        kept = [place for place, owner in enumerate(owners) if owner in free]
        shown = traces(logits, [places[i] for i in kept], [targets[i] for i in kept])
        for place, token in zip(kept, shown, strict=True):
            unit, number, _ = owners[place]
            answers[unit][number].traced.append(token)

    def _response(self, example: Example, answer: Answer) -> Response:
        text = finished = None
        if answer.tokens is not None:
            text, finished = self.encoder.text(answer.tokens)
        return Response(
            example_id=example.id,
            status="ok",
            logprobs=tuple(answer.logprobs),
            lengths=tuple(answer.lengths),
            text=text,
            finished=finished,
            tokens=tuple(answer.traced),
        )
