"""What happened to the model, in one label, decided by stated rules over the cells of a run.

A low score on the forget people is forgetting only if the model still works. So the rules are
tried in order, from "nothing to forget" over kinds of damage to how far forgetting went; the first
that holds decides, and says on what evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mubench.record import Cell, Label, Signal
from mubench.types import ASPECTS

#: Of what the target could, less than this kept is a loss: of a way of answering, and of people.
LOST = 0.5
PEOPLE_LOST = 0.75
#: A rate that rises by this much over gold's is the rule, not the exception.
RISE = 0.5
#: Beyond a guess the target must know this much, and a gap of this size counts as one.
LEARNED = 0.2
GAP = 0.2
BELOW = -0.1
#: Adjusted p below which a single cell shows that the forget people are still known.
SURE = 0.01

#: Evidence that is shown, most lines.
LINES = 6

#: Tasks in which the model writes; in all others it is read off its likelihoods or similarities.
WRITTEN = ("generation", "cloze")
#: Nothing can be said of forgetting: such runs are listed, never ranked.
GATED = ("not memorised", "collapsed", "format damage")

_FORGET = (*ASPECTS["efficacy"], *ASPECTS["generalizability"])


def label(cells: Sequence[Cell], signals: Sequence[Signal] = ()) -> Label | None:
    """The label of a run; None where nothing was asked about forget people."""
    if not any(cell.headline and cell.set in _FORGET for cell in cells):
        return None
    rules: tuple[tuple[str, Callable[[Sequence[Cell], Sequence[Signal]], list[str]]], ...] = (
        ("not memorised", _not_memorised),
        ("refusal", _refusal),
        ("collapsed", _collapsed),
        ("format damage", _format_damage),
        ("over-generalised", _over_generalised),
        ("under-forgot", _under_forgot),
        ("over-forgot", _over_forgot),
        ("matched", _matched),
    )
    name, evidence = next((name, found) for name, rule in rules if (found := rule(cells, signals)))
    return Label(name=name, evidence=evidence[:LINES], gated=name in GATED)  # type: ignore[arg-type]


# -- rules: what was found, or nothing ---------------------------------------------------------


def _not_memorised(cells: Sequence[Cell], _: Sequence[Signal]) -> list[str]:
    headline = [cell for cell in cells if cell.headline and cell.set in ASPECTS["efficacy"]]
    if all(cell.gap is None for cell in headline):
        return ["target and gold differ on no headline metric of the forget people"]
    guessed = [cell for cell in headline if _guess(cell) is not None]
    known = [cell.target.value - (_guess(cell) or 0.0) for cell in guessed]
    if known and max(known) < LEARNED:
        cell = guessed[known.index(max(known))]
        return [f"{place(cell)}: target {cell.target.value:.2f}, a guess {_guess(cell):.2f}"]
    return []


def _refusal(cells: Sequence[Cell], _: Sequence[Signal]) -> list[str]:
    return [
        f"{place(cell)}: {cell.method.value:.0%} refusals, gold {cell.gold.value:.0%}"
        for cell in cells
        if cell.set in _FORGET
        and cell.metric == "refusal"
        and cell.method.value - cell.gold.value >= RISE
    ]


def _collapsed(cells: Sequence[Cell], signals: Sequence[Signal]) -> list[str]:
    """In some modality, what should have stayed is lost however one asks, general skills too."""
    for modality, own in _by_modality(cells):
        useful = [cell for cell in own if cell.set in ASPECTS["utility"]]
        chosen, written = _kept(useful, written=False), _kept(useful, written=True)
        general = _kept([cell for cell in useful if cell.set == "general"])
        known = [share for share in (chosen, written, general) if share is not None]
        if known and max(known) < LOST:
            said = [
                f"{words(modality)}: of what the target could on people and things to keep, "
                f"{_share(chosen)} is left in choices, {_share(written)} in writing, "
                f"{_share(general)} of general skills"
            ]
            return said + _signals(signals, modality)
    return []


def _format_damage(cells: Sequence[Cell], signals: Sequence[Signal]) -> list[str]:
    """Likelihoods still know what the model no longer manages to write."""
    for modality, own in _by_modality(cells):
        useful = [cell for cell in own if cell.set in ASPECTS["utility"]]
        chosen, written = _kept(useful, written=False), _kept(useful, written=True)
        if chosen is not None and written is not None and written < LOST <= chosen:
            said = [
                f"{words(modality)}: on people to keep {_share(chosen)} is left in choices, "
                f"{_share(written)} in writing"
            ]
            return said + _unparsed(own) + _signals(signals, modality)
        if said := _unparsed([cell for cell in own if cell.set in _FORGET]):
            return said + _signals(signals, modality)
    return []


def _unparsed(cells: Sequence[Cell]) -> list[str]:
    return [
        f"{place(cell)}: {cell.method.value:.0%} of answers are answers at all, "
        f"gold {cell.gold.value:.0%}"
        for cell in cells
        if cell.metric == "parsed" and cell.gold.value - cell.method.value >= RISE
    ]


def _over_generalised(cells: Sequence[Cell], _: Sequence[Signal]) -> list[str]:
    """People who should have stayed are lost, general skills are not."""
    for modality, own in _by_modality(cells):
        for set_ in dict.fromkeys(cell.set for cell in own):
            if set_ not in ASPECTS["utility"] or set_ == "general":
                continue
            kept = _kept([cell for cell in own if cell.set == set_])
            if kept is not None and kept < PEOPLE_LOST:
                general = _kept([cell for cell in own if cell.set == "general"])
                return [
                    f"{words(modality)}: {_share(kept)} is left of what the target knew about "
                    f"{set_} people, {_share(general)} of general skills"
                ]
    return []


def _under_forgot(cells: Sequence[Cell], _: Sequence[Signal]) -> list[str]:
    said = [
        f"{words(modality)}: mean gap {gap:+.2f} [{low:+.2f}, {high:+.2f}] over {count} headline "
        "cells of the forget people (1: nothing forgotten, 0: like gold)"
        for modality, gap, low, high, count in gaps(cells)
        if gap >= GAP and low > 0
    ]
    for cell in cells:
        sure = cell.p_adjusted is not None and cell.p_adjusted < SURE
        if cell.set in _FORGET and cell.gap is not None and cell.gap.value >= GAP and sure:
            said.append(
                f"{place(cell)}: {cell.metric} {cell.method.value:.2f}, "
                f"gold {cell.gold.value:.2f}, target {cell.target.value:.2f}"
            )
    return said


def _over_forgot(cells: Sequence[Cell], _: Sequence[Signal]) -> list[str]:
    return [
        f"{words(modality)}: mean gap {gap:+.2f} [{low:+.2f}, {high:+.2f}]: below a model that "
        "never saw these people"
        for modality, gap, low, high, _ in gaps(cells)
        if gap <= BELOW and high < 0
    ]


def _matched(cells: Sequence[Cell], _: Sequence[Signal]) -> list[str]:
    said = [
        f"{words(modality)}: mean gap {gap:+.2f} [{low:+.2f}, {high:+.2f}] over {count} headline "
        "cells of the forget people"
        for modality, gap, low, high, count in gaps(cells)
    ]
    cells = [c for c in cells if c.headline and c.set in _FORGET]
    blind = [c for c in cells if c.verdict == "unresolved"]
    if blind:
        said.append(
            f"{len(blind)} of {len(cells)} cells are too few items to prove equality: "
            "matched means that no difference was found"
        )
    return said


# -- measures ----------------------------------------------------------------------------------


def gaps(cells: Sequence[Cell]) -> list[tuple[str, float, float, float, int]]:
    """Mean gap and mean limits over the headline forget cells of each modality. The mean of the
    limits is right for fully dependent cells, which ask the same people, and else too wide."""
    found = []
    for modality, own in _by_modality(cells):
        known = [
            cell.gap
            for cell in own
            if cell.headline and cell.set in _FORGET and cell.gap and cell.gap.low is not None
        ]
        if known:
            mean = [
                sum(getattr(gap, part) for gap in known) / len(known)
                for part in ("value", "low", "high")
            ]
            found.append((modality, mean[0], mean[1], mean[2], len(known)))
    return found


def utility(cells: Sequence[Cell]) -> float | None:
    """Share of the target's headline scores on everything to keep that the method has."""
    useful = [cell for cell in cells if cell.headline and cell.set in ASPECTS["utility"]]
    target = sum(cell.target.value for cell in useful)
    return sum(cell.method.value for cell in useful) / target if target else None


