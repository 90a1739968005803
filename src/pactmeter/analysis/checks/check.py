"""What a check says, and what all of them look at."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pactmeter.analysis.headline import headline_parts
from pactmeter.model.channel import Kind, Origin

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pactmeter.analysis.run import RecordedRun
    from pactmeter.model.calibration import Calibration
    from pactmeter.model.channel import Domain
    from pactmeter.model.energy import Energy

LEAST_IDLE_S = 59.5
MOST_BUSY_PCT = 5.0
"""A machine whose processors work more than this part of the time is not idle: our own choice."""
PASS, WARN, FAIL, NOT_CHECKED = "pass", "warn", "fail", "not checked"
_SEVERITY = (NOT_CHECKED, PASS, WARN, FAIL)


@dataclass(frozen=True, slots=True)
class Check:
    """One check of a run.

    Attributes:
        id: Its number, Q1 to Q17.
        outcome: ``pass``, ``warn`` (the level is 5 % at best), ``fail`` (there is no level), or
            ``not checked``: nothing is there that would tell.
        figure: What was found, in the unit that the rule names; None where there is none.
        text: The same in words.
        rule: What is wanted.
        todo: What to do about it where it is not passed.
    """

    id: str
    outcome: str
    figure: float | None
    text: str
    rule: str = ""
    todo: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the check as plain data."""
        return {
            "id": self.id,
            "outcome": self.outcome,
            "figure": self.figure,
            "text": self.text,
            "rule": self.rule,
            "todo": "" if self.outcome == PASS else self.todo,
        }


@dataclass(frozen=True, slots=True)
class Idle:
    """One measurement of the idle machine.

    Attributes:
        mean_w: Its mean power, in watts.
        duration_s: How long it was measured, in seconds.
        busy_pct: How busy the processors were, in percent; None: unknown.
    """

    mean_w: float
    duration_s: float
    busy_pct: float | None = None

    @property
    def is_at_rest(self) -> bool:
        """Whether it was a minute (EEHPC) of a machine that did nothing."""
        return self.duration_s >= LEAST_IDLE_S and (self.busy_pct or 0.0) <= MOST_BUSY_PCT


@dataclass(frozen=True, slots=True)
class Beside:
    """What is known of a run from elsewhere.

    Attributes:
        calibration: The calibration that was applied to the figure; None: none was.
        idle: The idle machine, before the run and after it; empty where it was not measured.
    """

    calibration: Calibration | None = None
    idle: tuple[Idle, ...] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """A run, the figure that is judged, all energies of the run, and what is known beside it."""

    run: RecordedRun
    figure: Energy
    found: tuple[Energy, ...]
    beside: Beside = field(default_factory=Beside)

    @property
    def parts(self) -> list[Energy]:
        """The measured energies that the headline is, or is the sum of."""
        return headline_parts(list(self.found)) or [self.figure]

    @property
    def gauges(self) -> list[Energy]:
        """Those of the parts that are integrated from polled power."""
        kinds = {c.name: c.kind for c in self.run.channels}
        return [part for part in self.parts if kinds.get(part.channel) is Kind.POWER]

    @property
    def last_s(self) -> float:
        """When the last row was read, in seconds."""
        return max((t for t in self.run.columns.get("read_s", []) if t is not None), default=0.0)

    def of_domain(self, *domains: Domain) -> list[Energy]:
        """Return the energies of some domains that were read and are no estimates."""
        return [
            e
            for e in self.found
            if e.domain in domains and e.covered_s > 0 and e.origin is not Origin.ESTIMATED
        ]

    def has_all_of(self, domain: Domain) -> bool:
        """Whether each metered channel of a domain was read, so that they add up to a whole."""
        mine = (e for e in self.found if e.domain is domain and e.origin is Origin.MEASURED)
        return all(energy.covered_s > 0 for energy in mine)

    def lag_s(self, channel: str) -> float:
        """Return how far a channel's rows may be behind its load, in seconds."""
        return max(self.poll_s(channel), self.update_s(channel) or 0.0, self.tau_s(channel))

    def tau_s(self, channel: str) -> float:
        """Return the time constant of a sensor that was seen to lag, in seconds; else 0."""
        return float((self.run.about(channel).get("lag") or {}).get("tau_s") or 0.0)

    def poll_s(self, channel: str) -> float:
        """Return how often a channel is read, in seconds."""
        return float(self.run.about(channel).get("poll_period_s") or 0.1)

    def update_s(self, channel: str) -> float | None:
        """Return how often a sensor renews its reading, in seconds, as stated or seen."""
        about = self.run.about(channel)
        update_s = about.get("update_period_s") or about.get("seen_update_period_s")
        return float(update_s) if update_s else None


def worst(checks: Iterable[Check]) -> Check:
    """Return the check with the worst outcome; of equal ones the first."""
    return max(checks, key=lambda check: _SEVERITY.index(check.outcome))
