"""What a process tree did, from ``/proc``: faults, CPU time, switches and migrations.

What a process tree did is the sum over its processes of what each did itself, its dead threads
included, and of what the children it has reaped did. Reaping moves a child's account into its
parent's before the child leaves ``/proc`` (kernel/exit.c, `wait_task_zombie`), so the sum stays
right whether or not a child was ever seen alive. It does so for page faults and CPU time alone:
switches and migrations are kept by thread, and what a thread does after its last reading is lost.

Sources: proc(5); fs/proc/array.c (`do_task_stat`, `task_context_switch_counts`),
kernel/sched/debug.c (``se.nr_migrations``), clock_getcpuclockid(3) for CPU time in ns.
"""

from __future__ import annotations

import errno
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

PROC = Path("/proc")
TICK_NS = 10**9 // os.sysconf("SC_CLK_TCK")
MINOR, MAJOR, CPU, SWITCHES, MIGRATIONS = range(5)
BY_THREAD = {
    SWITCHES: ("status", (b"\nvoluntary_ctxt_switches:", b"\nnonvoluntary_ctxt_switches:")),
    MIGRATIONS: ("sched", (b"\nse.nr_migrations",)),
}
"""The file of a thread and the lines of it that add up to a part."""
_SLACK = (0, 0, 2 * TICK_NS)
"""By how much the growth of a parent's account may seem too small: times come in whole ticks."""

GONE = (errno.ENOENT, errno.ESRCH)


class _Stat(NamedTuple):
    """What ``/proc/PID/stat`` says; parts are minor faults, major faults, CPU time in ns."""

    parent: int
    start: int
    own: tuple[int, int, int]
    reaped: tuple[int, int, int]


@dataclass(slots=True)
class _Process:
    """A process of the tree.

    Attributes:
        parent: Its parent when last read; an orphan stays in the tree.
        value: Its own account and that of the children it has reaped.
        owed: What children held that are gone, less what the account of reaped children has grown
            by since they were last read. Above 0, the parent has not reaped them (yet).
        threads: The last parts of each thread.
        ghosts: Whether children were found gone in this reading.
    """

    stat: _Stat
    parent: int
    value: list[int]
    owed: list[int] = field(default_factory=lambda: [-slack for slack in _SLACK])
    threads: dict[str, list[int]] = field(default_factory=dict)
    ghosts: bool = False


