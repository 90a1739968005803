"""What the kernel wrote into the rings becomes spans: so many events of a column in that time.

A sample holds the counts of a whole group on one CPU for one thread, cumulative. The thread cannot
have counted before it ran, and the group's clock tells for how long it ran: so the difference of
two samples belongs to the last part of the time between them. A sample is written every period of
running time and whenever the thread leaves the CPU; what it counted after the last one is told by
the totals, and when it ended by a record.

Layouts: perf_event_open(2), with TID, TIME and READ in ``sample_type`` and GROUP, ID, ENABLED and
RUNNING in ``read_format``. A group is known by its leader's id beside the counts: the id that
IDENTIFIER puts into a sample is that of another group now and then (seen on 6.12: the kernel
prepares it once for all switch events of a thread).
"""

from __future__ import annotations

import os
import struct
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pactmeter.kernel import perf

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_header = struct.Struct("=IHH").unpack_from  # type, misc, size
_HEADER_BYTES = 8
_lost = struct.Struct("=8xQQ").unpack_from  # header, id, how many
_exit = struct.Struct("=8x16xQ").unpack_from  # header, pid, ppid, tid, ptid, time
Record = tuple[int, ...]
"""Thread, time in ns, then the group: the leader's count and its id, the counts of the others."""
_TIME, _CLOCK, _ID = 1, 2, 3
_FEW = 1000
"""Threads of a descriptor below which nobody asks which of them have ended."""


Slots = tuple[tuple[int, int], ...]
"""(column, place among the counts) of each event wanted."""
Span = tuple[int, int, Slots, "Sequence[int]", "Sequence[int]", float]
"""What one thread counted between two moments (ns, CLOCK_MONOTONIC): where the columns' counts
stand, the counts after and before, and which share of their difference is meant.

A plain tuple: a run has thousands a second.
"""


@dataclass(slots=True)
class Grid:
    """The bins between two readings, for spans that lie in one or two of them.

    Attributes:
        zero_ns: Where the first bin begins.
        period_ns: Length of a bin.
        from_ns: The moment of the first reading.
        at_ns: That of the second; 0: there are no bins just now.
        seen: Events of each bin, a list for each column.
        sampled_ns: When the last sample of a ring was taken, of each time that it was emptied.
        ended_ns: When threads ended.
    """

    zero_ns: int = 0
    period_ns: int = 1
    from_ns: int = 0
    at_ns: int = 0
    seen: list[list[float]] = field(default_factory=list)
    sampled_ns: list[int] = field(default_factory=list)
    ended_ns: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Stream:
    """One kernel group on one target.

    Attributes:
        slots: Where the counts of the columns stand.
        members: How many events the group has; the first is its clock, in ns.
        by_thread: Whether values are each thread's own (inherited events) or the target's.
    """

    slots: Slots
    members: int
    by_thread: bool
    last: dict[int, Record] = field(default_factory=dict)
    most: int = _FEW
    nothing: Record = ()

    def __post_init__(self) -> None:
        self.slots = tuple((column, _place(member)) for column, member in self.slots)
        self.nothing = (0,) * _place(self.members)


