"""A device that repeats itself while the machine moves: its readings are taken back."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pactmeter.bench.loads import Span, pieces
from pactmeter.bench.timeline import Timeline
from pactmeter.model.channel import Channel, Domain, Kind
from pactmeter.units import Unit
from support.virtual import VirtualRun
from unit.psu_fakes import ManualClock


class Gauge:
    """A supply's total in steps of 2 W, which stands still for a while."""

    def __init__(self, line, clock, frozen=(0.0, 0.0), step_w=2.0):
        self.name = "supply"
        self.channels = (
            Channel("psu.dc_output", Unit.WATT, Kind.POWER, "-", Domain.DC, resolution=step_w),
        )
        self.line, self.clock, self.frozen, self.step_w = line, clock, frozen, step_w

    def open(self):
        pass

    def close(self):
        pass

    def read(self):
        at_s = self.clock()
        from_s, to_s = self.frozen
        power_w = self.line.power_w(from_s if from_s <= at_s < to_s else at_s)
        return (self.step_w * round(power_w / self.step_w),)


class Counter:
    """An energy counter that is updated now and then."""

    def __init__(self, line, clock, update_s=0.001, frozen=(0.0, 0.0), name="processor"):
        self.name = name
        self.channels = (
            Channel(
                "cpu.package0",
                Unit.JOULE,
                Kind.ENERGY,
                "-",
                Domain.PACKAGE,
                update_period_s=update_s,
            ),
        )
        self.line, self.clock, self.update_s, self.frozen = line, clock, update_s, frozen

    open = close = lambda self: None

    def read(self):
        at_s = self.clock() // self.update_s * self.update_s
        from_s, to_s = self.frozen
        return (self.line.energy_j(0.0, from_s if from_s <= at_s < to_s else at_s),)


def run(spec, *, frozen=(0.0, 0.0), counter_frozen=(0.0, 0.0), update_s=0.001, seed=0, call_s=30.0):
    clock = ManualClock()
    line = Timeline(pieces(spec, Span(60.0, 400.0), seed))
    supply = Gauge(line, clock, frozen)
    counter = Counter(line, clock, update_s, counter_frozen)
    measured = VirtualRun([supply, counter], clock)
    measured.call(call_s)
    return measured, line


def truth_j(line, *windows):
    return sum(line.energy_j(a, b) for a, b in windows)


@settings(max_examples=20)
@given(seed=st.integers(0, 99), for_s=st.floats(4.0, 20.0))
def test_what_a_stuck_supply_repeats_is_no_energy_and_no_coverage(seed, for_s):
    measured, line = run("bursts+noise:8", frozen=(105.0, 105.0 + for_s), seed=seed)
    energy = measured.energies()["psu.dc_output"]
    # polls just before and after may have the same code: a few more
    assert for_s - 0.11 < energy.gap_s < for_s + 0.45
    known_j = truth_j(line, (100.0, 105.0), (105.0 + for_s, 130.0))
    assert energy.energy_j == pytest.approx(known_j, abs=0.45 * 400 + 0.02 * known_j)
    (gap,) = measured.power.gaps
    assert "stuck" in gap["reason"]


def test_a_stuck_supply_is_found_in_a_training_within_one_poll():
    measured, _ = run("training", frozen=(110.03, 120.03))
    energy = measured.energies()["psu.dc_output"]
    assert energy.gap_s == pytest.approx(10.0, abs=0.1)
    assert energy.gaps == 1


def test_a_counter_that_stands_still_is_a_gap_and_what_follows_is_not_doubled():
    measured, line = run("training", counter_frozen=(110.0, 120.0))
    energy = measured.energies()["cpu.package0"]
    assert energy.gap_s == pytest.approx(10.0, abs=0.15)
    known_j = truth_j(line, (100.0, 110.0), (120.0, 130.0))
    assert energy.energy_j == pytest.approx(known_j, rel=0.02)


