"""The one place that knows where sysfs is, and whether what lies there is real."""

from __future__ import annotations

import itertools
import os
import re
from functools import lru_cache
from pathlib import Path

from pactmeter.errors import ReadError

CPUINFO = Path("/proc/cpuinfo")
_DIGITS = re.compile(r"(\d+)")


def root() -> Path:
    """Return the root of sysfs: ``$PACTMETER_SYSFS`` (tests) or ``/sys``."""
    return Path(os.environ.get("PACTMETER_SYSFS") or "/sys")


def read_text(path: Path) -> str | None:
    """Return a file's text without the trailing newline, or None if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").rstrip("\n")
    except OSError:
        return None


def read_int(path: Path) -> int | None:
    """Return a file's integer, or None if it cannot be read or is not one."""
    text = read_text(path)
    try:
        return int(text) if text is not None else None
    except ValueError:
        return None


class IntFile:
    """A sysfs attribute that is kept open and read again and again (one `pread` a reading)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None

    def open(self) -> None:
        """Open the file; raises `OSError`."""
        self.close()
        self._fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)

    def read(self) -> int:
        """Return the file's integer.

        Raises:
            ReadError: The read failed, or what came is no integer.
        """
        if self._fd is None:
            raise ReadError(f"{self.path} is not open")
        try:
            return int(os.pread(self._fd, 64, 0))
        except (OSError, ValueError) as error:
            raise ReadError(f"cannot read {self.path}: {error}") from error

    def close(self) -> None:
        """Close the file if it is open."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def synthetic(path: Path) -> str | None:
    """Return ``emulated`` if the path is no real sysfs or device node, else None.

    What is read below another root than ``/sys``, or on a FUSE filesystem, is not this machine's
    hardware, and no environment variable can say otherwise.
    """
    if os.environ.get("PACTMETER_SYSFS") and path.is_relative_to(root()):
        return "emulated"
    try:
        device = path.stat().st_dev
    except OSError:
        return None
    return "emulated" if f"{os.major(device)}:{os.minor(device)}" in _fuse_mounts() else None


@lru_cache(maxsize=1)
def _fuse_mounts() -> frozenset[str]:
    """Device numbers of the FUSE mounts, from ``/proc/self/mountinfo`` (proc(5))."""
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return frozenset()
    found = set()
    for line in lines:
        before, _, after = line.partition(" - ")
        if after.startswith("fuse"):
            found.add(before.split()[2])
    return frozenset(found)


def cpuinfo(path: Path = CPUINFO) -> dict[str, str]:
    """Return the fields of the first processor in ``/proc/cpuinfo``, such as ``model name``.

    Empty where the file cannot be read; ARM names its fields otherwise.
    """
    fields: dict[str, str] = {}
    try:
        with path.open(encoding="utf-8", errors="replace") as lines:
            # The file of a large machine has 400 kB; its first block says it all.
            for line in itertools.takewhile(str.strip, lines):
                key, _, value = line.partition(":")
                fields[key.strip()] = value.strip()
    except OSError:
        return {}
    return fields


def is_virtual(fields: dict[str, str]) -> bool:
    """Return whether the processor described by `cpuinfo` says that it is a virtual one."""
    return "hypervisor" in fields.get("flags", "").split()


def natural_order(path: Path) -> tuple[int | str, ...]:
    """Return a sort key that puts ``hwmon10`` after ``hwmon9``."""
    return tuple(int(part) if part.isdecimal() else part for part in _DIGITS.split(path.name))
