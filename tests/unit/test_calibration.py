import json
import math
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pactmeter.analysis.calibration.closure import closure
from pactmeter.analysis.calibration.files import load_calibration, save
from pactmeter.analysis.calibration.linear import calibrate
from pactmeter.analysis.calibration.unseen import validate_by_group
from pactmeter.errors import ConfigError, FileError, PactError
from pactmeter.model.calibration import Calibration, from_dict

MADE = date(2026, 3, 1)


def windows(seed=1, gain=1.1, offset_w=12.0, noise_w=0.3, loads_w=(60, 150, 380), each=5):
    """Windows of a sensor beside a meter: `reference = offset + gain * source`."""
    rng = np.random.default_rng(seed)
    true_w = np.repeat(np.array(loads_w, float), each)
    source_w = (true_w - offset_w) / gain + rng.normal(0, noise_w, len(true_w))
    return source_w, true_w, [f"load {load}" for load in np.repeat(loads_w, each)]


def calibration(**changes):
    kept = Calibration(
        line=calibrate(*windows()),
        host="lab7",
        source="psu.dc_output",
        reference="plug, class 1",
        accuracy_pct=1.0,
        made=MADE,
        expires=MADE + timedelta(days=365),
    )
    return replace(kept, **changes)


def test_an_exact_line_is_found_exactly_and_without_doubt():
    line = calibrate(*windows(noise_w=0.0))

    assert line.gain == pytest.approx(1.1)
    assert line.offset_w == pytest.approx(12.0)
    assert line.u_gain == pytest.approx(0.0, abs=1e-9)
    assert (line.runs, line.groups) == (15, 3)


def test_fifteen_windows_at_three_loads_give_gain_and_offset_with_intervals():
    line = calibrate(*windows())

    assert abs(line.gain - 1.1) <= line.u_gain < 0.02
    assert abs(line.offset_w - 12.0) <= line.u_offset_w < 3.0


def test_the_interval_is_never_narrower_than_that_of_least_squares():
    x, y, groups = windows()
    found = stats.linregress(x, y)
    half = stats.t.ppf(0.975, len(x) - 2)

    line = calibrate(x, y, groups)

    assert line.terms == pytest.approx((found.intercept, found.slope))
    assert line.u_gain >= half * found.stderr * 0.999999
    assert line.u_offset_w >= half * found.intercept_stderr * 0.999999


def test_rounding_of_a_steady_load_widens_the_intervals():
    fine, coarse = calibrate(*windows()), calibrate(*windows(), source_step_w=2.0)

    assert coarse.u_gain > fine.u_gain
    assert coarse.u_offset_w**2 - fine.u_offset_w**2 >= (2 * 1.1 * 2 / math.sqrt(12 * 3)) ** 2


def test_one_group_out_of_line_moves_the_line_little_where_there_are_many():
    x, y, groups = windows(loads_w=(60, 100, 150, 200, 250, 300, 350, 400))
    straight = calibrate(x, y, groups)
    y[20:25] *= 0.8

    line = calibrate(x, y, groups)

    assert line.gain == pytest.approx(straight.gain, abs=0.02)
    assert line.low_pct < -10
    assert line.scatter_pct > straight.scatter_pct


def test_outside_the_loads_of_the_fit_it_is_extrapolated_and_less_sure():
    line = calibrate(*windows())
    inside, outside = line.apply(200.0), line.apply(2000.0)

    assert not inside.extrapolated
    assert outside.extrapolated
    assert inside.low_w < inside.power_w < inside.high_w
    assert outside.u_w / outside.power_w > inside.u_w / inside.power_w
    assert line.apply(line.from_w * 0.99).extrapolated


def test_the_accuracy_of_the_meter_is_in_every_interval():
    kept = calibration()

    given_w = kept.apply(200.0)

    assert given_w.u_w >= 0.01 * given_w.power_w
    assert given_w.u_w > kept.line.apply(200.0).u_w


@given(st.floats(0, 1e6))
def test_a_power_is_always_inside_its_own_interval_and_never_below_zero(source_w):
    found = LINE.apply(source_w)

    assert 0 <= found.low_w <= found.power_w <= found.high_w


LINE = calibrate(*windows())


