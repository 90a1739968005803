"""Whether an energy is within a budget, as far as its uncertainty lets that be said."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from pactmeter.analysis.energy import energies
from pactmeter.analysis.headline import headline
from pactmeter.analysis.summary import source
from pactmeter.errors import PactError
from pactmeter.report.text import energy_text

if TYPE_CHECKING:
    from pactmeter.analysis.run import RecordedRun
    from pactmeter.integrations.one_run import OneRun
    from pactmeter.model.energy import Energy


class Outcome(StrEnum):
    """What can be said."""

    WITHIN = "within"
    UNCLEAR = "unclear"
    """The budget lies within the uncertainty: not over it, as far as can be told."""
    OVER = "over"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of a budget.

    Attributes:
        outcome: What can be said.
        text: The same in words, with the figures; of an unknown energy why it is so.
        energy: The energy that was compared; None where it is unknown.
    """

    outcome: Outcome
    text: str
    energy: Energy | None = None


def judged(one: OneRun, budget_j: float) -> Judged:
    """Compare what a run came to, its headline, with a budget in joules."""
    try:
        run = one.recorded()
    except PactError as error:
        return _unknown(error.message)
    energy = headline(energies(run))
    if energy is None:
        return _unknown(_why(run))
    told = f"{energy_text(source(energy))} ({energy.label})"
    if energy.synthetic:
        told += f" [{energy.synthetic}]"
    u_j = energy.u_j
    if u_j is None:
        return _unknown(f"{told}: how sure that is nobody knows")
    if energy.energy_j - u_j > budget_j:
        return Judged(Outcome.OVER, f"{told} is over the budget of {budget_j:g} J", energy)
    if energy.energy_j + u_j > budget_j:
        text = f"{told} cannot be told from the budget of {budget_j:g} J"
        return Judged(Outcome.UNCLEAR, text, energy)
    return Judged(Outcome.WITHIN, f"{told} is within the budget of {budget_j:g} J", energy)


def _why(run: RecordedRun) -> str:
    elsewhere = run.manifest.get("used", {}).get("devices_sampled_by")
    if elsewhere:
        return f"{elsewhere} samples this machine's devices"
    found = ", ".join(f"{energy.channel} ({energy.origin})" for energy in energies(run))
    if found:
        return f"no measured energy; there is {found}"
    return "no source of power was found (pactmeter doctor says why)"


def _unknown(why: str) -> Judged:
    return Judged(Outcome.UNKNOWN, why)
