"""An energy and everything it carries."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pactmeter.model.channel import Domain, Origin


class Shape(StrEnum):
    """How what is known of a quantity is spread within its half-width (GUM, JCGM 100, 4.3)."""

    NORMAL = "normal"
    """The half-width is that of 95 % (k=2)."""
    RECTANGULAR = "rectangular"
    """Nothing is known but the bounds."""
    TRIANGULAR = "triangular"
    """The difference of two readings, each of which is rectangular."""
    ONE_SIDED = "one-sided"
    """The figure is too low (or too high) by up to the half-width, likely by most of it. The
    divisor is the largest one with which ``2 * hypot(u, s)`` still holds 95 % of a constant error
    and a normal one of any standard deviation s: max over s of ``(1 + 1.645 s)^2 - 4 s^2``."""

    @property
    def divisor(self) -> float:
        """Half-width over standard uncertainty."""
        return _DIVISORS[self]


_DIVISORS = {
    Shape.NORMAL: 2.0,
    Shape.RECTANGULAR: math.sqrt(3),
    Shape.TRIANGULAR: math.sqrt(6),
    Shape.ONE_SIDED: 1.13,
}

GAPS = "gaps"
"""Name of the item that is no part of the uncertainty of a mean power over the covered time."""


@dataclass(frozen=True, slots=True)
class BudgetItem:
    """One component of an uncertainty.

    Attributes:
        name: What it comes from.
        u_j: Standard uncertainty (k=1), in joules.
        basis: How it was arrived at.
        shape: How it is distributed.
        dof: Degrees of freedom of one from statistics (GUM type A); None: from a specification or
            a judgement (type B), taken as known.
        is_systematic: Whether it is the same error in every energy that this sensor gives.
    """

    name: str
    u_j: float
    basis: str
    shape: Shape = Shape.NORMAL
    dof: int | None = None
    is_systematic: bool = False

    @property
    def evaluation(self) -> str:
        """``A``: from statistics; ``B``: by any other means."""
        return "B" if self.dof is None else "A"

    @property
    def half_width_j(self) -> float:
        """What the standard uncertainty was divided from, in joules."""
        return self.u_j * self.shape.divisor


def expanded_j(budget: Iterable[BudgetItem]) -> float | None:
    """Return the expanded uncertainty (k=2) of independent items; None of no item."""
    parts = [item.u_j for item in budget]
    return 2 * math.hypot(*parts) if parts else None


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
        budget: Components of the uncertainty, independent of each other; empty where the sensor's
            accuracy is unknown.
        silent: Channels that it is the sum of and that gave no reading: their energy is missing.
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
    silent: tuple[str, ...] = ()

    @property
    def u_j(self) -> float | None:
        """Expanded uncertainty (k=2), in joules; None where it is unknown (GUM, JCGM 100)."""
        return expanded_j(self.budget)

    @property
    def dof(self) -> float | None:
        """Effective degrees of freedom (Welch-Satterthwaite); None: none of it is statistics."""
        u_j = math.hypot(*(item.u_j for item in self.budget))
        parts = [(item.u_j / u_j) ** 4 / item.dof for item in self.budget if item.dof and u_j > 0]
        whole = math.fsum(parts)
        return 1 / whole if whole > 0 else None

    @property
    def mean_w(self) -> float | None:
        """Mean power over the covered time, in watts; None where a part of it is unknown."""
        return self.energy_j / self.covered_s if self.covered_s > 0 and not self.silent else None

    @property
    def u_mean_w(self) -> float | None:
        """Expanded uncertainty (k=2) of the mean power, in watts; None where it is unknown."""
        if not self.budget or self.covered_s <= 0:
            return None
        return (
            expanded_j(i for i in self.budget if not i.name.endswith(GAPS)) or 0.0
        ) / self.covered_s

    @property
    def coverage(self) -> float:
        """Covered share of the window, 0 to 1."""
        whole_s = self.covered_s + self.gap_s
        return self.covered_s / whole_s if whole_s > 0 else 0.0

    @property
    def silence(self) -> str:
        """Which parts of it gave no reading, in words; empty: all did."""
        return f"{', '.join(self.silent)} gave no reading" if self.silent else ""

    def with_budget(self, budget: tuple[BudgetItem, ...]) -> Energy:
        """Return the same energy with another budget."""
        return replace(self, budget=budget)
