"""A gauge that lags behind its load: what it owes at the end of a call, and when nothing."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pactmeter.model.channel import Channel, Kind
from pactmeter.sampling.lag import Lag, Lags, Unjudged
from pactmeter.sampling.series import GaugeSeries, Poll
from pactmeter.units import Unit
from support.virtual import VirtualRun
from unit.psu_fakes import ManualClock

REACH, STEP_W, PERIOD_S = 0.075, 2.0, 0.1


def measured(shown, duration_s, *, delay_s=0.002, tail=6, period_s=PERIOD_S):
    """Feed a series with what a sensor shows around a call from 0 to `duration_s`."""

    def poll(at_s):
        return Poll(at_s, STEP_W * round(shown(at_s) / STEP_W), REACH)

    series = GaugeSeries(0.0, STEP_W)
    series.add_edge(poll(delay_s))
    for k in range(1, math.ceil(duration_s / period_s)):
        series.add(poll(k * period_s + delay_s))
    for k in range(1, tail + 1):
        series.add(poll(duration_s + k * period_s + delay_s))
    series.add_edge(poll(duration_s + delay_s))
    series.end(duration_s)
    energy_j = series.cut(duration_s).energy_j
    return energy_j, series.lag


def lagging(idle_w, load_w, duration_s, tau_s):
    """Return what a first-order sensor shows of a load that lasts as long as the call."""

    def shown(at_s):
        rise = 1 - math.exp(-min(max(at_s, 0.0), duration_s) / tau_s)
        peak_w = idle_w + (load_w - idle_w) * rise
        if at_s <= duration_s:
            return peak_w
        return idle_w + (peak_w - idle_w) * math.exp(-(at_s - duration_s) / tau_s)

    return shown


@given(
    tau_s=st.floats(0.08, 0.5),
    idle_w=st.floats(40.0, 200.0),
    rise_w=st.floats(100.0, 1000.0),
    duration_s=st.floats(2.0, 20.0),
    delay_s=st.floats(0.0, 0.02),
)
def test_a_lagging_sensor_gives_the_energy_of_the_call_all_the_same(
    tau_s, idle_w, rise_w, duration_s, delay_s
):
    shown = lagging(idle_w, idle_w + rise_w, duration_s, tau_s)
    energy_j, lag = measured(shown, duration_s, delay_s=delay_s)
    assert lag is not None
    assert lag.tau_s == pytest.approx(tau_s, rel=0.25)
    truth_j = (idle_w + rise_w) * duration_s
    rounding_j = STEP_W / 2 * duration_s + STEP_W  # of the plateau, and of the fit to the fall
    assert energy_j + lag.energy_j == pytest.approx(truth_j, abs=0.05 * rise_w + rounding_j)


@given(idle_w=st.floats(40.0, 300.0), load_w=st.floats(40.0, 900.0))
def test_a_sensor_that_follows_at_once_owes_nothing(idle_w, load_w):
    energy_j, lag = measured(lambda at: load_w if 0 <= at < 5 else idle_w, 5.0)
    assert lag is None
    assert energy_j == pytest.approx(5 * load_w, abs=5 * STEP_W)


def test_a_machine_that_cools_down_slowly_is_not_taken_for_a_slow_sensor():
    def shown(at_s):
        return 400.0 if 0 < at_s < 5 else 100.0 + 300.0 * math.exp(-max(0.0, at_s - 5) / 0.3)

    assert measured(lambda at: 100.0 if at <= 0.002 else shown(at), 5.0)[1] is None


@pytest.mark.parametrize("rest_w", [12.0, 40.0, 60.0])
def test_a_machine_that_stops_at_once_and_settles_a_little_owes_nothing(rest_w):
    def shown(at_s):
        if at_s < 0.005 or at_s > 5.005:
            return 100.0 + (rest_w * math.exp(-(at_s - 5) / 0.3) if at_s > 5 else 0.0)
        return 400.0

    assert measured(shown, 5.0)[1] is None


def test_a_load_that_ends_in_steps_is_no_lag():
    levels = [400.0, 330.0, 330.0, 200.0, 200.0, 100.0, 100.0, 100.0]
    shown = lagging(100.0, 400.0, 5.0, 0.3)
    got = measured(lambda at: shown(at) if at < 5 else levels[int((at - 5) / 0.1)], 5.0)
    assert got[1] is None


def test_a_fall_of_a_few_steps_tells_nothing():
    assert measured(lagging(100.0, 108.0, 5.0, 0.3), 5.0)[1] is None


def test_too_few_polls_after_the_call_tell_nothing():
    shown = measured(lagging(100.0, 400.0, 5.0, 0.3), 5.0, tail=2)[1]
    assert isinstance(shown, Unjudged)
    assert shown.rise_w == pytest.approx(300.0, abs=4.0)


def test_failed_polls_after_the_call_are_left_out_not_read_as_zero():
    series = GaugeSeries(0.0, STEP_W)
    shown = lagging(100.0, 400.0, 5.0, 0.3)
    series.add_edge(Poll(0.0, 100.0, REACH))
    for k in range(1, 50):
        series.add(Poll(k / 10, shown(k / 10), REACH))
    for k in range(7):
        value = None if k in {2, 3} else shown(5 + k / 10)
        series.add(Poll(5 + k / 10, value, REACH))
    series.end(5.0)
    energy_j = series.cut(5.0).energy_j
    assert energy_j + series.lag.energy_j == pytest.approx(2000.0, rel=0.005)


def test_how_much_polls_differ_is_kept_for_the_uncertainty():
    series = GaugeSeries(0.0)
    for k, watts in enumerate((100.0, 130.0, None, 90.0, 100.0, 120.0), 1):
        series.add(Poll(k / 10, watts, REACH))
    series.end(0.65)
    series.cut(0.65)
    assert (series.roughness.pairs, series.roughness.square_w2) == (3, 900.0 + 100.0 + 400.0)
    assert (series.roughness.triples, series.roughness.square2_w2) == (1, 900.0)


def test_the_lags_of_many_calls_are_summed_not_kept():
    lags = Lags()
    assert lags.tau_s is None
    for k in range(1000):
        lags.add(Lag(0.3 if k % 3 else 0.9, 2.0))
    assert (lags.calls, lags.energy_j, lags.tau_s) == (1000, 2000.0, 0.3)


def test_a_lag_holds_for_calls_that_could_not_show_it_unless_others_contradict():
    lags = Lags()
    lags.add(Unjudged(100.0, -5.0))
    assert (lags.calls, lags.energy_j) == (0, 0.0)
    lags.add(Lag(0.3, 20.0))
    assert (lags.calls, lags.energy_j) == (2, pytest.approx(20.0 + 0.3 * 100.0 - 5.0))
    lags.add(None)
    assert (lags.calls, lags.energy_j) == (1, 20.0)


class Lagging:
    """A supply whose sensor lags, and that takes its time to answer."""

    name = "supply"

    def __init__(self, clock, shown, answer_s=0.002):
        self.clock, self.shown, self.answer_s = clock, shown, answer_s
        self.channels = (
            Channel("psu", Unit.WATT, Kind.POWER, "-", resolution=STEP_W, accuracy_pct=5.0),
        )

    open = close = lambda self: None

    def read(self):
        self.clock.now_s += self.answer_s
        return (STEP_W * round(self.shown(self.clock() - 100.0) / STEP_W),)


@pytest.mark.parametrize("poll_s", [0.01, 0.03, 0.1])
@pytest.mark.parametrize("tau_s", [0.1, 0.3, 0.5])
def test_a_lag_is_seen_however_short_the_sampling_period_is(poll_s, tau_s):
    clock = ManualClock()
    clock.now_s = 100.0
    supply = Lagging(clock, lagging(100.0, 400.0, 5.0, tau_s))
    run = VirtualRun([supply], clock, poll_s=poll_s)
    run.call(5.0)
    assert run.energies()["psu"].energy_j == pytest.approx(2000.0, rel=0.005)


def test_a_supply_that_is_slow_to_answer_is_sampled_less_and_says_so():
    clock = ManualClock()
    clock.now_s = 100.0
    supply = Lagging(clock, lambda at_s: 300.0 if int(at_s * 7.3) % 2 else 100.0, answer_s=0.9)
    run = VirtualRun([supply], clock)
    run.call(90.0)
    energy = run.energies()["psu"]
    (sampling,) = [item for item in energy.budget if item.name == "sampling"]
    # about 90 draws of 100 W or 300 W, not 900
    assert sampling.u_j == pytest.approx(
        energy.covered_s * 100.0 / math.sqrt(energy.polls), rel=0.3
    )


def pulsed(call_s, pause_s, calls, tau_s):
    """Return what a first-order sensor shows of 400 W in each of some calls, else of 100 W."""
    ends = [k * (call_s + pause_s) + part for k in range(calls) for part in (0.0, call_s)]

    def shown(at_s):
        power_w = shown_w = 100.0
        before_s = 0.0
        for index, edge_s in enumerate([*ends, math.inf]):
            decay = math.exp(-(max(0.0, min(at_s, edge_s) - before_s)) / tau_s)
            shown_w = power_w + (shown_w - power_w) * decay
            if at_s <= edge_s:
                break
            before_s, power_w = edge_s, 100.0 if index % 2 else 400.0
        return shown_w

    return shown


@pytest.mark.parametrize("tau_s", [0.1, 0.3])
@pytest.mark.parametrize("pause_s", [0.05, 0.15, 0.25, 0.35, 1.0])
@pytest.mark.parametrize("call_s", [5.0, 1.0])
def test_calls_with_short_pauses_are_corrected_by_what_the_last_one_shows(call_s, pause_s, tau_s):
    clock = ManualClock()
    clock.now_s = 100.0
    supply = Lagging(clock, pulsed(call_s, pause_s, 20, tau_s))
    run = VirtualRun([supply], clock)
    for left in reversed(range(20)):
        run.call(call_s, pause_s if left else math.inf)
    energy = run.energies()["psu"]
    assert energy.energy_j == pytest.approx(20 * call_s * 400.0, rel=0.02 / call_s + 0.005)
