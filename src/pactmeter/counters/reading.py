"""Reading what is open, cheaply and without ever making a figure up.

A *pool* is one user group (or all software events) on one target; a *section* is the same pool
on all its targets, which together are the figures of its columns.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from pactmeter.counters.scaling import Part, combine
from pactmeter.kernel.perf import GroupReader

if TYPE_CHECKING:
    from collections.abc import Sequence

_TRIES = 5
"""While threads of the target start or end, a group read fails now and then with ECHILD; the
longest run of failures seen is 3."""


class Pool:
    """The kernel groups of one section on one target; values are those of the last good reading.

    Attributes:
        counts: One count a column of the section; None before the first good reading.
        enabled_ns: Time the groups were asked to count.
        running_ns: Time they did.
        stale: How often no fresh reading was to be had, so that the one before stands.
    """

    __slots__ = (
        "_readers",
        "_slots",
        "_straight",
        "_width",
        "counts",
        "enabled_ns",
        "reference",
        "reference_ns",
        "running_ns",
        "stale",
    )

    def __init__(self, width: int) -> None:
        self._width = width
        self._readers: list[GroupReader] = []
        self._slots: list[Sequence[int | None]] = []
        self._straight = False
        self.counts: Sequence[int] | None = None
        self.enabled_ns = self.running_ns = self.reference_ns = self.stale = 0
        self.reference: Pool | None = None

    def add(self, leader_fd: int, slots: Sequence[int | None]) -> None:
        """Add an open group; `slots` tells the column of each member, None for no column."""
        self._readers.append(GroupReader(leader_fd, len(slots)))
        self._slots.append(slots)
        self._straight = len(self._readers) == 1 and list(slots) == list(range(self._width))

    @property
    def leaders(self) -> list[int]:
        """Descriptors of the group leaders."""
        return [reader.fd for reader in self._readers]

    def refresh(self) -> None:
        """Read the groups; where that fails, the values stay those of the last good reading.

        Raises:
            OSError: Something else than a target that is starting or ending threads.
        """
        readings = []
        for reader in self._readers:
            reading = _read(reader)
            if reading is None:
                self.stale += 1
                return
            readings.append(reading)
        if self.reference is not None:
            # Kept with the reading: a stale count must not be scaled by a fresh time.
            self.reference_ns = self.reference.enabled_ns
        if self._straight:
            _, self.enabled_ns, self.running_ns, *self.counts = readings[0]
            return
        counts = [0] * self._width
        for reading, slots in zip(readings, self._slots, strict=True):
            for slot, count in zip(slots, reading[3:], strict=True):
                if slot is not None:
                    counts[slot] += count
        self.counts = counts
        self.enabled_ns = max(reading[1] for reading in readings)
        self.running_ns = sum(reading[2] for reading in readings)

    @property
    def part(self) -> Part:
        """The last good reading, for scaling."""
        return Part(self.counts or (), self.enabled_ns, self.running_ns, self.reference_ns)


class Section:
    """One user group (or all software events) on all its targets.

    Attributes:
        columns: Index of each column among those asked for.
        shared: Whether the group may have to share the hardware, and is scaled for it.
    """

    def __init__(self, columns: Sequence[int], *, shared: bool) -> None:
        self.columns = tuple(columns)
        self.shared = shared
        self.pools: dict[int, Pool] = {}

    def read(self) -> tuple[Sequence[int] | None, tuple[float, float] | None]:
        """Return the total of each column, and enabled and running time in seconds.

        None stands for what is not known: a target never read, or a group that never ran.
        """
        pools = self.pools.values()
        for pool in pools:
            pool.refresh()
        if not pools or any(pool.counts is None for pool in pools):
            return None, None
        totals: Sequence[int] | None
        if self.shared:
            totals, enabled, running = combine([pool.part for pool in pools])
        else:
            every = [pool.counts or () for pool in pools]
            totals = [sum(counts) for counts in zip(*every, strict=True)]
            enabled = sum(pool.enabled_ns for pool in pools)
            running = sum(pool.running_ns for pool in pools)
        return totals, (enabled * 1e-9, running * 1e-9)


def _read(reader: GroupReader) -> tuple[int, ...] | None:
    for _ in range(_TRIES):
        try:
            return reader.read()
        except OSError as error:
            if error.errno not in (errno.ECHILD, errno.EIO):
                raise
    return None
