"""A load as a process: started in a group of its own, waited for without waking, never left behind.

Whatever ends the wait (the load itself, its time being over, Ctrl-C, a signal that raises), the
whole group is gone afterwards. The kernel kills the load also when who started it is killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from pactmeter.errors import PactError
from pactmeter.kernel.process import ended_within, open_pidfd

if TYPE_CHECKING:
    import resource
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from types import FrameType

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process has ended.

    Attributes:
        code: Its exit code; 128 + n where signal n ended it.
        took_s: How long it ran, in seconds.
        cpu_s: CPU time of it and of the children it waited for, user and system, in seconds.
        faults: Page faults of theirs.
        written_bytes: What they wrote to disks (to the page cache of one).
    """

    code: int
    took_s: float
    cpu_s: float
    faults: int
    written_bytes: int


def run(
    words: Sequence[str],
    folder: Path,
    log: IO[bytes],
    limit_s: float | None = None,
    soft_s: float = 2.0,
) -> Ended:
    """Run a command to its end and return how that was.

    Args:
        words: The command.
        folder: Where it runs.
        log: Takes what it prints.
        limit_s: How long it may take, in seconds.
        soft_s: How long it has to end by itself when told to, before it is killed, in seconds.

    Raises:
        PactError: It cannot be started, or has taken longer than it may.
    """
    parent = os.getpid()

    def leave_with_parent() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:  # it was killed before the line above
            os._exit(1)

    start_s = time.monotonic()
    try:
        process = subprocess.Popen(
            words,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            process_group=0,
            preexec_fn=leave_with_parent,  # noqa: PLW1509  one call, of what is loaded
        )
    except OSError as error:
        raise PactError(f"cannot start {words[0]}: {error.strerror}") from error
    fd = open_pidfd(process.pid)
    usage = None
    try:
        if not ended_within(fd, limit_s):
            raise PactError(f"{words[0]} did not end within {limit_s:g} s and was ended")
    finally:
        took_s = time.monotonic() - start_s
        usage, process.returncode = _clear(process.pid, fd, soft_s)
        os.close(fd)
    code = process.returncode
    return Ended(
        code if code >= 0 else 128 - code,
        took_s,
        usage.ru_utime + usage.ru_stime,
        usage.ru_minflt + usage.ru_majflt,
        usage.ru_oublock * 512,
    )


def _clear(pid: int, fd: int, soft_s: float) -> tuple[resource.struct_rusage, int]:
    """End what is left of a group, its leader not yet waited for; return how the leader ended."""
    try:
        if not ended_within(fd, 0):
            _signal(pid, signal.SIGTERM)  # stress-ng removes its files
            ended_within(fd, soft_s)
    finally:
        # the leader is not waited for before: until then no other group can have its number
        _signal(pid, signal.SIGKILL)
        _, status, usage = os.wait4(pid, 0)
    return usage, os.waitstatus_to_exitcode(status)


def _signal(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end this program as Ctrl-C does, through every ``finally``."""

    def end(number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + number)

    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    # what is ignored, as by nohup, stays so; None was set by other than Python: not to be put back
    ours = {n: old for n, old in handlers.items() if old is not signal.SIG_IGN and old is not None}
    try:
        for number in ours:
            signal.signal(number, end)
        yield
    finally:
        for number, handler in ours.items():
            signal.signal(number, handler)
