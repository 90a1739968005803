"""What a comparison of two commands comes to: its figures, and what must be known of them."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pactmeter.errors import PactError
from pactmeter.store.files import short_path
from pactmeter.study.ab_stats import Paired, paired, pairs_for, remaining_pct
from pactmeter.study.work import AMOUNTS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pactmeter.study.ab_trial import Trial

ENERGY, TIME, POWER, PER_WORK = "energy_j", "duration_s", "mean_w", "j_per_work"
RESOLVED_PCT = 1.0
"""What a comparison is asked to resolve where nothing else was said."""
_MOST = 3
"""So many reasons are told, then their number."""


@dataclass(frozen=True, slots=True)
class Source:
    """What the energy was measured with.

    Attributes:
        channel: The channel.
        label: What that is, in words.
        origin: Measured, estimated or modelled.
        synthetic: None for real hardware.
        u_pct: What it states of one run (k=2), in percent; None where that is unknown.
    """

    channel: str
    label: str
    origin: str
    synthetic: str | None
    u_pct: float | None


@dataclass(frozen=True, slots=True)
class Result:
    """What a comparison came to.

    Attributes:
        commands: The two commands, by ``A`` and ``B``.
        folder: Where all of it lies.
        seed: Of the order.
        runs: Number of pairs that were planned.
        pairs: Number of pairs that were begun.
        source: What the energy was measured with; None: there is no energy, and time is compared.
        figures: Energy, time, power and energy per unit of work, of those that there are.
        per: The unit of work: ``samples``, ``steps``, ...; None where the commands tell of none.
        resolve_pct: Half-width of the interval that is wanted, in percent.
        pairs_needed: Pairs that it would take in all, at this scatter; None: no number would do.
        until_pct: As planned.
        margin_pct: As planned.
        notes: What must be known of it.
    """

    commands: dict[str, list[str]]
    folder: str
    seed: int
    runs: int
    pairs: int
    source: Source | None
    figures: dict[str, Paired]
    per: str | None
    resolve_pct: float
    pairs_needed: int | None
    until_pct: float | None
    margin_pct: float | None
    notes: tuple[str, ...]

    @property
    def main(self) -> Paired:
        """The figure that the answer is about: energy, else time."""
        return self.figures[ENERGY if ENERGY in self.figures else TIME]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        figures = {name: found.to_dict() for name, found in self.figures.items()}
        return {"schema": 1, **asdict(self), "figures": figures}


def judge(
    trials: Sequence[Trial],
    commands: dict[str, list[str]],
    *,
    folder: Path,
    seed: int = 0,
    runs: int = 0,
    until_pct: float | None = None,
    margin_pct: float | None = None,
) -> Result:
    """Return what the runs of a comparison came to.

    Args:
        trials: All runs, in the order in which they were made.
        commands: The two commands, by ``A`` and ``B``.
        folder: Where they lie.
        seed: Of the order.
        runs: Number of pairs that were planned.
        until_pct: Half-width of the interval at which it might stop, in percent.
        margin_pct: Largest difference that counts as none, in percent.

    Raises:
        PactError: There are fewer than two pairs.
    """
    whole = whole_pairs(trials)
    if len(whole) < 2:
        raise PactError(
            f"{len(whole)} pairs are left, a comparison needs two",
            f"see {short_path(folder)}, then start anew with another -o",
        )
    metered = metered_pairs(whole)
    # figures scatter together: the chance that ends it is in all of them
    how: dict[str, Any] = {"margin_pct": margin_pct, "may_stop": until_pct is not None}
    figures = {}
    if metered:
        energies = [(b.energy, a.energy) for a, b in metered if a.energy and b.energy]
        left = remaining_pct(energies)
        energy_j = _values([(b.energy_j, a.energy_j) for b, a in energies])
        figures[ENERGY] = paired(*energy_j, "J", left_pct=left, **how)
        power_w = _values([(b.mean_w, a.mean_w) for b, a in energies])
        figures[POWER] = paired(*power_w, "W", left_pct=left, **how)
        per = _amount(metered)
        if per is not None:
            each = [(_per_work(b, per), _per_work(a, per)) for a, b in metered]
            unit = f"J/{per.removesuffix('s')}"
            figures[PER_WORK] = paired(*_values(each), unit, left_pct=left, **how)
    else:
        per = None
    times_s = _values([(b.duration_s, a.duration_s) for a, b in whole])
    figures[TIME] = paired(*times_s, "s", **how)
    main = figures.get(ENERGY, figures[TIME])
    resolve_pct = until_pct or margin_pct or RESOLVED_PCT
    return Result(
        commands=commands,
        folder=short_path(folder),
        seed=seed,
        runs=runs,
        pairs=trials[-1].pair,
        source=_source(metered),
        figures=figures,
        per=per,
        resolve_pct=resolve_pct,
        pairs_needed=pairs_for(main, resolve_pct, may_stop=until_pct is not None),
        until_pct=until_pct,
        margin_pct=margin_pct,
        notes=tuple(_notes(trials, whole, metered, main)),
    )


def whole_pairs(trials: Sequence[Trial]) -> list[tuple[Trial, Trial]]:
    """Return the pairs of which both runs are there and count, A's run first."""
    found = []
    counted = [trial for trial in trials if trial.reason is None]
    for _, both in itertools.groupby(counted, key=lambda trial: trial.pair):
        sides = {trial.side: trial for trial in both}
        if len(sides) == 2:
            found.append((sides["A"], sides["B"]))
    return found


