"""How the cost of a question falls with the number of questions about one picture."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mubench.models import packing
from mubench.models.hf_mllm import HFVisionLanguageModel

from .evaluation import LETTER, answers, fresh
from .subject import questions


def growth(
    model: HFVisionLanguageModel,
    counts: Sequence[int],
    repeats: int,
    report: Callable[[str], None],
) -> dict[int, float]:
    """Seconds a question with N questions on one picture: (V + P) / N, and the branch."""
    found: dict[int, list[float]] = {count: [] for count in counts}
    for number in range(repeats + 1):
        report(f"questions a picture: repeat {number} of {repeats}")
        for count in counts:
            units = packing.units(questions(1, count))
            engine = fresh(model, [])
            start = time.perf_counter()
            answers(engine, units, LETTER)
            if number:  # the first round warms up
                found[count].append((time.perf_counter() - start) / count)
    return {count: statistics.median(seconds) for count, seconds in found.items()}


def plot_growth(seconds: Mapping[int, float], path: Path) -> None:
    """Measured seconds a question over N, with the cost model (V + P) / N + q fitted to it."""
    import numpy as np
    from matplotlib.figure import Figure

    counts = np.array(sorted(seconds))
    measured = np.array([seconds[count] for count in counts])
    design = np.stack([1 / counts, np.ones(len(counts))], axis=1)
    # Relative errors count: the points span more than a decade.
    (prefix, branch), *_ = np.linalg.lstsq(
        design / measured[:, None], np.ones(len(counts)), rcond=None
    )
    figure = Figure(figsize=(5.2, 3.4), layout="constrained")
    axes = figure.subplots()
    axes.loglog(counts, measured, "o", color="#1f5fa8", label="measured")
    smooth = np.geomspace(counts[0], counts[-1], 100)
    label = f"{prefix:.2f} s / N + {branch:.3f} s"
    axes.loglog(smooth, prefix / smooth + branch, "-", color="#1f5fa8", alpha=0.5, label=label)
    axes.axhline(branch, color="#777777", linewidth=0.8, linestyle=":")
    axes.set_xlabel("questions about one picture, N")
    axes.set_ylabel("seconds a question")
    axes.set_xticks(counts, [str(count) for count in counts])
    marks = [m * 10.0**e for e in range(-6, 4) for m in (1, 2, 5)]
    marks = [mark for mark in marks if branch / 2 < mark < 2 * measured.max()]
    axes.set_yticks(marks, [f"{mark:g}" for mark in marks])
    axes.minorticks_off()
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)
