from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pactmeter.errors import CounterResetError, DeviceError, ReadError
from pactmeter.sensors import rapl
from support.powercap import DRAM_RANGE_UJ, RANGE_UJ, Machine


@pytest.fixture
def machine(tmp_path, monkeypatch):
    monkeypatch.setenv("PACTMETER_SYSFS", str(tmp_path / "sys"))
    return Machine(tmp_path)


def test_known_joules_come_out_since_opening(machine):
    machine.zone("intel-rapl:0", "package-0", energy_uj=7_000_000)
    device = machine.device()
    device.open()

    machine.clock.now += 1
    machine.set("intel-rapl:0", 132_000_000)

    assert device.read() == pytest.approx((125.0,))


def test_energy_survives_a_wrap_at_the_last_step(machine):
    machine.zone("intel-rapl:0", "package-0", energy_uj=RANGE_UJ)
    device = machine.device()
    device.open()

    machine.clock.now += 0.001
    machine.set("intel-rapl:0", 0)
    last = device.read()
    machine.clock.now += 1
    machine.set("intel-rapl:0", 150_000_000)

    assert last == pytest.approx((61e-6,))
    assert device.read() == pytest.approx((150.000061,))


def test_constant_power_over_many_wraps_gives_power_times_time(machine):
    machine.zone("intel-rapl:0", "package-0", energy_uj=RANGE_UJ - 50_000_000)
    device = machine.device()
    device.open()
    raw_uj = RANGE_UJ - 50_000_000

    for _ in range(60):  # 150 W for an hour, read once a minute: two wraps
        machine.clock.now += 60
        raw_uj = (raw_uj + 9_000_000_000) % (RANGE_UJ + 61)
        machine.set("intel-rapl:0", raw_uj)
        reading = device.read()

    assert reading == pytest.approx((540_000.0,))


@given(
    range_uj=st.integers(1000, 2**40),
    start=st.integers(0, 2**40),
    steps=st.lists(st.integers(0, 2**40), max_size=20),
)
def test_differences_of_a_wrapping_counter_add_up_to_what_went_in(range_uj, start, steps):
    modulus = range_uj + rapl.counter_step_uj(range_uj)
    steps = [step % modulus for step in steps]
    raw, total = start % modulus, 0

    for step in steps:
        after = (raw + step) % modulus
        total += rapl.wrapped_difference(raw, after, modulus)
        raw = after

    assert total == sum(steps)


def test_the_step_is_guessed_as_the_kernel_made_the_range():
    assert rapl.counter_step_uj(RANGE_UJ) == 61
    assert rapl.counter_step_uj(DRAM_RANGE_UJ) == 15
    assert rapl.counter_step_uj(65535) == 1


def test_a_fall_that_would_need_5_kw_is_a_reset_told_once_and_total_goes_on(machine):
    machine.zone("intel-rapl:0", "package-0", energy_uj=100_000_000_000)
    machine.zone("intel-rapl:1", "package-1", energy_uj=0)
    device = machine.device()
    device.open()
    machine.clock.now += 1
    machine.set("intel-rapl:0", 100_200_000_000)
    device.read()

    machine.clock.now += 1
    machine.set("intel-rapl:0", 5_000_000)
    machine.set("intel-rapl:1", 40_000_000)
    with pytest.raises(CounterResetError, match="no wrap"):
        device.read()
    machine.clock.now += 1
    machine.set("intel-rapl:0", 8_000_000)

    assert device.read() == pytest.approx((203.0, 40.0))


@pytest.mark.parametrize("range_uj", [RANGE_UJ, None])
def test_a_rise_that_would_need_5_kw_is_a_counter_that_was_set_and_no_energy(machine, range_uj):
    machine.zone("intel-rapl:0", "package-0", energy_uj=100_000_000, range_uj=range_uj)
    device = machine.device()
    device.open()

    machine.clock.now += 0.1
    machine.set("intel-rapl:0", 200_000_000_000)
    with pytest.raises(CounterResetError, match="which no processor draws"):
        device.read()
    machine.clock.now += 0.1
    machine.set("intel-rapl:0", 200_010_000_000)

    assert device.read() == pytest.approx((10.0,))


