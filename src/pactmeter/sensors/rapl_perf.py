"""RAPL through perf's ``power`` PMU: the processor's energy where powercap does not give it.

The same registers as powercap, extended to 64 bits by the kernel, so nothing wraps; permission is
that of perf events, not of files. The domains nest as in powercap: package contains core and
uncore, psys contains package. The kernel scales counts by a file of sysfs (2^-32 J on x86).
"""

from __future__ import annotations

import errno
import os
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pactmeter.errors import CounterResetError, DeviceError, ReadError
from pactmeter.kernel import perf, pmu
from pactmeter.model.channel import Channel, Domain, Kind
from pactmeter.model.finding import Finding
from pactmeter.model.rapl import UPDATE_PERIOD_S, trueness
from pactmeter.sensors import sysfs
from pactmeter.sensors.base import Discovery
from pactmeter.units import Unit

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from pactmeter.sensors.base import Reading, Request

NAME = "rapl_perf"

_TITLE = "RAPL (perf)"
_EVENTS = {
    "energy-pkg": ("package", Domain.PACKAGE),
    "energy-cores": ("core", Domain.CORE),
    "energy-ram": ("dram", Domain.DRAM),
    "energy-gpu": ("uncore", Domain.UNCORE),
    "energy-psys": ("psys", Domain.PSYS),
}
_FIX = (
    "sudo sysctl kernel.perf_event_paranoid=0 (or run as root or with CAP_PERFMON; "
    "in a container: docker run --cap-add=PERFMON)"
)


@dataclass(slots=True)
class _Energy:
    """One channel: an event on one CPU of each die it is summed over."""

    channel: Channel
    type: int
    encoding: pmu.Encoding
    scale_j: float
    cpus: list[int]
    descriptors: list[int] = field(default_factory=list)
    base_j: float = 0.0
    total_j: float = 0.0

    def open(self) -> None:
        """Open the counters, which start at 0; raises OSError."""
        self.close()
        attr = perf.counting_attr(
            self.type,
            self.encoding.config,
            config1=self.encoding.config1,
            config2=self.encoding.config2,
        )
        attr.read_format = 0  # the count alone
        try:
            for cpu in self.cpus:
                self.descriptors.append(perf.open_event(attr, pid=-1, cpu=cpu))
        except OSError:
            self.close()
            raise

    def read(self) -> float:
        """Return joules since the first opening; raises OSError."""
        if not self.descriptors:
            raise OSError(errno.EBADF, "not open")
        raw = 0
        for descriptor in self.descriptors:
            data = os.read(descriptor, 8)
            if len(data) != 8:
                raise OSError(errno.EIO, "short read")
            raw += struct.unpack("=Q", data)[0]
        self.total_j = self.base_j + raw * self.scale_j
        return self.total_j

    def close(self) -> None:
        """Close the counters; the total goes on from where it is."""
        for descriptor in self.descriptors:
            os.close(descriptor)
        self.descriptors.clear()
        self.base_j = self.total_j


class PerfRaplDevice:
    """All energies of the ``power`` PMU."""

    name = _TITLE

    def __init__(self, energies: Sequence[_Energy]) -> None:
        self._energies = tuple(energies)
        self._has_read = False
        self._lost = False

    @property
    def channels(self) -> Sequence[Channel]:
        """One energy a domain and package."""
        return [energy.channel for energy in self._energies]

    def open(self) -> None:
        """Open the counters.

        Raises:
            DeviceError: The kernel refuses.
        """
        self.close()
        try:
            for energy in self._energies:
                energy.open()
        except OSError as error:
            self.close()
            fix = _FIX if isinstance(error, PermissionError) else None
            raise DeviceError(f"cannot open {_TITLE}: {_why(error)}", fix) from error

    def read(self) -> Reading:
        """Return joules since the first opening.

        Raises:
            CounterResetError: The counters were opened again: what flowed while they were closed
                is not known.
            ReadError: No reading this time.
        """
        try:
            values = tuple(energy.read() for energy in self._energies)
        except OSError as error:
            raise ReadError(f"cannot read {_TITLE}: {_why(error)}") from error
        if self._lost:
            self._lost = False
            raise CounterResetError(f"{_TITLE} was reopened: the energy in between is lost")
        self._has_read = True
        return values

    def close(self) -> None:
        """Close the counters."""
        for energy in self._energies:
            energy.close()
        self._lost = self._lost or self._has_read
        self._has_read = False


