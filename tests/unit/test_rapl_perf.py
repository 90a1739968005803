"""RAPL through perf: a fake ``power`` PMU whose events are the kernel's CPU clock, 1 W a CPU."""

import errno
import os
import time
from pathlib import Path

import pytest

from pactmeter.errors import CounterResetError, DeviceError, ReadError
from pactmeter.kernel import perf, pmu
from pactmeter.model.channel import Domain, Kind, Origin
from pactmeter.model.rapl import trueness
from pactmeter.sensors import rapl_perf
from pactmeter.sensors import sysfs as sysfs_module
from pactmeter.sensors.base import Request
from pactmeter.units import Unit
from support.pmus import REAL_CPUS

CPUS = pmu.cpu_list(REAL_CPUS)
WATTS_A_CPU = 1.0
SYSTEM = pytest.mark.perf("system")
CLOCK_ERROR = 0.01  # the scheduler's clock is not disciplined as CLOCK_MONOTONIC is


@pytest.fixture
def machine(sysfs):
    """Return the folder of the fake PMU: type 1 (software), config 0 (nanoseconds of CPU clock)."""
    return make_power(sysfs)


def make_power(root: Path) -> Path:
    power = root / "bus/event_source/devices/power"
    (power / "events").mkdir(parents=True)
    (power / "format").mkdir()
    (power / "type").write_text("1\n")
    (power / "format/event").write_text("config:0-7\n")
    (power / "cpumask").write_text(",".join(map(str, CPUS)) + "\n")
    for number, cpu in enumerate(CPUS):
        topology = root / f"devices/system/cpu/cpu{cpu}/topology"
        topology.mkdir(parents=True)
        (topology / "physical_package_id").write_text(f"{number}\n")
    return power


def add(power: Path, name: str, *, config: int = 0, scale: str = "1e-9", unit: str = "Joules"):
    (power / f"events/{name}").write_text(f"event={config:#04x}\n")
    (power / f"events/{name}.scale").write_text(f"{scale}\n")
    (power / f"events/{name}.unit").write_text(f"{unit}\n")


def device(request: Request | None = None):
    (found,) = rapl_perf.discover(request or Request()).devices
    return found


def packages(power: Path, ids: list[int]) -> None:
    root = power.parents[3]
    for cpu, package in zip(CPUS, ids, strict=True):
        path = root / f"devices/system/cpu/cpu{cpu}/topology/physical_package_id"
        path.write_text(f"{package}\n")


@SYSTEM
def test_joules_out_are_joules_in(machine):
    add(machine, "energy-pkg")
    packages(machine, [0] * len(CPUS))  # dies of one package: their energies add up
    power = device()
    power.open()

    before_s = time.monotonic()
    (first,) = power.read()
    between_s = time.monotonic()
    time.sleep(0.1)
    after_s = time.monotonic()
    (last,) = power.read()
    end_s = time.monotonic()
    power.close()

    watts = WATTS_A_CPU * len(CPUS)
    assert last - first >= watts * (after_s - between_s) * (1 - CLOCK_ERROR)
    assert last - first <= watts * (end_s - before_s) * (1 + CLOCK_ERROR)


@SYSTEM
def test_channels_say_what_they_cover(machine):
    names = ("energy-psys", "energy-gpu", "energy-ram", "energy-cores", "energy-pkg")
    for name in names:
        add(machine, name)

    found = rapl_perf.discover(Request())
    channels = {channel.name: channel for channel in found.devices[0].channels}

    everyone = range(len(CPUS))
    assert set(channels) == {"cpu.psys"} | {
        f"cpu.{part}{n}" for part in ("package", "core", "dram", "uncore") for n in everyone
    }
    assert channels["cpu.package0"].domain is Domain.PACKAGE
    assert channels["cpu.uncore0"].domain is Domain.UNCORE
    assert channels["cpu.psys"].domain is Domain.PSYS
    assert {c.kind for c in channels.values()} == {Kind.ENERGY}
    assert {c.unit for c in channels.values()} == {Unit.JOULE}
    assert {c.synthetic for c in channels.values()} == {"emulated"}
    assert {c.resolution for c in channels.values()} == {1e-9}
    assert found.findings[0].found
    assert "cpu.package0" in found.findings[0].detail


