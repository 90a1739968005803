from __future__ import annotations

import builtins
import logging
import sys

import pytest

from pactmeter.errors import ConfigError, DeviceError
from pactmeter.model.channel import Domain, Kind, Origin
from pactmeter.sensors import psu, psu_scan
from pactmeter.sensors.base import Request
from unit.psu_fakes import CORSAIR_HX1500I, NZXT_E850, Machine
from unit.psu_firmware import CorsairFirmware, NzxtFirmware


@pytest.fixture
def machine(tmp_path, monkeypatch):
    made = Machine(tmp_path, monkeypatch)
    yield made
    made.close()


def discover(*names, rails=False):
    return psu.discover(Request(psu=names or ("auto",), rails=rails))


def test_nothing_asked_for_looks_for_nothing(machine):
    machine.plug(CORSAIR_HX1500I, CorsairFirmware())

    assert psu.discover(Request(psu=())) == psu.Discovery()


def test_auto_without_a_psu_is_silent_and_says_where_it_looked(machine):
    (finding,) = discover().findings

    assert discover().devices == ()
    assert not finding.found
    assert "/sys/class/hidraw" in finding.detail
    assert "USB cable" in finding.fix


def test_a_machine_without_a_psu_imports_neither_liquidctl_nor_hidapi(machine, monkeypatch):
    machine.plug((0x046D, 0xC31C), number=4)
    monkeypatch.setattr(builtins, "__import__", _refusing(builtins.__import__))

    assert discover().devices == ()


def _refusing(real):
    def importer(name, *args, **kwargs):
        if name.partition(".")[0] in {"liquidctl", "hidraw"}:
            raise ImportError(f"No module named {name!r}")
        return real(name, *args, **kwargs)

    return importer


def test_auto_finds_every_supported_psu_and_says_that_it_is_emulated(machine):
    machine.plug(CORSAIR_HX1500I, CorsairFirmware(), number=3, serial="A1")
    machine.plug(NZXT_E850, NzxtFirmware(), number=7)

    found = discover()

    assert [device.name for device in found.devices] == ["Corsair HX1500i", "NZXT E850"]
    assert [channel.name for channel in found.devices[0].channels] == [
        "psu.dc_output",
        "psu.ac_input",
        "psu.input_v",
        "psu.temp_c",
    ]
    assert [channel.name for channel in found.devices[1].channels] == [
        "psu1.dc_output",
        "psu1.ac_input",
        "psu1.temp_c",
    ]
    assert {c.synthetic for device in found.devices for c in device.channels} == {"emulated"}
    assert [finding.found for finding in found.findings] == [True, True]
    assert "hidraw3, serial A1" in found.findings[0].detail


def test_a_node_that_is_no_character_device_is_emulated_whatever_sysfs_says(machine, monkeypatch):
    machine.plug(CORSAIR_HX1500I, CorsairFirmware())
    monkeypatch.setattr("pactmeter.sensors.sysfs.synthetic", lambda _: None)

    (found,) = psu_scan.scan()

    assert found.synthetic == "emulated"
    monkeypatch.setattr("pathlib.Path.is_char_device", lambda _: True)
    assert psu_scan.scan()[0].synthetic is None


def test_channels_say_what_is_measured_and_what_is_estimated(machine):
    machine.plug(CORSAIR_HX1500I, CorsairFirmware())
    machine.plug(NZXT_E850, NzxtFirmware(), number=1)

    corsair, nzxt = discover(rails=True).devices

    dc, ac, volts, _, *rails = corsair.channels
    assert (dc.domain, dc.origin, dc.resolution) == (Domain.DC, Origin.MEASURED, 2.0)
    assert (dc.accuracy_pct, dc.accuracy_source) == (5.0, "Type B: uncalibrated PSU")
    assert (ac.domain, ac.origin) == (Domain.AC, Origin.ESTIMATED)
    assert dc.accuracy_pct < ac.accuracy_pct < 7.0
    assert volts.columns == ("psu.input_v",)
    assert [c.name for c in rails] == ["psu.rail.12v", "psu.rail.5v", "psu.rail.3v3"]
    assert {(c.domain, c.kind) for c in rails} == {(None, Kind.POWER)}
    assert "80 PLUS Gold minimum" in nzxt.channels[1].description
    assert len(nzxt.channels) == 3 + 5
    assert nzxt.channels[3].name == "psu1.rail.12v_peripherals"


