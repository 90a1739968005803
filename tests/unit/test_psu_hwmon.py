from __future__ import annotations

import pytest

from pactmeter.errors import DeviceError, ReadError
from pactmeter.sensors import psu
from pactmeter.sensors.base import Request
from unit.psu_fakes import CORSAIR_HX1500I, CORSAIR_RM1000I, Machine
from unit.psu_firmware import CorsairFirmware


@pytest.fixture
def machine(tmp_path, monkeypatch):
    made = Machine(tmp_path, monkeypatch)
    yield made
    made.close()


def discover(*names, rails=False):
    return psu.discover(Request(psu=names or ("auto",), rails=rails))


def test_a_model_that_only_the_kernel_reads_needs_its_driver(machine):
    hid = machine.plug((0x1B1C, 0x1C09))
    with pytest.raises(DeviceError) as caught:
        discover("RM550i")
    assert caught.value.fix == "sudo modprobe corsair-psu"

    machine.bind(hid)
    (device,) = discover("RM550i").devices
    device.open()

    assert device.read()[0] == pytest.approx(140.0)
    assert device.read()[1] == pytest.approx(140.0 / 0.92, rel=0.05)


def test_the_kernel_driver_comes_first_and_the_device_is_not_asked_beside_it(machine):
    firmware = CorsairFirmware()
    hid = machine.plug(CORSAIR_HX1500I, firmware)
    machine.bind(hid)
    found = discover(rails=True)
    (device,) = found.devices
    device.open()

    first, second = device.read(), device.read()

    assert "kernel driver corsair-psu" in found.findings[0].detail
    assert first == pytest.approx((140.0, 160.08, 230.0, None, 124.0, 8.0, 1.5), abs=0.05)
    assert second[3] == pytest.approx(33.5)
    assert firmware.requests == []
    device.close()
    with pytest.raises(ReadError, match="not open"):
        device.read()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"power1_input": -555_745_280}, "-555.745 W, which cannot be"),
        ({"power1_input": 33_521_664_000_000}, "cannot be"),
        ({"power1_input": 0}, "124 W on a rail"),
        ({"power1_input": "bad"}, "cannot read"),
    ],
)
def test_garbage_from_the_kernel_driver_is_no_reading(machine, values, message):
    machine.bind(machine.plug(CORSAIR_HX1500I), **values)
    (device,) = discover().devices
    device.open()

    with pytest.raises(ReadError, match=message):
        device.read()


def test_a_missing_side_reading_costs_its_channel_alone(machine):
    machine.bind(machine.plug(CORSAIR_HX1500I), in0_input=None, power3_input=None)
    (device,) = discover(rails=True).devices
    device.open()

    assert device.read() == (pytest.approx(140.0), None, None, None, None, None, None)


def test_a_kernel_driver_that_went_away_is_a_device_error(machine):
    folder = machine.bind(machine.plug(CORSAIR_HX1500I))
    (device,) = discover().devices
    (folder / "power1_input").unlink()

    with pytest.raises(DeviceError, match="power1_input"):
        device.open()


def test_a_psu_that_lost_its_driver_is_read_over_usb_when_reopened(machine):
    firmware = CorsairFirmware(total_w=98.0)
    hid = machine.plug(CORSAIR_RM1000I, firmware, serial="A1")
    machine.bind(hid)
    (device,) = discover().devices
    device.open()

    (machine.sys / "class/hwmon/hwmon0").unlink()
    (hid / "driver").unlink()
    device.open()

    assert device.read()[0] == 98.0