def test_nothing_is_looked_for_where_the_package_is_measured(machine):
    add(machine, "energy-pkg")

    found = rapl_perf.discover(Request(measured=frozenset({Domain.PACKAGE})))

    assert (found.devices, found.findings) == ((), ())


@SYSTEM
def test_a_total_goes_on_after_reopening_and_the_gap_is_told(machine):
    add(machine, "energy-pkg")
    power = device()
    power.open()
    first = power.read()

    power.close()
    power.open()

    with pytest.raises(CounterResetError, match="energy in between is lost"):
        power.read()
    second = power.read()
    power.close()
    power.close()
    assert all(after > before for before, after in zip(first, second, strict=True))


@SYSTEM
def test_a_failed_read_is_an_error_and_never_a_zero(machine):
    add(machine, "energy-pkg")
    power = device()

    with pytest.raises(ReadError, match="EBADF"):
        power.read()


@SYSTEM
def test_a_short_read_is_an_error(machine):
    add(machine, "energy-pkg")
    power = device()
    power.open()
    null = os.open(os.devnull, os.O_RDONLY)
    (energy, *_) = power._energies
    os.dup2(null, energy.descriptors[0])

    with pytest.raises(ReadError, match="short read"):
        power.read()

    os.close(null)
    power.close()


def test_a_machine_without_the_pmu_says_so(sysfs):
    found = rapl_perf.discover(Request())

    assert found.devices == ()
    assert not found.findings[0].found
    assert "no PMU called 'power'" in found.findings[0].detail


def test_an_event_of_unknown_worth_is_no_measurement(machine):
    add(machine, "energy-pkg", unit="furlongs")
    add(machine, "energy-ram", scale="much")

    found = rapl_perf.discover(Request())

    assert found.devices == ()
    assert "has none of energy-pkg" in found.findings[0].detail


def test_a_pmu_that_cannot_be_read_is_a_finding(machine):
    add(machine, "energy-pkg")
    (machine / "type").unlink()

    (finding,) = rapl_perf.discover(Request()).findings

    assert not finding.found
    assert "cannot be read" in finding.detail


@SYSTEM
def test_an_event_that_does_not_open_is_left_out(machine):
    add(machine, "energy-pkg")
    add(machine, "energy-ram", config=200)

    assert {c.domain for c in device().channels} == {Domain.PACKAGE}

    (machine / "events/energy-pkg").unlink()
    (finding,) = rapl_perf.discover(Request()).findings
    assert "does not open" in finding.detail
    assert finding.fix is None


def refuse(*_, **__):
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


@SYSTEM
def test_a_refusal_names_the_fix(machine, monkeypatch):
    add(machine, "energy-pkg")
    power = device()
    monkeypatch.setattr(perf, "open_event", refuse)

    (finding,) = rapl_perf.discover(Request()).findings
    with pytest.raises(DeviceError, match="EACCES") as caught:
        power.open()

    assert not finding.found
    assert "may not be read" in finding.detail
    assert "kernel.perf_event_paranoid=0" in finding.fix
    assert caught.value.fix == finding.fix


@pytest.mark.parametrize(
    ("vendor", "model", "origin"),
    [
        ("GenuineIntel", 0x2A, Origin.MODELLED),
        ("GenuineIntel", 0x3C, Origin.MEASURED),
        ("AuthenticAMD", 0x3C, Origin.MODELLED),
        ("", 0, Origin.MODELLED),
    ],
)
def test_energy_is_measured_only_where_the_processor_measures(tmp_path, vendor, model, origin):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(
        f"processor\t: 0\nvendor_id\t: {vendor}\ncpu family\t: 6\nmodel\t\t: {model}\n"
        "model name\t: some\n\nprocessor\t: 1\n"
    )

    worth = trueness(sysfs_module.cpuinfo(cpuinfo), Domain.PACKAGE)
    assert worth.origin is origin
    assert worth.accuracy_pct == (10.0 if origin is Origin.MEASURED else 20.0)
