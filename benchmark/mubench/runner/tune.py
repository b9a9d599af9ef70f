"""Random search over a method's settings, on the people of the dev fold alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from mubench.config.resolve import resolve
from mubench.config.search import Space, draw, space
from mubench.errors import OutputError, UsageError
from mubench.report import comparison
from mubench.report.comparison import KEPT, Summary
from mubench.rng import stream

from .cells import run_cells
from .plan import method_class, plan
from .store import Store

#: Other people than those whose numbers are reported.
DEV = "benchmark.fold=dev"
#: Draws a trial, until one is new.
DRAWS = 20


@dataclass(frozen=True, slots=True)
class Trial:
    """One setting and what it gave on the dev fold, as ``Summary`` has it."""

    settings: dict[str, Any]
    distance: float | None = None
    retained: float | None = None
    label: str | None = None
    gated: bool = False
    gaps: dict[str, float | None] | None = None
    seconds: float | None = None
    failed: str | None = None

    @property
    def judged(self) -> bool:
        """Whether it ran, on people whom target and gold know differently."""
        return self.distance is not None and self.retained is not None

    @property
    def rank(self) -> tuple[int, float]:
        """Smaller is better: trials that keep retain by their distance to gold, then those that
        lose it by what they keep, then broken ones, and failed ones last."""
        if self.distance is None or self.retained is None:
            return 3, 0.0
        if self.gated:
            return 2, -self.retained
        return (0, self.distance) if self.retained >= KEPT else (1, -self.retained)


def tune(
    method: str,
    model: str,
    trials: int,
    store: Store,
    out: Path,
    console: Console,
    *,
    command: str,
    benchmark: str | None = None,
    seed: int = 0,
    sets: Sequence[str] = (),
    jobs: int = 1,
) -> Path:
    """Try the present setting and ``trials - 1`` random ones; returns the record of the search.

    Every trial is a run of its own in ``out``, so that an interrupted search goes on. UsageError
    where the method has nothing to tune, or if another fold is asked for.
    """
    if any(item.startswith("benchmark.fold=") for item in sets):
        raise UsageError("benchmark.fold is dev in every trial: leave it out")

    def spec(settings: dict[str, Any]) -> Any:
        items = [f"method.{key}={value}" for key, value in settings.items()]
        return resolve(method, model, benchmark, seed=seed, sets=[*sets, *items, DEV])

    start = spec({})
    tuned = space(method_class(start).Config)
    if not tuned:
        raise UsageError(f"method '{method}' has no setting that says how it is tuned")
    settings = candidates(tuned, start.method.config, trials, seed)
    outcomes = run_cells([plan(spec(one)) for one in settings], store, out, console, jobs)
    found = [
        Trial(one, failed=outcome.reason)
        if outcome.reason
        else _measured(one, comparison.summary(outcome.record()))
        for one, outcome in zip(settings, outcomes, strict=True)
    ]
    best = min(found, key=lambda trial: trial.rank)
    record = {
        "command": command,
        "method": start.method.name,
        "model": model,
        "benchmark": start.benchmark.name,
        "fold": start.benchmark.fold,
        "seed": seed,
        "objective": f"least distance to gold on forget with retain >= {KEPT} of the target's, "
        "of runs whose label is not gated",
        "space": {key: {how: numbers} for key, (how, numbers) in tuned.items()},
        "best": best.settings if best.judged else None,
        "trials": [asdict(trial) for trial in found],
    }
    path = out / f"{start.method.name}.json"
    try:
        path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from error
    return path


def candidates(
    tuned: Space, config: dict[str, Any], trials: int, seed: int
) -> list[dict[str, Any]]:
    """The present values of what is tuned, then random ones, none twice; a longer search begins
    with the shorter one's. Fewer than ``trials`` where there are no more."""
    found = [{key: config[key] for key in tuned}]
    for number in range(1, DRAWS * trials):
        if len(found) == trials:
            break
        rng = stream(seed, "tune", str(number))
        drawn = {key: draw(*how, config[key], rng) for key, how in tuned.items()}
        if drawn not in found:
            found.append(drawn)
    return found


def _measured(settings: dict[str, Any], of: Summary) -> Trial:
    return Trial(
        settings,
        of.distance,
        of.retained,
        of.label,
        of.gated,
        {".".join(place): gap for place, gap in of.gaps.items()},
        of.seconds,
    )
