"""The ring buffer that the kernel writes the records of perf events into (perf_event_open(2))."""

from __future__ import annotations

import mmap
import struct

_HEAD = 1024
"""Where ``data_head`` stands in the control page, followed by ``data_tail``; both only grow."""
_POSITIONS = struct.Struct("=QQ")
_TAIL = struct.Struct("=Q")
_MOST_PAGES, _FEWEST_PAGES = 128, 8
"""128 data pages and the control page are what ``perf_event_mlock_kb`` grants a CPU by default."""


class Ring:
    """A ring, mapped; one a CPU serves the events of all threads there.

    Attributes:
        fd: The event whose ring it is: others are redirected to it, poll(2) waits on it.
    """

    def __init__(self, fd: int) -> None:
        """Map the ring of an event, as large as is allowed.

        Raises:
            OSError: Not even the smallest may be mapped (EPERM: RLIMIT_MEMLOCK).
        """
        self.fd = fd
        pages = _MOST_PAGES
        while True:
            try:
                self._map = mmap.mmap(fd, (1 + pages) * mmap.PAGESIZE)
                break
            except PermissionError:
                if pages == _FEWEST_PAGES:
                    raise
                pages //= 2
        self._size = pages * mmap.PAGESIZE

    @property
    def filled(self) -> float:
        """Share of the ring that `drain` would take out."""
        head, tail = _POSITIONS.unpack_from(self._map, _HEAD)
        return float((head - tail) / self._size)

    def drain(self) -> bytes:
        """Take out and return the records written since the last time, whole and in order."""
        head, tail = _POSITIONS.unpack_from(self._map, _HEAD)
        if head == tail:
            return b""
        start, length = tail % self._size, head - tail
        first = mmap.PAGESIZE + start
        data = self._map[first : first + min(length, self._size - start)]
        if len(data) < length:
            data += self._map[mmap.PAGESIZE : mmap.PAGESIZE + length - len(data)]
        _TAIL.pack_into(self._map, _HEAD + _TAIL.size, head)
        return data

    def close(self) -> None:
        """Unmap the ring; may be called again."""
        self._map.close()
