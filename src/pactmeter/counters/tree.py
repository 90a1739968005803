"""The threads of a process and of its descendants, from /proc."""

from __future__ import annotations

import errno
import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

_PROC = Path("/proc")


def threads(pid: int, exclude_pids: Collection[int] = ()) -> list[int]:
    """Return the thread ids of a process and of its living descendants.

    Args:
        pid: The process at the root of the tree; an empty list comes back where it is gone.
        exclude_pids: Processes to leave out, each with its descendants.
    """
    excluded = set(exclude_pids)
    children = _children_by_thread if _kernel_lists_children() else _children_by_parent()
    found: list[int] = []
    waiting = [pid]
    while waiting:
        process = waiting.pop()
        if process in excluded:
            continue
        excluded.add(process)
        tids = list(_numbers(_PROC / str(process) / "task"))
        found += tids
        waiting += children(process, tids)
    return found


def _kernel_lists_children() -> bool:
    """Whether the kernel has ``/proc/PID/task/TID/children`` (CONFIG_PROC_CHILDREN)."""
    return (_PROC / "self/task" / str(threading.get_native_id()) / "children").exists()


def _children_by_thread(pid: int, tids: list[int]) -> list[int]:
    found: list[int] = []
    for tid in tids:
        try:
            text = (_PROC / str(pid) / "task" / str(tid) / "children").read_text(encoding="ascii")
        except OSError:  # the thread has ended since it was listed
            continue
        found += map(int, text.split())
    return found


def _children_by_parent() -> Callable[[int, list[int]], list[int]]:
    """Return the same from every process's parent, for kernels that keep no list."""
    by_parent: dict[int, list[int]] = {}
    for pid in _numbers(_PROC):
        try:
            stat = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:  # the process has ended since it was listed
            continue
        # The name in brackets may hold spaces and brackets; the parent is the second after it.
        parent = int(stat.rpartition(")")[2].split()[1])
        by_parent.setdefault(parent, []).append(pid)
    return lambda pid, _tids: by_parent.get(pid, [])


def _numbers(folder: Path) -> Iterator[int]:
    try:
        for entry in folder.iterdir():
            if entry.name.isdigit():
                yield int(entry.name)
    except OSError as error:  # gone, or going
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise  # no threads would be a wrong answer
