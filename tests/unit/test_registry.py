from __future__ import annotations

import sys
import types
from dataclasses import dataclass

import pytest

from pactmeter.errors import ConfigError, DeviceError, ReadError
from pactmeter.model.channel import Channel, Domain, Kind, Origin
from pactmeter.model.finding import Finding
from pactmeter.sensors import registry
from pactmeter.sensors.base import Discovery, Request
from pactmeter.units import Unit


@dataclass
class FakeDevice:
    name: str
    channels: tuple


def device(name, *names, domain=None, origin=Origin.MEASURED):
    channels = (Channel(n, Unit.WATT, Kind.POWER, "fake", domain, origin) for n in names)
    return FakeDevice(name, tuple(channels))


@pytest.fixture
def sensors(monkeypatch):
    """Replace the built-in sensors by the ones the test gives: modules, real to importlib."""
    requests = []

    def install(*discovers):
        modules = []
        for index, discover in enumerate(discovers):
            module = types.ModuleType(f"fake_sensor_{index}")
            module.NAME = f"fake{index}"

            def recorded(request, discover=discover):
                requests.append(request)
                if isinstance(discover, Exception):
                    raise discover
                return discover

            module.discover = recorded
            monkeypatch.setitem(sys.modules, module.__name__, module)
            modules.append(module.__name__)
        monkeypatch.setattr(registry, "BUILT_IN", tuple(modules))
        return requests

    return install


def test_devices_and_findings_come_in_the_order_of_the_sensors(sensors):
    finding = Finding("cpu", "a", found=True, detail="here")
    sensors(Discovery((device("a", "x"),), (finding,)), Discovery((device("b", "y"),)))

    found = registry.discover_all(Request(), on_missing="raise")

    assert [item.name for item in found.devices] == ["a", "b"]
    assert found.findings == (finding,)
    assert found.problems == ()


def test_later_sensors_are_told_what_is_measured_but_not_what_is_estimated(sensors):
    requests = sensors(
        Discovery((device("psu", "psu.dc_output", domain=Domain.DC),)),
        Discovery((device("amd", "p", domain=Domain.PACKAGE, origin=Origin.MODELLED),)),
        Discovery((device("guess", "e", domain=Domain.PSYS, origin=Origin.ESTIMATED),)),
        Discovery(),
    )

    registry.discover_all(Request(rails=True), on_missing="raise")

    assert [request.measured for request in requests] == [
        frozenset(),
        {Domain.DC},
        {Domain.DC, Domain.PACKAGE},
        {Domain.DC, Domain.PACKAGE},
    ]
    assert all(request.rails for request in requests)


def test_a_device_asked_for_and_absent_raises_or_is_a_problem(sensors):
    missing = DeviceError("no Corsair HX1500i", "plug it in")
    sensors(missing, Discovery((device("b", "y"),)))

    with pytest.raises(DeviceError, match="HX1500i"):
        registry.discover_all(Request(), on_missing="raise")
    found = registry.discover_all(Request(), on_missing="warn")

    assert found.problems == (missing,)
    assert [item.name for item in found.devices] == ["b"]


def test_an_unknown_name_is_an_error_whatever_happens_to_missing_devices(sensors):
    sensors(ConfigError("unknown PSU 'x'"), Discovery())

    with pytest.raises(ConfigError, match="unknown PSU"):
        registry.discover_all(Request(), on_missing="warn")


@pytest.mark.parametrize("broken", [RuntimeError("boom"), ReadError("boom"), None])
def test_a_broken_sensor_is_a_finding_and_costs_no_other(sensors, broken):
    sensors(broken, Discovery((device("b", "y"),)))

    found = registry.discover_all(Request(), on_missing="raise")

    assert [item.name for item in found.devices] == ["b"]
    (finding,) = found.findings
    assert not finding.found
    assert finding.name == "fake_sensor_0"
    assert "failed while looking" in finding.detail


def test_the_later_of_two_devices_with_one_channel_is_left_out(sensors):
    sensors(
        Discovery((device("a", "x"), device("twice", "z", "z"))),
        Discovery((device("b", "y", "x"), device("c", "y"))),
    )

    found = registry.discover_all(Request(), on_missing="raise")

    assert [item.name for item in found.devices] == ["a", "c"]
    assert [finding.detail for finding in found.findings] == [
        "left out: channel 'z' is given by twice already",
        "left out: channel 'x' is given by a already",
    ]


def install_distribution(folder, entry_points):
    info = folder / "some_meters-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: some-meters\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[pactmeter.sensors]\n" + entry_points)


def test_sensors_of_other_packages_run_before_the_estimate(sensors, tmp_path, monkeypatch):
    requests = sensors(Discovery(), Discovery())
    (tmp_path / "some_meters.py").write_text(
        "from pactmeter.model.channel import Channel, Domain, Kind\n"
        "from pactmeter.sensors.base import Discovery\n"
        "from pactmeter.units import Unit\n"
        "class Meter:\n"
        "    name = 'wall meter'\n"
        "    channels = (Channel('wall.x', Unit.WATT, Kind.POWER, 'x', Domain.AC),)\n"
        "class Wall:\n"
        "    NAME = 'wall'\n"
        "    def discover(self, request):\n"
        "        return Discovery((Meter(),))\n"
        "wall = Wall()\n"
    )
    install_distribution(
        tmp_path, "wall = some_meters:wall\nbroken = some_meters:nothing\nabsent = no_such_module\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    found = registry.discover_all(Request(), on_missing="raise")

    assert [item.name for item in found.devices] == ["wall meter"]
    assert [request.measured for request in requests] == [frozenset(), {Domain.AC}]
    assert [finding.name for finding in found.findings] == [
        "absent (no_such_module)",
        "broken (some_meters:nothing)",
    ]


def test_the_estimate_is_the_last_built_in_and_the_power_supply_the_first():
    assert registry.BUILT_IN[0] == "pactmeter.sensors.psu"
    assert registry.BUILT_IN[-1] == "pactmeter.sensors.cpu_estimate"


def test_an_empty_machine_gives_findings_and_no_error(tmp_path, monkeypatch):
    monkeypatch.setenv("PACTMETER_SYSFS", str(tmp_path))
    monkeypatch.setattr(
        registry,
        "BUILT_IN",
        tuple(f"pactmeter.sensors.{name}" for name in ("rapl", "hwmon", "battery")),
    )

    found = registry.discover_all(Request(), on_missing="raise")

    assert found.devices == ()
    assert [finding.source for finding in found.findings] == ["cpu", "hwmon", "battery"]
    assert not any(finding.found for finding in found.findings)
