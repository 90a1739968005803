"""RAPL through powercap: the processor's own energy counters (package, core, uncore, dram, psys).

The zones nest: package contains core and uncore, psys contains package, dram stands beside
package; `Channel.domain` says which is which, so that nobody adds a part to its whole. The control
type ``intel-rapl-mmio`` repeats package 0 through other registers and is never read. AMD
processors use the same driver and the same names.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

from pactmeter.clock import now_s
from pactmeter.errors import CounterResetError, DeviceError, ReadError
from pactmeter.model.channel import Channel, Domain, Kind
from pactmeter.model.finding import Finding
from pactmeter.model.rapl import UPDATE_PERIOD_S, trueness
from pactmeter.sensors import sysfs
from pactmeter.sensors.base import Discovery
from pactmeter.units import Unit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pactmeter.sensors.base import Reading, Request

NAME = "rapl"

JOULES_PER_MICROJOULE = 1e-6
MAX_POWER_W = 5000.0
"""No zone draws more: what would need more is no consumption and no wrap, the counter was set."""
MAX_POWER_WINDOW_S = 0.1
"""Added to the time between two reads before judging: counters are updated in steps."""
MAX_MEAN_POWER_W = 1000.0
"""No zone draws more for long: over an outage with less than one wrap at this power, the
difference of the counter is certain."""

_PACKAGE = re.compile(r"package-(\d+)(?:-die-(\d+))?$")
_PSYS = re.compile(r"psys(?:-(\d+))?$")
_PARTS = {"core": Domain.CORE, "uncore": Domain.UNCORE, "dram": Domain.DRAM}

_READ_FIX = (
    "sudo pactmeter setup (or run as root): the kernel lets root alone read energy_uj since the "
    "PLATYPUS attack, CVE-2020-8694"
)
_MASK_FIX = (
    "measure on the host, or start the container with --security-opt systempaths=unconfined: "
    "container runtimes hide powercap (GHSA-jq35-85cj-fj4p)"
)


def wrapped_difference(before: int, after: int, modulus: int) -> int:
    """Return how far a counter that starts again at ``modulus`` went between two readings.

    >>> wrapped_difference(95, 3, 100)
    8
    """
    return (after - before) % modulus


def counter_step_uj(range_uj: int) -> int:
    """Return the step of a counter in microjoules, guessed from its range.

    The register has 32 bits, and the kernel gives ``max_energy_range_uj = 0xffffffff * step``.
    """
    return max(1, round(range_uj / 0xFFFFFFFF))


class Zone:
    """One counter, unwrapped into joules since it was first opened."""

    def __init__(self, path: Path, name: str) -> None:
        self.path = path
        self.name = name
        self._file = sysfs.IntFile(path / "energy_uj")
        range_uj = sysfs.read_int(path / "max_energy_range_uj")
        # Without a range nobody knows where the counter wraps: every fall is then a reset.
        self._modulus = range_uj + counter_step_uj(range_uj) if range_uj else None
        self.resolution_j = (
            max(range_uj / 0xFFFFFFFF, 1.0) * JOULES_PER_MICROJOULE if range_uj else None
        )
        self._last_uj: int | None = None
        self._last_s = 0.0
        self._total_uj = 0
        self._is_open = False
        self._failed = False

    @property
    def is_anchored(self) -> bool:
        """Whether there is a reading to take the next difference from."""
        return self._last_uj is not None

    def open(self) -> None:
        """Open the counter; raises `OSError` or `ReadError`."""
        # After CPU hotplug the same path can belong to another zone.
        if sysfs.read_text(self.path / "name") != self.name:
            raise ReadError(f"{self.path} is no longer the zone {self.name!r}")
        self._file.open()
        self._is_open = True

    def close(self) -> None:
        """Close the counter; its total stays."""
        self._file.close()
        self._is_open = False

    def read(self, clock: Callable[[], float]) -> float:
        """Return joules since the zone was first opened; the first reading is the anchor.

        Raises:
            CounterResetError: The counter started again, or may have wrapped unseen.
            ReadError: It could not be read.
        """
        try:
            if not self._is_open:
                self.open()
            raw_uj = self._file.read()
        except (OSError, ReadError) as error:
            # The file of a zone that vanished stays dead: it is opened anew next time.
            self.close()
            self._failed = True
            raise ReadError(f"cannot read {self.path / 'energy_uj'}: {error}") from error
        now = clock()
        last_uj, elapsed_s, failed = self._last_uj, now - self._last_s, self._failed
        self._last_uj, self._last_s, self._failed = raw_uj, now, False
        if last_uj is None:
            return self._total_uj * JOULES_PER_MICROJOULE
        self._total_uj += self._step_uj(last_uj, raw_uj, elapsed_s, after_outage=failed)
        return self._total_uj * JOULES_PER_MICROJOULE

    def _step_uj(self, before: int, after: int, elapsed_s: float, *, after_outage: bool) -> int:
        modulus = self._modulus
        if modulus is None and after < before:
            raise CounterResetError(f"{self.path}: energy counter fell, its range is unknown")
        step_uj = wrapped_difference(before, after, modulus) if modulus else after - before
        if step_uj * JOULES_PER_MICROJOULE > MAX_POWER_W * (elapsed_s + MAX_POWER_WINDOW_S):
            what = "fell" if after < before else "rose"
            why = "which is no wrap" if after < before else "which no processor draws"
            raise CounterResetError(
                f"{self.path}: energy counter {what} from {before} to {after} uJ in "
                f"{elapsed_s:.3f} s, {why}"
            )
        if (
            modulus
            and after_outage
            and elapsed_s > modulus * JOULES_PER_MICROJOULE / MAX_MEAN_POWER_W
        ):
            raise CounterResetError(
                f"{self.path}: not readable for {elapsed_s:.0f} s, in which the energy counter "
                "may have wrapped more than once"
            )
        return step_uj


class RaplDevice:
    """All RAPL zones of the machine, read together."""

    name = "RAPL (powercap)"

    def __init__(
        self,
        zones: Sequence[Zone],
        channels: Sequence[Channel],
        clock: Callable[[], float] = now_s,
    ) -> None:
        self._zones = tuple(zones)
        self._channels = tuple(channels)
        self._clock = clock

    @property
    def channels(self) -> Sequence[Channel]:
        """One energy channel a zone."""
        return self._channels

    def open(self) -> None:
        """Open all zones and take the first readings as their anchors.

        Raises:
            DeviceError: Not one zone can be opened.
        """
        errors: list[OSError | ReadError] = []
        for zone in self._zones:
            try:
                zone.open()
            except (OSError, ReadError) as error:
                errors.append(error)
        if len(errors) == len(self._zones):
            denied = any(isinstance(error, PermissionError) for error in errors)
            fix = _READ_FIX if denied else None
            raise DeviceError(f"cannot open a RAPL zone: {errors[0]}", fix) from errors[0]
        for zone in self._zones:
            if not zone.is_anchored:
                # A zone that fails here is anchored by its first good reading instead.
                with contextlib.suppress(ReadError):
                    zone.read(self._clock)

    def read(self) -> Reading:
        """Return joules since opening of each zone; None for a zone that cannot be read now.

        Raises:
            CounterResetError: A counter started again; all zones are good next time.
            ReadError: Not one zone could be read.
        """
        values: list[float | None] = []
        reset: CounterResetError | None = None
        failure: ReadError | None = None
        for zone in self._zones:
            try:
                values.append(zone.read(self._clock))
            except CounterResetError as error:
                # Told only after the other zones have been read: none of them may lose its step.
                reset = error
                values.append(None)
            except ReadError as error:
                failure = error
                values.append(None)
        if reset is not None:
            raise reset
        if failure is not None and not any(value is not None for value in values):
            raise failure
        return tuple(values)

    def close(self) -> None:
        """Close all zones; their totals go on when they are opened again."""
        for zone in self._zones:
            zone.close()


def discover(
    request: Request,
    *,
    cpuinfo: Path = sysfs.CPUINFO,
    clock: Callable[[], float] = now_s,
) -> Discovery:
    """Return one device for all RAPL zones, or why there is none."""
    base = sysfs.root() / "class" / "powercap"
    fields = sysfs.cpuinfo(cpuinfo)
    paths = _zone_paths(base)
    names = {path: name for path in paths if (name := sysfs.read_text(path / "name"))}
    named = _named(names)
    if not named:
        return Discovery(findings=(_absent(base, paths, fields),))
    errors = {path: error for _, _, path in named if (error := _obstacle(path))}
    readable = [item for item in named if item[2] not in errors]
    findings = []
    if readable:
        found = ", ".join(name for name, _, _ in readable)
        findings.append(Finding("cpu", RaplDevice.name, found=True, detail=f"{found} in {base}"))
    if errors:
        denied = any(isinstance(error, PermissionError) for error in errors.values())
        first = next(iter(errors.values()))
        detail = f"{len(errors)} of {len(named)} zones cannot be read: {first}"
        fix = _READ_FIX if denied else None
        findings.append(Finding("cpu", RaplDevice.name, found=False, detail=detail, fix=fix))
    if not readable:
        return Discovery(findings=tuple(findings))
    zones = [Zone(path, names[path]) for _, _, path in readable]
    channels = [
        _channel(name, domain, zone, fields)
        for (name, domain, _), zone in zip(readable, zones, strict=True)
    ]
    return Discovery((RaplDevice(zones, channels, clock),), tuple(findings))


def _zone_paths(base: Path) -> list[Path]:
    """Return the zones of the control type ``intel-rapl``, each once, in natural order."""
    # sysfs shows a subzone twice, in the class folder and below its parent.
    found = {path.name: path for path in base.glob("intel-rapl:*/intel-rapl:*")}
    found.update({path.name: path for path in base.glob("intel-rapl:*")})
    return sorted(found.values(), key=sysfs.natural_order)


def _named(names: dict[Path, str]) -> list[tuple[str, Domain, Path]]:
    """Return channel name, domain and path of each zone, parts behind their package.

    Names repeat between sockets, and the order of the numbers in the paths is not that of the
    sockets: packages are numbered by package and die, and parts after the package they lie in.
    """
    packages: list[tuple[int, int, Path]] = []
    psys: list[tuple[int, Path]] = []
    for path, name in names.items():
        if match := _PACKAGE.match(name):
            packages.append((int(match[1]), int(match[2] or 0), path))
        elif match := _PSYS.match(name):
            psys.append((int(match[1] or 0), path))
    named = []
    for index, (_, _, package) in enumerate(sorted(packages)):
        named.append((f"cpu.package{index}", Domain.PACKAGE, package))
        for path, name in names.items():
            if path.name.rpartition(":")[0] == package.name and name in _PARTS:
                named.append((f"cpu.{name}{index}", _PARTS[name], path))
    for index, (_, path) in enumerate(sorted(psys)):
        named.append((f"cpu.psys{index or ''}", Domain.PSYS, path))
    return named


def _obstacle(path: Path) -> OSError | None:
    """Return why a zone's counter cannot be opened; None if it can."""
    try:
        with (path / "energy_uj").open("rb"):
            return None
    except OSError as error:
        return error