@pytest.mark.parametrize("name", ["Corsair_1500i", "hx1500i", "1b1c:1c1f", "1B1C:1C1F:a1"])
def test_a_psu_asked_for_by_name_is_bound_and_no_other(machine, name):
    machine.plug(CORSAIR_HX1500I, CorsairFirmware(), number=3, serial="A1")
    machine.plug(NZXT_E850, NzxtFirmware(), number=7)

    (device,) = discover(name).devices

    assert device.name == "Corsair HX1500i"
    assert len(discover(name, "auto").devices) == 2


def test_a_psu_named_twice_is_measured_once(machine):
    machine.plug(CORSAIR_HX1500I, CorsairFirmware())

    assert len(discover("HX1500i", "1b1c:1c1f").devices) == 1


def test_a_name_that_no_psu_has_is_an_error_even_beside_auto(machine):
    with pytest.raises(ConfigError, match="unknown PSU 'Corsair_1501i'"):
        discover("auto", "Corsair_1501i")


def test_a_psu_that_is_not_there_is_an_error_with_place_and_fix(machine):
    with pytest.raises(DeviceError, match=r"HX1500i \(1b1c:1c1f\) is not there.*hidraw") as caught:
        discover("Corsair_1500i")
    assert "USB cable" in caught.value.fix

    machine.plug(NZXT_E850, NzxtFirmware())
    with pytest.raises(DeviceError) as caught:
        discover("Corsair_1500i")
    assert "NZXT E850 (PSU='7793:2500')" in caught.value.fix


def test_two_identical_psus_are_told_apart_by_serial(machine):
    machine.plug(CORSAIR_HX1500I, CorsairFirmware(), number=0, serial="A1")
    machine.plug(CORSAIR_HX1500I, CorsairFirmware(), number=1, serial="B2")

    assert [d.name for d in discover().devices] == ["Corsair HX1500i (A1)", "Corsair HX1500i (B2)"]
    assert len(discover("1b1c:1c1f:B2").devices) == 1
    with pytest.raises(DeviceError, match="2 units") as caught:
        discover("Corsair_1500i")
    assert "PSU='1b1c:1c1f:A1' or PSU='1b1c:1c1f:B2'" in caught.value.fix
    with pytest.raises(DeviceError, match="with serial 'C3'"):
        discover("1b1c:1c1f:C3")


def test_two_identical_psus_without_serial_are_told_apart_by_port(machine):
    near = CorsairFirmware(total_w=100.0)
    far = CorsairFirmware(total_w=300.0)
    machine.plug(CORSAIR_HX1500I, far, number=0, port="usb-2/input0")
    machine.plug(CORSAIR_HX1500I, near, number=1, port="usb-1/input0")

    devices = discover().devices

    for device in devices:
        device.open()
    assert [device.read()[0] for device in devices] == [100.0, 300.0]
    assert devices[1].name == "Corsair HX1500i (psu1)"
    with pytest.raises(DeviceError) as caught:
        discover("Corsair_1500i")
    assert "auto" in caught.value.fix


@pytest.mark.parametrize(
    ("trouble", "message", "fix"),
    [
        ("no access", "may not read and write", 'ATTRS{idProduct}=="1c1f"'),
        ("no node", "is missing", "--device"),
        ("no liquidctl", "needs liquidctl and hidapi", "pip install 'pactmeter[psu]'"),
        ("bound without files", "held by the kernel driver", "modprobe -r corsair-psu"),
    ],
)
def test_a_psu_that_cannot_be_read_has_a_cause_and_a_fix(
    machine, monkeypatch, trouble, message, fix
):
    hid = machine.plug(CORSAIR_HX1500I, CorsairFirmware(), node=trouble != "no node")
    if trouble == "no access":
        monkeypatch.setattr("os.access", lambda *_: False)
    elif trouble == "no liquidctl":
        monkeypatch.setitem(sys.modules, "hidraw", None)
    elif trouble == "bound without files":
        machine.bind(hid, name="other")

    with pytest.raises(DeviceError, match=message) as caught:
        discover("Corsair_1500i")
    automatic = discover()

    assert fix in caught.value.fix
    assert automatic.devices == ()
    assert [(f.found, f.fix) for f in automatic.findings] == [(False, caught.value.fix)]


def test_liquidctl_prints_nothing(machine, caplog):
    machine.plug(CORSAIR_HX1500I, CorsairFirmware())
    discover()

    assert not logging.getLogger("liquidctl").isEnabledFor(logging.CRITICAL)
