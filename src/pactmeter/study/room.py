"""Memory that programs may still take: of the machine, or of the container's share."""

from __future__ import annotations

from pathlib import Path

MEMORY_SHARE = 0.9
DISK_SHARE = 0.95
"""How much of what is free a workload may take; the rest is for whoever else needs some."""


def free_memory(root: Path = Path("/")) -> int | None:
    """Return the bytes of memory that can be taken without swapping; None where unknown.

    The limit of the control group counts where there is one, as in a container; the files that it
    holds in memory are given back to who needs it, those in use last: they do not count.

    Args:
        root: Of the file system (tests).
    """
    free = []
    try:
        lines = (root / "proc/meminfo").read_text(encoding="utf-8").splitlines()
        values = dict(line.split(":", 1) for line in lines if ":" in line)
        free.append(int(values["MemAvailable"].split()[0]) << 10)
    except (OSError, KeyError, ValueError, IndexError):
        pass
    group = root / "sys/fs/cgroup"
    try:
        most = int((group / "memory.max").read_text(encoding="utf-8"))  # "max": no limit
        taken = int((group / "memory.current").read_text(encoding="utf-8"))
        lines = (group / "memory.stat").read_text(encoding="utf-8").splitlines()
        free.append(max(0, most - taken + int(dict(map(str.split, lines))["inactive_file"])))
    except (OSError, ValueError, KeyError):
        pass
    return min(free) if free else None
