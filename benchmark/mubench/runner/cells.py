"""Run many cells in processes: stages that they share once, and no failure stops another cell."""

from __future__ import annotations

import io
import multiprocessing
import os
import queue
import signal
import threading
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from mubench.config.schema import MethodSettings
from mubench.errors import MubenchError
from mubench.record import RunRecord
from mubench.registry import METHODS

from .execute import describe, execute, run_folder
from .plan import Plan, plan
from .progress import bar
from .store import Store


@dataclass(frozen=True, slots=True)
class Outcome:
    """A cell's run folder, or one line that says why there is none."""

    plan: Plan
    folder: Path
    reason: str | None = None

    def record(self) -> RunRecord:
        return RunRecord.model_validate_json((self.folder / "record.json").read_text("utf-8"))


def run_cells(
    plans: Sequence[Plan], store: Store, out: Path, console: Console, jobs: int
) -> list[Outcome]:
    """Run what is not finished yet, ``jobs`` cells at a time; outcomes in the order of ``plans``.

    Target and gold of a seed come first, as the run of ``none``, so that nobody waits for a stage
    that another process computes; where that run fails, its cells fail for the same reason.
    """
    first = {made.run_id: made for made in map(_reference, plans)}
    todo = list({one.run_id: one for one in plans if not _finished(one, out)}.values())
    todo.sort(key=lambda one: one.spec.seed)  # cells of a seed that is ready need not wait
    outcomes: dict[str, Outcome] = {}
    with _lanes(jobs) as lanes, ThreadPoolExecutor(jobs) as threads:

        def alone(made: Plan) -> Outcome:
            reason = None if _finished(made, out) else lanes.run(made, store, out)
            return Outcome(made, run_folder(made, out), reason)

        def after(made: Plan, reference: Future[Outcome]) -> Outcome:
            reason = reference.result().reason
            return Outcome(made, run_folder(made, out), reason) if reason else alone(made)

        needed = {_reference(one).run_id for one in todo}
        shared = {id_: threads.submit(alone, first[id_]) for id_ in first if id_ in needed}
        rest = [
            threads.submit(after, one, shared[_reference(one).run_id])
            for one in todo
            if one.run_id not in shared
        ]
        futures = [*shared.values(), *rest]
        with bar(console, "cells") as report:
            for number, future in enumerate(as_completed(futures), start=1):
                outcome = future.result()
                outcomes[outcome.plan.run_id] = outcome
                ending = f"failed: {outcome.reason}" if outcome.reason else "done"
                console.print(f"{describe(outcome.plan.spec)}: {ending}", highlight=False)
                report(number, len(futures), describe(outcome.plan.spec))
    return [outcomes.get(one.run_id, Outcome(one, run_folder(one, out))) for one in plans]


def _finished(made: Plan, out: Path) -> bool:
    return (run_folder(made, out) / "record.json").is_file()


def _reference(made: Plan) -> Plan:
    """The run of ``none`` under the same settings: target and gold, and nothing else."""
    none = MethodSettings(name="none", target=METHODS.get("none").target, config={})
    return plan(made.spec.model_copy(update={"method": none}))


class _Lanes:
    """Processes of one worker each: if one dies, its cell is known, and another takes over."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._free: queue.SimpleQueue[ProcessPoolExecutor] = queue.SimpleQueue()
        for _ in range(jobs):
            self._free.put(self._new())

    def _new(self) -> ProcessPoolExecutor:
        threads = max(1, (os.cpu_count() or 1) // self._jobs)
        context = multiprocessing.get_context("spawn")  # torch does not survive a fork
        return ProcessPoolExecutor(1, context, _begin, (threads,))

    def run(self, made: Plan, store: Store, out: Path) -> str | None:
        lane = self._free.get()
        try:
            return lane.submit(_cell, made, store, out).result()
        except BrokenProcessPool:
            lane.shutdown()
            lane = self._new()
            return "its process died without a word: out of memory?"
        finally:
            self._free.put(lane)

    def close(self) -> None:
        for _ in range(self._jobs):
            self._free.get().shutdown()


@contextmanager
def _lanes(jobs: int) -> Iterator[_Lanes]:
    made = _Lanes(jobs)
    try:
        yield made
    finally:
        made.close()


def _begin(threads: int) -> None:
    """A worker uses its share of the cores, leaves interrupts to its parent and ends with it."""
    import torch

    torch.set_num_threads(threads)
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _cell(made: Plan, store: Store, out: Path) -> str | None:
    """Run one cell in a worker; returns why it failed, in one line, or None."""
    try:
        execute(made, store, out, Console(file=io.StringIO()))
    except MubenchError as error:
        return " ".join(str(error).split())
    except Exception as error:  # a method's bug must not end the others
        return " ".join(f"{type(error).__name__}: {error}".split())
    return None
