"""What the kernel wrote into the rings becomes spans: so many events of a column in that time.

A sample holds the counts of a whole group on one CPU for one thread, cumulative. The thread cannot
have counted before it ran, and the group's clock tells for how long it ran: so the difference of
two samples belongs to the last part of the time between them. A sample is written every period of
running time and whenever the thread leaves the CPU, and a READ record where it ends.

Layouts: perf_event_open(2), with TID, TIME and READ in ``sample_type`` and GROUP, ID, ENABLED and
RUNNING in ``read_format``. A group is known by its leader's id beside the counts: the id that
IDENTIFIER puts into a sample is that of another group now and then (seen on 6.12: the kernel
prepares it once for all switch events of a thread).
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pactmeter.kernel import perf

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_header = struct.Struct("=IHH").unpack_from  # type, misc, size
_lost = struct.Struct("=8xQQ").unpack_from  # header, id, how many
_ID = 1
"""Where the leader's id stands among what is unpacked of a group: after the leader's count."""
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
    last: dict[int, tuple[int, Sequence[int]]] = field(default_factory=dict)
    most: int = _FEW
    nothing: tuple[int, ...] = ()

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
        self._layouts: dict[tuple[int, int], Callable[[bytes, int], tuple[int, ...]]] = {}

    def add(self, leader_id: int, stream: Stream) -> None:
        """Let the records of the group with this leader be those of the stream."""
        self._streams[leader_id] = stream

    def feed(self, data: bytes) -> list[Span]:
        """Return the spans of drained records of one ring."""
        spans: list[Span] = []
        position, end = 0, len(data)
        layouts, streams = self._layouts, self._streams
        while position < end:
            kind, _, size = _header(data, position)
            if kind == perf.RECORD_SAMPLE:
                unpack = layouts.get((kind, size)) or self._layout(kind, size)
                tid, time_ns, *counts = unpack(data, position)
                stream = streams[counts[_ID]]
                if not stream.by_thread:
                    tid = 0
                spans.append(_span(stream, tid, time_ns, counts))
                stream.last[tid] = (time_ns, counts)
            elif kind == perf.RECORD_READ:
                unpack = layouts.get((kind, size)) or self._layout(kind, size)
                tid, *counts, time_ns = unpack(data, position)
                stream = streams[counts[_ID]]
                if len(counts) == len(stream.nothing):  # else its group was being taken apart
                    spans.append(_span(stream, tid, time_ns, counts))
                stream.last.pop(tid, None)
            elif kind == perf.RECORD_LOST:
                self.lost += _lost(data, position)[1]
            elif kind == perf.RECORD_THROTTLE:
                self.throttled += 1
            position += size
        return spans

    def _layout(self, kind: int, size: int) -> Callable[[bytes, int], tuple[int, ...]]:
        if kind == perf.RECORD_SAMPLE:  # pid, tid, time, members, enabled, running, group
            layout = struct.Struct(f"=8x4xIQ24x2Q{'Q8x' * ((size - 64) // 16)}")
        else:  # pid, tid, members, enabled, running, group, pid, tid, time
            layout = struct.Struct(f"=8x4xI24x2Q{'Q8x' * ((size - 72) // 16)}8xQ")
        self._layouts[kind, size] = layout.unpack_from
        return layout.unpack_from

    def forget_ended(self) -> None:
        """Drop threads that ended without a READ record (kernels before 6.18, it seems)."""
        for stream in self._streams.values():
            if len(stream.last) > stream.most:
                ended = [tid for tid in stream.last if not os.path.exists(f"/proc/{tid}")]  # noqa: PTH110
                for tid in ended:
                    del stream.last[tid]
                stream.most = 2 * len(stream.last) + _FEW


def _place(member: int) -> int:
    """Return where a member's count stands: the leader's is followed by its id."""
    return member + 1 if member else 0


def _span(stream: Stream, tid: int, time_ns: int, counts: Sequence[int]) -> Span:
    before = stream.last.get(tid)
    clock_ns = counts[0]
    if before is None or clock_ns < before[1][0]:  # a thread's first sample; numbers are used again
        return time_ns - clock_ns, time_ns, stream.slots, counts, stream.nothing, 1.0
    last_ns, old = before
    start_ns = time_ns - clock_ns + old[0]
    return max(start_ns, last_ns), time_ns, stream.slots, counts, old, 1.0
