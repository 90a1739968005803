from __future__ import annotations

import pytest

from pactmeter.errors import CounterResetError, DeviceError, ReadError
from pactmeter.model.channel import Domain, Kind
from pactmeter.sensors import hwmon
from pactmeter.sensors.base import Request
from support.rights import ordinary_user


@pytest.fixture
def chip(tmp_path, monkeypatch):
    monkeypatch.setenv("PACTMETER_SYSFS", str(tmp_path))
    return maker(tmp_path)


def maker(root):
    def make(number, name, **files):
        folder = root / "class" / "hwmon" / f"hwmon{number}"
        folder.mkdir(parents=True)
        (folder / "name").write_text(name + "\n")
        for file, text in files.items():
            (folder / file).write_text(f"{text}\n")
        return folder

    return make


def discover(**request):
    return hwmon.discover(Request(**request))


def one_device(**request):
    (device,) = discover(**request).devices
    return device


def test_watts_of_a_gauge_and_joules_since_opening_of_a_counter_come_out(chip):
    folder = chip(0, "ltc4282", power1_input=125_000_000, energy1_input=9_000_000)
    device = one_device()
    device.open()

    (folder / "energy1_input").write_text("21000000\n")

    assert [channel.name for channel in device.channels] == [
        "hwmon.ltc4282.energy1",
        "hwmon.ltc4282.power1",
    ]
    assert [channel.kind for channel in device.channels] == [Kind.ENERGY, Kind.POWER]
    assert device.read() == pytest.approx((12.0, 125.0))
    assert device.channels[0].domain is None
    assert device.channels[0].synthetic == "emulated"


def test_the_mean_is_taken_where_a_chip_gives_mean_and_moment(chip):
    chip(0, "amdgpu", power1_input=90_000_000, power1_average=70_000_000, power1_label="PPT")
    device = one_device()
    device.open()

    assert [channel.name for channel in device.channels] == ["hwmon.amdgpu.ppt"]
    assert device.read() == (70.0,)
    assert device.channels[0].domain is Domain.GPU


def test_an_apu_has_no_domain_since_its_power_includes_the_cpu(chip):
    chip(0, "amdgpu", power1_input=15_000_000, in1_label="vddnb")

    assert one_device().channels[0].domain is None


def test_socket_energy_has_a_domain_unless_rapl_counts_it(chip):
    chip(
        0,
        "amd_energy",
        energy1_input=0,
        energy1_label="Ecore000",
        energy2_input=0,
        energy2_label="Esocket0",
    )

    alone = one_device()
    beside_rapl = one_device(measured=frozenset({Domain.PACKAGE}))

    assert [channel.name for channel in alone.channels] == [
        "hwmon.amd_energy.ecore000",
        "hwmon.amd_energy.esocket0",
    ]
    assert [channel.domain for channel in alone.channels] == [Domain.CORE, Domain.PACKAGE]
    assert [channel.domain for channel in beside_rapl.channels] == [Domain.CORE, None]


def test_chips_and_labels_that_repeat_get_names_of_their_own(chip):
    chip(2, "ina238", power1_input=1)
    chip(10, "ina238", power1_input=1, power1_label="Rail", power2_input=2, power2_label="rail")

    devices = discover().devices

    assert [channel.name for device in devices for channel in device.channels] == [
        "hwmon.ina238.power1",
        "hwmon.ina2381.rail",
        "hwmon.ina2381.rail_1",
    ]
    assert [device.name for device in devices] == ["hwmon ina238", "hwmon ina2381"]


def test_chips_of_other_sensors_and_batteries_and_thermometers_are_left_out(chip):
    chip(0, "corsairpsu", power1_input=1)
    chip(1, "nvidia", power1_input=1)
    chip(2, "coretemp", temp1_input=40000)
    folder = chip(3, "BAT0", power1_input=1)
    (folder / "device").mkdir()
    (folder / "device" / "type").write_text("Battery\n")

    found = discover()

    assert found.devices == ()
    assert [finding.found for finding in found.findings] == [False]


def test_a_sleeping_chip_is_not_woken(chip):
    folder = chip(0, "amdgpu", power1_input=5_000_000)
    device = one_device()
    device.open()
    (folder / "device" / "power").mkdir(parents=True)
    (folder / "device" / "power" / "runtime_status").write_text("suspended\n")

    found = discover()

    assert found.devices == ()
    assert "suspended" in found.findings[0].detail
    with pytest.raises(ReadError, match="not woken"):
        device.read()


def test_a_file_that_fails_is_none_and_all_failing_is_a_read_error(chip):
    folder = chip(0, "ina238", power1_input=5_000_000, power2_input=-555_745_280)
    device = one_device()
    device.open()

    assert device.read() == (5.0, None)

    (folder / "power1_input").write_text("")
    with pytest.raises(ReadError, match="negative power"):
        device.read()


def test_a_counter_that_falls_is_a_reset_told_once_and_its_total_goes_on(chip):
    folder = chip(0, "xe", energy1_input=1_000_000, energy1_label="card", power1_input=0)
    device = one_device()
    device.open()
    (folder / "energy1_input").write_text("4000000\n")
    assert device.read() == (3.0, 0.0)

    (folder / "energy1_input").write_text("500000\n")
    with pytest.raises(CounterResetError):
        device.read()
    (folder / "energy1_input").write_text("1500000\n")
    device.close()
    device.open()

    assert device.read() == (4.0, 0.0)
    assert device.channels[0].domain is Domain.GPU


def test_a_chip_that_has_gone_cannot_be_opened(chip):
    folder = chip(0, "ina238", power1_input=5_000_000)
    device = one_device()
    (folder / "power1_input").unlink()

    with pytest.raises(DeviceError, match="ina238"):
        device.open()


def test_files_that_root_alone_reads_are_a_finding_with_the_fix(sysfs):
    folder = maker(sysfs)(0, "amd_energy", energy1_input=1)
    (folder / "energy1_input").chmod(0o000)

    with ordinary_user():
        found = discover()

    assert found.devices == ()
    assert "run as root" in found.findings[0].fix
