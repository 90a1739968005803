"""Loads of the stress suite as commands of `stress` and `stress-ng`, and back.

A load is a kind of work, a number of workers that do it side by side, and how long. A command is
read as well as made, because the rows of an ``input.txt`` are commands of the user's own.
"""

from __future__ import annotations

import math
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pactmeter.errors import ConfigError, PactError

if TYPE_CHECKING:
    from collections.abc import Sequence

KINDS = ("cpu", "io", "vm", "hdd")
"""Spinning on sqrt(), on sync(), on malloc() and touching, on writing a file."""
TOOLS = ("stress", "stress-ng")
VM_BYTES = 256 << 20
"""What one vm worker of `stress` takes by default; the file of a hdd worker: `HDD_BYTES`."""
HDD_BYTES = 1 << 30
_GPU_BURN = ("gpu_burn", "gpu-burn")
_SHORT = {"cpu": "-c", "io": "-i", "vm": "-m", "hdd": "-d", "timeout": "-t"}
_SIZES = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_TIMES_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "y": 31_556_926}


@dataclass(frozen=True, slots=True)
class Load:
    """One load.

    Attributes:
        kind: One of `KINDS`.
        workers: Processes side by side.
        duration_s: How long; the tools take whole seconds.
        vm_bytes: Memory of each vm worker.
        hdd_bytes: File of each hdd worker.
    """

    kind: str
    workers: int
    duration_s: float
    vm_bytes: int = VM_BYTES
    hdd_bytes: int = HDD_BYTES

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ConfigError(f"{self.workers} workers do no work", "--workers 1 or more")
        if not (self.duration_s >= 1 and math.isfinite(self.duration_s)) or self.duration_s % 1:
            raise ConfigError(
                f"the stress tools take whole seconds, not {self.duration_s:g}", "--seconds 2"
            )

    def command(self, tool: str) -> list[str]:
        """Return the command of a tool that makes this load.

        `stress-ng` shares the bytes it is given out among its workers, whatever its manual says,
        so it is given those of all of them; its hdd worker also reads unless told to write alone.

        >>> Load("vm", 2, 10, vm_bytes=64 << 20).command("stress")
        ['stress', '--vm', '2', '--vm-bytes', '67108864', '--timeout', '10']
        """
        words = [tool, f"--{self.kind}", f"{self.workers}"]
        together = self.workers if tool == "stress-ng" else 1
        if self.kind == "vm" and (self.vm_bytes != VM_BYTES or together > 1):
            words += ["--vm-bytes", f"{self.vm_bytes * together}"]
        if self.kind == "hdd" and (self.hdd_bytes != HDD_BYTES or together > 1):
            words += ["--hdd-bytes", f"{self.hdd_bytes * together}"]
        if tool == "stress-ng" and self.kind in _AS_STRESS:
            words += _AS_STRESS[self.kind]
        return [*words, "--timeout", f"{self.duration_s:.0f}"]


_AS_STRESS = {"cpu": ["--cpu-method", "sqrt"], "hdd": ["--hdd-opts", "wr-seq"]}


def tool_of(words: Sequence[str]) -> str:
    """Return which tool a command runs: ``stress``, ``stress-ng``, ``gpu-burn`` or ``other``.

    >>> tool_of(["./gpu_burn", "200"])
    'gpu-burn'
    """
    name = Path(words[0]).name if words else ""
    if name in _GPU_BURN:
        return "gpu-burn"
    return name if name in TOOLS else "other"


def require(program: str) -> str:
    """Return the path of a program.

    Raises:
        PactError: It is not there; with the line that installs it where that is known.
    """
    path = shutil.which(program)
    if path is None:
        raise PactError(f"{program} is not installed", how_to_get(program))
    return path


def how_to_get(program: str) -> str:
    """Return how a program is installed.

    >>> how_to_get("stress-ng")
    'sudo apt-get install stress-ng'
    """
    if program in TOOLS:
        return f"sudo apt-get install {program}"
    if program in _GPU_BURN:
        return "build https://github.com/wilicc/gpu-burn with nvcc, and put it on PATH"
    return "install it, or put it on PATH"


def option(words: Sequence[str], name: str) -> str | None:
    """Return what an option of `stress` or `stress-ng` is given; None where it is not.

    >>> option(["stress", "-c", "4", "--timeout=2s"], "timeout")
    '2s'
    """
    found = None
    for at, word in enumerate(words[1:], 1):
        if word.startswith(f"--{name}="):
            found = word.partition("=")[2]
        elif word in {f"--{name}", _SHORT.get(name)}:
            found = words[at + 1] if at + 1 < len(words) else ""
    return found


def workers(words: Sequence[str], kind: str) -> int:
    """Return how many workers of a kind a command starts (0: none, or `stress` will refuse it)."""
    text = option(words, kind) or "0"
    return int(text) if text.isascii() and text.isdigit() else 0


def duration_s(words: Sequence[str]) -> float | None:
    """Return how long a command is told to work, in seconds; None where it is not told, or how.

    >>> duration_s(["stress", "--cpu", "1", "--timeout", "2m"])
    120.0
    >>> duration_s(["./gpu_burn", "-d", "200"])
    200.0
    """
    text = words[-1] if tool_of(words) == "gpu-burn" else option(words, "timeout")
    seconds = _scaled(text or "", _TIMES_S)
    return float(seconds) if seconds else None  # 0 is for ever


def size(text: str) -> int | None:
    """Return the bytes of a size such as ``64M`` or ``1g``; None where it is none.

    >>> size("64M") == 64 * 1024 * 1024
    True
    """
    return _scaled(text, _SIZES)


def _scaled(text: str, units: dict[str, int]) -> int | None:
    parts = re.fullmatch(r"([0-9]{1,18})([a-z]?)", text.strip().lower(), re.ASCII)
    if parts is None or parts[2] not in units:
        return None
    return int(parts[1]) * units[parts[2]]
