"""The electrical side of an emulated power supply: what flows, and what its sensors see of it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pactmeter.model.psu import Protocol

if TYPE_CHECKING:
    from pactmeter.bench.timeline import Source
    from pactmeter.model.psu import PsuModel

# Shares of the DC output by rail. 5 V and 3.3 V serve drives and the board.
_CORSAIR_RAILS = ((12.0, 0.93), (5.0, 0.05), (3.3, 0.02))
_NZXT_RAILS = ((12.0, 0.10), (12.0, 0.40), (12.0, 0.43), (5.0, 0.05), (3.3, 0.02))
_DROOP_PCT = 1.0
"""How far a rail's voltage falls from no load to the rated load."""


@dataclass(frozen=True, slots=True)
class _Losses:
    """Losses over load x, in shares of the rated power: ``fixed + linear*x + square*x^2 + ...``.

    A shape of its own, so that the product's quadratic cannot be right by construction.
    """

    fixed: float
    linear: float
    square: float
    cube: float

    def at(self, share: float) -> float:
        """Return the losses at a load, both as shares of the rated power."""
        return self.fixed + share * (self.linear + share * (self.square + share * self.cube))


# 115 V: 86.1 / 90.7 / 92.7 / 91.0 % at 10/20/50/100 % load, Platinum; a Gold supply loses 1.3 times
# as much. At 230 V a sixth less is lost.
_PLATINUM = _Losses(0.0125, 0.033, 0.031, 0.022)
_GOLD_FACTOR = 1.3
_PER_VOLT = 1.0 / 6.0 / 115.0


class Supply:
    """One power supply: the truth of both its sides, and what its own sensors see.

    The total-power sensor sees the DC output without the 5 V standby rail.
    """

    def __init__(
        self,
        name: str,
        model: PsuModel,
        load: Source,
        *,
        serial: str = "",
        tau_s: float = 0.0,
        standby_w: float = 0.0,
        input_v: float = 230.0,
    ) -> None:
        self.name = name
        self.model = model
        self.serial = serial
        self.tau_s = tau_s
        self.standby_w = standby_w
        self.input_v = input_v
        self._load = load
        self._lagged = (-1.0, 0.0)
        corsair = model.protocol is Protocol.CORSAIR
        self._rails = _CORSAIR_RAILS if corsair else _NZXT_RAILS
        factor = (1.0 if corsair else _GOLD_FACTOR) * (1.0 - _PER_VOLT * (input_v - 115.0))
        base = _PLATINUM
        self._losses = _Losses(
            base.fixed * factor, base.linear * factor, base.square * factor, base.cube * factor
        )

    # --- the truth ----------------------------------------------------------------------------

    def true_dc_j(self, from_s: float, to_s: float) -> float:
        """Return the joules given to the machine between two times."""
        return self._load.energy_j(from_s, to_s) + self.standby_w * (to_s - from_s)

    def true_ac_w(self, dc_w: float) -> float:
        """Return the AC input power for a DC output power, both in watts."""
        rated_w = self.model.rated_w
        return dc_w + rated_w * self._losses.at(dc_w / rated_w)

    def true_ac_j(self, from_s: float, to_s: float) -> float:
        """Return the joules drawn from the mains between two times.

        Exact: between two breaks the power is straight and the losses a cubic of it, which
        Simpson's rule integrates without error.
        """
        total_j = 0.0
        for start_s, end_s in itertools.pairwise(self._load.straight_between_s(from_s, to_s)):
            # inside the piece: at a jump the power belongs to one side alone
            length_s = end_s - start_s
            if length_s <= 0.0:
                continue
            quarter_w = self._load.power_w(start_s + length_s / 4) + self.standby_w
            middle_w = self._load.power_w(start_s + length_s / 2) + self.standby_w
            first_w, last_w = 2 * quarter_w - middle_w, 3 * middle_w - 2 * quarter_w
            ends_w = self.true_ac_w(first_w) + self.true_ac_w(last_w)
            total_j += length_s * (ends_w + 4 * self.true_ac_w(middle_w)) / 6
        return total_j

    # --- what the sensors see -----------------------------------------------------------------

    def dc_output_w(self, t_s: float) -> float:
        """Return what the total-power sensor sees, in watts, not yet rounded to its steps."""
        if self._lagged[0] != t_s:  # a status asks for the same moment several times
            self._lagged = (t_s, self._load.lagged_w(t_s, self.tau_s))
        return self._lagged[1]

    def rails_w(self, t_s: float) -> tuple[float, ...]:
        """Return the output power of each rail, in watts."""
        total_w = self.dc_output_w(t_s)
        return tuple(share * total_w for _, share in self._rails)

    def rails_v(self, t_s: float) -> tuple[float, ...]:
        """Return the voltage of each rail, in volts."""
        load = self.dc_output_w(t_s) / self.model.rated_w
        return tuple(volts * (1.0 - _DROOP_PCT / 100 * load) for volts, _ in self._rails)

    def temp_c(self, t_s: float) -> float:
        """Return the temperature of the voltage regulator, in degrees Celsius."""
        return 30.0 + 25.0 * self.dc_output_w(t_s) / self.model.rated_w

    def case_temp_c(self, t_s: float) -> float:
        """Return the temperature of the case, in degrees Celsius."""
        return 26.0 + 12.0 * self.dc_output_w(t_s) / self.model.rated_w

    def fan_rpm(self, t_s: float) -> float:
        """Return the speed of the fan, in revolutions a minute; it stands below 40 % load."""
        load = self.dc_output_w(t_s) / self.model.rated_w
        return 0.0 if load < 0.4 else 600.0 + 1000.0 * (load - 0.4)
