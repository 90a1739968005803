"""One run of a comparison: what it used, how long it took, what work it did, or why it is out."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pactmeter.analysis.comparable import comparable
from pactmeter.analysis.run import load
from pactmeter.errors import PactError
from pactmeter.model.channel import Kind
from pactmeter.study import work
from pactmeter.study.ab_command import ERRORS, OUTPUT, POWER

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pactmeter.analysis.run import RecordedRun
    from pactmeter.model.energy import Energy
    from pactmeter.study.child import Ended

_FEWEST_PAIRS = 10


@dataclass(frozen=True, slots=True)
class Trial:
    """One run of one of the two commands.

    Attributes:
        side: ``A`` or ``B``.
        pair: Number of the pair, from 1.
        folder: Name of its folder in that of the comparison.
        code: The command's exit code.
        reason: Why it does not count; None where it does.
        duration_s: How long the command took, in seconds; None where that is unknown.
        energy: The energy of the run's headline; None where there is none.
        sources: The channels that it is the sum of: two supplies are another source than one.
        gaps: What too little is known of; None: enough is, or there is no headline at all.
        told: What the command says of its work.
    """

    side: str
    pair: int
    folder: str
    code: int
    reason: str | None = None
    duration_s: float | None = None
    energy: Energy | None = None
    sources: tuple[str, ...] = ()
    gaps: str | None = None
    told: dict[str, float | str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """How it is called: ``A of pair 3``."""
        return f"{self.side} of pair {self.pair}"

    def amount(self, name: str) -> float | None:
        """Return how much work of a kind was done; None where the command does not say so."""
        value = self.told.get(name)
        return None if value is None or isinstance(value, str) else float(value)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data; the energy in joules with its U (k=2)."""
        energy = self.energy
        return {
            "side": self.side,
            "pair": self.pair,
            "folder": self.folder,
            "exit_code": self.code,
            "reason": self.reason,
            "duration_s": self.duration_s,
            "channel": energy.channel if energy else None,
            "sources": list(self.sources),
            "gaps": self.gaps,
            "energy_j": energy.energy_j if energy else None,
            "u_j": energy.u_j if energy else None,
            "mean_w": energy.mean_w if energy else None,
            "work": self.told,
        }


def read_trial(side: str, pair: int, folder: Path, ended: Ended) -> Trial:
    """Return what a run came to.

    Args:
        side: ``A`` or ``B``.
        pair: Number of the pair, from 1.
        folder: Its folder.
        ended: How the command ended.
    """
    trial = Trial(side, pair, folder.name, ended.code)
    if ended.timed_out:
        return replace(trial, reason="took longer than --timeout")
    if ended.code != 0:
        said = _last_line(folder / ERRORS)
        words = f": {said}" if said else ""
        return replace(trial, reason=f"ended with exit code {ended.code}{words}")
    try:
        run = load(folder / POWER)
        told = work.find(work.tail(folder / OUTPUT)) or {}
        found = comparable(run)
        trial = replace(trial, duration_s=run.duration_s, told=told, gaps=found.gaps)
        if found.energy is not None and found.energy.energy_j > 0:
            energy = _dithered(run, found.energy, found.sources)
            trial = replace(trial, energy=energy, sources=found.sources)
    except PactError as error:
        return replace(trial, reason=error.message)
    return replace(trial, reason=_fault(run, trial))


def _fault(run: RecordedRun, trial: Trial) -> str | None:
    """Return why a run whose command ended well does not count; None where it does."""
    if run.status != "complete":
        return f"its run is {run.status}: {run.reason}"
    if run.duration_s <= 0:
        return "took no time that could be measured"
    return work.nothing_done(trial.told)


def _dithered(run: RecordedRun, energy: Energy, sources: Sequence[str]) -> Energy:
    """Return an energy without what its sources' steps may err by, where the load dithers them.

    A gauge's step errs the same way all along a steady load. Where polls differ by a step and more,
    it does not: what is left of it is chance (Widrow and Kollar, Quantization Noise, 2008).
    """
    if not all(_is_dithered(run, source) for source in sources):
        return energy
    items = (item for item in energy.budget if not item.name.endswith("resolution"))
    return energy.with_budget(tuple(items))


def _is_dithered(run: RecordedRun, name: str) -> bool:
    channel = next(channel for channel in run.channels if channel.name == name)
    rough = run.about(name).get("roughness") or {}
    if channel.kind is not Kind.POWER or not channel.resolution:
        return True
    pairs = rough.get("pairs", 0)
    return bool(pairs >= _FEWEST_PAIRS and rough["square_w2"] / pairs >= channel.resolution**2)


def _last_line(path: Path) -> str:
    lines = [line.strip() for line in work.tail(path).splitlines() if line.strip()]
    return lines[-1][:200] if lines else ""
