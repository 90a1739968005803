"""Reading what is open, cheaply and without ever making a figure up.

A *section* is one user group (or all software events of a scope) on all its targets, which
together are the figures of its columns. While threads of a target start or end, a group read
fails now and then with ECHILD; it is tried again, and where that does not help the last good
reading stands. What was never read is unknown.
"""

from __future__ import annotations

import errno
import os
import struct
from typing import TYPE_CHECKING, Protocol

from pactmeter.counters.scaling import Turns, clocked_ns, combine, whole_ns
from pactmeter.kernel.perf import GroupReader

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pactmeter.counters.opening import Target

Figures = tuple["Sequence[int] | None", "tuple[float, float] | None"]
"""The total of each column, and enabled and running seconds; None: not known."""

_TRIES = 5
"""The longest run of ECHILD seen is 3."""
_PASSING = (errno.ECHILD, errno.EIO)
_HEADER = 3
"""Words before the counts of a group: members, enabled ns, running ns."""


class Section(Protocol):
    """What `Counters` reads.

    Attributes:
        columns: Index of each column among those asked for.
        leaders: Descriptor of each group leader, by target (a thread, a CPU, or one on the other).
        stale: How often a group could not be read and its last good reading stood in.
    """

    columns: tuple[int, ...]
    leaders: dict[Target, list[int]]
    stale: int

    def add(self, target: Target, leader_fd: int, slots: Sequence[int | None]) -> None:
        """Add an open group; `slots` tells the column of each member, None for no column."""

    def read(self) -> Figures:
        """Return totals and times.

        Raises:
            OSError: Something else than a target that is starting or ending threads.
        """


class AlwaysOn:
    """Software events: one group a target, all alike, never rotated out and so never scaled.

    All groups are read into one buffer and unpacked at once: this is read a hundred times a
    second. A read that fails leaves its part of the buffer as it was, which is the last good
    reading; a part never read says 0 members.

    Where the groups are opened on single CPUs (`clocked`) their enabled time grows while a thread
    runs elsewhere, and means nothing: then the first member is a clock, whose count is the time.
    """

    def __init__(self, columns: Sequence[int], *, clocked: bool = False) -> None:
        self.columns = tuple(columns)
        self._clocked = clocked
        self._places: list[int] = []
        self.leaders: dict[Target, list[int]] = {}
        self.stale = 0
        self._stride = 0
        self._buffer = bytearray()
        self._views: list[tuple[int, list[memoryview]]] = []
        self._unpack: Callable[[bytearray], tuple[int, ...]] = struct.Struct("").unpack
        self._words: tuple[int, ...] = ()

    def add(self, target: Target, leader_fd: int, slots: Sequence[int | None]) -> None:
        """Add a target; all have the same members."""
        self.leaders[target] = [leader_fd]
        words = 2 if self._clocked else 1  # of a member: its count, and where it is sampled its id
        self._places = [words * slots.index(number) for number in range(len(self.columns))]
        self._stride = _HEADER + words * len(slots)
        self._views.clear()

    def _lay_out(self) -> None:
        size = self._stride * 8
        self._buffer = bytearray(size * len(self.leaders))
        whole = memoryview(self._buffer)
        self._views = [
            (leaders[0], [whole[number * size : (number + 1) * size]])
            for number, leaders in enumerate(self.leaders.values())
        ]
        self._unpack = struct.Struct(f"={self._stride * len(self.leaders)}Q").unpack

    def read(self) -> Figures:
        """Return totals and times."""
        if not self._views:
            self._lay_out()
        size = self._stride * 8
        for fd, view in self._views:
            try:
                if os.readv(fd, view) == size:
                    continue
            except OSError as error:
                if error.errno not in _PASSING:
                    raise
            self._again(fd, view)
        stride = self._stride
        self._words = words = self._unpack(self._buffer)
        if not words or 0 in words[::stride]:
            return None, None
        totals = [sum(words[_HEADER + place :: stride]) for place in self._places]
        if self._clocked:
            ran_s = sum(words[_HEADER::stride]) / 1e9
            return totals, (ran_s, ran_s)
        return totals, (sum(words[1::stride]) / 1e9, sum(words[2::stride]) / 1e9)

    def _again(self, fd: int, view: list[memoryview]) -> None:
        for _ in range(_TRIES - 1):
            try:
                if os.readv(fd, view) == len(view[0]):
                    return
            except OSError as error:
                if error.errno not in _PASSING:
                    raise
        self.stale += 1

    def enabled_ns(self) -> dict[Target, int]:
        """Return the enabled time of each target at the last reading."""
        place = _HEADER if self._clocked else 1
        return dict(zip(self.leaders, self._words[place :: self._stride or 1], strict=False))