class Tree:
    """The processes below one, and what they have done since `open`.

    Attributes:
        totals: The five parts.
        stale: How often a process could not be read though it was there.
        unaccounted: How often processes ended and nothing says what they did last.
    """

    def __init__(
        self, root: Path, pid: int, exclude_pids: Collection[int], by_thread: Sequence[int]
    ) -> None:
        self.totals = [0, 0, 0, 0, 0]
        self.stale = 0
        self.unaccounted = 0
        self._root = str(root)
        self._clock: Callable[[int], int] | None = None
        self._pid = pid
        self._excluded = {str(excluded) for excluded in exclude_pids}
        self._by_thread = [BY_THREAD[part] for part in by_thread]
        self._parts = list(by_thread)
        # Parents come before their children, and a reading goes in that order: a child read
        # alive was not yet in the account of its parent, so nothing is in two accounts.
        self._members: dict[str, _Process] = {}
        self._listed: set[str] = set()
        self._before = [0, 0, 0]
        self._lost = [0, 0, 0]
        self._opened_ticks = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // TICK_NS
        self._opening = True

    def open(self) -> None:
        """Take what has been done so far as zero.

        Raises:
            OSError: The process cannot be read.
        """
        self._stat(str(self._pid))
        if self._root == str(PROC):
            if os.getpid() != int((PROC / "self").readlink().name):
                raise OSError(errno.EXDEV, "it is that of another pid namespace")
            try:
                _cpu_ns(self._pid)
                self._clock = _cpu_ns
            except OSError:  # the ticks of its stat will do
                pass
        self.read()
        self._opening = False

    def read(self) -> None:
        """Bring `totals` up to date."""
        listed = {name for name in os.listdir(self._root) if name.isdigit()}  # noqa: PTH208  cost
        ghosts: dict[str, _Process] = {}
        for name, process in list(self._members.items()):
            if not self._renew(name, process):
                ghosts[name] = self._members.pop(name)
        self._join((listed - self._listed) | (listed & ghosts.keys()))
        self._listed = listed
        for ghost in ghosts.values():
            self._bury(ghost, ghosts)
        for process in self._members.values():
            self._settle(process)
        sums = list(self._lost)
        for process in self._members.values():
            for part in range(3):
                sums[part] += process.value[part] + max(0, process.owed[part])
        self.totals[:3] = [new - old for new, old in zip(sums, self._before, strict=True)]

    def _renew(self, name: str, process: _Process) -> bool:
        """Read a process again; return False where it is gone."""
        try:
            stat = self._stat(name)
        except OSError as error:
            if error.errno in GONE:
                return False
            self.stale += 1
            process.ghosts = True  # its account is no younger than they are
            return True
        old, process.stat = process.stat, stat
        if stat.start != old.start:
            return False  # another process has taken its number
        process.parent = stat.parent
        for part in range(3):
            process.owed[part] -= stat.reaped[part] - old.reaped[part]
            process.value[part] = stat.own[part] + stat.reaped[part]
        # No thread switches without running: where none has run there is nothing to read.
        if self._parts and (self._clock is None or stat.own[CPU] != old.own[CPU]):
            self._count_threads(name, process)
        return True

    def _join(self, names: Iterable[str]) -> None:
        """Take in what was started below a member."""
        children: dict[int, list[str]] = {}
        for name in names:
            if name not in self._excluded:
                try:
                    children.setdefault(self._stat(name).parent, []).append(name)
                except OSError:  # it has ended since it was listed
                    continue
        if self._opening:
            waiting = [str(self._pid)]
        else:
            waiting = [name for pid in self._members for name in children.pop(int(pid), ())]
        while waiting:
            name = waiting.pop()
            # Read once more: the first reading may be older than that of its parent.
            if self._adopt(name):
                waiting += children.pop(int(name), ())

    def _adopt(self, name: str) -> bool:
        try:
            stat = self._stat(name)
        except OSError:
            return False
        value = [own + reaped for own, reaped in zip(stat.own, stat.reaped, strict=True)]
        process = self._members[name] = _Process(stat, stat.parent, value)
        if self._opening or stat.start < self._opened_ticks:  # what it did before is not ours
            self._before = [old + new for old, new in zip(self._before, value, strict=True)]
            self._count_threads(name, process, from_now=True)
        else:
            self._count_threads(name, process)
        return True

    def _bury(self, ghost: _Process, ghosts: dict[str, _Process]) -> None:
        """Expect what a process held in the account of its nearest living ancestor."""
        parent = ghost.parent
        while str(parent) in ghosts:
            parent = ghosts[str(parent)].parent
        held = [value + max(0, owed) for value, owed in zip(ghost.value, ghost.owed, strict=True)]
        heir = self._members.get(str(parent))
        if heir is None:
            self.unaccounted += 1
        else:
            heir.ghosts = True
        account = self._lost if heir is None else heir.owed
        for part in range(3):
            account[part] += held[part]

    def _settle(self, process: _Process) -> None:
        """Give up on what was not reaped, once the account is younger than the last ghost.

        Where more was reaped than is owed, children came and went unseen; that must not pay for
        ghosts to come. What is kept of it is the error of times in whole ticks, which cancels out.
        """
        if process.ghosts:
            process.ghosts = False
            return
        self.unaccounted += any(owed > 0 for owed in process.owed)
        for part in range(3):
            self._lost[part] += max(0, process.owed[part])
            process.owed[part] = min(0, max(-_SLACK[part], process.owed[part]))

    def _count_threads(self, name: str, process: _Process, *, from_now: bool = False) -> None:
        if not self._parts:
            return
        threads: dict[str, list[int]] = {}
        folder = f"{self._root}/{name}/task"
        try:
            tids = os.listdir(folder)  # noqa: PTH208  cost
        except OSError:  # it has ended since
            return
        for tid in tids:
            try:
                new = [lines_of(f"{folder}/{tid}/{file}", keys) for file, keys in self._by_thread]
            except OSError as error:
                if error.errno not in GONE and tid in process.threads:
                    self.stale += 1
                    threads[tid] = process.threads[tid]
                continue
            threads[tid] = new
            if from_now:
                continue
            old = process.threads.get(tid) or [0] * len(new)
            for part, before, after in zip(self._parts, old, new, strict=True):
                # A count falls where a thread that execs takes over the leader's number; what
                # it had was counted under its own.
                self.totals[part] += max(0, after - before)
        process.threads = threads

    def _stat(self, name: str) -> _Stat:
        text = read_file(f"{self._root}/{name}/stat")
        # The name in brackets may hold spaces and brackets.
        words = text[text.rindex(b")") + 2 :].split(None, 20)
        numbers = list(map(int, words[1:20]))
        if numbers[16] == 0:  # being released: no threads, and all counts would read 0
            raise ProcessLookupError(errno.ESRCH, "process is gone")
        own_ns = (numbers[10] + numbers[11]) * TICK_NS
        if self._clock is not None:
            try:
                own_ns = self._clock(int(name))
            except OSError as error:  # it opened for the first process, so this one is gone
                raise ProcessLookupError(errno.ESRCH, "process is gone") from error
        reaped_ns = (numbers[12] + numbers[13]) * TICK_NS
        return _Stat(
            numbers[0],
            numbers[18],
            (numbers[6], numbers[8], own_ns),
            (numbers[7], numbers[9], reaped_ns),
        )


def tells_migrations(root: Path, pid: int) -> bool:
    """Whether the kernel has ``/proc/PID/sched`` (up to some kernel: CONFIG_SCHED_DEBUG)."""
    file, keys = BY_THREAD[MIGRATIONS]
    try:
        lines_of(f"{root}/{pid}/task/{pid}/{file}", keys)
    except OSError:
        return False
    return True


def _cpu_ns(pid: int) -> int:
    """Return the CPU time of a process, ended threads included.

    The number of the clock is that of clock_getcpuclockid(3); it needs no right to the process.

    Raises:
        OSError: The process is gone.
    """
    return time.clock_gettime_ns((~pid << 3) | 2)


def lines_of(path: str, keys: Sequence[bytes]) -> int:
    """Return the sum of some lines ``key [:] number`` of a file.

    Raises:
        OSError: The file cannot be read, or a line is missing (ENODATA).
    """
    text = read_file(path)
    try:
        return sum(number_of(text, key) for key in keys)
    except ValueError as error:
        raise OSError(errno.ENODATA, f"no such line in {path}") from error


def number_of(text: bytes, key: bytes) -> int:
    """Return the number in the line that begins with a key.

    Raises:
        ValueError: There is none.
    """
    begin = text.rindex(key) + len(key)
    return int(text[begin : text.index(b"\n", begin)].lstrip(b" \t:"))


def read_file(path: str) -> bytes:
    """Return a file; with system calls alone, as this is done for each thread."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        text = chunk = os.read(fd, 65536)
        while len(chunk) == 65536:
            chunk = os.read(fd, 65536)
            text += chunk
        return text
    finally:
        os.close(fd)