def test_without_a_range_any_fall_is_a_reset(machine):
    machine.zone("intel-rapl:0", "package-0", energy_uj=1_000_000, range_uj=None)
    device = machine.device()
    device.open()
    machine.set("intel-rapl:0", 3_000_000)
    assert device.read() == pytest.approx((2.0,))

    machine.set("intel-rapl:0", 1)
    with pytest.raises(CounterResetError, match="range is unknown"):
        device.read()

    assert device.channels[0].resolution is None


def test_a_zone_that_fails_is_none_and_continues_by_its_counter(machine):
    machine.zone("intel-rapl:0", "package-0", energy_uj=0)
    machine.zone("intel-rapl:0:0", "dram", energy_uj=0, range_uj=DRAM_RANGE_UJ)
    device = machine.device()
    device.open()
    dram = machine.base / "intel-rapl:0:0" / "energy_uj"

    machine.clock.now += 1
    machine.set("intel-rapl:0", 100_000_000)
    dram.write_text("")
    first = device.read()
    dram.unlink()
    dram.symlink_to("/proc/self/mem")  # reading its first byte is EIO
    second = device.read()
    dram.unlink()
    machine.clock.now += 1
    machine.set("intel-rapl:0:0", 6_000_000)

    assert first == pytest.approx((100.0, None))
    assert second == pytest.approx((100.0, None))
    assert device.read() == pytest.approx((100.0, 6.0))


def test_all_zones_failing_is_a_read_error_and_never_a_zero(machine):
    machine.zone("intel-rapl:0", "package-0")
    device = machine.device()
    device.open()

    (machine.base / "intel-rapl:0" / "energy_uj").write_text("")

    with pytest.raises(ReadError, match="energy_uj"):
        device.read()


def test_an_outage_longer_than_a_possible_wrap_is_told_as_lost_energy(machine):
    machine.zone("intel-rapl:0", "package-0", energy_uj=0)
    device = machine.device()
    device.open()
    (machine.base / "intel-rapl:0" / "energy_uj").write_text("")
    with pytest.raises(ReadError):
        device.read()

    machine.clock.now += 3600
    machine.set("intel-rapl:0", 5_000_000)
    with pytest.raises(CounterResetError, match="more than once"):
        device.read()
    machine.set("intel-rapl:0", 6_000_000)

    assert device.read() == pytest.approx((1.0,))


def test_the_total_goes_on_after_being_reopened(machine):
    machine.zone("intel-rapl:0", "package-0", energy_uj=0)
    device = machine.device()
    device.open()
    machine.clock.now += 1
    machine.set("intel-rapl:0", 10_000_000)
    device.read()

    device.close()
    machine.clock.now += 1
    machine.set("intel-rapl:0", 15_000_000)
    device.open()

    assert device.read() == pytest.approx((15.0,))


def test_a_zone_that_fails_on_opening_is_anchored_by_its_first_good_reading(machine):
    machine.zone("intel-rapl:0", "package-0")
    machine.zone("intel-rapl:1", "package-1", energy_uj=77)
    device = machine.device()
    (machine.base / "intel-rapl:1" / "energy_uj").write_text("")
    device.open()

    assert device.read() == (0.0, None)
    machine.set("intel-rapl:1", 500_000_000)
    assert device.read() == (0.0, 0.0)


def test_a_path_that_became_another_zone_is_not_read_as_the_old_one(machine):
    machine.zone("intel-rapl:0", "package-0")
    device = machine.device()

    (machine.base / "intel-rapl:0" / "name").write_text("package-1\n")

    with pytest.raises(DeviceError, match="no longer the zone 'package-0'"):
        device.open()
