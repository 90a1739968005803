"""An estimate of the CPU's power, for machines whose CPU has no readable meter.

The model: each socket draws ``TDP * (0.3 + 0.7 * utilisation)``. That power is near linear in
utilisation is Fan, Weber and Barroso, "Power provisioning for a warehouse-sized computer" (ISCA
2007); the idle share of 0.3 and the TDP as power of full load are our own choice (Type B). Methods
made of a static TDP missed measured energy by 30.7 % to 54.5 % on average (Fischer 2025,
arXiv 2509.22092), hence the 60 % of `accuracy_pct`. The result is an estimate and is shown as one.
"""

from __future__ import annotations

import csv
import itertools
import re
from pathlib import Path
from typing import TYPE_CHECKING

from pactmeter.errors import DeviceError, ReadError
from pactmeter.model.channel import CPU_DOMAINS, Channel, Domain, Kind, Origin
from pactmeter.model.finding import Finding
from pactmeter.sensors import sysfs
from pactmeter.sensors.base import Discovery
from pactmeter.units import Unit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pactmeter.sensors.base import Reading, Request

NAME = "cpu_estimate"

PROC_STAT = Path("/proc/stat")
TDP_TABLE = Path(__file__).parent.parent / "data" / "cpu_tdp.csv"
IDLE_SHARE = 0.3

_TITLE = "CPU estimate (TDP and utilisation)"
_NOISE = re.compile(
    r"@.*$"  # the nominal frequency
    r"|\b(?:\d+|dual|triple|quad|six|eight|twelve|sixteen)-core\b"
    r"|\b(?:cpu|processor)\b"
    r"|^\d+th gen (?=intel\b)"
    r"|\bw(?:ith|/) radeon.*$"  # the graphics beside the cores
)


def normalised(name: str) -> str:
    """Return a processor's name as it is compared with the table.

    >>> normalised("Intel(R) Xeon(R) Gold 6148 CPU @ 2.40GHz")
    'intel xeon gold 6148'
    >>> normalised("AMD EPYC 7742 64-Core Processor")
    'amd epyc 7742'
    """
    name = re.sub(r"\((?:r|tm|c)\)", " ", name.lower())
    return " ".join(_NOISE.sub(" ", " ".join(name.split())).split())


def tdp_w(model_name: str, table: Path = TDP_TABLE) -> float | None:
    """Return the thermal design power of a processor in watts; None if the table lacks it.

    Names must be equal once normalised: a name that is merely similar has another TDP.
    """
    wanted = normalised(model_name)
    with table.open(encoding="utf-8", newline="") as lines:
        rows = csv.DictReader(itertools.dropwhile(lambda line: line.startswith("#"), lines))
        for row in rows:
            if normalised(row["cpu_name"]) == wanted:
                return float(row["tdp_w"])
    return None


def busy_share(before: Sequence[int], after: Sequence[int]) -> float | None:
    """Return the busy share (0 to 1) between two readings of ``/proc/stat``.

    None if no tick passed between them. The fields are those of proc(5): user, nice, system, idle,
    iowait, irq, softirq, steal. A CPU that waits for I/O is idle. Guest time is part of user time
    and is not added again.
    """
    ticks = [max(0, b - a) for a, b in zip(before, after, strict=True)]
    total = sum(ticks)
    return 1.0 - (ticks[3] + ticks[4]) / total if total else None


def cpu_ticks(stat: Path = PROC_STAT) -> tuple[int, ...]:
    """Return the time of all processors in ticks, by field of ``/proc/stat``.

    Raises:
        ReadError: It cannot be read.
    """
    line = (sysfs.read_text(stat) or "").partition("\n")[0]
    label, *fields = line.split()[:9] or [""]
    if label != "cpu" or len(fields) < 8 or not all(field.isdecimal() for field in fields):
        raise ReadError(f"cannot read CPU times from {stat}: {line[:80]!r}")
    return tuple(int(field) for field in fields)


class EstimateDevice:
    """The CPU's power after its utilisation."""

    name = _TITLE

    def __init__(self, channel: Channel, full_load_w: float, stat: Path = PROC_STAT) -> None:
        self._channels = (channel,)
        self._full_load_w = full_load_w
        self._stat = stat
        self._last: tuple[int, ...] | None = None
        self._power_w: float | None = None

    @property
    def channels(self) -> Sequence[Channel]:
        """One channel of power."""
        return self._channels

    def open(self) -> None:
        """Take the first reading, from which on utilisation is known.

        Raises:
            DeviceError: ``/proc/stat`` cannot be read.
        """
        try:
            self._last = cpu_ticks(self._stat)
        except ReadError as error:
            raise DeviceError(error.message) from error
        self._power_w = None

    def read(self) -> Reading:
        """Return the estimated power in watts, mean since the reading before.

        The kernel counts in ticks of 10 ms: where none has passed, the figure before stands.

        Raises:
            ReadError: ``/proc/stat`` cannot be read.
        """
        ticks = cpu_ticks(self._stat)
        share = busy_share(self._last, ticks) if self._last is not None else None
        if share is not None:
            self._power_w = self._full_load_w * (IDLE_SHARE + (1 - IDLE_SHARE) * share)
        if share is not None or self._last is None:
            self._last = ticks
        return (self._power_w,)

    def close(self) -> None:
        """Forget the last reading."""
        self._last = None


def discover(
    request: Request, *, cpuinfo: Path = sysfs.CPUINFO, stat: Path = PROC_STAT
) -> Discovery:
    """Return the estimate where it is asked for, or where nothing measures the CPU."""
    if not request.estimate_cpu and request.measured & CPU_DOMAINS:
        return Discovery()
    fields = sysfs.cpuinfo(cpuinfo)
    model_name = fields.get("model name")
    if not model_name:
        detail = f"{cpuinfo} gives no model name: unknown rather than a guess"
        return Discovery(findings=(Finding("cpu", _TITLE, found=False, detail=detail),))
    socket_w = tdp_w(model_name)
    obstacles = []
    if socket_w is None:
        obstacles.append(f"{model_name!r} is not in the TDP table: unknown rather than a guess")
    if sysfs.is_virtual(fields):
        obstacles.append(
            "this is a virtual machine: its share of the host's CPU is unknown, so no estimate"
        )
    if socket_w is None or obstacles:
        detail = "; ".join(obstacles)
        return Discovery(findings=(Finding("cpu", _TITLE, found=False, detail=detail),))
    sockets = _sockets(cpuinfo)
    full_load_w = socket_w * sockets
    model = f"{sockets} x {socket_w:g} W TDP of {model_name}"
    channel = Channel(
        "cpu.estimate",
        Unit.WATT,
        Kind.POWER,
        f"{IDLE_SHARE:g} + {1 - IDLE_SHARE:g} * utilisation of {model}",
        domain=Domain.PACKAGE,
        origin=Origin.ESTIMATED,
        accuracy_pct=60.0,
        accuracy_source="Type B: static TDP missed by 31 to 55 % (Fischer 2025, arXiv 2509.22092)",
    )
    finding = Finding("cpu", _TITLE, found=True, detail=f"{model}; an estimate, no measurement")
    return Discovery((EstimateDevice(channel, full_load_w, stat),), (finding,))


def _sockets(cpuinfo: Path) -> int:
    """Return the number of processor packages; 1 where the file does not say."""
    text = sysfs.read_text(cpuinfo) or ""
    return len(set(re.findall(r"^physical id\s*:\s*(\d+)", text, re.MULTILINE))) or 1
