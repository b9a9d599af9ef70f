"""The evaluation engine: every request about a picture in one go, with equal answers.

A unit's trunk (system text, solved examples, picture) is read once; its questions, options and
answers follow as one packed tree, and free answers grow from the same memory, branch by branch.
Cost: V + P + N q instead of N (V + P + q) for N questions on a picture (V vision tower, P prefix,
q question).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from mubench.errors import MubenchError
from mubench.types import Example, Response, Token

from .encoding import Encoder, Picture, Row, crossed
from .packing import Request, Tree, Unit, pack
from .protocols import Scorer, Step
from .traces import traces

#: Shared and plain log-likelihoods may differ by this many nats a token, by precision. Rounding
#: alone moves half precision by up to 0.01 on the tiny models of the tests, more on deep ones.
TOLERANCE = {torch.float32: 1e-4, torch.float16: 0.02, torch.bfloat16: 0.1}
#: A preamble of fewer tokens is not worth a pass of its own.
SHORT = 32
#: Requests of a modality that are answered both ways before the engine trusts itself.
CHECKED = 4


class Plain(Protocol):
    """Answers without sharing: the standard of exactness, and the way out."""

    def positions(self, row: Row, pictures: Sequence[Picture]) -> Tensor: ...
    def plain(self, examples: Sequence[Example], max_new_tokens: int) -> list[Response]: ...


@dataclass(slots=True)
class Read:
    """What B rows have read: ``visible`` [B, S] marks what is no padding, ``next`` [B] is the
    position of a token that follows, ``pictures`` [B] what it may attend to across, if anything."""

    memory: Any
    visible: Tensor
    next: Tensor
    pictures: list[Picture] = field(default_factory=list)

    def crossed(self, attends: Tensor) -> dict[str, Tensor]:
        keys = self.pictures[0].crossed if self.pictures else ()
        return {key: crossed(attends, [p.crossed[key] for p in self.pictures]) for key in keys}


@dataclass(slots=True)
class Growth:
    """A free answer under way: its row of the batch, the position of its last token."""

    row: int
    position: int
    tokens: list[int]


@dataclass(slots=True)
class Answer:
    """What has been found about one request: ``traced`` are the true answer's tokens, ``tokens``
    the ids of the free answer."""

    logprobs: list[float]
    lengths: list[int]
    traced: list[Token] = field(default_factory=list)
    tokens: list[int] | None = None


@dataclass
class Engine:
    """Answers units with a scorer. ``plain``: gives positions, checks, and takes over on failure.

    ``unshared``: why all are to be answered plainly, if they are. ``check``: answer some requests
    of each modality plainly as well, and if the two differ answer them all plainly; a scorer whose
    answers plain batches do not give goes unchecked. ``notes`` collects what the record should
    say.
    """

    encoder: Encoder
    scorer: Scorer
    plain: Plain
    device: torch.device
    dtype: torch.dtype = torch.float32
    check: bool = True
    unshared: str = ""
    notes: dict[str, Any] = field(default_factory=dict)
    _limit: int = field(default=0, init=False)
    #: By modality: what all units begin with, read when first needed; whether sharing is exact.
    _shared: dict[str, tuple[list[Any], Read | None]] = field(default_factory=dict, init=False)
    _trusted: dict[str, bool] = field(default_factory=dict, init=False)

    def answers(
        self, units: Sequence[Sequence[Example]], *, max_new_tokens: int, batch: int, start: int = 0
    ) -> Iterator[list[Response]]:
        """The responses of each unit from number ``start`` on, unit by unit, in order.

        ``batch``: most units in one pass; halved when memory runs out. Batches are cut from the
        whole list whatever ``start`` is, so that going on gives the bytes of going through.
        """
        self._limit = max_new_tokens
        groups = [(at, group) for at, group in _batches(units, batch) if at + len(group) > start]
        with ThreadPoolExecutor(1, "pictures") as worker:
            waiting = None
            for number, (at, group) in enumerate(groups):
                if not self._trust(group):
                    answered = self._safely(group)
                else:
                    ready = waiting.result() if waiting else self._prepare(group)
                    following = groups[number + 1][1] if number + 1 < len(groups) else None
                    modality = group[0][0].modality
                    waiting = None
                    if following and following[0][0].modality == modality:
                        waiting = worker.submit(self._prepare, following)
                    answered = self._safely(group, ready)
                yield from answered[max(0, start - at) :]

    # -- units ------------------------------------------------------------------------------

    def _prepare(self, group: Sequence[Sequence[Example]]) -> list[Unit] | Exception:
        """Tokens and processed pictures of a batch; runs beside the pass before it."""
        try:
            return [self.unit(unit) for unit in group]
        except MubenchError:
            raise
        except Exception as error:
            return error

    def unit(self, unit: Sequence[Example]) -> Unit:
        shared = self.preamble(unit[0].image)
        return pack([self._request(example) for example in unit], len(shared))

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

    # -- failure ----------------------------------------------------------------------------

    def _trust(self, group: Sequence[Sequence[Example]]) -> bool:
        """Whether shared answers equal plain ones, tried once for each modality."""
        unit = group[-1]  # the largest: it asks for scores and free answers, where any does
        kind = unit[0].modality
        if self.unshared:
            self._trusted[kind] = False
            self.notes.setdefault("fallback", {})[kind] = self.unshared
        elif self.check and kind not in self._trusted:
            # Choices stand first in a unit and free answers last: some of either.
            half = CHECKED // 2
            some = [*unit[:half], *unit[-half:]] if len(unit) > CHECKED else list(unit)
            try:
                reason = self._difference(self._plainly(some), unit)
            except MubenchError:
                raise
            except Exception:
                return True  # nothing to compare with: the next batch is, and this one may fail
            self._trusted[kind] = reason is None
            if reason is not None:
                self.notes.setdefault("fallback", {})[kind] = reason
        return self._trusted.get(kind, True)

    def _difference(self, wanted: Sequence[Response], unit: Sequence[Example]) -> str | None:
        """Why shared answers to the unit are not the plain ones, or None."""
        try:
            found = {one.example_id: one for one in self._units([self.unit(unit)])[0]}
        except MubenchError:
            raise
        except Exception as error:
            if _out_of_memory(error):
                raise
            return f"{type(error).__name__}: {_line(error)}"
        both = [(found[one.example_id], one) for one in wanted]
        worst = max(
            abs(a - b) / length
            for one, other in both
            for a, b, length in zip(one.logprobs, other.logprobs, other.lengths, strict=True)
        )
        if not worst <= TOLERANCE[self.dtype]:
            return f"shared and plain scores differ by {worst:.2g} nats a token"
        # In half precision two likeliest tokens are often one: only scores can be compared.
        if self.dtype == torch.float32 and any(a.text != b.text for a, b in both):
            return "shared and plain free answers differ"
        return None

    def _safely(
        self, group: Sequence[Sequence[Example]], ready: Sequence[Unit] | Exception | None = None
    ) -> list[list[Response]]:
        """Responses of a batch. What fails is tried in smaller parts, at last each request alone;
        one that fails even so is an error, never an answer. A batch for which memory runs out
        halves all that follow."""
        if len(group) > self.notes.get("batch_size", len(group)):
            return self._halves(group, ready)
        try:
            if isinstance(ready, Exception):
                raise ready
            if self._trusted.get(group[0][0].modality, True):
                answered = self._units(ready or [self.unit(unit) for unit in group])
            else:
                answered = [self._plainly(unit) for unit in group]
            return [self._again(unit, found) for unit, found in zip(group, answered, strict=True)]
        except MubenchError:
            raise
        except Exception as error:
            failed = f"{type(error).__name__}: {_line(error)}"
            if _out_of_memory(error):
                self.notes["out_of_memory"] = self.notes.get("out_of_memory", 0) + 1
                self.notes["batch_size"] = max(1, len(group) // 2)
            else:
                self.notes.setdefault("retried", []).append(failed)
        _free_memory()  # outside of the handler, which holds on to the tensors of the failure
        if len(group) > 1:
            return self._halves(group, ready)
        if len(group[0]) > 1:
            return [[self._safely([[example]])[0][0] for example in group[0]]]
        return [[Response(group[0][0].id, "error", error=failed)]]

    def _halves(
        self, group: Sequence[Sequence[Example]], ready: Sequence[Unit] | Exception | None
    ) -> list[list[Response]]:
        middle = (len(group) + 1) // 2
        parts = (None, None) if not isinstance(ready, list) else (ready[:middle], ready[middle:])
        return self._safely(group[:middle], parts[0]) + self._safely(group[middle:], parts[1])

    def _again(self, unit: Sequence[Example], found: list[Response]) -> list[Response]:
        """Scores that are no numbers are retried alone, once."""
        if not all(map(_finite, found)):
            self.notes.setdefault("retried", []).append("log-probability is not finite")
        if len(unit) == 1 and not _finite(found[0]):
            return [Response(unit[0].id, "error", error="log-probability is not finite")]
        return [
            one if _finite(one) else self._safely([[example]])[0][0]
            for example, one in zip(unit, found, strict=True)
        ]

    def _plainly(self, unit: Sequence[Example]) -> list[Response]:
        """One plain batch for the choices, one for the free answers; in the unit's order."""
        found: dict[str, Response] = {}
        for part in ([e for e in unit if e.choices], [e for e in unit if not e.choices]):
            if part:
                found |= {one.example_id: one for one in self.plain.plain(part, self._limit)}
        return [found[example.id] for example in unit]

    # -- reading ----------------------------------------------------------------------------

    @torch.inference_mode()
    def _units(self, units: Sequence[Unit]) -> list[list[Response]]:
        """Score and continue all branches of a batch of units of one modality."""
        trunk = self._trunks(units)
        answers = [
            [Answer([0.0] * len(r.answers), list(map(len, r.answers))) for r in unit.requests]
            for unit in units
        ]
        for part in range(max(len(unit.trees) for unit in units)):
            rows = [row for row, unit in enumerate(units) if part < len(unit.trees)]
            self._branches(trunk, rows, [units[row].trees[part] for row in rows], answers)
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
            start = Read(
                self.scorer.rows(start.memory, every),
                start.visible[every],
                start.next[every],
                start.pictures * count,
            )
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
            positions = self.plain.positions(row, pictures)
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
    ) -> None:
        """One packed tree a row: score its candidates, then let its free answers grow."""
        index = torch.tensor(rows, device=self.device)
        read = trunk
        if len(rows) < len(trunk.next):
            memory = self.scorer.rows(trunk.memory, index) if trunk.memory is not None else None
            shown = [trunk.pictures[row] for row in rows] if trunk.pictures else []
            read = Read(memory, trunk.visible[index], trunk.next[index], shown)
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
            self._grow(after, grown, visible[at[:, 0], at[:, 1]])
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
        free = {(rows[row], number, 0) for row, tree in enumerate(trees) for number, _ in tree.starts}
        kept = [place for place, owner in enumerate(owners) if owner in free]
        shown = traces(logits, [places[i] for i in kept], [targets[i] for i in kept])
        for place, token in zip(kept, shown, strict=True):
            unit, number, _ = owners[place]
            answers[unit][number].traced.append(token)

    def _grow(self, read: Read, grown: list[Growth], sees: Tensor) -> None:
        """Greedy answers of all branches side by side. ``sees`` [branches, S]: what each one has
        behind it. A finished branch makes room at once; when half of the rows are done, the rest
        are regrouped."""
        height = len(read.next)
        while True:
            open_ = [
                place
                for place, growth in enumerate(grown)
                if growth.tokens[-1] not in self.encoder.ends and len(growth.tokens) < self._limit
            ]
            if not open_:
                return
            if len(open_) < len(grown):
                grown, sees = [grown[place] for place in open_], sees[open_]
            live = sorted({growth.row for growth in grown})
            if 2 * len(live) <= height:
                read.memory = self.scorer.rows(read.memory, torch.tensor(live, device=self.device))
                read.pictures = [read.pictures[row] for row in live] if read.pictures else []
                for growth in grown:
                    growth.row = live.index(growth.row)
                height = len(live)
            sees = self._step(read, grown, sees, height)

    def _step(self, read: Read, grown: Sequence[Growth], sees: Tensor, height: int) -> Tensor:
        """One token more for every branch; returns what each one has behind it now."""
        columns, used = [], [0] * height
        for growth in grown:
            columns.append(used[growth.row])
            used[growth.row] += 1
        width, past = max(used), sees.shape[1]
        row = torch.tensor([growth.row for growth in grown], device=self.device)
        column = torch.tensor(columns, device=self.device)
        ids = torch.zeros(height, width, dtype=torch.long, device=self.device)
        ids[row, column] = torch.tensor([g.tokens[-1] for g in grown], device=self.device)
        positions = torch.zeros_like(ids)
        positions[row, column] = torch.tensor([g.position for g in grown], device=self.device)
        visible = torch.zeros(height, width, past + width, dtype=torch.bool, device=self.device)
        visible[:, :, past:] = torch.eye(width, dtype=torch.bool, device=self.device)
        visible[row, column, :past] = sees
        crossed = read.crossed(torch.ones_like(ids))
        step = Step(ids, positions, visible, (row, column), crossed=crossed)
        logits, read.memory = self.scorer.read(read.memory, step)
        for growth, token in zip(grown, logits.argmax(-1).tolist(), strict=True):
            growth.tokens.append(token)
            growth.position += 1
        return visible[row, column]

    def _response(self, example: Example, answer: Answer) -> Response:
        text = finished = None
        if answer.tokens is not None:
            text, finished = self.encoder.text(answer.tokens)
        return Response(
            example_id=example.id,
            status="ok",
            logprobs=tuple(answer.logprobs),
            lengths=tuple(answer.lengths),
            tokens=tuple(answer.traced),
            text=text,
            finished=finished,
        )


def _batches(
    units: Sequence[Sequence[Example]], size: int
) -> list[tuple[int, Sequence[Sequence[Example]]]]:
    """Neighbouring units of one modality, with the number of the first."""
    made: list[tuple[int, Sequence[Sequence[Example]]]] = []
    at = 0
    while at < len(units):
        end = at + 1
        while end < min(at + size, len(units)) and units[end][0].modality == units[at][0].modality:
            end += 1
        made.append((at, units[at:end]))
        at = end
    return made


def _finite(response: Response) -> bool:
    return response.status == "error" or all(map(math.isfinite, response.logprobs))


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:200]


def _out_of_memory(error: Exception) -> bool:
    from accelerate.utils.memory import should_reduce_batch_size

    return bool(should_reduce_batch_size(error))


def _free_memory() -> None:
    from accelerate.utils.memory import clear_device_cache

    clear_device_cache(garbage_collection=True)
