"""What the emulated machine tells its NVML library, and the building of that library.

The figures are found by the library of ``nvml.c`` inside whatever program asks, from a file that
`Publisher` keeps: P(t) of each GPU some seconds ahead, and the faults that were ordered.
"""

from __future__ import annotations

import ctypes
import hashlib
import mmap
import os
import platform
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pactmeter.bench.faults import kind_of
from pactmeter.bench.gpu import MOST_GPUS, uuid_of
from pactmeter.errors import ConfigError, DeviceError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pactmeter.bench.faults import Fault, FaultBoard
    from pactmeter.bench.gpu import GpuModel
    from pactmeter.bench.timeline import Timeline

ENVIRONMENT = "PACTMETER_BENCH_NVML"
"""Environment variable that tells the library where the publisher's file is."""
LIBRARY = "libnvidia-ml.so.1"

_SOURCE = Path(__file__).with_name("nvml.c")
_FLAGS = ("-O2", "-shared", "-fPIC", f"-Wl,-soname,{LIBRARY}")


class _Fault(ctypes.Structure):
    gpu: int
    code: int
    value: float
    from_s: float
    until_s: float
    strikes: int
    text: bytes
    _fields_ = (
        ("gpu", ctypes.c_int32),
        ("code", ctypes.c_int32),
        ("value", ctypes.c_double),
        ("from_s", ctypes.c_double),
        ("until_s", ctypes.c_double),
        ("strikes", ctypes.c_int64),
        ("text", ctypes.c_char * 64),
    )


_TEXTS = (("name", 96), ("uuid", 64), ("bus", 32))
_NUMBERS = (
    *("pci_bus", "pci_id", "major", "minor", "architecture"),
    *("counts_energy", "has_fan", "is_server", "sm_mhz", "memory_mhz", "pid_count"),
)
_REALS = (
    *("idle_w", "busy_w", "limit_w", "window_s", "average_window_s", "update_period_s"),
    *("energy_period_s", "offset_j"),
)
_MOST_PIDS = 16


class _Gpu(ctypes.Structure):
    pids: ctypes.Array[ctypes.c_uint32]
    pid_count: int
    pieces: int
    _fields_ = (
        *((name, ctypes.c_char * length) for name, length in _TEXTS),
        *((name, ctypes.c_uint32) for name in _NUMBERS),
        ("pids", ctypes.c_uint32 * _MOST_PIDS),
        ("spare", ctypes.c_uint32),
        ("memory_b", ctypes.c_uint64),
        ("pieces", ctypes.c_uint64),
        *((name, ctypes.c_double) for name in _REALS),
    )


_MAGIC = int.from_bytes(b"PACTNVML", "little")
_LAYOUT = 1
_MOST_FAULTS = 1024
_CAPACITY = 1 << 20
"""Pieces of P(t) that a GPU's ring holds; 32 MB that are written only as they are needed. The
oldest are overwritten: no figure needs them but those of a GPU frozen before them."""


class _State(ctypes.Structure):
    """The file up to the rings; `struct state` of nvml.c."""

    magic: int
    layout: int
    gpu_count: int
    capacity: int
    rings_at: int
    sequence: int
    fault_count: int
    sets: int
    zero_s: float
    epoch_s: float
    virtual_s: float
    faults: ctypes.Array[_Fault]
    gpus: ctypes.Array[_Gpu]
    _fields_ = (
        ("magic", ctypes.c_uint64),
        ("layout", ctypes.c_uint32),
        ("gpu_count", ctypes.c_uint32),
        *((name, ctypes.c_uint64) for name in ("capacity", "rings_at", "sequence")),
        *((name, ctypes.c_uint64) for name in ("fault_count", "sets")),
        *((name, ctypes.c_double) for name in ("zero_s", "epoch_s", "virtual_s")),
        ("faults", _Fault * _MOST_FAULTS),
        ("gpus", _Gpu * MOST_GPUS),
    )


_FAULTS = (
    *("lost", "reset_required", "no_permission", "unknown", "hang", "not_supported"),
    *("energy_reset", "frozen", "garbage", "driver", "function", "gone"),
)
"""The faults in the order of their numbers, from 1."""
_VALUES = {"hang": 5.0, "driver": 18.0}


