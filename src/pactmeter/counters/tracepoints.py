"""The kernel's tracepoints: their ids, as tracefs gives them.

The root is that of sysfs (`pactmeter.kernel.pmu.sysfs_root`), below which tracefs is mounted.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pactmeter.kernel import pmu

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PMU = "tracepoint"
"""The name of their PMU in sysfs."""

NAME = re.compile(r"(?P<subsystem>[A-Za-z0-9_-]+):(?P<event>[A-Za-z0-9_-]+)(?::(?P<rest>.*))?")
"""``subsystem:event`` and what follows it; ``perf::CYCLES`` does not match."""

USER_SIDE = ("syscalls", "uprobes", "user_events")
"""Subsystems whose events happen to the program: they count in user mode too.

With the kernel left out, all others read 0 without an error (measured: kernel 6.18).
"""

_MOUNTS = ("kernel/tracing", "kernel/debug/tracing")


class NoTracefsError(Exception):
    """Tracefs is not there for this user.

    Attributes:
        reason: What is in the way.
        fix: What to mount, or which right it takes.
    """

    def __init__(self, reason: str, fix: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.fix = fix


def find(subsystem: str, event: str) -> tuple[str, int] | None:
    """Return the name and id of a tracepoint, in lower case where only that exists.

    Returns:
        None where tracefs has no such tracepoint.

    Raises:
        NoTracefsError: It cannot be known.
    """
    folder = _events()
    for name in dict.fromkeys((f"{subsystem}/{event}", f"{subsystem}/{event}".lower())):
        try:
            return name.replace("/", ":"), int((folder / name / "id").read_text(encoding="ascii"))
        except (FileNotFoundError, NotADirectoryError, ValueError):
            continue  # no such event, or one without an id: nothing to count
        except OSError as error:  # the folder is open, its files are not
            raise _denied(folder.parent) from error
    return None


def names(subsystem: str | None = None) -> Iterator[str]:
    """Yield the names of all tracepoints, or of one subsystem's; none where tracefs is closed."""
    try:
        folder = _events()
        for group in sorted(folder.iterdir()) if subsystem is None else [folder / subsystem]:
            if group.is_dir():
                for event in sorted(group.iterdir()):
                    if (event / "id").exists():
                        yield f"{group.name}:{event.name}"
    except (NoTracefsError, OSError):
        return


def _events() -> Path:
    """Return the folder of the subsystems.

    Raises:
        NoTracefsError: There is none that this user may read.
    """
    mounts = [pmu.sysfs_root() / place for place in _MOUNTS]
    for mount in mounts:
        try:
            next((mount / "events").iterdir(), None)
        except PermissionError as error:
            # An old kernel's is below debugfs, which is closed: then the first place is empty.
            raise _denied(mount) from error
        except OSError:
            continue
        return mount / "events"
    if not mounts[0].is_dir():
        raise NoTracefsError(
            f"this kernel shows no tracefs ({mounts[0]} is not there)",
            f"it takes a kernel with CONFIG_TRACING{_in_container(mounts[0])}",
        )
    raise NoTracefsError(
        f"tracefs is not mounted at {mounts[0]}",
        f"sudo mount -t tracefs -o gid=$(id -g),mode=750 nodev {mounts[0]}"
        + _in_container(mounts[0]),
    )


def _denied(mount: Path) -> NoTracefsError:
    if mount.parent.name == "debug":  # debugfs is closed as a whole: mount it where it is not
        first = pmu.sysfs_root() / _MOUNTS[0]
        fix = f"sudo mount -t tracefs -o gid=$(id -g),mode=750 nodev {first}"
    else:
        fix = f"sudo mount -o remount,gid=$(id -g),mode=750 {mount}"
    return NoTracefsError(f"this user may not read tracefs at {mount}", f"run as root, or: {fix}")


def _in_container(mount: Path) -> str:
    return f" (in a container: docker run -v {mount}:{mount}:ro)"