@pytest.mark.parametrize("update_s", [0.001, 0.02, 0.1])
@pytest.mark.parametrize(
    "spec", ["steady:61", "steady:300", "steady:100+noise:1", "idle", "training"]
)
def test_a_code_that_repeats_for_a_reason_is_kept(spec, update_s):
    measured, line = run(spec, update_s=update_s, call_s=60.0)
    assert measured.power.gaps == []
    for energy in measured.energies().values():
        assert energy.coverage > 0.995
        assert energy.energy_j == pytest.approx(truth_j(line, (100.0, 160.0)), rel=0.03)


def test_without_another_meter_nothing_can_be_called_stuck():
    clock = ManualClock()
    line = Timeline(pieces("training", Span(60.0, 400.0)))
    measured = VirtualRun([Gauge(line, clock, (105.0, 115.0))], clock)
    measured.call(30.0)
    assert measured.power.gaps == []


class Supply(Gauge):
    """A supply whose temperature is asked for once a second and held between."""

    def __init__(self, line, clock, frozen, name="supply"):
        super().__init__(line, clock, frozen)
        self.name = name
        self.channels = (
            *self.channels,
            Channel("psu.temp_c", Unit.CELSIUS, Kind.QUANTITY, "-"),
        )
        self.held = (-1.0, 0.0)

    def read(self):
        (power_w,) = super().read()
        if self.clock() - self.held[0] >= 1.0:
            self.held = (self.clock(), power_w / 10)
        return power_w, self.held[1]


def test_what_is_asked_for_seldom_does_not_hide_since_when_a_supply_is_stuck():
    clock = ManualClock()
    line = Timeline(pieces("ramp:60-1060@95-145", Span(60.0, 400.0)))
    measured = VirtualRun([Supply(line, clock, (105.53, 110.53)), Counter(line, clock)], clock)
    measured.call(20.0)
    assert measured.energies()["psu.dc_output"].gap_s == pytest.approx(5.0, abs=0.1)


def test_a_supply_that_stays_the_same_while_another_feeds_the_load_is_not_stuck():
    clock = ManualClock()
    line, flat = (Timeline(pieces(s, Span(60.0, 400.0))) for s in ("bursts", "steady:80"))
    devices = [Gauge(flat, clock), Gauge(line, clock), Counter(line, clock)]
    devices[0].name = "other supply"
    measured = VirtualRun(devices, clock)
    measured.call(30.0)
    assert measured.power.gaps == []


def test_what_was_seen_in_an_earlier_call_says_nothing_of_the_next():
    clock = ManualClock()
    line = Timeline(pieces("steps:100,300@131", Span(60.0, 400.0)))
    moving = Timeline(pieces("bursts+noise:8", Span(60.0, 400.0)))
    measured = VirtualRun([Gauge(line, clock), Counter(moving, clock)], clock)
    measured.call(5.0)
    clock.now_s = 125.0
    measured.call(20.0)
    assert measured.energies()["psu.dc_output"].covered_s >= 0.0
    assert all(gap["start_s"] >= 100.0 for gap in measured.power.gaps)
    second = [gap for gap in measured.power.gaps if gap["start_s"] > 110.0]
    assert all(gap["start_s"] >= 125.0 for gap in second)


class Gpu(Gauge):
    """A GPU without a counter, at work or idle."""

    def __init__(self, line, clock, work_pct, frozen=(0.0, 0.0)):
        super().__init__(line, clock, frozen, step_w=0.001)
        self.name = "gpu"
        self.channels = (
            Channel("gpu0", Unit.WATT, Kind.POWER, "-", Domain.GPU, resolution=0.001),
            Channel("gpu0.util_sm_pct", Unit.PERCENT, Kind.QUANTITY, "-"),
        )
        self.work_pct = work_pct

    def read(self):
        return (*super().read(), self.work_pct)


@pytest.mark.parametrize(("work_pct", "gaps"), [(0.0, 0), (None, 0), (97.0, 1)])
def test_a_gpu_that_stays_the_same_is_stuck_only_at_work(work_pct, gaps):
    clock = ManualClock()
    line = Timeline(pieces("bursts+noise:8", Span(60.0, 400.0)))
    gpu = Gpu(Timeline(pieces("steady:30", Span(0.0, 1.0))), clock, work_pct)
    measured = VirtualRun([gpu, Counter(line, clock)], clock)
    measured.call(20.0)
    assert len(measured.power.gaps) == gaps