def discover(request: Request, *, cpuinfo: Path = sysfs.CPUINFO) -> Discovery:
    """Return the PMU's energies, where nothing before has measured the package."""
    if Domain.PACKAGE in request.measured:
        return Discovery()
    power = pmu.find("power")
    if power is None:
        return _absent(f"no PMU called 'power' in {pmu.sysfs_root() / 'bus/event_source/devices'}")
    try:
        candidates = list(_energies(power, sysfs.cpuinfo(cpuinfo)))
    except (OSError, ValueError) as error:
        return _absent(f"{power.path} cannot be read: {error}")
    usable, refusal = _openable(candidates)
    if not usable:
        return _refused(power, refusal)
    names = ", ".join(energy.channel.name for energy in usable)
    finding = Finding("cpu", _TITLE, found=True, detail=names)
    return Discovery((PerfRaplDevice(usable),), (finding,))


def _refused(power: pmu.Pmu, refusal: OSError | None) -> Discovery:
    if refusal is None:
        return _absent(f"{power.path} has none of {', '.join(_EVENTS)} on a CPU of this machine")
    if isinstance(refusal, PermissionError):
        return _absent(f"the power PMU is there, but may not be read ({_why(refusal)})", _FIX)
    return _absent(f"the power PMU is there, but does not open ({_why(refusal)})")


def _absent(detail: str, fix: str | None = None) -> Discovery:
    return Discovery((), (Finding("cpu", _TITLE, found=False, detail=detail, fix=fix),))


def _openable(candidates: Iterable[_Energy]) -> tuple[list[_Energy], OSError | None]:
    usable = []
    refusal = None
    for energy in candidates:
        try:
            energy.open()
        except OSError as error:
            refusal = refusal or error
        else:
            usable.append(energy)
        energy.close()
    return usable, refusal


def _energies(power: pmu.Pmu, fields: dict[str, str]) -> Iterable[_Energy]:
    packages = _packages(power.cpumask or ())
    for event in [name for name in _EVENTS if name in power.events]:
        label, domain = _EVENTS[event]
        scale_j = power.scale(event)
        if scale_j is None or power.unit(event) != "Joules":
            continue  # what one count is worth is not known, and a guess is no measurement
        worth = trueness(fields, domain)
        shared = domain is Domain.PSYS  # the whole platform, which every package would repeat
        for package, cpus in list(packages.items())[: 1 if shared else None]:
            name = "cpu.psys" if shared else f"cpu.{label}{package}"
            channel = Channel(
                name,
                Unit.JOULE,
                Kind.ENERGY,
                f"perf event power/{event}/ on CPU {', '.join(map(str, cpus))}",
                domain=domain,
                origin=worth.origin,
                update_period_s=UPDATE_PERIOD_S,
                resolution=scale_j,
                accuracy_pct=worth.accuracy_pct,
                accuracy_source=worth.source,
                synthetic=sysfs.synthetic(power.path),
            )
            yield _Energy(channel, power.type, power.encode(event), scale_j, cpus)


def _packages(cpus: Iterable[int]) -> dict[int, list[int]]:
    """Return the PMU's CPUs by package, in order; dies of one package stand together."""
    packages: dict[int, list[int]] = {}
    for cpu in cpus:
        topology = sysfs.root() / f"devices/system/cpu/cpu{cpu}/topology"
        package = sysfs.read_int(topology / "physical_package_id")
        packages.setdefault(max(package or 0, 0), []).append(cpu)
    return dict(sorted(packages.items()))


def _why(error: OSError) -> str:
    return f"{error.strerror}, {errno.errorcode.get(error.errno or 0, error.errno)}"