def _kept(cells: Sequence[Cell], written: bool | None = None) -> float | None:
    """Mean share, beyond a guess, of what the target could; None where it could nothing."""
    shares = []
    for cell in cells:
        if not cell.headline or written not in (None, cell.task in WRITTEN):
            continue
        guess = cell.chance or 0.0
        able = cell.target.value - guess
        if able >= LEARNED:
            shares.append(min(max((cell.method.value - guess) / able, 0.0), 1.0))
    return sum(shares) / len(shares) if shares else None


def _guess(cell: Cell) -> float | None:
    return cell.prior.value if cell.prior is not None else cell.chance


def _by_modality(cells: Sequence[Cell]) -> list[tuple[str, list[Cell]]]:
    names = dict.fromkeys(cell.modality for cell in cells)
    return [(name, [cell for cell in cells if cell.modality == name]) for name in names]


def _signals(signals: Sequence[Signal], modality: str) -> list[str]:
    """Those that moved by half or more."""
    return [
        f"{words(modality)}: {words(signal.name)} {signal.method:.2f}, target {signal.target:.2f}"
        for signal in signals
        if signal.modality == modality
        and not signal.target / 2 < signal.method < 2 * max(signal.target, 1e-9)
    ]


def _share(value: float | None) -> str:
    return "nothing measured" if value is None else f"{value:.0%}"


def words(name: str) -> str:
    return {"image_text": "image+text", "text": "text-only"}.get(name, name.replace("_", " "))


def place(cell: Cell) -> str:
    return f"{cell.set} {words(cell.modality)} {cell.task}"
