"""Differences and ratios of energies, each with its own budget; a budget as plain data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pactmeter.errors import PactError
from pactmeter.model.energy import GAPS, BudgetItem, expanded_j

if TYPE_CHECKING:
    from pactmeter.model.energy import Energy


@dataclass(frozen=True, slots=True)
class Difference:
    """The first energy less the second.

    Attributes:
        energy_j: The difference, in joules.
        budget: Components of its uncertainty; empty where that is unknown.
    """

    energy_j: float
    budget: tuple[BudgetItem, ...]

    @property
    def u_j(self) -> float | None:
        """Expanded uncertainty (k=2), in joules; None where it is unknown."""
        return expanded_j(self.budget)


@dataclass(frozen=True, slots=True)
class Ratio:
    """The first energy over the second.

    Attributes:
        value: The ratio.
        second_j: The second energy, in joules.
        budget: Components of its uncertainty, in joules by which the first energy would have to be
            off to change the ratio as much; empty where that is unknown.
    """

    value: float
    second_j: float
    budget: tuple[BudgetItem, ...]

    @property
    def u(self) -> float | None:
        """Expanded uncertainty (k=2) of the ratio; None where it is unknown."""
        u_j = expanded_j(self.budget)
        return None if u_j is None else u_j / self.second_j


def difference(first: Energy, second: Energy, *, same_sensor: bool = False) -> Difference:
    """Return how much more the first energy is.

    Args:
        first: One energy.
        second: Another, over other time or by another sensor.
        same_sensor: Whether the same sensors gave both, so that their own error is in both alike.
    """
    return Difference(
        first.energy_j - second.energy_j, _less(first, second, 1.0, same_sensor=same_sensor)
    )


def ratio(first: Energy, second: Energy, *, same_sensor: bool = False) -> Ratio:
    """Return how many times the second energy the first one is.

    Args:
        first: One energy.
        second: Another, over other time or by another sensor.
        same_sensor: Whether the same sensors gave both, so that their own error cancels.

    Raises:
        PactError: The second energy is none, or either is not known.
    """
    if second.energy_j <= 0 or first.covered_s <= 0 or second.covered_s <= 0:
        raise PactError(
            f"no ratio of {first.channel} to {second.channel}: one of them has no energy",
            "name two sources that were measured in the run",
        )
    value = first.energy_j / second.energy_j
    return Ratio(value, second.energy_j, _less(first, second, value, same_sensor=same_sensor))


def _less(
    first: Energy, second: Energy, share: float, *, same_sensor: bool
) -> tuple[BudgetItem, ...]:
    """Return the budget of the first energy less a share of the second."""
    if not first.budget or not second.budget:
        return ()
    ones = {item.name: item for item in first.budget}
    others = {item.name: item for item in second.budget}
    found = []
    for name in dict.fromkeys([*ones, *others]):
        alike = [item for item in (ones.get(name), others.get(name)) if item]
        own_j = ones[name].u_j if name in ones else 0.0
        other_j = abs(share) * others[name].u_j if name in others else 0.0
        is_shared = same_sensor and len(alike) == 2 and alike[0].is_systematic
        found.append(
            BudgetItem(
                name,
                abs(own_j - other_j) if is_shared else math.hypot(own_j, other_j),
                "the same error in both" if is_shared else " / ".join(i.basis for i in alike),
                alike[0].shape,
                min((item.dof for item in alike if item.dof), default=None),
                alike[0].is_systematic,
            )
        )
    return tuple(found)


def table(energy: Energy) -> list[dict[str, Any]]:
    """Return the budget as plain data, the largest item first (``report --budget``).

    ``u_j`` and ``u_mean_w`` are standard uncertainties (k=1) of the energy and of its mean power;
    twice the root of the sum of their squares is what is stated.
    """
    rows = []
    for item in sorted(energy.budget, key=lambda item: -item.u_j):
        of_mean_j = 0.0 if item.name.endswith(GAPS) else item.u_j
        rows.append(
            {
                "name": item.name,
                "type": item.evaluation,
                "distribution": item.shape.value,
                "half_width_j": round(item.half_width_j, 6),
                "u_j": round(item.u_j, 6),
                "u_mean_w": round(of_mean_j / energy.covered_s, 6)
                if energy.covered_s > 0
                else None,
                "dof": item.dof,
                "basis": item.basis,
            }
        )
    return rows
