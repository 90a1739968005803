"""A gauge that lags behind its load: what it owes at the end of a call, and when nothing."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pactmeter.sampling.series import GaugeSeries, Poll

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


def test_a_load_that_ends_in_steps_is_no_lag():
    levels = [400.0, 330.0, 330.0, 200.0, 200.0, 100.0, 100.0, 100.0]
    shown = lagging(100.0, 400.0, 5.0, 0.3)
    got = measured(lambda at: shown(at) if at < 5 else levels[int((at - 5) / 0.1)], 5.0)
    assert got[1] is None


def test_a_fall_of_a_few_steps_tells_nothing():
    assert measured(lagging(100.0, 108.0, 5.0, 0.3), 5.0)[1] is None


def test_too_few_polls_after_the_call_tell_nothing():
    assert measured(lagging(100.0, 400.0, 5.0, 0.3), 5.0, tail=2)[1] is None


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
    for at_s, watts in ((0.1, 100.0), (0.2, 130.0), (0.3, None), (0.4, 90.0), (0.5, 100.0)):
        series.add(Poll(at_s, watts, REACH))
    series.end(0.55)
    series.cut(0.55)
    assert (series.roughness.pairs, series.roughness.square_w2) == (2, 900.0 + 100.0)