class Renewed(Gauge):
    """A supply whose register is renewed more seldom than it is asked for."""

    def __init__(self, line, clock, renew_s):
        super().__init__(line, clock)
        self.renew_s = renew_s

    def read(self):
        at_s = self.clock() // self.renew_s * self.renew_s
        return (self.step_w * round(self.line.power_w(at_s) / self.step_w),)


@pytest.mark.parametrize(
    ("renew_s", "poll_s", "update_s"),
    [(1.0, 0.1, 0.001), (2.0, 0.1, 0.1), (0.2, 0.01, 0.001), (0.05, 0.01, 0.1)],
)
@pytest.mark.parametrize("spec", ["training", "bursts+noise:8"])
def test_a_supply_that_renews_its_readings_seldom_is_not_stuck(renew_s, poll_s, update_s, spec):
    clock = ManualClock()
    line = Timeline(pieces(spec, Span(60.0, 400.0)))
    devices = [Renewed(line, clock, renew_s), Counter(line, clock, update_s)]
    measured = VirtualRun(devices, clock, poll_s=poll_s)
    measured.call(20.0)
    assert measured.power.gaps == []
    assert all(energy.coverage > 0.99 for energy in measured.energies().values())


@pytest.mark.parametrize("poll_s", [0.01, 0.05])
def test_a_stuck_supply_is_found_when_polled_fast(poll_s):
    clock = ManualClock()
    line = Timeline(pieces("training", Span(60.0, 400.0)))
    devices = [Gauge(line, clock, (105.0, 112.0)), Counter(line, clock)]
    measured = VirtualRun(devices, clock, poll_s=poll_s)
    measured.call(20.0)
    assert measured.energies()["psu.dc_output"].gap_s == pytest.approx(7.0, abs=0.2)
    assert measured.energies()["psu.dc_output"].gaps == 1


class Hampered(Counter):
    """A counter whose reader is often kept from its work for a while, before or after it reads."""

    waits_s = itertools.cycle((0.0, 0.02, 0.0, 0.0, 0.0, 0.02, 0.0, 0.02, 0.0, 0.0, 0.0))

    def read(self):
        self.clock.now_s += next(self.waits_s)
        values = super().read()
        self.clock.now_s += next(self.waits_s)
        return values


def test_a_counter_read_at_uncertain_moments_moves_no_machine():
    clock = ManualClock()
    line = Timeline(pieces("steady:300", Span(60.0, 400.0)))
    measured = VirtualRun([Gauge(line, clock), Hampered(line, clock)], clock)
    measured.call(60.0)
    assert measured.power.gaps == []


class Platform(Counter):
    """A processor whose platform is counted too, which contains the package."""

    def __init__(self, line, clock):
        super().__init__(line, clock)
        psys = Channel("cpu.psys", Unit.JOULE, Kind.ENERGY, "-", Domain.PSYS, update_period_s=0.001)
        self.channels = (*self.channels, psys)

    def read(self):
        return super().read() * 2


def test_a_movement_that_the_platform_shows_again_is_one_movement():
    clock = ManualClock()
    line = Timeline(pieces("steps:100,104@110", Span(60.0, 400.0)))
    flat = Timeline(pieces("steady:100", Span(60.0, 400.0)))
    measured = VirtualRun([Gauge(flat, clock), Platform(line, clock)], clock)
    measured.call(20.0)
    assert measured.power.gaps == []


def test_a_working_gpu_is_not_stuck_because_a_processor_stirs():
    clock = ManualClock()
    line = Timeline(pieces("steady:60+noise:1", Span(60.0, 400.0)))
    gpu = Gpu(Timeline(pieces("steady:300", Span(0.0, 1.0))), clock, 97.0)
    measured = VirtualRun([gpu, Counter(line, clock)], clock)
    measured.call(20.0)
    assert measured.power.gaps == []