@pytest.mark.parametrize("source_w", [math.nan, math.inf, -1.0])
def test_what_is_no_power_is_not_calibrated(source_w):
    with pytest.raises(ConfigError, match="no power"):
        LINE.apply(source_w)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y, g: (x[:2], y[:2], g[:2]), "2 values, at least 3"),
        (lambda x, y, g: ([], [], []), "0 values"),
        (lambda x, y, g: (x, y[:-1], g), "different length"),
        (lambda x, y, g: (x, y, g[:-1]), "different length"),
        (lambda x, y, g: (x, y, ["one"] * 15), "1 groups of runs, at least 3"),
        (lambda x, y, g: (x, [math.nan, *y[1:]], g), "value 1 of 15 is nan"),
        (lambda x, y, g: ([*x[1:], -1.0], y, g), "is negative"),
        (lambda x, y, g: (["a"] * 15, y, g), "not all are numbers"),
        (lambda x, y, g: ([None] * 15, y, g), "value 1 of 15 is nan"),
        (lambda x, y, g: (x * 1j, y, g), "plain column"),
        (lambda x, y, g: (np.stack([x, x]), y, g), "plain column"),
        (lambda x, y, g: (x, y * 0, g), "above 0 W"),
        (lambda x, y, g: (x * 0 + 5, y, g), "does not vary"),
        (lambda x, y, g: (x, y[::-1], g), "does not rise"),
    ],
)
def test_data_that_make_no_line_are_refused_with_the_reason(change, message):
    with pytest.raises(ConfigError, match=message):
        calibrate(*change(*windows()))


@pytest.mark.parametrize("step_w", [-1.0, math.nan, math.inf])
def test_a_resolution_must_be_possible(step_w):
    with pytest.raises(ConfigError, match="resolution"):
        calibrate(*windows(), source_step_w=step_w)


numbers = st.one_of(st.floats(), st.floats(0, 1000), st.integers(), st.none(), st.text(max_size=2))


@given(st.data(), st.integers(0, 12))
def test_any_data_give_a_finite_line_or_a_clear_error(data, count):
    columns = [data.draw(st.lists(numbers, min_size=count, max_size=count)) for _ in range(2)]
    groups = data.draw(st.lists(st.integers(0, 4), min_size=count, max_size=count))
    try:
        line = calibrate(*columns, groups)
        made = line.apply(100.0)
    except PactError:
        return
    assert all(map(math.isfinite, (*line.terms, *line.covariance, made.low_w, made.high_w)))


def test_groups_left_out_are_told_beside_simpler_ways():
    x, y, groups = windows(loads_w=(60, 100, 200, 300), noise_w=1.0)

    ours, plain, ratio = validate_by_group(x, y, groups)

    assert (ours.name, plain.name, ratio.name) == ("robust line", "least squares", "constant ratio")
    assert (ours.runs, ours.groups) == (20, 4)
    assert ours.mape_pct < ratio.mape_pct / 2  # there is an offset
    assert plain.mape_pct < ratio.mape_pct / 2
    assert ours.coverage_pct >= 95


def test_three_groups_are_too_few_to_leave_one_out():
    with pytest.raises(ConfigError, match="3 groups of runs, at least 4"):
        validate_by_group(*windows())


def test_a_calibration_is_kept_and_read_back_as_it_was(tmp_path):
    kept = calibration()
    save(tmp_path / "c.json", kept)

    assert load_calibration(tmp_path / "c.json") == kept
    with pytest.raises(FileError, match="exists and is kept"):
        save(tmp_path / "c.json", kept)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(schema=2), "newer PACT"),
        (lambda d: d.update(schema="1"), "its schema is '1'"),
        (lambda d: d.update(kind="manifest"), "not a pactmeter calibration"),
        (lambda d: d.pop("host"), "lacks host"),
        (lambda d: d.update(colour="red"), "has unknown colour"),
        (lambda d: d["line"].pop("terms"), "lacks terms"),
        (lambda d: d["line"].update(terms=[1.0]), "are not 2 numbers"),
        (lambda d: d["line"].update(terms=[1.0, -1.0]), "contradict"),
        (lambda d: d["line"].update(covariance=[1.0, 5.0, 1.0]), "contradict"),
        (lambda d: d["line"].update(from_w=1e9), "contradict"),
        (lambda d: d["line"].update(low_pct=None), "is no number"),
        (lambda d: d["line"].update(low_pct=math.nan), "no possible value"),
        (lambda d: d["line"].update(runs=True), "is no count"),
        (lambda d: d.update(expires="2036-01-01"), "contradict"),
        (lambda d: d.update(made="yesterday"), "not a calibration"),
        (lambda d: d.update(host=""), "is no text"),
        (lambda d: d.update(line=[]), "not a line"),
    ],
)
def test_a_file_that_is_no_calibration_is_refused(tmp_path, change, message):
    data = json.loads(json.dumps(calibration().to_dict()))
    change(data)
    path = tmp_path / "c.json"
    path.write_text(json.dumps(data))

    with pytest.raises(FileError, match=message) as caught:
        load_calibration(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 99999, b" " * 2**21]
)
def test_a_file_of_something_else_is_an_error_with_its_name(tmp_path, content):
    path = tmp_path / "c.json"
    path.write_bytes(content)

    with pytest.raises(FileError, match=r"c\.json"):
        load_calibration(path)