def _absent(base: Path, paths: Sequence[Path], fields: dict[str, str]) -> Finding:
    """Return why there is no zone: hidden, not loaded, or not there at all."""
    fix: str | None = None
    if paths:
        detail = f"the zones in {base} lead nowhere: masked by the container runtime"
        fix = _MASK_FIX
    elif sysfs.is_virtual(fields):
        detail = f"no RAPL zone in {base}: this is a virtual machine, its host keeps the counters"
    elif base.is_dir():
        detail = f"no RAPL zone in {base}: masked by a container, or the driver is not loaded"
        fix = f"sudo modprobe intel_rapl_msr; in a container, {_MASK_FIX}"
    else:
        detail = f"{base} does not exist: this kernel or processor has no RAPL"
    return Finding("cpu", RaplDevice.name, found=False, detail=detail, fix=fix)


def _channel(name: str, domain: Domain, zone: Zone, fields: dict[str, str]) -> Channel:
    worth = trueness(fields, domain)
    return Channel(
        name,
        Unit.JOULE,
        Kind.ENERGY,
        f"RAPL zone {zone.name}, {zone.path / 'energy_uj'}",
        domain=domain,
        origin=worth.origin,
        update_period_s=UPDATE_PERIOD_S,
        resolution=zone.resolution_j,
        accuracy_pct=worth.accuracy_pct,
        accuracy_source=worth.source,
        synthetic=sysfs.synthetic(zone.path),
    )