def build_library(folder: Path, cache: Path | None = None) -> Path:
    """Build the library that answers NVML's calls, and return its path.

    Args:
        folder: Where it is wanted.
        cache: Where builds are kept, for a start without a compiler's wait; None: the user's own
            cache.

    Raises:
        DeviceError: There is no C compiler, or it fails.
    """
    source = _SOURCE.read_bytes()
    system = f"{platform.machine()} {platform.libc_ver()} {_FLAGS}"
    key = hashlib.sha256(source + system.encode()).hexdigest()[:16]
    wanted = folder / LIBRARY
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    kept = (cache or Path(home) / "pactmeter") / f"{key}-{LIBRARY}"
    try:
        if kept.stat().st_uid == os.geteuid():  # what others wrote is not loaded
            shutil.copyfile(kept, wanted)
            return wanted
    except OSError:
        pass
    _compile(wanted)
    try:
        kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=kept.parent, delete=False) as file:
            file.write(wanted.read_bytes())
        Path(file.name).replace(kept)
    except OSError:
        pass  # no cache: the next start builds again
    return wanted


def _compile(wanted: Path) -> None:
    command = ["gcc", *_FLAGS, "-o", str(wanted), str(_SOURCE), "-lm"]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        message = f"no C compiler to build the emulated {LIBRARY}"
        raise DeviceError(message, "sudo apt install gcc libc6-dev") from error
    except subprocess.CalledProcessError as error:
        first = (error.stderr or "").strip().partition("\n")[0]
        message = f"gcc cannot build the emulated {LIBRARY}: {first}"
        raise DeviceError(message, "sudo apt install gcc libc6-dev") from error


