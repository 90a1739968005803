"""Counters from ``/proc``, for where perf_event_open is refused altogether.

The process tree is that of `proc_tree`; the whole machine is in proc_stat(5) and proc_vmstat(5).
"""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING, Any

from pactmeter.counters import groups
from pactmeter.counters import proc_tree as tree
from pactmeter.counters.access import Verdict
from pactmeter.errors import DeviceError
from pactmeter.kernel import perf

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from pactmeter.counters.names import EventSpec
    from pactmeter.counters.plan import Column

MIN_PERIOD_S = 0.1
"""Shortest period to read at: a reading costs tens of us a process, and as much a thread."""

_PARTS = {
    perf.SW_CPU_CLOCK: (tree.CPU,),
    perf.SW_TASK_CLOCK: (tree.CPU,),
    perf.SW_PAGE_FAULTS: (tree.MINOR, tree.MAJOR),
    perf.SW_CONTEXT_SWITCHES: (tree.SWITCHES,),
    perf.SW_CPU_MIGRATIONS: (tree.MIGRATIONS,),
    5: (tree.MINOR,),
    6: (tree.MAJOR,),
}
"""What is summed for a software event, by its config."""


class Machine:
    """All processes on all CPUs: ``/proc/stat`` and ``/proc/vmstat``, since `open`.

    CPU time is that of all CPUs, idle or not, as perf's clocks of a whole machine are.
    """

    def __init__(self, root: Path) -> None:
        self.totals = [0, 0, 0, 0, 0]
        self.stale = 0
        self._root = root
        self._before = [0, 0, 0, 0, 0]

    def open(self) -> None:
        """Take what has been counted so far as zero.

        Raises:
            OSError: The files cannot be read.
        """
        self._before = self._read()

    def read(self) -> None:
        """Bring `totals` up to date."""
        try:
            now = self._read()
        except OSError:
            self.stale += 1
            return
        self.totals = [new - old for new, old in zip(now, self._before, strict=True)]

    def _read(self) -> list[int]:
        try:
            text = tree.read_file(f"{self._root}/vmstat")
            faults = tree.number_of(text, b"\npgfault")
            major = tree.number_of(text, b"\npgmajfault")
            text = tree.read_file(f"{self._root}/stat")
            # The first eight are all there is; guests' time is in the first two already.
            ticks = sum(map(int, text.split(None, 9)[1:9]))
            switches = tree.number_of(text, b"\nctxt")
        except ValueError as error:
            raise OSError(errno.ENODATA, "a count is missing") from error
        return [faults - major, major, ticks * tree.TICK_NS, switches, 0]


