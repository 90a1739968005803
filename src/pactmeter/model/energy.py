"""An energy and everything it carries."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pactmeter.model.channel import Domain, Origin


@dataclass(frozen=True, slots=True)
class BudgetItem:
    """One component of an uncertainty.

    Attributes:
        name: What it comes from.
        u_j: Standard uncertainty (k=1), in joules.
        basis: How it was arrived at.
    """

    name: str
    u_j: float
    basis: str


@dataclass(frozen=True, slots=True)
class Energy:
    """Energy of one channel over one window.

    Attributes:
        channel: The channel.
        label: What it is, in words.
        domain: What part of the machine it covers.
        origin: Measured, estimated or modelled.
        synthetic: None for real hardware.
        energy_j: Energy over the covered time, in joules.
        covered_s: Time that is known, in seconds.
        gap_s: Time that is not; it adds nothing to `energy_j`.
        gaps: Number of gaps.
        polls: Number of good polls.
        budget: Components of the uncertainty; empty where the sensor's accuracy is unknown.
        linear: Whether the components add linearly (equal sensors err alike) or in quadrature.
    """

    channel: str
    label: str
    domain: Domain | None
    origin: Origin
    synthetic: str | None
    energy_j: float
    covered_s: float
    gap_s: float
    gaps: int
    polls: int
    budget: tuple[BudgetItem, ...]
    linear: bool = False

    @property
    def u_j(self) -> float | None:
        """Expanded uncertainty (k=2), in joules; None where it is unknown (GUM, JCGM 100)."""
        if not self.budget:
            return None
        parts = [item.u_j for item in self.budget]
        return 2 * (math.fsum(parts) if self.linear else math.hypot(*parts))

    @property
    def mean_w(self) -> float | None:
        """Mean power over the covered time, in watts."""
        return self.energy_j / self.covered_s if self.covered_s > 0 else None

    @property
    def coverage(self) -> float:
        """Covered share of the window, 0 to 1."""
        whole_s = self.covered_s + self.gap_s
        return self.covered_s / whole_s if whole_s > 0 else 0.0

    def with_budget(self, budget: tuple[BudgetItem, ...]) -> Energy:
        """Return the same energy with another budget."""
        return replace(self, budget=budget)
