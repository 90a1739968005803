"""One thread that waits for descriptors and for moments, and calls what is to be called then."""

from __future__ import annotations

import heapq
import itertools
import select
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Timer:
    """A call that is to come."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[[], object]) -> None:
        self._call: Callable[[], object] | None = call

    def cancel(self) -> None:
        """Let it not come."""
        self._call = None

    def fire(self) -> None:
        """Make the call, unless it was cancelled or made before."""
        call, self._call = self._call, None
        if call is not None:
            call()


class Loop:
    """The loop of the server process.

    It waits with select(2), whose timeout is in microseconds: a reply that is due in 1.8 ms must
    not come at the next whole millisecond, as with epoll.

    Args:
        clock: Tells the time that `call_at` is about, in seconds. A test without descriptors may
            have its own, and call `run_due` after turning it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._readers: dict[int, Callable[[], object]] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._stopped = False

    def call_at(self, at_s: float, call: Callable[[], object]) -> Timer:
        """Call at a time of the clock, in seconds; at once if it is past, but not from here."""
        timer = Timer(call)
        heapq.heappush(self._timers, (at_s, next(self._order), timer))
        return timer

    def call_later(self, delay_s: float, call: Callable[[], object]) -> Timer:
        """Call after a while, in seconds."""
        return self.call_at(self.clock() + delay_s, call)

    def add_reader(self, fd: int, call: Callable[[], object]) -> None:
        """Call each time that a descriptor can be read."""
        self._readers[fd] = call

    def remove_reader(self, fd: int) -> None:
        """Leave a descriptor alone, before it is closed."""
        self._readers.pop(fd, None)

    def run_due(self) -> float | None:
        """Make the calls that are due.

        Returns:
            How long until the next is, in seconds; None if there is none.
        """
        timers = self._timers
        while timers:
            left_s = timers[0][0] - self.clock()
            if left_s > 0.0:
                return left_s
            heapq.heappop(timers)[2].fire()
        return None

    def run_forever(self) -> None:
        """Wait and call until `stop`."""
        self._stopped = False
        readers = self._readers
        while True:
            wait_s = self.run_due()
            if self._stopped:
                return
            ready, _, _ = select.select(tuple(readers), (), (), wait_s)
            for fd in ready:
                call = readers.get(fd)  # one called before may have removed it
                if call is not None:
                    call()

    def stop(self) -> None:
        """Let `run_forever` return after the present call."""
        self._stopped = True