class Records:
    """Parses what is drained, and keeps each thread's last values.

    Attributes:
        lost: Records that the kernel could not write because a ring was full.
        throttled: How often the kernel held samples back because there were too many.
    """

    def __init__(self) -> None:
        self.lost = 0
        self.throttled = 0
        self._streams: dict[int, Stream] = {}
        self._layouts: dict[int, struct.Struct] = {}

    def add(self, leader_id: int, stream: Stream) -> None:
        """Let the records of the group with this leader be those of the stream."""
        self._streams[leader_id] = stream

    def feed(self, data: bytes, grid: Grid) -> Iterator[Span]:
        """Lay drained records of one ring out, and yield the spans that do not fit the grid.

        All of them are to be taken. The grid is that of the moment when the first is.
        """
        if not data:
            return iter(())
        kind, _, size = _header(data, 0)
        if kind == perf.RECORD_SAMPLE and size and _alike(data, size):
            return self._spans(self._layout(size).iter_unpack(data), grid)
        return self._spans(self._walk(data, grid), grid)

    def _spans(self, records: Iterable[Record], grid: Grid) -> Iterator[Span]:
        # thousands a second: all in one function, and no record outlives its turn
        zero_ns, period_ns, seen = grid.zero_ns, grid.period_ns, grid.seen
        from_ns, at_ns = grid.from_ns, grid.at_ns
        streams = self._streams
        end_ns = 0
        for record in records:
            stream = streams[record[_ID]]
            tid = record[0] if stream.by_thread else 0
            old = stream.last.get(tid)
            stream.last[tid] = record
            end_ns, clock_ns = record[_TIME], record[_CLOCK]
            if old is None or clock_ns < old[_CLOCK]:  # its first; thread numbers are used again
                yield end_ns - clock_ns, end_ns, stream.slots, record, stream.nothing, 1.0
                continue
            start_ns = end_ns - clock_ns + old[_CLOCK]
            if start_ns < old[_TIME]:  # noqa: PLR1730  a call of max is a fifth of all this
                start_ns = old[_TIME]
            begin, end = (start_ns - zero_ns) // period_ns, (end_ns - zero_ns - 1) // period_ns
            if start_ns < from_ns or end_ns > at_ns or not begin <= end <= begin + 1:
                yield start_ns, end_ns, stream.slots, record, old, 1.0
                continue
            if begin == end:
                for column, slot in stream.slots:
                    if count := record[slot] - old[slot]:
                        # below 0: another thread with the number of one that has ended
                        seen[column][end] += count if count > 0 else record[slot]
                continue
            first = (zero_ns + end * period_ns - start_ns) / (end_ns - start_ns)
            for column, slot in stream.slots:
                if count := record[slot] - old[slot]:
                    parts, count = seen[column], count if count > 0 else record[slot]
                    parts[begin] += count * first
                    parts[end] += count * (1.0 - first)
        grid.sampled_ns.append(end_ns)

    def _walk(self, data: bytes, grid: Grid) -> Iterator[Record]:
        """Yield the samples, and take note of the others."""
        position, end = 0, len(data)
        while position < end:
            kind, _, size = _header(data, position)
            if kind == perf.RECORD_SAMPLE:
                yield self._layout(size).unpack_from(data, position)
            elif kind == perf.RECORD_EXIT:
                grid.ended_ns += _exit(data, position)
            elif kind == perf.RECORD_LOST:
                self.lost += _lost(data, position)[1]
            elif kind == perf.RECORD_THROTTLE:
                self.throttled += 1
            if size < _HEADER_BYTES:
                raise ValueError(f"a record of {size} bytes in a ring of the kernel")
            position += size

    def _layout(self, size: int) -> struct.Struct:
        layout = self._layouts.get(size)
        if layout is None:  # pid, tid, time, members, enabled, running, group
            layout = struct.Struct(f"=8x4xIQ24x2Q{'Q8x' * ((size - 64) // 16)}")
            self._layouts[size] = layout
        return layout

    def forget_ended(self) -> None:
        """Drop threads that have ended: those that run now would be taken for them."""
        for stream in self._streams.values():
            if len(stream.last) > stream.most:
                ended = [tid for tid in stream.last if not os.path.exists(f"/proc/{tid}")]  # noqa: PTH110
                for tid in ended:
                    del stream.last[tid]
                stream.most = 2 * len(stream.last) + _FEW


def number(data: bytes) -> int:
    """Return about how many samples were drained, as if all were like the first."""
    position = 0
    while position < len(data):
        kind, _, size = _header(data, position)
        if kind == perf.RECORD_SAMPLE or not size:
            return len(data) // (size or len(data))
        position += size
    return 0


def _place(member: int) -> int:
    """Return where a member's count stands in a record."""
    return _CLOCK + member + (member > 0)


def _alike(data: bytes, size: int) -> bool:
    """Whether all records are samples of this size (only what was interrupted may differ)."""
    count, rest = divmod(len(data), size)
    fields = {0: perf.RECORD_SAMPLE, 1: 0, 6: size & 0xFF, 7: size >> 8}
    if sys.byteorder == "big":
        fields = {2: 0, 3: perf.RECORD_SAMPLE, 6: size >> 8, 7: size & 0xFF}
    return not rest and all(
        data[place::size] == bytes([value]) * count for place, value in fields.items()
    )
