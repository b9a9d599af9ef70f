"""Predictions that are those of another submission, or nearly: reported, for a person to judge."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from mubench.hashing import sha

from .bundle import Bundle

#: Share of the answers that unlearning changed which must agree before it is reported.
SHARE = 0.9
#: A method that changed fewer answers than this cannot be told from others.
LEAST = 20


@dataclass(frozen=True)
class _Answers:
    """By question, in order of their ids: the text's number, and the mean log-probability."""

    text: npt.NDArray[np.int64]
    logprob: npt.NDArray[np.float64]

    @staticmethod
    def of(rows: list[dict[str, Any]]) -> _Answers:
        ordered = sorted(rows, key=lambda row: str(row["id"]))
        said = [row["response"] for row in ordered]
        texts = [
            int(sha([response.get("text"), response.get("ranks")])[:15], 16) for response in said
        ]
        means = [
            sum(r["logprobs"]) / (sum(r["lengths"]) or 1) + (r.get("cosine") or 0) for r in said
        ]
        return _Answers(np.array(texts), np.array(means))

    def same(self, other: _Answers) -> npt.NDArray[np.bool_]:
        """Which answers agree: the text, and the log-probability within one per cent."""
        near = np.abs(self.logprob - other.logprob) <= 0.01 * (0.1 + np.abs(other.logprob))
        return np.asarray((self.text == other.text) & near)


@dataclass
class Copies:
    """What was submitted so far, by content of the benchmark."""

    _seen: dict[tuple[str, int], list[tuple[str, str, _Answers]]] = field(default_factory=dict)

    def add(self, bundle: Bundle) -> list[str]:
        """Notes on earlier submissions whose changed answers are those of this one."""
        if bundle.record.method.get("kind") == "reference":
            return []
        method, target = (_Answers.of(bundle.trusted_rows(role)) for role in ("method", "target"))
        changed = ~method.same(target)
        place = (str(bundle.record.data["content_sha"]), len(method.text))
        earlier = self._seen.setdefault(place, [])
        notes = []
        if changed.sum() >= LEAST:
            for name, sha256, other in earlier:
                share = float(method.same(other)[changed].mean())
                if share >= SHARE or sha256 == bundle.predictions["method"].sha256:
                    notes.append(
                        f"{bundle.place}: {share:.0%} of the answers that it changed are those of "
                        f"{name}"
                    )
        earlier.append((bundle.place, bundle.predictions["method"].sha256, method))
        return notes
