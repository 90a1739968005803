"""Joules in, joules out: what a series says of polls whose truth is known."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pactmeter.sampling.series import CounterSeries, GaugeSeries, Poll

PERIOD = 0.1
REACH = 0.075


def gauge(power, end_s, *, failed=(), period_s=PERIOD, rows=1.0, jitter=0.0):
    """Feed a gauge as the sampler would, and return its slices a row."""
    series = GaugeSeries(0.0)
    series.add_edge(Poll(0.0005, power(-1e-9), 0.75 * period_s))
    slices, number, edge = [], 1, rows
    while True:
        at = number * period_s + jitter
        while at > edge + 0.05 and edge < end_s:
            slices.append(series.cut(edge))
            edge += rows
        if at > end_s + 2 * period_s:
            break
        series.add(Poll(at, None if number in failed else power(at), 0.75 * period_s))
        number += 1
    series.end(end_s)
    slices.append(series.cut(end_s))
    return slices


def step(at):
    """100 W before and after, 400 W from 0 to 5 s."""
    return 400.0 if 0 <= at < 5.0 else 100.0


def test_a_load_that_starts_and_ends_with_the_call_gives_its_energy_whatever_lies_around_it():
    slices = gauge(step, 5.0)
    assert sum(s.energy_j for s in slices) == pytest.approx(2000.0, rel=1e-9)
    assert sum(s.covered_s for s in slices) == pytest.approx(5.0)
    assert len(slices) == 5


def test_each_row_has_the_mean_of_its_own_time():
    slices = gauge(lambda at: 100.0 if at < 2.0 else 300.0, 4.0, jitter=0.01)
    means = [s.mean for s in slices]
    assert means[0] == pytest.approx(100.0)
    assert means[3] == pytest.approx(300.0)
    assert means[1] == pytest.approx(100.0, rel=0.15)


def test_a_failed_poll_costs_its_own_time_and_no_more():
    slices = gauge(step, 5.0, failed={12})
    assert sum(s.covered_s for s in slices) == pytest.approx(4.9)
    assert sum(s.energy_j for s in slices) == pytest.approx(1960.0)
    assert slices[1].polls == slices[2].polls - 1


def test_a_hole_is_not_filled():
    slices = gauge(step, 5.0, failed=set(range(10, 30)))
    assert sum(s.covered_s for s in slices) == pytest.approx(3.0, abs=PERIOD)
    assert slices[1].mean is None
    assert slices[1].polls == 0


def test_a_call_shorter_than_a_poll_takes_what_its_edges_saw():
    series = GaugeSeries(0.0)
    series.add_edge(Poll(0.001, 100.0, REACH))
    series.end(0.02)
    series.add_edge(Poll(0.021, 200.0, REACH))
    cut = series.cut(0.02)
    assert (cut.mean, cut.covered_s, cut.polls) == (150.0, 0.02, 1)


def test_a_call_that_is_over_before_its_edge_was_polled_still_has_that_poll():
    series = GaugeSeries(0.0)
    series.add_edge(Poll(0.003, 100.0, REACH))
    series.end(0.001)
    cut = series.cut(0.001)
    assert (cut.mean, cut.covered_s) == (100.0, 0.001)


def test_a_call_of_which_nothing_is_known_has_no_energy_and_no_coverage():
    series = GaugeSeries(0.0)
    series.end(1.0)
    cut = series.cut(1.0)
    assert (cut.mean, cut.energy_j, cut.covered_s, cut.polls) == (None, 0.0, 0.0, 0)


@given(
    power_w=st.floats(0.0, 2000.0),
    end_s=st.floats(0.3, 20.0),
    failed=st.sets(st.integers(1, 200), max_size=30),
    jitter=st.floats(0.0, 0.04),
)
def test_a_constant_power_is_never_changed_by_failures_only_covered_less(
    power_w, end_s, failed, jitter
):
    slices = gauge(lambda _at: power_w, end_s, failed=failed, jitter=jitter)
    covered = sum(s.covered_s for s in slices)
    assert covered <= end_s + 1e-9
    assert sum(s.energy_j for s in slices) == pytest.approx(power_w * covered, rel=1e-9, abs=1e-9)
    for s in slices:
        assert s.mean is None or s.mean == pytest.approx(power_w, rel=1e-9, abs=1e-12)


@given(cuts=st.lists(st.floats(0.01, 9.99), max_size=12))
def test_where_rows_are_cut_does_not_change_the_energy(cuts):
    def measure(edges):
        series = GaugeSeries(0.0)
        for number in range(1, 100):
            series.add(Poll(number * PERIOD, 100.0 + 7.0 * (number % 13), REACH))
        series.end(10.0)
        return sum(series.cut(edge).energy_j for edge in [*sorted(edges), 10.0])

    assert measure(cuts) == pytest.approx(measure([]), rel=1e-9)


def counter(polls, end_s, rows=()):
    series = CounterSeries(0.0)
    for at, value, *lost in polls:
        if at <= end_s:
            series.add(Poll(at, value, 0.0, bool(lost)))
    slices = [series.cut(edge) for edge in rows]
    series.end(end_s)
    for at, value, *lost in polls:
        if at > end_s:
            series.add(Poll(at, value, 0.0, bool(lost)))
    return [*slices, series.cut(end_s)]


def test_a_counter_loses_nothing_when_polls_fail():
    slices = counter([(0.0, 0.0), (0.1, 5.0), (0.2, None), (0.3, None), (1.0, 50.0)], 1.0)
    assert (slices[-1].energy_j, slices[-1].covered_s) == (50.0, 1.0)


def test_a_counter_is_split_evenly_at_the_edge_of_a_row():
    slices = counter([(0.0, 0.0), (0.9, 90.0), (1.1, 110.0), (2.0, 200.0)], 2.0, rows=[1.0])
    assert [s.energy_j for s in slices] == pytest.approx([100.0, 100.0])


def test_energy_that_a_restarted_counter_lost_is_a_gap_and_not_a_guess():
    slices = counter([(0.0, 0.0), (0.5, 50.0), (1.0, 50.0, True), (2.0, 150.0)], 2.0)
    assert slices[-1].energy_j == pytest.approx(150.0)
    assert slices[-1].covered_s == pytest.approx(1.5)


@pytest.mark.parametrize("call_s", [0.02, 0.05, 0.23, 1.03])
def test_a_counter_that_moves_in_steps_is_right_on_average_over_many_calls(call_s):
    def stepped(at):  # 400 W in steps of 100 ms
        return 40.0 * int(at / 0.1)

    joules = truth = covered = 0.0
    for number in range(2000):
        start = 0.0371 * number
        grid = [start + 0.0003, *(start + 0.1 * k for k in range(1, int(call_s / 0.1) + 1))]
        grid += [start + call_s + 0.0003, start + call_s + 0.1, start + call_s + 0.2]
        cut = counter([(at - start, stepped(at)) for at in grid], call_s)[-1]
        joules, truth, covered = (
            joules + cut.energy_j,
            truth + 400 * call_s,
            covered + cut.covered_s,
        )
    assert joules == pytest.approx(truth * covered / (2000 * call_s), rel=0.03)


def test_a_first_reading_that_comes_late_leaves_the_time_before_it_uncovered():
    cut = counter([(0.5, 10.0), (1.0, 20.0)], 1.0)[-1]
    assert (cut.energy_j, cut.covered_s) == (10.0, 0.5)


@given(
    steps=st.lists(st.tuples(st.floats(0.01, 1.0), st.floats(0.0, 500.0)), min_size=2, max_size=40),
    missing=st.sets(st.integers(1, 38)),
    cuts=st.lists(st.floats(0.0, 10.0), max_size=5),
)
def test_a_counters_energy_is_its_last_reading_whatever_is_missing_between(steps, missing, cuts):
    at = total = 0.0
    polls = [(0.0, 0.0)]
    for number, (seconds, joules) in enumerate(steps, 1):
        at, total = at + seconds, total + joules
        polls.append((at, None if number in missing and number < len(steps) else total))
    assume(at > 0)
    slices = counter(polls, at, rows=sorted(cut for cut in cuts if cut < at))
    assert sum(s.energy_j for s in slices) == pytest.approx(total, rel=1e-9, abs=1e-9)
    assert sum(s.covered_s for s in slices) == pytest.approx(at)


def test_a_cut_in_the_past_changes_nothing():
    for series in (CounterSeries(10.0), GaugeSeries(10.0)):
        for at in range(101, 121):
            series.add(Poll(at / 10, 40.0 * at, REACH))
        first = series.cut(11.0)
        assert series.cut(10.4).energy_j == 0.0
        assert series.cut(9.0).covered_s == 0.0
        series.end(12.0)
        total = first + series.cut(12.0)
        assert total.covered_s == pytest.approx(1.9 if isinstance(series, CounterSeries) else 2.0)


def test_a_slow_first_reading_costs_coverage_and_changes_no_power():
    cut = counter([(0.01, 4.0), (0.02, 8.0)], 0.02)[-1]
    assert (cut.energy_j, cut.covered_s, cut.mean) == (4.0, pytest.approx(0.01), 400.0)


def test_between_a_quick_and_a_slow_reading_nothing_is_left_out():
    series = GaugeSeries(0.0)
    for at, reach in ((0.1, REACH), (0.5, 0.5), (1.2, 0.5), (1.5, REACH), (1.6, REACH)):
        series.add(Poll(at, 100.0, reach))
    series.end(1.65)
    cut = series.cut(1.65)
    assert cut.covered_s == pytest.approx(1.65)
    assert cut.energy_j == pytest.approx(165.0)


def test_a_slow_reading_does_not_stand_for_one_that_failed():
    series = GaugeSeries(0.0)
    for at, value, reach in ((0.1, 100.0, 0.5), (0.2, None, REACH), (0.3, 100.0, REACH)):
        series.add(Poll(at, value, reach))
    series.end(0.35)
    assert series.cut(0.35).covered_s == pytest.approx(0.15 + 0.1)
