"""One finished trial as a report counts it: energy, time, work, and the world it is of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pactmeter.analysis.baseline import rest_of, subtract
from pactmeter.analysis.comparable import comparable
from pactmeter.analysis.energy import energies
from pactmeter.analysis.headline import sum_name
from pactmeter.errors import PactError
from pactmeter.study.work import AMOUNTS

if TYPE_CHECKING:
    from pactmeter.analysis.run import RecordedRun
    from pactmeter.model.energy import Energy
    from pactmeter.study.results import Finished

_WORK = (*AMOUNTS, "env_steps", "epochs", "products")
_TOLD = ("device", "tool")
"""Marks by which trials are told apart, beside those of the world."""


@dataclass(frozen=True)
class Counted:
    """A trial with its figures.

    Attributes:
        stem: Its name.
        workload: Its workload.
        family: That one's family.
        run: What was measured.
        world: What must stand beside its figures; empty: all is real.
        told: What else it says of itself that tells trials apart.
        energy: The headline; None: there is none that counts.
        sources: Channels that the headline is the sum of.
        no_energy: Why there is none; None: there is one, or nothing is measured on this machine.
        above_idle_j: Energy above that of the machine at rest, in joules; None: not known.
        duration_s: Time measured, in seconds.
        amounts: Work it has done, by unit.
    """

    stem: str
    workload: str
    family: str
    run: RecordedRun
    world: tuple[str, ...]
    told: tuple[str, ...]
    energy: Energy | None
    sources: tuple[str, ...]
    no_energy: str | None
    above_idle_j: float | None
    duration_s: float
    amounts: dict[str, float]

    @property
    def key(self) -> tuple[object, ...]:
        """What trials of one row have in common."""
        return (self.workload, self.world, self.told, self.sources)


def counted(one: Finished) -> Counted:
    """Return a trial as it counts.

    Raises:
        PactError: Its files cannot be read.
    """
    run = one.run()
    energy, sources, why = _energy(run)
    synthetic = sorted({channel.synthetic for channel in run.channels if channel.synthetic})
    marks = {**run.marks, **one.marks}
    return Counted(
        stem=one.trial.stem,
        workload=one.trial.workload,
        family=str(one.record.get("family") or "other"),
        run=run,
        world=(*(f"{kind} devices" for kind in synthetic), *_made_up(marks)),
        told=tuple(marks[key] for key in _TOLD if key in marks),
        energy=energy,
        sources=sources,
        no_energy=why,
        above_idle_j=_above_idle_j(one, run, energy),
        duration_s=run.duration_s,
        amounts={name: value for name in _WORK if (value := one.work.get(name, 0.0)) > 0},
    )


def _made_up(marks: dict[str, str]) -> list[str]:
    """Return what of the data and the weights is not what a user would train with."""
    found = []
    if (data := marks.get("data", "real")) != "real":
        found.append(f"{data} data")
    if (weights := marks.get("weights", "pretrained")) != "pretrained":
        found.append(f"{weights} weights")
    return found


def _energy(run: RecordedRun) -> tuple[Energy | None, tuple[str, ...], str | None]:
    """Return the headline of a run and the channels it is the sum of, or why it does not count."""
    try:
        found = comparable(run)
    except PactError as error:
        return None, (), error.message
    return found.energy, found.sources, found.gaps


def _above_idle_j(one: Finished, run: RecordedRun, energy: Energy | None) -> float | None:
    files = [str(path) for path in one.baselines if path.exists()]
    if energy is None or not files:
        return None
    try:
        told = subtract(run, *rest_of(run, files[-2:]))
    except PactError:  # a baseline that does not fit is told with the baselines
        return None
    wanted = sum_name(energies(run))
    return next((net["energy_j"] for net in told["net"] if net["channel"] == wanted), None)
