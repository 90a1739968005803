"""Whether a load fits the machine, before it starts: memory for vm workers, disk for hdd workers.

By their defaults ``--vm 50`` takes 12.8 GB and ``--hdd 50`` fills 50 GB. Where that is not there, a
load measures the swap or the kernel's killing instead, or fills a disk that others use.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pactmeter.errors import PactError
from pactmeter.study import room, stress_loads

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Need:
    """What a load takes of one thing.

    Attributes:
        kind: ``vm`` or ``hdd``.
        workers: Who take it.
        each_bytes: What each takes.
    """

    kind: str
    workers: int
    each_bytes: int

    @property
    def all_bytes(self) -> int:
        """What all take together."""
        return self.workers * self.each_bytes


def needs(words: Sequence[str]) -> list[Need]:
    """Return what a command of `stress` or `stress-ng` takes of memory and disk.

    >>> needs(["stress", "--vm", "50", "--timeout", "200"])[0].all_bytes / 1e9
    13.4217728
    """
    tool = stress_loads.tool_of(words)
    if tool not in stress_loads.TOOLS:
        return []
    usual = {"vm": stress_loads.VM_BYTES, "hdd": stress_loads.HDD_BYTES}
    found = []
    for kind, default in usual.items():
        workers = stress_loads.workers(words, kind)
        given = stress_loads.option(words, f"{kind}-bytes")
        each = default if given is None else stress_loads.size(given)
        if workers and each is not None:  # a share in per cent is the tool's business
            if tool == "stress-ng":  # shared out among the workers, its default too
                each = -(-each // workers)
            found.append(Need(kind, workers, each))
    return found


def check(words: Sequence[str], folder: Path, root: Path = Path("/")) -> None:
    """Refuse a command whose load does not fit.

    Args:
        words: The command.
        folder: Where hdd workers will write.
        root: Of the file system (tests).

    Raises:
        PactError: It does not, with the figures and what to do.
    """
    for need in needs(words):
        if need.kind == "vm":
            free, share = room.free_memory(root), room.MEMORY_SHARE
            each, of = "of", "of memory are available"
        else:
            free, share = shutil.disk_usage(folder).free, room.DISK_SHARE
            each, of = "with files of", f"are free in {folder.resolve()}"
        if free is None or need.all_bytes <= free * share:
            continue
        smaller = (int(free * share) // need.workers) >> 20
        fewer = int(free * share) // need.each_bytes
        fixes = [f"at most {smaller}M each, by --{need.kind}-bytes"] if smaller else []
        fixes += [f"at most {fewer} workers"] if fewer else []
        raise PactError(
            f"{need.workers} {need.kind} workers {each} {_mb(need.each_bytes)} need"
            f" {_mb(need.all_bytes)}, and {_mb(free)} {of}",
            " or ".join(fixes) + "; name it differently: it is another load"
            if fixes
            else "free some",
        )


def file_system(folder: Path, mounts: Path = Path("/proc/self/mounts")) -> str:
    """Return the kind of the file system that a folder lies on, as ``ext4``; empty if unknown."""
    try:
        lines = mounts.read_text().splitlines()
    except OSError:
        return ""
    place, best, kind = folder.resolve(), -1, ""
    for line in lines:
        _, where, name, *_ = line.split(" ")
        mounted = Path(re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), where))
        if place.is_relative_to(mounted) and len(mounted.parts) >= best:
            best, kind = len(mounted.parts), name
    return kind


def _mb(count: int) -> str:
    return f"{count / 1e6:,.0f} MB"
