"""Commands that are counted, but whose work the kernel does not count as theirs."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

_ELSEWHERE = frozenset({"docker", "kubectl", "nerdctl", "srun", "ssh", "systemd-run"})
"""They ask a daemon or another machine to start what they are given."""


def unseen(command: str, *, uid: int, gid: int) -> str | None:
    """Return why a command's work is not counted in its process tree; None where it is.

    Where a program gets rights that its caller has not, the kernel ends all counting at that
    moment (begin_new_exec in fs/exec.c): totals would be those of the moments before.

    Args:
        command: Its first word, as typed.
        uid: Real user id of who starts it.
        gid: Real group id.
    """
    path = shutil.which(command)
    if path is None:
        return None
    name = Path(path).name
    if name in _ELSEWHERE:
        return (
            f"{name} has its work done by a process that is not its child: events are counted of"
            f" {name} itself; measure inside, or with --scope system"
        )
    try:
        status = os.stat(path)  # noqa: PTH116
        if os.access(path, os.R_OK) and _is_script(path):
            return None
    except OSError:
        return None
    grouped = status.st_mode & stat.S_ISGID and status.st_mode & stat.S_IXGRP
    if (status.st_mode & stat.S_ISUID and status.st_uid != uid) or (
        grouped and status.st_gid != gid
    ):
        return (
            f"{name} takes on the rights of another user, and the kernel counts no events of such a"
            f" program: put pactmeter behind it ({name} ... pactmeter run -- ...), or use --scope"
            " system"
        )
    return None


def _is_script(path: str) -> bool:
    """Whether the kernel starts an interpreter instead, with the caller's rights."""
    with open(path, "rb") as file:  # noqa: PTH123
        return file.read(2) == b"#!"