class ProcCounters:
    """Counters from ``/proc``, with the interface of `groups.Counters`; made by `open_proc`.

    Attributes:
        columns: One name an event, in the order asked, lower-case as typed.
        groups: One name an event group: its columns joined with ``+``.
        backend: ``proc``.
        why: Why no better backend serves.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        verdicts: Sequence[Verdict],
        sources: dict[str, tree.Tree | Machine],
    ) -> None:
        self.backend: str = "proc"
        self.why: str | None = None
        self._columns = columns
        self._verdicts = verdicts
        self._sources = sources
        self._opened_s = time.monotonic()
        members: dict[int, list[str]] = {}
        for column in columns:
            members.setdefault(column.group, []).append(column.spec.column)
        self.columns = tuple(column.spec.column for column in columns)
        self.groups = tuple("+".join(names) for names in members.values())
        self._known = {c.group for c, v in zip(columns, verdicts, strict=True) if v.status == "ok"}
        self._last: list[int | None] = [0 if v.status == "ok" else None for v in verdicts]

    def read(self) -> groups.Sample:
        """Return the totals since opening; a total never falls, clocks are in ns.

        The counts are always on: the times of a group are those since opening, in seconds.

        Raises:
            OSError: ``/proc`` itself cannot be listed any more.
        """
        begin_s = time.monotonic()
        for source in self._sources.values():
            source.read()
        for index, (column, last) in enumerate(zip(self._columns, self._last, strict=True)):
            if last is not None:
                totals = self._sources[column.scope].totals
                self._last[index] = max(last, sum(totals[p] for p in _PARTS[column.spec.config]))
        middle_s = (begin_s + time.monotonic()) / 2
        open_s = middle_s - self._opened_s
        times = [(open_s, open_s) if i in self._known else None for i in range(len(self.groups))]
        return groups.Sample(middle_s, tuple(self._last), tuple(times))

    @property
    def stale_reads(self) -> int:
        """How often something could not be read, so that its last values stood in."""
        return sum(source.stale for source in self._sources.values())

    def describe(self) -> list[dict[str, Any]]:
        """Return what became of each event, as plain data for the manifest."""
        return [self._describe(*pair) for pair in zip(self._columns, self._verdicts, strict=True)]

    def _describe(self, column: Column, verdict: Verdict) -> dict[str, Any]:
        shortfall = self._shortfall(column) if verdict.status == "ok" else None
        told = groups.described(column, verdict, shortfall)
        return told | {"group": self.groups[column.group], "attr": None, "backend": self.backend}

    def _shortfall(self, column: Column) -> str | None:
        """Return what an event that counts may have missed."""
        source = self._sources[column.scope]
        if isinstance(source, Machine):
            return "in steps of 10 ms" if _PARTS[column.spec.config] == (tree.CPU,) else None
        if _PARTS[column.spec.config][0] in tree.BY_THREAD:
            return "threads that ended between two readings are counted up to the last"
        if source.unaccounted:
            return (
                "processes that no process of the tree waited for are counted up to the last "
                f"reading before their end ({source.unaccounted} times)"
            )
        return None

    def close(self) -> None:
        """Do nothing: no file stays open."""

    def __enter__(self) -> ProcCounters:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_proc(
    columns: Sequence[Column],
    pid: int,
    exclude_pids: Collection[int] = (),
    *,
    root: Path = tree.PROC,
) -> ProcCounters:
    """Start counting from ``/proc`` what it tells of the columns; the others stay unknown.

    Args:
        columns: The events, each with the verdict of perf's refusal.
        pid: Root of the process tree; its threads and descendants are counted, also later ones.
        exclude_pids: Processes below `pid` to leave out with their descendants. They have to
            outlive the readings, as who measures does: reaped, they would be in their parent's
            account.
        root: Where proc is mounted.

    Raises:
        DeviceError: The process does not exist.
    """
    wanted = {
        scope: {part for c in columns if c.scope == scope for part in _parts(c.spec)}
        for scope in ("tree", "system")
    }
    told = {
        "tree": {tree.MINOR, tree.MAJOR, tree.CPU, tree.SWITCHES},
        "system": {tree.MINOR, tree.MAJOR, tree.CPU, tree.SWITCHES},
    }
    if tree.MIGRATIONS in wanted["tree"] and tree.tells_migrations(root, pid):
        told["tree"].add(tree.MIGRATIONS)
    by_thread = sorted(wanted["tree"] & told["tree"] & tree.BY_THREAD.keys())
    sources: dict[str, tree.Tree | Machine] = {
        "tree": tree.Tree(root, pid, exclude_pids, by_thread),
        "system": Machine(root),
    }
    closed: dict[str, str] = {}
    for scope in list(sources):
        try:
            if wanted[scope]:
                sources[scope].open()
                continue
        except OSError as error:
            if scope == "tree" and not _exists(pid):
                raise DeviceError(
                    f"process {pid} does not exist (any more), so nothing can be counted"
                ) from error
            closed[scope] = _closed(error, pid, scope)
        del sources[scope]
    verdicts = [_verdict(c, told[c.scope], closed.get(c.scope)) for c in columns]
    return ProcCounters(columns, verdicts, sources)


def _verdict(column: Column, told: Collection[int], closed: str | None) -> Verdict:
    refusal = column.verdict or Verdict("missing")
    parts = _parts(column.spec)
    if parts and set(parts) <= set(told) and not closed:
        return Verdict("ok", _join_reasons("counted from /proc", refusal.reason), refusal.fix)
    status = "missing" if refusal.status == "ok" else refusal.status
    why = closed if parts and closed else "/proc does not tell it either"
    return Verdict(status, _join_reasons(refusal.reason, why), refusal.fix)


def _join_reasons(*reasons: str | None) -> str | None:
    return "; ".join(filter(None, reasons)) or None


def _closed(error: OSError, pid: int, scope: str) -> str:
    if scope == "tree" and error.errno in (*tree.GONE, errno.EACCES, errno.EPERM):
        return f"/proc hides process {pid} (mount option hidepid)"
    return f"/proc cannot be used: {error.strerror}"


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _parts(spec: EventSpec) -> tuple[int, ...]:
    """Return what adds up to an event; nothing where `/proc` does not tell it."""
    one_mode = spec.exclude_kernel or (spec.exclude_user and not spec.kernel_only)
    if spec.type != perf.TYPE_SOFTWARE or one_mode:
        return ()
    return _PARTS.get(spec.config, ())