class Pool:
    """The groups of a shared section on one target; values are those of the last good reading.

    There is more than one only on a hybrid CPU, whose core PMUs a thread uses one at a time:
    their counts and running times add up.
    """

    def __init__(self, width: int, *, scaled: bool, clocked: bool) -> None:
        self._width = width
        self._scaled = scaled
        self._clocked = clocked
        self._groups: list[tuple[GroupReader, Sequence[int | None]]] = []
        self.turns: Turns | None = None

    def add(self, leader_fd: int, slots: Sequence[int | None]) -> None:
        """Add an open group."""
        reader = GroupReader(leader_fd, len(slots), ids=self._clocked)
        self._groups.append((reader, slots))

    def refresh(self, reference_ns: int) -> bool:
        """Read the groups; return False where the last reading still stands."""
        counts = [0] * self._width
        enabled_ns = running_ns = 0
        for reader, slots in self._groups:
            reading = _read(reader)
            if reading is None:
                return False
            enabled_ns = max(enabled_ns, reading[1])
            running_ns += reading[2]
            for slot, count in zip(slots, reading[_HEADER:], strict=True):
                if slot is not None:
                    counts[slot] += count
        if self._clocked:
            enabled_ns = clocked_ns(running_ns, reference_ns)
        elif self._scaled:
            enabled_ns = whole_ns(enabled_ns, running_ns, reference_ns)
        # a stale count is not scaled by a fresh time: both are taken here, or neither
        self.turns = self.turns or Turns(self._width)
        self.turns.take(counts, running_ns, enabled_ns)
        return True


class Shared:
    """The hardware events of one user group, which may have to share the hardware.

    Attributes:
        reference: Always-on events of the same targets, read before this section.
        scaled: Whether counts are scaled for the time the group was rotated out.
        clocked: Whether its own enabled time means nothing, see `AlwaysOn`.
    """

    def __init__(
        self, columns: Sequence[int], *, scaled: bool = True, clocked: bool = False
    ) -> None:
        self.columns = tuple(columns)
        self.clocked = clocked
        self.leaders: dict[Target, list[int]] = {}
        self.stale = 0
        self.scaled = scaled
        self.reference: AlwaysOn | None = None
        self._pools: dict[Target, Pool] = {}

    def add(self, target: Target, leader_fd: int, slots: Sequence[int | None]) -> None:
        """Add a group of a target."""
        self.leaders.setdefault(target, []).append(leader_fd)
        pool = self._pools.get(target)
        if pool is None:
            pool = Pool(len(self.columns), scaled=self.scaled, clocked=self.clocked)
            self._pools[target] = pool
        pool.add(leader_fd, slots)

    def read(self) -> Figures:
        """Return totals and times."""
        references = self.reference.enabled_ns() if self.reference and self.scaled else {}
        for target, pool in self._pools.items():
            self.stale += not pool.refresh(references.get(target, 0))
        targets = [pool.turns for pool in self._pools.values() if pool.turns is not None]
        if not targets or len(targets) < len(self._pools):
            return None, None
        scaled = combine(targets, estimating=self.scaled)
        return scaled.counts, (scaled.enabled_ns / 1e9, scaled.running_ns / 1e9)


def _read(reader: GroupReader) -> tuple[int, ...] | None:
    for _ in range(_TRIES):
        try:
            return reader.read()
        except OSError as error:
            if error.errno not in _PASSING:
                raise
    return None
