"""How many samples the threads of a program are made to take, before it is left alone for a while.

A thread that leaves or enters a CPU stops and starts the clock that samples it, and takes a sample:
together some 10 us on a virtual machine (1 us or less elsewhere). A program that switches 100 000
times a second would take four times as long. So beyond a rate all that samples is switched off;
its events count on.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from pactmeter.kernel import perf

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MOST_HZ = 1000.0
"""Samples a second on a CPU, beside those of the clock: 1 % of it where one takes 10 us."""
OFF_S = 10.0


class Budget:
    """Switches the members of groups that sample off where there are too many samples, and on."""

    def __init__(
        self, members: Sequence[int], rings: int, clock_hz: float, *, now_s: float
    ) -> None:
        """Begin with a second's worth.

        Args:
            members: Descriptors of what samples.
            rings: How many rings there are.
            clock_hz: Samples a second of the clocks, at most, in one ring.
            now_s: CLOCK_MONOTONIC, in seconds.
        """
        self._members = members
        self._hz = MOST_HZ + clock_hz
        self._left = [self._hz] * rings
        self._seen_s = now_s
        self._off_at_s: float | None = None
        self._closed = False
        self.off_s = 0.0
        """How long it was off each time until it went on again, together, in seconds."""

    @property
    def spent(self) -> bool:
        """Whether nothing samples now."""
        return self._off_at_s is not None

    def saw(self, samples: Sequence[int], now_s: float) -> None:
        """Take the number of samples of each ring since the last time; switch off, or on again."""
        if self._closed:
            return
        elapsed_s, self._seen_s = now_s - self._seen_s, now_s
        # a second's worth may come at once
        self._left = [
            min(left + elapsed_s * self._hz, self._hz) - number
            for left, number in zip(self._left, samples, strict=True)
        ]
        if self._off_at_s is None:
            if self._members and min(self._left, default=0.0) < 0.0:
                self._off_at_s = now_s
                self._switch(perf.disable)
        elif now_s - self._off_at_s >= OFF_S:
            self.restore(now_s)

    def restore(self, now_s: float) -> None:
        """Let everything sample again."""
        if self._off_at_s is not None and not self._closed:
            self.off_s += now_s - self._off_at_s
            self._off_at_s = None
            self._left = [max(left, 0.0) for left in self._left]
            self._switch(perf.enable)

    def close(self) -> None:
        """Switch it off for good."""
        self._closed = True
        self._switch(perf.disable)

    def _switch(self, how: Callable[[int], None]) -> None:
        for member in self._members:
            with contextlib.suppress(OSError):  # its thread has ended
                how(member)
