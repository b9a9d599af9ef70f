"""The evaluation engine: every request about a picture in one go, with equal answers.

Batches of units are prepared, read with work shared between questions, checked against plain
answers, and asked again in smaller parts where something fails.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import torch

from mubench.errors import MubenchError
from mubench.types import Example, Response

from .packing import Unit
from .reading import Reader

#: Shared and plain log-likelihoods may differ by this many nats a token, by precision. Rounding
#: alone moves half precision by up to 0.01 on the tiny models of the tests, more on deep ones.
TOLERANCE = {torch.float32: 1e-4, torch.float16: 0.02, torch.bfloat16: 0.1}
#: Requests of a modality that are answered both ways before the engine trusts itself.
CHECKED = 4


@dataclass
class Engine:
    """Answers units with a reader. ``plain``: answers to one batch, choices or free answers, with
    nothing shared and at most so many new tokens: the standard of exactness, and the way out.

    ``check``: answer some requests of each modality plainly as well, and if the two differ answer
    them all plainly. ``notes`` collects what the record should say: ``fallback`` and ``unchecked``
    (by modality, why), ``retried``, ``out_of_memory`` and the ``batch_size`` it led to.
    """

    reader: Reader
    plain: Callable[[Sequence[Example], int], list[Response]]
    dtype: torch.dtype = torch.float32
    check: bool = True
    notes: dict[str, Any] = field(default_factory=dict)
    _limit: int = field(default=0, init=False)
    #: By modality: whether sharing is exact.
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

    def _prepare(self, group: Sequence[Sequence[Example]]) -> list[Unit] | Exception:
        """Tokens and processed pictures of a batch; runs beside the pass before it."""
        try:
            return [self.reader.unit(unit) for unit in group]
        except MubenchError:
            raise
        except Exception as error:
            return error

    # -- failure ----------------------------------------------------------------------------

    def _trust(self, group: Sequence[Sequence[Example]]) -> bool:
        """Whether shared answers equal plain ones, tried once for each modality."""
        unit = group[-1]  # the largest: it asks for scores and free answers, where any does
        kind = unit[0].modality
        if self.check and kind not in self._trusted:
            # Choices stand first in a unit and free answers last: some of either.
            half = CHECKED // 2
            some = [*unit[:half], *unit[-half:]] if len(unit) > CHECKED else list(unit)
            try:
                reason = self._difference(self._plainly(some), unit)
            except MubenchError:
                raise
            except Exception as error:  # nothing to compare with: the next batch is
                self._note("unchecked", kind, f"{type(error).__name__}: {_line(error)}")
                return True
            self._trusted[kind] = reason is None
            if reason is None:
                self._note("unchecked", kind, None)
            else:
                self._note("fallback", kind, reason)
        return self._trusted.get(kind, True)

    def _note(self, what: str, kind: str, reason: str | None) -> None:
        """Say something about a modality, or take it back."""
        found = {key: value for key, value in self.notes.pop(what, {}).items() if key != kind}
        if found := found | ({} if reason is None else {kind: reason}):
            self.notes[what] = found

    def _difference(self, wanted: Sequence[Response], unit: Sequence[Example]) -> str | None:
        """Why shared answers to the unit are not the plain ones, or None."""
        try:
            found = {
                one.example_id: one
                for one in self.reader.responses([self.reader.unit(unit)], self._limit)[0]
            }
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
                answered = self.reader.responses(
                    ready or [self.reader.unit(unit) for unit in group], self._limit
                )
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
                found |= {one.example_id: one for one in self.plain(part, self._limit)}
        return [found[example.id] for example in unit]

    # -- reading ----------------------------------------------------------------------------


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
