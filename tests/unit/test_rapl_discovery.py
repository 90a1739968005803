from __future__ import annotations

import pytest

from pactmeter.errors import DeviceError
from pactmeter.model.channel import Domain, Kind, Origin
from pactmeter.units import Unit
from support.powercap import AMD, DRAM_RANGE_UJ, HASWELL, IVY_BRIDGE, VIRTUAL, Machine, names
from support.rights import ordinary_user


@pytest.fixture
def machine(tmp_path, monkeypatch):
    monkeypatch.setenv("PACTMETER_SYSFS", str(tmp_path / "sys"))
    return Machine(tmp_path)


def test_two_sockets_with_all_parts_are_named_after_package_and_die_not_after_paths(machine):
    machine.zone("intel-rapl:0", "package-1")
    machine.zone("intel-rapl:0:0", "dram", range_uj=DRAM_RANGE_UJ)
    machine.zone("intel-rapl:1", "psys")
    machine.zone("intel-rapl:2", "package-0")
    machine.zone("intel-rapl:2/intel-rapl:2:0", "core")
    machine.zone("intel-rapl:2:0", "core")
    machine.zone("intel-rapl:2:1", "uncore")
    machine.zone("intel-rapl:2:2", "dram", range_uj=DRAM_RANGE_UJ)
    machine.zone("intel-rapl-mmio:0", "package-0")
    machine.zone("intel-rapl", "")

    device = machine.device()

    assert names(device) == [
        "cpu.package0",
        "cpu.core0",
        "cpu.uncore0",
        "cpu.dram0",
        "cpu.package1",
        "cpu.dram1",
        "cpu.psys",
    ]
    paths = {channel.name: channel.description for channel in device.channels}
    assert "intel-rapl:2/energy_uj" in paths["cpu.package0"]
    assert "intel-rapl:0:0/energy_uj" in paths["cpu.dram1"]


def test_domains_tell_parts_from_wholes_and_mmio_is_never_counted(machine):
    machine.zone("intel-rapl:0", "package-0")
    machine.zone("intel-rapl:0:0", "core")
    machine.zone("intel-rapl:0:1", "dram", range_uj=DRAM_RANGE_UJ)
    machine.zone("intel-rapl:1", "psys")
    machine.zone("intel-rapl-mmio:0", "package-0")
    device = machine.device()
    device.open()

    machine.clock.now += 1
    joules = {"0": 80, "0:0": 50, "0:1": 5, "1": 120}
    for zone, energy_j in joules.items():
        machine.set(f"intel-rapl:{zone}", energy_j * 1_000_000)
    machine.set("intel-rapl-mmio:0", 80_000_000)
    by_domain = {
        channel.domain: value for channel, value in zip(device.channels, device.read(), strict=True)
    }

    assert by_domain == pytest.approx(
        {Domain.PACKAGE: 80.0, Domain.CORE: 50.0, Domain.DRAM: 5.0, Domain.PSYS: 120.0}
    )


def test_dies_are_packages_in_order_of_package_and_die(machine):
    for index, name in enumerate(
        ("package-1-die-0", "package-0-die-1", "package-0-die-0", "package-1-die-1")
    ):
        machine.zone(f"intel-rapl:{index}", name)

    device = machine.device()

    assert [channel.description.split(",")[0] for channel in device.channels] == [
        "RAPL zone package-0-die-0",
        "RAPL zone package-0-die-1",
        "RAPL zone package-1-die-0",
        "RAPL zone package-1-die-1",
    ]
    assert names(device) == [f"cpu.package{index}" for index in range(4)]


def test_a_second_psys_has_a_number(machine):
    machine.zone("intel-rapl:0", "psys")
    machine.zone("intel-rapl:1", "psys-1")

    assert names(machine.device()) == ["cpu.psys", "cpu.psys1"]


@pytest.mark.parametrize(
    ("cpuinfo", "origin"),
    [
        (HASWELL, Origin.MEASURED),
        (IVY_BRIDGE, Origin.MODELLED),
        (AMD, Origin.MODELLED),
        ("processor : 0\nCPU implementer : 0x41\n", Origin.MODELLED),
    ],
)
def test_origin_is_measured_only_where_the_hardware_measures(machine, cpuinfo, origin):
    machine.cpuinfo.write_text(cpuinfo)
    machine.zone("intel-rapl:0", "package-0")
    machine.zone("intel-rapl:0:0", "core")

    assert {channel.origin for channel in machine.device().channels} == {origin}


def test_a_channel_says_what_it_is_and_how_true(machine):
    machine.zone("intel-rapl:0", "package-0")
    machine.zone("intel-rapl:0:0", "dram", range_uj=DRAM_RANGE_UJ)
    machine.zone("intel-rapl:1", "psys")

    package, dram, psys = machine.device().channels

    assert (package.unit, package.kind) == (Unit.JOULE, Kind.ENERGY)
    assert package.resolution == pytest.approx(61.035e-6, rel=1e-4)
    assert dram.resolution == pytest.approx(15.258e-6, rel=1e-4)
    assert package.synthetic == "emulated"
    assert [channel.accuracy_pct for channel in (package, dram, psys)] == [10.0, 20.0, 20.0]
    assert all(channel.accuracy_source.startswith("Type B") for channel in (package, dram, psys))


def test_an_absent_class_is_told_without_a_fix(machine):
    (finding,) = machine.discover().findings

    assert not finding.found
    assert "does not exist" in finding.detail
    assert finding.fix is None


def test_a_virtual_machine_is_told(machine):
    machine.cpuinfo.write_text(VIRTUAL)
    machine.base.mkdir(parents=True)

    (finding,) = machine.discover().findings

    assert "virtual machine" in finding.detail
    assert finding.fix is None


def test_an_empty_class_is_masked_or_without_driver(machine):
    machine.zone("intel-rapl", "")

    (finding,) = machine.discover().findings

    assert "masked" in finding.detail
    assert "modprobe intel_rapl_msr" in finding.fix


def test_zones_that_lead_nowhere_are_masked_by_a_container(machine):
    machine.base.mkdir(parents=True)
    (machine.base / "intel-rapl:0").symlink_to("../../devices/virtual/powercap/intel-rapl:0")

    (finding,) = machine.discover().findings

    assert "masked by the container runtime" in finding.detail
    assert "systempaths=unconfined" in finding.fix


def test_a_zone_without_a_counter_is_told_and_leaves_the_others(machine):
    machine.zone("intel-rapl:0", "package-0")
    machine.zone("intel-rapl:0:0", "core")
    (machine.base / "intel-rapl:0:0" / "energy_uj").unlink()

    found = machine.discover()

    assert names(found.devices[0]) == ["cpu.package0"]
    assert [finding.found for finding in found.findings] == [True, False]
    assert found.findings[1].fix is None


def test_root_only_counters_are_a_finding_with_the_fix(sysfs, monkeypatch):
    monkeypatch.setenv("PACTMETER_SYSFS", str(sysfs / "sys"))
    machine = Machine(sysfs)
    machine.zone("intel-rapl:0", "package-0")
    device = machine.device()
    (machine.base / "intel-rapl:0" / "energy_uj").chmod(0o000)

    with ordinary_user():
        found = machine.discover()
        with pytest.raises(DeviceError, match="Permission denied") as error:
            device.open()

    (finding,) = found.findings
    assert found.devices == ()
    assert not finding.found
    assert "sudo pactmeter setup (or run as root)" in finding.fix
    assert "CVE-2020-8694" in finding.fix
    assert error.value.fix == finding.fix
