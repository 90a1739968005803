"""Whether a run's energy may be set beside that of another: its rows in order, its gaps few."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pactmeter.analysis.checks.about import disorder
from pactmeter.analysis.energy import energies
from pactmeter.analysis.headline import headline, headline_parts
from pactmeter.errors import PactError

if TYPE_CHECKING:
    from pactmeter.analysis.run import RecordedRun
    from pactmeter.model.energy import Energy

LEAST_COVERAGE = 0.95
"""A run of which less is covered has no energy that could be compared: gaps add nothing."""


@dataclass(frozen=True, slots=True)
class Comparable:
    """The headline of a run, if it can be compared.

    Attributes:
        energy: The headline; None where there is none or too little of it is known.
        sources: Channels that it is the sum of.
        gaps: What too little is known of; None: enough is, or there is no headline at all.
    """

    energy: Energy | None = None
    sources: tuple[str, ...] = ()
    gaps: str | None = None


def comparable(run: RecordedRun) -> Comparable:
    """Return the headline of a run as far as it can be compared.

    Raises:
        PactError: The rows are not in order.
    """
    each = ordered_energies(run)
    found = headline(each)
    if found is None:
        return Comparable()
    if gaps := too_little(found):
        return Comparable(gaps=gaps)
    return Comparable(found, tuple(part.channel for part in headline_parts(each)))


def ordered_energies(run: RecordedRun) -> list[Energy]:
    """Return the energies of a run.

    Raises:
        PactError: Its rows are not in order.
    """
    each = energies(run)
    if wrong := disorder(run, [energy.channel for energy in each]):
        raise PactError(
            f"{run.files.power}: {wrong} rows are out of order, twice there or take energy back",
            "leave the run out, or use its original file",
        )
    return each


def too_little(energy: Energy) -> str | None:
    """Return what to say of an energy of which too little is known; None: enough is."""
    if energy.silent:
        return energy.silence
    if energy.covered_s > 0 and energy.coverage >= LEAST_COVERAGE:
        return None
    return (
        f"{100 * energy.coverage:.1f} % of {energy.channel} is covered,"
        f" {100 * LEAST_COVERAGE:.0f} % are wanted"
    )
