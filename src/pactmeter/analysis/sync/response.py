"""What a sensor of some lag and width would show of a load between 0 (off) and 1 (on).

Load, reading and sensor are linear, so their order does not matter: the load is averaged first as
a reading averages (a row of a file), then as the sensor does, and at last looked up.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pactmeter.analysis.sync.burst import Phase

Floats = NDArray[np.float64]

STEP_S = 0.005
"""Grid of the load, and how sharp its edges are. Cells hold means, so that edges stay exact."""


class Shape(StrEnum):
    """How a sensor averages."""

    FIRST_ORDER = "first-order"
    """A memory that fades: the width is its time constant, and so is the mean delay."""
    BOXCAR = "boxcar"
    """A window with an end: the width is its length, the mean delay half of that."""

    def lag_s(self, delay_s: Floats, width_s: Floats | float) -> Floats:
        """Return the lags of mean delays and a width, in seconds."""
        lag_s: Floats = delay_s - (width_s if self is Shape.FIRST_ORDER else width_s / 2)
        return lag_s


class Response:
    """The load over time as readings without a lag see it; then with one.

    Args:
        phases: When the load was on.
        times_s: The middle of each reading, in seconds.
        over_s: The time that a reading is a mean over, in seconds; 0: a moment.
        poll_s: What lies between the polls that the mean is of; 0: it is of all that time.
        margin_s: The longest delay with the width, in seconds.
    """

    def __init__(
        self,
        phases: Sequence[Phase],
        times_s: Floats,
        over_s: float,
        poll_s: float,
        margin_s: float,
    ) -> None:
        self._times_s = times_s
        edges_s = np.array(phases).ravel()
        on_s = np.zeros_like(edges_s)
        on_s[1::2] = np.diff(edges_s)[::2]
        cumulative_s = np.cumsum(on_s)
        from_s = min(edges_s[0], times_s[0]) - margin_s - over_s
        to_s = max(edges_s[-1], times_s[-1]) + margin_s + over_s
        self._grid_s = from_s + STEP_S * np.arange(math.ceil((to_s - from_s) / STEP_S))

        def share(shift_s: float, length_s: float) -> Floats:
            last_s, first_s = (
                np.interp(self._grid_s + shift_s + end * length_s / 2, edges_s, cumulative_s)
                for end in (1, -1)
            )
            found: Floats = (last_s - first_s) / length_s
            return found

        if poll_s and over_s:
            count = max(1, round(over_s / poll_s))
            weights = np.full(count + 1, 1.0 / count)
            weights[[0, -1]] /= 2  # the polls at a row's edges belong to its neighbours too
            shifts_s = np.linspace(-over_s / 2, over_s / 2, count + 1)
            parts = [w * share(s, STEP_S) for w, s in zip(weights, shifts_s, strict=True)]
            self._load: Floats = np.sum(parts, axis=0)
        else:
            self._load = share(0.0, max(over_s, STEP_S))
        steps_s = (self._load[1:] + self._load[:-1]) / 2 * STEP_S
        self._integral_s: Floats = np.concatenate(([0.0], np.cumsum(steps_s)))

    def shown(self, shape: Shape, width_s: float, delays_s: Floats) -> Floats:
        """Return what each reading shows, between 0 and 1: a row a reading, a column a delay.

        Args:
            shape: How the sensor averages.
            width_s: Its width, in seconds.
            delays_s: Mean delays from the load to the reading, in seconds.
        """
        at_s = self._times_s[:, None] - shape.lag_s(delays_s, width_s)[None, :]
        if width_s < STEP_S:
            return self._look_up(self._load, at_s)
        if shape is Shape.FIRST_ORDER:
            return self._look_up(self._faded(width_s), at_s)
        ends_s = (
            self._look_up(self._integral_s, at_s),
            self._look_up(self._integral_s, at_s - width_s),
        )
        return (ends_s[0] - ends_s[1]) / width_s

    def _look_up(self, values: Floats, at_s: Floats) -> Floats:
        place = (at_s - self._grid_s[0]) / STEP_S
        before = np.clip(place.astype(np.intp), 0, len(values) - 2)
        first = values[before]
        found: Floats = first + (place - before) * (values[before + 1] - first)
        return found

    def _faded(self, tau_s: float) -> Floats:
        """Return the load through a first-order sensor, exact between the grid's points.

        First-order hold: Franklin, Powell, Workman, Digital Control of Dynamic Systems (1998).
        """
        kept = math.exp(-STEP_S / tau_s)
        lost = (1 - kept) * tau_s / STEP_S
        found: Floats = lfilter([1 - lost, lost - kept], [1, -kept], self._load)
        return found