def test_a_file_that_is_not_there_or_cannot_be_written_is_an_error(tmp_path):
    with pytest.raises(FileError, match="No such file"):
        load_calibration(tmp_path / "none.json")
    with pytest.raises(FileError, match="cannot write"):
        save(tmp_path / "none" / "c.json", calibration())


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(st.sampled_from(sorted(calibration().to_dict())), json_values)
def test_any_value_in_any_field_is_read_or_refused(field, value):
    try:
        from_dict(calibration_data() | {field: value})
    except PactError:
        pass


def calibration_data():
    return KEPT.to_dict()


KEPT = calibration()


def trace(seconds=600, step_s=0.5, gain=1.0, seed=1, jitter_s=0.0, noise_w=2.0):
    """Power readings and an independent counter of a load that steps now and then."""
    rng = np.random.default_rng(seed)
    fine_s = np.arange(0, seconds + 0.05, 0.1)
    load_w = np.repeat(rng.uniform(200, 400, len(fine_s) // 50 + 1), 50)[: len(fine_s)]
    energy_j = np.concatenate([[0], np.cumsum((load_w[1:] + load_w[:-1]) / 2 * 0.1)])
    times_s = np.arange(0, seconds, step_s)
    power_w = gain * np.interp(times_s, fine_s, load_w) + rng.normal(0, noise_w, len(times_s))
    count_s = np.arange(0.2, seconds, 1.0)
    counter_j = np.interp(count_s, fine_s, energy_j)
    return times_s, power_w, count_s + rng.uniform(-jitter_s, jitter_s, len(count_s)), counter_j


def test_power_and_counter_of_one_load_close_inside_their_interval():
    found = closure(*trace(jitter_s=0.05), window_s=60.0)

    assert len(found.windows) == 9
    assert found.left_out == 0
    assert abs(found.whole_pct) < 0.2
    assert found.inside_pct >= 80
    assert found.p95_pct < 2 * found.u_pct


def test_a_wrong_gain_breaks_closure():
    found = closure(*trace(gain=1.05), window_s=60.0)

    assert found.whole_pct == pytest.approx(5.0, abs=0.2)
    assert found.inside_pct == 0


def test_constant_power_and_its_counter_close_exactly():
    times_s = np.arange(0, 121.0)
    found = closure(times_s, times_s * 0 + 300.0, times_s, 1e12 + 300.0 * times_s)

    assert found.whole_pct == pytest.approx(0.0, abs=1e-9)
    assert [window.integral_j for window in found.windows] == pytest.approx([18000.0] * 2)


def test_a_window_with_a_gap_is_left_out_and_counted():
    times_s, power_w, count_s, counter_j = trace()
    kept = (times_s < 70) | (times_s > 85)

    found = closure(times_s[kept], power_w[kept], count_s, counter_j)

    assert found.left_out == 1
    assert len(found.windows) == 8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, p, s, j: (t[::-1], p, s, j), "earlier than the one before"),
        (lambda t, p, s, j: (t * 0, p, s, j), "the same time"),
        (lambda t, p, s, j: (t, -p, s, j), "is negative"),
        (lambda t, p, s, j: (t, p, s, j[::-1]), "the counter falls"),
        (lambda t, p, s, j: (t, p, s + 1e6, j), "one clock"),
        (lambda t, p, s, j: (t[:50], p[:50], s, j), "less than one window"),
        (lambda t, p, s, j: (t[:1], p[:1], s, j), "1 values, at least 2"),
        (lambda t, p, s, j: (t, p[:-1], s, j), "different length"),
        (lambda t, p, s, j: (t, p, s, j * 0), "no window"),
        (lambda t, p, s, j: (t * 100, p, s, j), "too short"),
    ],
)
def test_series_that_cannot_be_compared_are_refused_with_the_reason(change, message):
    with pytest.raises(ConfigError, match=message):
        closure(*change(*trace()))


@pytest.mark.parametrize("window_s", [math.nan, math.inf, 0.0, -60.0, 5.9])
def test_windows_must_hold_some_readings(window_s):
    with pytest.raises(ConfigError, match=r"too short|less than one window"):
        closure(*trace(), window_s=window_s)


@given(st.lists(st.tuples(*[st.floats(0, 1e18) | st.floats(0, 300)] * 4), max_size=40))
def test_any_series_close_with_finite_figures_or_a_clear_error(rows):
    times_s, power_w, count_s, counter_j = zip(*rows, strict=True) if rows else [()] * 4
    try:
        found = closure(sorted(set(times_s)), power_w, sorted(set(count_s)), sorted(counter_j))
    except PactError:
        return
    assert all(map(math.isfinite, (found.whole_pct, found.p95_pct, found.u_pct)))
