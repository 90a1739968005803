from __future__ import annotations

import fcntl

import pytest

from pactmeter.errors import DeviceError, ReadError
from pactmeter.sensors import psu_hid, psu_scan
from pactmeter.sensors.psu_device import PsuDevice
from unit.psu_fakes import CORSAIR_HX1500I, Machine
from unit.psu_firmware import CorsairFirmware


@pytest.fixture
def machine(tmp_path, monkeypatch):
    made = Machine(tmp_path, monkeypatch)
    yield made
    made.close()


@pytest.fixture
def hx1500i(machine):
    firmware = CorsairFirmware()
    return machine.open(CORSAIR_HX1500I, firmware), firmware


def test_another_run_that_holds_the_device_for_long_is_a_gap_and_no_hang(hx1500i, machine):
    device, firmware = hx1500i
    with (machine.dev / "hidraw0").open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(ReadError, match="another program holds the lock"):
            device.read()
        assert firmware.requests == []
        fcntl.flock(other, fcntl.LOCK_UN)

        assert device.read()[0] == 140.0
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_psu_comes_back_under_another_number(hx1500i, machine):
    device, firmware = hx1500i
    device.read()
    machine.unplug(0)
    with pytest.raises(ReadError, match="cannot read"):
        device.read()
    with pytest.raises(DeviceError, match=r"HX1500i \(1b1c:1c1f:A1\) is not plugged in"):
        device.open()
    with pytest.raises(ReadError, match="not open"):
        device.read()

    other = CorsairFirmware(total_w=600.0)
    machine.plug(CORSAIR_HX1500I, other, number=1, serial="B2", port="usb-1/input0")
    machine.plug(CORSAIR_HX1500I, firmware, number=5, serial="A1", port="usb-8/input0")
    device.open()

    assert device.read()[0] == 140.0


def test_a_psu_without_serial_never_comes_back_as_another_one(machine):
    machine.plug(CORSAIR_HX1500I, CorsairFirmware(), port="usb-1/input0")
    device = PsuDevice(psu_scan.scan()[0], "psu")
    machine.unplug(0)
    machine.plug(CORSAIR_HX1500I, CorsairFirmware(), number=1, port="usb-2/input0")

    with pytest.raises(DeviceError, match="not plugged in"):
        device.open()


def test_two_units_with_one_serial_are_known_by_their_ports(machine):
    machine.plug(CORSAIR_HX1500I, number=0, serial="0", port="usb-1/input0")
    machine.plug(CORSAIR_HX1500I, number=1, serial="0", port="usb-2/input0")

    first, second = psu_scan.scan()

    assert psu_scan.find_again(first) == first
    assert psu_scan.find_again(second) == second


def test_a_write_that_fails_is_a_gap(hx1500i, machine, monkeypatch):
    device, _ = hx1500i
    monkeypatch.setattr("unit.psu_fakes.FakeHidDevice.write", lambda *_: -1)

    with pytest.raises(ReadError, match=r"cannot write to .*hidraw0: Could not write"):
        device.read()


def test_a_psu_that_vanishes_while_connecting_is_a_device_error(machine, monkeypatch):
    machine.plug(CORSAIR_HX1500I, CorsairFirmware())
    device = PsuDevice(psu_scan.scan()[0], "psu")

    plugged = machine.hidapi.plugged.copy()
    machine.hidapi.plugged.clear()
    with pytest.raises(DeviceError, match="liquidctl does not list"):
        device.open()

    machine.hidapi.plugged.update(plugged)
    with monkeypatch.context() as patch:
        patch.setattr("unit.psu_fakes.FakeHidDevice.open_path", _failing("open failed"))
        with pytest.raises(DeviceError, match=r"cannot connect to .* open failed"):
            device.open()

    with monkeypatch.context() as patch:
        patch.setattr("pactmeter.sensors.psu_link.os.open", _failing("gone"))
        with pytest.raises(DeviceError, match=r"cannot open .*hidraw0"):
            device.open()

    device.open()


def _failing(message):
    def fail(*_args, **_kwargs):
        raise OSError(5, message)

    return fail


def test_a_psu_without_a_node_cannot_be_connected(machine):
    machine.plug(CORSAIR_HX1500I)
    found = psu_scan.scan()[0]
    bare = psu_scan.Found(found.model, "", "", bound=False, node=None, hwmon=None, synthetic=None)

    with pytest.raises(DeviceError, match="no hidraw node"):
        psu_hid.connect(bare, clock=machine.clock, sleep=machine.clock.sleep)
