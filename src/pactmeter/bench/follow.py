"""The load called ``follow``: how busy the command's own processes keep the processors."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

PERIOD_S = 0.1
"""How often it looks; the kernel counts CPU time in steps of 10 ms."""

_PROC = Path("/proc")
_TICKS_HZ = float(os.sysconf("SC_CLK_TCK"))


@dataclass(frozen=True, slots=True)
class _Stat:
    parent: int
    own_ticks: int
    reaped_ticks: int


@dataclass
class Follower:
    """CPU time of all descendants of a process, of ended ones too.

    Attributes:
        root: The process; its own CPU time does not count, nor that of `besides`.
        besides: Descendants that do not belong to the command.
    """

    root: int
    besides: frozenset[int] = frozenset()
    _members: set[int] = field(default_factory=set)
    _strangers: set[int] = field(default_factory=set)
    _last: tuple[float, float] | None = None

    def busy_share(self, now_s: float) -> float:
        """Return how busy they kept all processors since the last look, 0 to 1."""
        cpu_s = self._cpu_s()
        before, self._last = self._last, (now_s, cpu_s)
        if before is None or now_s <= before[0]:
            return 0.0
        cores = len(os.sched_getaffinity(0))
        return min(1.0, max(0.0, (cpu_s - before[1]) / (now_s - before[0]) / cores))

    def _cpu_s(self) -> float:
        """Return their CPU time so far; a process that ends leaves its own to who waits for it."""
        pids = {int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit()}
        self._strangers &= pids
        self._members &= pids
        stats = {pid: stat for pid in pids - self._strangers if (stat := _stat(pid))}
        for pid in stats:
            if pid not in self._members and not self._descends(pid, stats):
                self._strangers.add(pid)
        ticks = sum(
            stats[pid].own_ticks + stats[pid].reaped_ticks for pid in self._members & set(stats)
        )
        if self.root in stats:
            ticks += stats[self.root].reaped_ticks
        return ticks / _TICKS_HZ

    def _descends(self, pid: int, stats: dict[int, _Stat]) -> bool:
        """Return whether a process belongs to the command, and remember those that do."""
        line = []
        while pid in stats and pid not in self.besides:
            line.append(pid)
            pid = stats[pid].parent
            if pid == self.root or pid in self._members:
                self._members.update(line)
                return True
        return False


def _stat(pid: int) -> _Stat | None:
    try:
        text = (_PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return None
    # after the name in brackets: state, ppid, ..., utime, stime, cutime, cstime (proc(5))
    fields = text[text.rindex(b")") + 2 :].split()
    own, reaped = (int(fields[i]) + int(fields[i + 1]) for i in (11, 13))
    return _Stat(int(fields[1]), own, reaped)
