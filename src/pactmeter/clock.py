"""Time: CLOCK_MONOTONIC seconds everywhere, and one wall-clock anchor for the manifest."""

from __future__ import annotations

import time
from dataclasses import dataclass


def now_s() -> float:
    """Return CLOCK_MONOTONIC in seconds (the same clock in every process of the machine)."""
    return time.monotonic()


@dataclass(frozen=True, slots=True)
class ClockPair:
    """Both clocks read together, so that monotonic times can be dated later.

    Attributes:
        monotonic_s: CLOCK_MONOTONIC, in seconds.
        utc_s: Seconds since 1970-01-01 UTC at the same moment.
    """

    monotonic_s: float
    utc_s: float

    @classmethod
    def now(cls) -> ClockPair:
        """Read both clocks, the monotonic one on both sides of the other."""
        before = time.monotonic()
        utc_s = time.time_ns() / 1e9
        return cls((before + time.monotonic()) / 2, utc_s)


class Ticker:
    """An absolute schedule: ticks at ``start + k * period``, never ``last + period``.

    A tick that is missed is skipped, not replayed, so a late reader does not shift the grid.
    """

    def __init__(self, period_s: float, start_s: float) -> None:
        self.period_s = period_s
        self._start_s = start_s
        self._index = 1

    @property
    def due_s(self) -> float:
        """Monotonic time of the next tick."""
        return self._start_s + self._index * self.period_s

    def advance(self, now: float) -> int:
        """Move to the first tick after ``now``; return how many ticks were skipped.

        >>> ticker = Ticker(1.0, 0.0)
        >>> ticker.advance(3.4), ticker.due_s
        (2, 4.0)
        """
        before = self._index
        self._index = max(before, int((now - self._start_s) / self.period_s)) + 1
        if self.due_s <= now:  # rounding of the division
            self._index += 1
        return self._index - before - 1
