"""Rest before a trial: for a time, or to a temperature."""

from __future__ import annotations

import pytest

from pactmeter.study import cooling
from pactmeter.study.definition import Settings


class Room:
    """A machine that cools down by a degree a second, while the study pauses."""

    def __init__(self, temp_c, monkeypatch):
        self.temp_c, self.waited_s = temp_c, 0.0
        monkeypatch.setattr(cooling, "now_s", lambda: self.waited_s)

    def pause(self, seconds):
        self.waited_s += seconds

    def read_c(self):
        return None if self.temp_c is None else self.temp_c - self.waited_s

    def rest(self, **settings):
        return cooling.rest(Settings(**settings), self.pause, self.read_c)


def test_a_time_is_waited_for(monkeypatch):
    found = Room(60.0, monkeypatch).rest(cool_down_s=4.0)

    assert (found.waited_s, found.temp_c, found.reached) == (4.0, 56.0, None)


def test_a_temperature_is_waited_for(monkeypatch):
    found = Room(60.0, monkeypatch).rest(cool_down_c=50.0)

    assert (found.waited_s, found.temp_c, found.reached) == (10.0, 50.0, True)


def test_a_machine_that_is_cool_does_not_wait(monkeypatch):
    assert Room(40.0, monkeypatch).rest(cool_down_c=50.0).waited_s == 0.0


@pytest.mark.parametrize(("temp_c", "left_c"), [(90.0, 65.0), (None, None)])
def test_the_wait_for_a_temperature_has_an_end(monkeypatch, temp_c, left_c):
    found = Room(temp_c, monkeypatch).rest(cool_down_c=50.0, cool_down_s=25.0)

    assert (found.waited_s, found.temp_c, found.reached) == (25.0, left_c, False)


def chip(sysfs, number, name, *temps_mc, status="active"):
    folder = sysfs / f"class/hwmon/hwmon{number}"
    (folder / "device/power").mkdir(parents=True)
    (folder / "name").write_text(f"{name}\n")
    (folder / "device/power/runtime_status").write_text(f"{status}\n")
    for place, temp_mc in enumerate(temps_mc, 1):
        (folder / f"temp{place}_input").write_text(f"{temp_mc}\n")


def test_the_hottest_sensor_of_processors_and_gpus_counts(sysfs):
    assert cooling.hottest_c() is None

    chip(sysfs, 0, "coretemp", 41000, 47500, 44000)
    chip(sysfs, 1, "amdgpu", 52000)
    chip(sysfs, 2, "nvme", 81000)
    chip(sysfs, 3, "k10temp", 200000, -99000)
    assert cooling.hottest_c() == 52.0


def test_a_sleeping_chip_is_not_woken(sysfs):
    chip(sysfs, 0, "amdgpu", 52000, status="suspended")

    assert cooling.hottest_c() is None
