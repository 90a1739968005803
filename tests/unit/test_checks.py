"""Each check: what it finds, what it lets pass, and what it does not judge."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pactmeter.analysis.checks import about, sensors, times
from pactmeter.analysis.checks.check import Beside, Case, Idle
from pactmeter.analysis.checks.period import Period, load_periods, repeats
from pactmeter.analysis.checks.physics import laws, physics
from pactmeter.analysis.run import load
from pactmeter.analysis.summary import summarize
from pactmeter.model.channel import Domain, Origin
from support.written import (
    AC,
    CORE,
    DC,
    GPU,
    PACKAGE,
    PSYS,
    UTC_S,
    WALL,
    counter,
    gauge,
    judged,
    written,
)

FAST = {"psu.dc_output": {"roughness": {"pairs": 600, "square_w2": 60.0}}}


@pytest.fixture
def case(tmp_path):
    """Write a run and return what its checks look at."""

    def make(sources, *, beside=None, **options):
        run = written(tmp_path, sources, **options)
        return Case(run, *judged(run), beside or Beside())

    return make


def walk(seed, rows=60, low_w=100.0, high_w=400.0):
    chance = random.Random(seed)
    return [chance.uniform(low_w, high_w) for _ in range(rows)]


# --- Q1 to Q4: time ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lost", "rows", "outcome"),
    [(0, 100, "pass"), (1, 100, "pass"), (3, 100, "warn"), (5, 100, "warn"), (6, 100, "fail")],
)
def test_coverage_passes_at_99_percent_and_fails_below_95(case, lost, rows, outcome):
    means = [None] * lost + [300.0] * (rows - lost)
    assert times.coverage(case({DC: means}, rows=rows)).outcome == outcome


def gap(start_s, end_s, reason="x", channel="psu.dc_output"):
    return {"channels": [channel], "start_s": start_s, "end_s": end_s, "reason": reason}


@pytest.mark.parametrize(
    ("gaps", "rows", "longest_s", "outcome"),
    [
        ([], 600, 0.0, "pass"),
        ([gap(3.0, 5.9)], 600, 2.9, "pass"),
        ([gap(3.0, 6.1)], 600, 3.1, "warn"),  # more than 3 periods
        ([gap(3.0, 3.7)], 60, 0.7, "warn"),  # more than 1 % of the time
        ([gap(590.0, None)], 600, 10.0, "warn"),  # still open
        ([gap(3.0, 50.0, channel="gpu0")], 600, 0.0, "pass"),  # of another device
    ],
)
def test_the_longest_gap_is_judged_by_period_and_time(case, gaps, rows, longest_s, outcome):
    one = case({DC: 300.0}, rows=rows, more={"gaps": gaps})
    check = times.gaps(one, times.timing(one))
    assert (check.outcome, check.figure) == (outcome, pytest.approx(longest_s))


def test_the_next_reading_of_a_counter_bridges_a_gap(case):
    one = case({GPU: 300.0}, more={"gaps": [gap(3.0, 9.0, channel="gpu0")]})
    assert times.timing(one).longest_gap_s == 0.0


@pytest.mark.parametrize(
    ("channel", "rows", "polls", "outcome"),
    [
        (DC, 60, 10, "pass"),
        (DC, 60, 1, "pass"),
        (DC, 59, 10, "warn"),
        (DC, 1, 10, "warn"),
        (DC, 1, 9, "fail"),
        (GPU, 1, 2, "warn"),  # two readings of a counter are enough
    ],
)
def test_a_minute_and_60_readings_are_wanted(case, channel, rows, polls, outcome):
    one = case({channel: 300.0}, rows=rows, polls=polls)
    assert times.duration(times.timing(one)).outcome == outcome


def test_of_a_sum_the_part_that_is_read_least_counts(case):
    one = case({PACKAGE: 100.0, GPU: [300.0] * 30 + [None] * 30})
    found = times.timing(one)
    assert (found.readings, found.uncovered_s) == (300, 30.0)


@pytest.mark.parametrize(
    ("square_w2", "update_s", "outcome"),
    [
        (60.0, 0.1, "pass"),  # a steady load
        (4e7, 0.1, "warn"),  # jumps from poll to poll, and the sensor shows moments
        (4e7, 0.5, "pass"),  # the sensor itself is slower than the polls
    ],
)
def test_a_gauge_that_is_polled_too_seldom_for_its_load_is_warned_of(
    case, square_w2, update_s, outcome
):
    told = {"roughness": {"pairs": 600, "square_w2": square_w2}, "seen_update_period_s": update_s}
    check = times.update_period(case({DC: 300.0}, more={"about": {DC.name: told}}))
    assert check.outcome == outcome
    assert check.figure == pytest.approx(1 - 0.1 / update_s)


def test_a_sensor_that_hardly_changed_has_no_update_period(case):
    told = {DC.name: {"seen_update_period_s": None}}
    assert times.update_period(case({DC: 300.0}, more={"about": told})).outcome == "not checked"


# --- Q5: phase -----------------------------------------------------------------------------------


def steps(period_s, jitter_s=0.0, duration_s=60.0, seed=0):
    """Return regions of a load that repeats."""
    chance, time_s, rows = random.Random(seed), 0.0, [[0.0, duration_s, "call", 0, 1]]
    while time_s < duration_s:
        rows.append([time_s, time_s + period_s / 2, "step", len(rows), 1])
        time_s += max(1e-3, period_s + chance.gauss(0.0, jitter_s))
    return rows


@pytest.mark.parametrize(
    ("period_s", "jitter_s", "outcome"),
    [
        (0.1, 0.0, "warn"),
        (0.05, 0.0, "warn"),
        (0.01, 0.0, "warn"),
        (0.2, 0.0, "warn"),
        (0.35, 0.0, "pass"),
        (0.137, 0.0, "pass"),
        (0.101, 0.0, "pass"),  # slips by six turns in the minute
        (0.1, 0.01, "pass"),  # its phase wanders
        (0.7, 0.0, "pass"),  # seven polls a period see what it does
    ],
)
def test_a_load_that_is_locked_to_the_polls_is_found_by_its_regions(
    case, period_s, jitter_s, outcome
):
    check = sensors.phase_lock(case({DC: 300.0}, regions=steps(period_s, jitter_s)))
    assert check.outcome == outcome
    assert check.figure == pytest.approx(period_s / 0.1, rel=0.05)


def test_a_series_that_is_constant_says_nothing_of_phase(case):
    check = sensors.phase_lock(case({DC: 300.0}))
    assert (check.outcome, check.figure) == ("not checked", None)


def test_a_counter_cannot_be_locked(case):
    check = sensors.phase_lock(case({GPU: 300.0}, regions=steps(0.1)))
    assert check.outcome == "pass"


def test_a_sensor_that_averages_over_the_period_misses_nothing(case):
    told = {DC.name: {"lag": {"tau_s": 0.3, "energy_j": 1.0}}}
    check = sensors.phase_lock(case({DC: 300.0}, regions=steps(0.1), more={"about": told}))
    assert check.outcome == "pass"


def test_a_sensor_with_a_clock_of_its_own_is_locked_with_less_precision(case):
    told = {DC.name: {"update_period_s": 0.5}}
    check = sensors.phase_lock(case({DC: 300.0}, regions=steps(0.501), more={"about": told}))
    assert check.outcome == "warn"


def pulses(period_s, jitter_s=0.0, bin_s=0.01, bins=3000, seed=0, noise=0.1):
    """Return counts in bins of a load that is on for a half of its period."""
    chance, edges_s, time_s = random.Random(seed), [], 0.0
    while time_s < bins * bin_s:
        edges_s.append((time_s, time_s + period_s / 2))
        time_s += period_s + chance.gauss(0.0, jitter_s)
    counts, k = [0.0] * bins, 0
    for start_s, end_s in edges_s:
        for k in range(int(start_s / bin_s), min(bins, int(end_s / bin_s) + 1)):
            inside_s = min(end_s, (k + 1) * bin_s) - max(start_s, k * bin_s)
            counts[k] += 1e6 * max(0.0, inside_s)
    return [(k * bin_s, bin_s, c * chance.gauss(1.0, noise)) for k, c in enumerate(counts)]


@settings(max_examples=15)
@given(st.floats(0.05, 2.0), st.integers(0, 1000))
def test_counters_tell_the_period_of_a_load_that_repeats(period_s, seed):
    found = repeats(pulses(period_s, seed=seed), "cycles")
    assert found is not None
    ratio = found.period_s / period_s
    assert ratio == pytest.approx(round(ratio), abs=2e-3)  # some periods at once repeat too
    assert round(ratio) >= 1


@settings(max_examples=10)
@given(st.integers(0, 1000))
def test_what_does_not_repeat_has_no_period(seed):
    chance = random.Random(seed)
    assert repeats([(k / 100, 0.01, chance.random()) for k in range(3000)], "cycles") is None
    assert repeats(pulses(0.35, jitter_s=0.1, seed=seed), "cycles") is None


@pytest.mark.parametrize(
    "bins",
    [
        [],
        [(0.0, 0.01, 1.0)],
        [(k / 100, 0.01, 7.0) for k in range(1000)],  # constant
        [(k / 100, 0.0, 1.0) for k in range(1000)],
        [(-k / 100, 0.01, 1.0) for k in range(1000)],
        [(k * 100.0, 0.01, k % 2) for k in range(1000)],  # mostly pauses
        [(k / 100, 0.01, math.nan) for k in range(1000)],
    ],
)
def test_bins_that_tell_nothing_have_no_period(bins):
    assert repeats(bins, "cycles") is None


def test_where_no_region_is_marked_the_counters_tell_the_lock(case):
    one = case({DC: 300.0}, events=("cycles",))
    rows = "".join(f"{a:.6f},{b:.6f},{c:.0f}\n" for a, b, c in pulses(0.1, noise=0.01))
    one.run.files.counters.write_text(f"start_s,dt_s,cycles\n{rows}")
    check = sensors.phase_lock(one)
    assert (check.outcome, "'cycles' repeats" in check.text) == ("warn", True)


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_whatever_the_side_files_hold_a_period_is_found_or_not(tmp_path_factory, one, other):
    folder = tmp_path_factory.getbasetemp() / "side_files"
    if not folder.exists():
        folder.mkdir()
        written(folder, {DC: 300.0}, events=("cycles",))
    (folder / "PACT.counters.csv").write_bytes(b"start_s,dt_s,cycles\n" + one)
    (folder / "PACT.regions.csv").write_bytes(b"start_s,end_s,name,index,tid\n" + other)
    for period in load_periods(load(folder / "PACT.csv")):
        assert 0 < period.period_s < math.inf


@given(st.floats(1e-3, 10), st.floats(1e-3, 10), st.floats(1, 1e5), st.floats(0, 1))
def test_a_lock_is_told_alike_in_any_unit_of_time(load_s, sensor_s, span_s, wander_s):
    one = Period("x", load_s, span_s, wander_s).is_locked(sensor_s, 0.0)
    other = Period("x", 4 * load_s, 4 * span_s, 4 * wander_s).is_locked(4 * sensor_s, 0.0)
    assert one == other


# --- Q6, Q7: two paths, physics ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("share", "beside", "outcome"),
    [
        (1.0, {}, "pass"),
        (1.005, {}, "pass"),
        (1.03, {}, "warn"),
        (0.57, {}, "fail"),  # Zeus #181
        (0.57, {DC: 500.0}, "warn"),  # the headline does not hold that counter
    ],
)
def test_a_gpus_counter_is_compared_with_its_power(case, share, beside, outcome):
    watts = walk(1)
    powers = {"gpu0.instant_w": [w / share for w in watts]}
    check = sensors.closure(case({GPU: watts, **beside}, more={"columns": powers}))
    assert check.outcome == outcome
    assert check.figure == pytest.approx(100 * (share - 1), abs=0.01)


def test_a_counter_without_power_beside_it_is_not_compared(case):
    assert sensors.closure(case({GPU: 300.0})).outcome == "not checked"
    powers = {"gpu0.instant_w": [300.0] * 9}
    assert sensors.closure(case({GPU: 300.0}, rows=9, more={"columns": powers})).figure is None


RAIL12, RAIL5 = (gauge(f"psu.rail.{name}", None) for name in ("12v", "5v"))
UNCORE = counter("cpu.uncore0", Domain.UNCORE)
OTHER_CORE = counter("cpu.core1", Domain.CORE)


@pytest.mark.parametrize(
    ("sources", "outcome"),
    [
        ({DC: 500.0, AC: 560.0, PACKAGE: 120.0, GPU: 300.0}, "pass"),
        ({DC: 400.0, PACKAGE: 150.0, GPU: 320.0}, "fail"),
        ({DC: 455.0, PACKAGE: 150.0, GPU: 320.0}, "pass"),  # within the combined U
        ({PACKAGE: 100.0, CORE: 80.0, UNCORE: 10.0}, "pass"),
        ({PACKAGE: 100.0, CORE: 90.0, UNCORE: 40.0}, "fail"),
        ({PACKAGE: 100.0, OTHER_CORE: 400.0}, "not checked"),  # of another package
        ({PSYS: 120.0, PACKAGE: 100.0}, "pass"),
        ({PSYS: 80.0, PACKAGE: 100.0}, "fail"),
        ({DC: 500.0, WALL: 560.0}, "pass"),
        ({DC: 500.0, WALL: 490.0}, "pass"),  # 0.98 of it is within U
        ({DC: 500.0, WALL: 440.0}, "fail"),
        ({DC: 500.0, WALL: 1300.0}, "fail"),  # an efficiency of 0.38
        ({DC: 750.0, AC: 39866.7}, "fail"),  # liquidctl #675
        ({DC: 140.0, RAIL12: 124.0, RAIL5: 9.5}, "pass"),  # liquidctl's replies: 4.6 % apart
        ({DC: 124.0, RAIL12: 140.0, RAIL5: 7.0}, "fail"),
        ({DC: 500.0}, "not checked"),
        ({gauge("psu.dc_output", Domain.DC, None): 100.0, PACKAGE: 150.0}, "not checked"),
    ],
)
def test_conservation_is_violated_beyond_the_combined_uncertainty_only(case, sources, outcome):
    assert physics(case(sources)).outcome == outcome


def test_a_short_run_is_not_judged_by_conservation(case):
    assert physics(case({DC: 400.0, PACKAGE: 900.0}, rows=4)).outcome == "not checked"


def test_a_lag_between_two_meters_is_no_violation(case):
    cpu = [50.0] * 30 + [400.0] * 30
    late = [100.0] * 31 + [450.0] * 29
    assert physics(case({DC: late, PACKAGE: cpu})).outcome == "pass"


def test_a_violation_in_a_part_of_the_run_is_found_and_placed(case):
    gpu = [100.0] * 40 + [600.0] * 20
    check = physics(case({DC: [400.0] * 60, GPU: gpu}))
    assert check.outcome == "fail"
    assert "CPU + GPU <= DC is violated from 40.0" in check.text


def test_devices_that_are_not_of_one_kind_of_world_are_not_compared(case):
    replayed = gauge("psu.dc_output", Domain.DC, synthetic="replayed")
    assert laws(case({replayed: 100.0, PACKAGE: 400.0})) == []


def test_one_meter_under_two_names_is_found(case):
    watts = walk(2)
    twin = counter("cpu.package1", Domain.PACKAGE)
    assert "counted twice" in physics(case({PACKAGE: watts, twin: watts})).text
    assert physics(case({PACKAGE: watts, twin: walk(3)})).outcome == "not checked"
    assert physics(case({PACKAGE: 100.0, twin: 100.0})).outcome == "not checked"


@settings(max_examples=40)
@given(st.lists(st.floats(0, 500), min_size=12, max_size=40), st.floats(1.0, 3.0))
def test_parts_that_truly_lie_within_their_whole_never_fail(tmp_path_factory, watts, factor):
    folder = tmp_path_factory.getbasetemp() / "parts"
    folder.mkdir(exist_ok=True)
    whole = [factor * w for w in watts]
    run = written(folder, {PACKAGE: whole, CORE: watts}, rows=len(watts))
    first, found = judged(run)
    if first is not None and first.u_j is not None:
        assert physics(Case(run, first, found)).outcome != "fail"


# --- Q8, Q12: standstill, lag --------------------------------------------------------------------


def test_what_stood_still_is_told_with_its_time(case):
    reason = "stuck: psu gave the same readings 21 times while gpu0 moved by 200 W"
    gaps = [gap(3.0, 8.0, reason), gap(20.0, None, reason), gap(9.0, 10.0, "no valid reply")]
    check = sensors.stuck(case({DC: 300.0, GPU: 100.0}, more={"gaps": gaps}))
    assert (check.outcome, check.figure, check.text) == ("warn", 45.0, reason)


def test_nothing_stood_still_where_two_meters_agree_and_one_alone_cannot_tell(case):
    assert sensors.stuck(case({DC: 300.0, GPU: 100.0})).outcome == "pass"
    assert sensors.stuck(case({DC: 300.0, AC: 330.0})).outcome == "not checked"


def test_a_lag_that_was_corrected_is_told(case):
    told = {DC.name: {"lag": {"tau_s": 0.31, "energy_j": 12.0, "calls": 1}}}
    check = sensors.lag(case({DC: 300.0}, more={"about": told}))
    assert (check.outcome, check.figure) == ("pass", 0.31)
    assert sensors.lag(case({DC: 300.0})).outcome == "not checked"


# --- Q9 to Q17: around the run -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("idle", "outcome"),
    [
        ((), "not checked"),
        ((Idle(60.0, 60.0),), "warn"),
        ((Idle(60.0, 60.0), Idle(60.9, 60.0)), "pass"),
        ((Idle(60.0, 60.0), Idle(61.5, 60.0)), "warn"),
        ((Idle(60.0, 60.0), Idle(60.0, 30.0)), "warn"),
        ((Idle(0.0, 60.0), Idle(60.0, 60.0)), "warn"),
    ],
)
def test_idle_power_before_and_after_is_compared(case, idle, outcome):
    assert about.baseline(case({DC: 300.0}, beside=Beside(idle=idle))).outcome == outcome


def test_idle_power_that_was_not_measured_is_said_to_be_so(case):
    assert about.baseline(case({DC: 300.0})).text == "idle: not measured"


@pytest.mark.parametrize(
    ("step_s", "outcome"), [(0.0, "pass"), (0.19, "pass"), (-0.3, "warn"), (3600.0, "warn")]
)
def test_a_step_of_the_clock_is_found(case, step_s, outcome):
    end = {"monotonic_s": 160.0, "utc_s": UTC_S + 60.0 + step_s}
    pair = {"start": {"monotonic_s": 100.0, "utc_s": UTC_S}, "end": end}
    check = about.clock(case({DC: 300.0}, more={"clock": pair}))
    assert (check.outcome, check.figure) == (outcome, pytest.approx(step_s))


def test_without_both_clocks_a_step_cannot_be_told(case):
    assert about.clock(case({DC: 300.0}, more={"clock": {"end": None}})).outcome == "not checked"


@pytest.mark.parametrize(
    ("late", "notes", "outcome"),
    [
        (0, [], "pass"),
        (3, [], "pass"),
        (4, [], "warn"),
        (None, [], "not checked"),
        (0, ["a GPU was busy at the edge of a call that did not synchronise it"], "warn"),
        (0, ["something else"], "pass"),
    ],
)
def test_late_rows_and_a_busy_gpu_are_told(case, late, notes, outcome):
    more = {"sampler": {"late_rows": late, "rows": 60}, "notes": notes}
    assert about.interference(case({DC: 300.0}, more=more)).outcome == outcome


@pytest.mark.parametrize(
    ("accuracy", "outcome"), [(5.0, "pass"), (1.0, "pass"), (6.0, "fail"), (None, "fail")]
)
def test_an_uncertainty_above_5_percent_fails(case, accuracy, outcome):
    supply = gauge("psu.dc_output", Domain.DC, accuracy)
    check = about.uncertainty(case({supply: 300.0}, more={"about": FAST}))
    assert check.outcome == outcome
    assert (check.figure is None) == (accuracy is None)


@pytest.mark.parametrize(
    ("more", "outcome"),
    [
        ({}, "pass"),
        ({"sampler": {"rows": 61}}, "warn"),
        ({"sampler": {"rows": 59}}, "warn"),
        ({"sampler": {}}, "not checked"),
        ({"status": "incomplete"}, "warn"),
        ({"status": "running"}, "warn"),  # nobody holds it: the sampler has died
        ({"problems": ["rows of power could not be written"]}, "warn"),
    ],
)
def test_missing_rows_and_a_broken_run_are_told(case, more, outcome):
    assert about.integrity(case({DC: 300.0}, more=more)).outcome == outcome


def changed(case, change):
    one = case({DC: walk(4)})
    lines = one.run.files.power.read_text().splitlines()
    change(lines)
    one.run.files.power.write_text("\n".join(lines) + "\n")
    run = load(one.run.files.power)
    return about.integrity(Case(run, *judged(run)))


def test_rows_out_of_order_twice_or_taking_energy_back_are_found(case):
    def swap(lines):
        lines[20], lines[30] = lines[30], lines[20]

    def repeat(lines):
        lines.insert(20, lines[20])

    def fall(lines):
        cells = lines[20].split(",")
        cells[5] = "1.0"
        lines[20] = ",".join(cells)

    for change in (swap, repeat, fall):
        assert changed(case, change).outcome == "fail"


def test_a_row_of_no_length_at_the_end_is_in_order(case):
    def end(lines):
        cells = lines[-1].split(",")
        lines.append(",".join([*cells[:3], "0", "", cells[5], "0"]))

    assert changed(case, end).outcome == "warn"  # one row more than were written


@settings(max_examples=50)
@given(st.lists(st.sampled_from([None, 0.0, 1.0, 350.0, 1e7]), min_size=1, max_size=30))
def test_every_run_is_judged_whatever_its_rows(tmp_path_factory, watts):
    folder = tmp_path_factory.getbasetemp() / "rows"
    folder.mkdir(exist_ok=True)
    run = written(folder, {DC: watts, GPU: watts[::-1], CORE: 5.0}, rows=len(watts))
    verdict = summarize(run)["verdict"]
    assert verdict["level"] in {"5%", "none"}
    for check in verdict["checks"]:
        assert check["figure"] is None or math.isfinite(check["figure"])


def test_an_estimate_is_not_a_part_of_the_figure(case):
    estimate = counter("cpu.package0", Domain.PACKAGE, origin=Origin.ESTIMATED)
    one = case({estimate: 100.0, GPU: 200.0})
    assert [part.channel for part in one.parts] == ["gpu0"]