class Publisher:
    """Tells the library P(t) and the faults, ahead of time, through a file.

    Args:
        path: The file, for the environment variable `ENVIRONMENT`.
        gpus: The GPUs, in the order of NVML's indices.
        timelines: P(t) of each.
        zero_s: CLOCK_MONOTONIC at t = 0, in seconds.
        faults: The orders; those for ``gpu<N>`` are taken.
    """

    def __init__(
        self,
        path: Path,
        gpus: Sequence[GpuModel],
        timelines: Sequence[Timeline],
        zero_s: float,
        faults: FaultBoard,
    ) -> None:
        self._timelines = timelines
        self._faults = faults
        self._slots: dict[tuple[object, ...], int] = {}
        self._seen_faults = -1
        rings_at = -ctypes.sizeof(_State) % mmap.PAGESIZE + ctypes.sizeof(_State)
        with path.open("wb+") as file:
            os.fchmod(file.fileno(), 0o666)  # the library counts strikes in it, whoever runs it
            file.truncate(rings_at + len(gpus) * 4 * 8 * _CAPACITY)
            self._map = mmap.mmap(file.fileno(), 0)
        self._rings = memoryview(self._map)[rings_at:].cast("d")
        self._state = _State.from_buffer(self._map)
        self._state.layout, self._state.gpu_count = _LAYOUT, len(gpus)
        self._state.capacity, self._state.rings_at = _CAPACITY, rings_at
        self._state.virtual_s = -1.0
        self.set_zero(zero_s)
        for index, gpu in enumerate(gpus):
            self._describe(index, gpu)
        self.publish(0.0)
        self._state.magic = _MAGIC  # from now on the library finds a driver

    def _describe(self, index: int, gpu: GpuModel) -> None:
        bus = 1 + index
        values = {
            "name": gpu.name.encode(),
            "uuid": uuid_of(index).encode(),
            "bus": f"00000000:{bus:02X}:00.0".encode(),
            "pci_bus": bus,
            "major": gpu.compute_capability[0],
            "minor": gpu.compute_capability[1],
            "has_fan": not gpu.is_server,
            "average_window_s": gpu.average_window_s or 0.0,
            "energy_period_s": gpu.energy_period_s or 0.0,
            "offset_j": 1e6 * bus,  # the driver was loaded long before
        }
        for name in (*(text for text, _ in _TEXTS), *_NUMBERS, "memory_b", *_REALS):
            if name != "pid_count":
                setattr(self._state.gpus[index], name, values.get(name, getattr(gpu, name, None)))

    def set_zero(self, zero_s: float) -> None:
        """Set what CLOCK_MONOTONIC was at t = 0, in seconds."""
        now_s = time.clock_gettime(time.CLOCK_REALTIME)
        self._state.epoch_s = now_s - (time.monotonic() - zero_s)
        self._state.zero_s = zero_s

    def set_virtual_now(self, t_s: float | None) -> None:
        """Hold the library's clock at a time from 0 on; None: let it run again."""
        self._state.virtual_s = -1.0 if t_s is None else t_s

    def set_pids(self, index: int, pids: Sequence[int]) -> None:
        """Set which processes a GPU works for (16 at most)."""
        gpu = self._state.gpus[index]
        gpu.pid_count = 0
        for place, pid in enumerate(pids[:_MOST_PIDS]):
            gpu.pids[place] = pid
        gpu.pid_count = min(len(pids), _MOST_PIDS)

    @property
    def sets(self) -> int:
        """How often a program tried to set something, which NVML refused."""
        return self._state.sets

    def publish(self, until_s: float) -> None:
        """Tell P(t) up to a time at least, and the faults; call it again after every change.

        Raises:
            ConfigError: There were too many faults; it is raised once.
        """
        for index, line in enumerate(self._timelines):
            line.extend(until_s)
            last, cut = max(0, self._state.gpus[index].pieces - 1), line.take_cut()
            if cut is None:
                self._write(index, line, last)
                continue
            self._state.sequence += 1
            self._write(index, line, min(cut, last))
            self._state.sequence += 1
        if self._faults.changes != self._seen_faults:
            self._seen_faults = self._faults.changes
            self._publish_faults()

    def _write(self, index: int, line: Timeline, first: int) -> None:
        """Write the pieces from one on, and behind them the end of the last."""
        count = len(line.starts_s)
        for place, column in enumerate((line.starts_s, line.from_w, line.to_w, line.done_j)):
            ring = self._rings[(4 * index + place) * _CAPACITY :][:_CAPACITY]
            at = max(first, count + 1 - _CAPACITY)
            while at < count:
                slot = at % _CAPACITY
                length = min(count - at, _CAPACITY - slot)
                ring[slot : slot + length] = column[at : at + length]
                at += length
            if place == 0:
                ring[count % _CAPACITY] = line.end_s
        self._state.gpus[index].pieces = count

    def _publish_faults(self) -> None:
        seen: dict[tuple[object, ...], int] = {}
        for fault in self._faults.all():
            if kind_of(fault.device) != "gpu":
                continue
            order = (fault.device, fault.name, fault.value, fault.start_s)
            seen[order] = seen.get(order, 0) + 1
            until_s = float("inf")
            if fault.duration_s is not None:
                until_s = fault.start_s + fault.duration_s
            slot = self._slots.get((*order, seen[order]))
            if slot is not None:  # its strikes are being counted there
                self._state.faults[slot].until_s = until_s
                continue
            self._add(fault, until_s)
            self._slots[*order, seen[order]] = len(self._slots)
            self._state.fault_count = len(self._slots)

    def _add(self, fault: Fault, until_s: float) -> None:
        if len(self._slots) == _MOST_FAULTS:
            raise ConfigError(f"more than {_MOST_FAULTS} faults of GPUs", "start the bench anew")
        entry = _Fault(
            gpu=int(fault.device.removeprefix("gpu")),
            code=1 + _FAULTS.index(fault.name),
            value=_VALUES.get(fault.name, 0.0),
            from_s=fault.start_s,
            until_s=until_s,
            strikes=-1 if fault.count is None else fault.count,
        )
        if fault.name in _VALUES:
            entry.value = float(fault.value or entry.value)
        elif fault.value:
            entry.text = fault.value.encode()[:63]
        self._state.faults[len(self._slots)] = entry

    def close(self) -> None:
        """Let go of the file; programs that have it open keep it."""
        self._rings.release()
        del self._state
        self._map.close()