def metered_pairs(whole: Sequence[tuple[Trial, Trial]]) -> list[tuple[Trial, Trial]]:
    """Return the pairs of which all energies are of the same sources; two at least, else none.

    A sum of which one part gave nothing would be less by as much, whatever the commands use.
    """
    seen = Counter(a.sources for a, b in whole if a.sources and a.sources == b.sources)
    sources, times = seen.most_common(1)[0] if seen else ((), 0)
    return [pair for pair in whole if all(t.sources == sources for t in pair)] if times > 1 else []


def _values(pairs: Sequence[tuple[float | None, float | None]]) -> tuple[list[float], list[float]]:
    """Return B's figures and A's; what a run does not have is a zero, which no ratio takes."""
    return [new or 0.0 for new, _ in pairs], [base or 0.0 for _, base in pairs]


def _amount(pairs: Sequence[tuple[Trial, Trial]]) -> str | None:
    """Return the first amount of work that every run tells of."""
    for name in AMOUNTS:
        if all((trial.amount(name) or 0.0) > 0 for pair in pairs for trial in pair):
            return name
    return None


def _per_work(trial: Trial, name: str) -> float | None:
    amount = trial.amount(name)
    return trial.energy.energy_j / amount if trial.energy and amount else None


def _source(pairs: Sequence[tuple[Trial, Trial]]) -> Source | None:
    if not pairs or pairs[0][0].energy is None:
        return None
    energy = pairs[0][0].energy
    u_pct = None if energy.u_j is None else 100 * energy.u_j / energy.energy_j
    return Source(energy.channel, energy.label, str(energy.origin), energy.synthetic, u_pct)


def _notes(
    trials: Sequence[Trial],
    whole: Sequence[tuple[Trial, Trial]],
    metered: Sequence[tuple[Trial, Trial]],
    main: Paired,
) -> list[str]:
    notes = [
        f"pair {t.pair} is left out: {t.side} {t.reason} ({t.folder})" for t in trials if t.reason
    ]
    notes += _unmetered(whole, metered)
    for mark in ("data", "weights"):
        values = {str(trial.told.get(mark) or "not told") for pair in whole for trial in pair}
        if len(values) > 1:
            told = ", ".join(sorted(values))
            notes.append(f"the {mark} of the runs are not alike ({told}): no like is compared")
    if main.p_value is None:
        notes.append("the pairs do not scatter at all: the sensor's steps are too coarse to tell")
    if main.note:
        notes.append(main.note)
    return notes


def _unmetered(
    whole: Sequence[tuple[Trial, Trial]], metered: Sequence[tuple[Trial, Trial]]
) -> list[str]:
    """Say why pairs have no energy to compare, by the sources of both runs."""
    counted = {a.pair for a, _ in metered}
    left = [(a, b) for a, b in whole if a.pair not in counted]
    if not left:
        return []
    if not any(trial.sources or trial.gaps for pair in whole for trial in pair):
        return ["no energy was measured (`pactmeter doctor` says why): time is compared"]
    each = list(dict.fromkeys(f"A {_named(a)}, B {_named(b)}" for a, b in left))
    more = [f"and {len(each) - _MOST} more"] if len(each) > _MOST else []
    sources = "; ".join([*each[:_MOST], *more])
    if not metered:
        return [f"no two pairs have energy of the same sources ({sources}): time is compared"]
    pairs = "1 pair counts" if len(left) == 1 else f"{len(left)} pairs count"
    return [f"{pairs} for time alone, without energy of the same sources ({sources})"]


def _named(trial: Trial) -> str:
    none = f"none: {trial.gaps}" if trial.gaps else "none"
    return " + ".join(trial.sources) or none
