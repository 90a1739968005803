"""Processes: seeing one die, its place in the tree, and a sampler's priority."""

from __future__ import annotations

import ctypes
import os
import select

_PR_SET_TIMERSLACK = 29
_PR_SET_NAME = 15


def open_pidfd(pid: int) -> int:
    """Return a descriptor that becomes readable when the process ends (pidfd_open(2)).

    Raises:
        OSError: The process is gone, or the kernel is older than 5.3.
    """
    return os.pidfd_open(pid)


def ended_within(pidfd: int, wait_s: float | None) -> bool:
    """Wait until a process has ended; return whether it has (None: as long as it takes).

    In one sleep: `Popen.wait` wakes up in between, which costs what is measured.
    """
    watch = select.poll()
    watch.register(pidfd, select.POLLIN)
    return bool(watch.poll(None if wait_s is None else wait_s * 1000))


def set_name(name: str) -> None:
    """Name this process as `ps` shows it."""
    _prctl(_PR_SET_NAME, ctypes.create_string_buffer(name.encode()[:15]))


def tighten_timer_slack() -> None:
    """Let this thread's sleeps end within 1 us of their time (default: 50 us)."""
    _prctl(_PR_SET_TIMERSLACK, ctypes.c_ulong(1))


def _prctl(option: int, argument: object) -> None:
    ctypes.CDLL(None).prctl(option, argument, 0, 0, 0)


def raise_priority(*, realtime: bool) -> str:
    """Give this process what priority it may have; return what was got, for the manifest."""
    if realtime:
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
            return "SCHED_FIFO 1"
        except OSError:
            pass
    try:
        os.setpriority(os.PRIO_PROCESS, 0, -10)
        return "nice -10"
    except OSError:
        refused = " (SCHED_FIFO refused)" if realtime else ""
        return f"nice {os.getpriority(os.PRIO_PROCESS, 0)}{refused}"
