from __future__ import annotations

import pytest

from pactmeter.errors import DeviceError, ReadError
from pactmeter.model.channel import Domain, Kind
from pactmeter.sensors import battery
from pactmeter.sensors.base import Request


@pytest.fixture
def supply(tmp_path, monkeypatch):
    monkeypatch.setenv("PACTMETER_SYSFS", str(tmp_path))

    def make(name, **files):
        folder = tmp_path / "class" / "power_supply" / name
        folder.mkdir(parents=True)
        for file, text in files.items():
            (folder / file).write_text(f"{text}\n")
        return folder

    return make


def one_device():
    (device,) = battery.discover(Request()).devices
    device.open()
    return device


def test_discharge_power_comes_out_in_watts(supply):
    supply("BAT0", type="Battery", status="Discharging", power_now=12_345_000)

    device = one_device()

    assert device.read() == pytest.approx((12.345,))
    (channel,) = device.channels
    assert (channel.name, channel.kind, channel.domain) == ("battery", Kind.POWER, Domain.BATTERY)
    device.close()


def test_current_times_voltage_where_there_is_no_power(supply):
    supply(
        "BAT1",
        type="Battery",
        status="Discharging",
        current_now=-1_500_000,
        voltage_now=12_000_000,
    )

    assert one_device().read() == pytest.approx((18.0,))


@pytest.mark.parametrize("status", ["Charging", "Full", "Not charging", "Unknown"])
def test_there_is_no_value_unless_the_battery_discharges(supply, status):
    supply("BAT0", type="Battery", status=status, power_now=30_000_000)

    assert one_device().read() == (None,)


def test_zero_while_discharging_is_no_value(supply):
    supply("BAT0", type="Battery", status="Discharging", power_now=0)

    assert one_device().read() == (None,)


@pytest.mark.parametrize("broken", ["status", "power_now"])
def test_a_file_that_cannot_be_read_is_a_read_error(supply, broken):
    folder = supply("BAT0", type="Battery", status="Discharging", power_now=1)
    device = one_device()

    (folder / broken).unlink()

    with pytest.raises(ReadError, match=broken):
        device.read()


def test_a_battery_that_has_gone_cannot_be_opened(supply):
    folder = supply("BAT0", type="Battery", status="Full", power_now=1)
    device = one_device()

    (folder / "status").unlink()

    with pytest.raises(DeviceError, match="not there"):
        device.open()


def test_adapters_and_mice_are_no_batteries_and_a_second_one_has_a_number(supply):
    supply("AC", type="Mains")
    supply("hidpp_battery_0", type="Battery", scope="Device", power_now=1)
    supply("BAT0", type="Battery", scope="System", status="Full", power_now=1)
    supply("BAT1", type="Battery", status="Full", power_now=1)

    devices = battery.discover(Request()).devices

    assert [device.channels[0].name for device in devices] == ["battery", "battery1"]
    assert [device.name for device in devices] == ["battery BAT0", "battery1 BAT1"]


def test_a_battery_without_figures_and_no_battery_are_findings(supply):
    supply("AC", type="Mains")
    (nothing,) = battery.discover(Request()).findings
    supply("BAT0", type="Battery", status="Full", capacity=80)
    (useless,) = battery.discover(Request()).findings

    assert (nothing.found, useless.found) == (False, False)
    assert "no battery" in nothing.detail
    assert "neither power_now" in useless.detail
