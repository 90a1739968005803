"""A command as a child: in a group of its own, waited for without waking, never left behind.

Whatever ends the wait (the command itself, its time being over, Ctrl-C, a signal that raises), the
whole group is gone afterwards. Where who started it is killed, the kernel asks it to end.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from pactmeter.errors import PactError
from pactmeter.kernel.process import ended_within, open_pidfd

if TYPE_CHECKING:
    import resource
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from types import FrameType

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command has ended.

    Attributes:
        code: Its exit code; 128 + n where signal n ended it.
        took_s: How long it ran, in seconds.
        cpu_s: CPU time of it and of the children it waited for, user and system, in seconds.
        faults: Page faults of theirs.
        written_bytes: What they wrote to disks (to the page cache of one).
        timed_out: Whether it was ended because it took longer than it may.
    """

    code: int
    took_s: float
    cpu_s: float
    faults: int
    written_bytes: int
    timed_out: bool = False


def run(
    words: Sequence[str],
    output: IO[bytes],
    errors: IO[bytes] | None = None,
    *,
    folder: Path | None = None,
    limit_s: float | None = None,
    soft_s: float = 2.0,
) -> Ended:
    """Run a command to its end and return how that was.

    Args:
        words: The command.
        output: Takes its standard output.
        errors: Takes its standard error; None: as ``output``.
        folder: Where it runs; None: here.
        limit_s: How long it may take, in seconds; None: as long as it likes.
        soft_s: How long it has to end by itself when asked to, before it is killed, in seconds.

    Raises:
        PactError: It cannot be started.
    """
    parent = os.getpid()

    def leave_with_parent() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
        if os.getppid() != parent:  # it was killed before the line above
            os._exit(1)

    start_s = time.monotonic()
    with _held_signals() as release:
        try:
            process = subprocess.Popen(
                words,
                cwd=folder,
                stdin=subprocess.DEVNULL,  # what one run reads, the next could not
                stdout=output,
                stderr=subprocess.STDOUT if errors is None else errors,
                process_group=0,
                preexec_fn=leave_with_parent,  # noqa: PLW1509  one call, of what is loaded
            )
        except OSError as error:
            raise PactError(f"cannot start {words[0]}: {error.strerror}") from error
        fd = open_pidfd(process.pid)
        ask, in_time = signal.SIGTERM, False
        try:
            release()
            in_time = ended_within(fd, limit_s)
        except KeyboardInterrupt:
            ask = signal.SIGINT
            raise
        finally:
            took_s = time.monotonic() - start_s
            usage, process.returncode = _clear(process.pid, fd, ask, soft_s)
            os.close(fd)
    code = process.returncode
    return Ended(
        code if code >= 0 else 128 - code,
        took_s,
        usage.ru_utime + usage.ru_stime,
        usage.ru_minflt + usage.ru_majflt,
        usage.ru_oublock * 512,
        timed_out=not in_time,
    )


def _clear(
    pid: int, fd: int, ask: signal.Signals, soft_s: float
) -> tuple[resource.struct_rusage, int]:
    """Ask a command to end if it has not, kill its group, and return how it ended."""
    try:
        if not ended_within(fd, 0):
            # itself alone: `pactmeter run` passes it on, which would come twice, and stress-ng
            # ends its workers and removes their files
            signal.pidfd_send_signal(fd, ask)
            ended_within(fd, soft_s)
    finally:
        # it is not waited for before: until then no other group can have its number
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        _, status, usage = os.wait4(pid, 0)
    return usage, os.waitstatus_to_exitcode(status)


@contextlib.contextmanager
def _held_signals() -> Iterator[Callable[[], None]]:
    """Put off what raises in this program; yield what lets it come: by then it can be cleared up.

    A command may run, and a signal come, before who starts it holds as much as its number.
    To block signals would not do: another thread takes them, and they raise in the main one all
    the same.
    """
    came: list[int] = []
    handlers: dict[int, Any] = {}

    def release() -> None:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        while came:
            signal.raise_signal(came.pop())

    try:
        if threading.current_thread() is threading.main_thread():  # signals raise there alone
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                if callable(handler := signal.getsignal(number)):
                    handlers[number] = handler
                    signal.signal(number, lambda told, _frame: came.append(told))
        yield release
    finally:
        release()


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
