"""From runs to one result: what is a pair, what is a remainder, and what is refused."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pactmeter.analysis.agreement.compare import compare_sources
from pactmeter.analysis.agreement.deming import Line
from pactmeter.analysis.agreement.lag import Lag
from pactmeter.analysis.agreement.remainder import remainder
from pactmeter.analysis.agreement.rows import rows_of, shifted, spans
from pactmeter.analysis.agreement.source import require_parts, together
from pactmeter.analysis.gpu_update import Unknown
from pactmeter.errors import ConfigError, PactError
from pactmeter.model.channel import Domain, Origin
from support.agreement_runs import (
    AC,
    DC,
    DRAM,
    GPU,
    GPU_POWER,
    PACKAGE,
    PSYS,
    WALL,
    channel,
    recorded,
)

CORE = channel("cpu.core0", Domain.CORE, "energy")
HWMON = channel("hwmon.chip.power1", None)
OTHER_DC = channel("psu1.dc_output", Domain.DC)
EMULATED_WALL = channel("wall.plug", Domain.AC, synthetic="emulated")
EMULATED_GPU = channel("gpu0", Domain.GPU, "energy", synthetic="emulated")


def steps(count, seed=1):
    """A load in steps of 10 rows."""
    return np.repeat(np.random.default_rng(seed).uniform(60, 500, -(-count // 10)), 10)[:count]


def run_of(folder, *channels, count=200, seed=1, name="PACT", **about):
    """A run in which the channels draw parts of one load, each with a gain of its own."""
    load = steps(count, seed)
    noise = np.random.default_rng(seed + 1000)
    shares = {
        "wall.plug": 1.1,
        "psu.ac_input": 1.15,
        "psu.dc_output": 1.0,
        "psu1.dc_output": 0.5,
        "cpu.package0": 0.2,
        "cpu.core0": 0.15,
        "cpu.dram0": 0.05,
        "cpu.psys": 0.3,
        "gpu0": 0.5,
        "gpu0.instant_w": 0.51,
        "hwmon.chip.power1": 0.1,
    }
    powers = {c: (shares[c.name] * load + noise.normal(0, 0.2, count)).tolist() for c in channels}
    return recorded(folder, powers, name=name, **about)


def names(found):
    return [(each.reference, each.source) for each in found.pairs]


# --- pairs --------------------------------------------------------------------------------------


def test_equal_measurands_are_pairs_and_unequal_ones_are_not(tmp_path):
    run = run_of(tmp_path, AC, WALL, DC, PACKAGE, GPU_POWER, GPU)
    found = compare_sources([run])
    assert names(found) == [("wall.plug", "psu.ac_input"), ("gpu0", "gpu0.instant_w")]
    ac = found.pairs[0]
    assert (ac.domain, ac.origins) == (Domain.AC, (Origin.MEASURED, Origin.ESTIMATED))
    assert ac.bias.total_pct.value == pytest.approx(100 * (1.15 / 1.1 - 1), abs=0.1)
    assert ac.limits_pct.lower.value < ac.limits_pct.bias.value < ac.limits_pct.upper.value
    assert isinstance(ac.line, Line)
    assert (ac.line.unit, ac.line.variance_ratio) == ("segments", 1.0)
    assert ac.u_pct[0] == pytest.approx(1.0, abs=0.5)
    assert found.refused == ()


def test_several_runs_are_one_comparison(tmp_path):
    runs = [run_of(tmp_path, WALL, AC, seed=k, name=f"R{k}", count=60) for k in range(6)]
    (found,) = compare_sources(runs).pairs
    assert (found.runs, found.spans, found.line.unit, found.line.units) == (6, 36, "runs", 6)


def test_a_short_run_has_scores_but_no_intervals(tmp_path):
    (found,) = compare_sources([run_of(tmp_path, WALL, AC, count=60)]).pairs
    assert found.scores.windows == 6
    for each in (found.bias, found.limits_pct, found.line):
        assert isinstance(each, Unknown)
        assert "20 windows of each run" in each.reason


def test_the_sum_of_the_rails_stands_beside_the_supplys_own_total(tmp_path):
    rails = [channel(f"psu.rail.{name}", None) for name in ("12v", "5v", "3v3")]
    load = steps(200)
    powers = {DC: load.tolist()}
    powers |= {c: (s * load).tolist() for c, s in zip(rails, (0.8, 0.1, 0.06), strict=True)}
    found = compare_sources([recorded(tmp_path, powers)])
    assert names(found) == [("psu.dc_output", "psu.rail.*")]
    assert found.pairs[0].bias.total_pct.value == pytest.approx(-4.0)
    assert not any("rail" in each.what for each in found.refused)
    summed = channel("psu.dc_output", Domain.DC, description="total (sum of register 96)")
    powers = {summed: powers[DC], **{c: powers[c] for c in rails}}
    assert compare_sources([recorded(tmp_path, powers)]).pairs == ()


def test_the_estimate_of_the_only_processor_is_compared_with_its_meter(tmp_path):
    text = "0.3 + 0.7 * utilisation of {} x 125 W TDP of a processor"
    for sockets, pairs in ((1, [("cpu.package0", "cpu.estimate")]), (2, [])):
        estimate = channel(
            "cpu.estimate",
            Domain.PACKAGE,
            origin=Origin.ESTIMATED,
            description=text.format(sockets),
        )
        run = recorded(tmp_path, {estimate: [50.0] * 40, PACKAGE: [60.0] * 40})
        assert names(compare_sources([run])) == pairs


def test_what_was_asked_for_by_name_is_compared_or_refused(tmp_path):
    run = run_of(tmp_path, WALL, AC, DC, PACKAGE)
    found = compare_sources([run], channels=["psu.dc_output", "cpu.package0", "wall.plug"])
    assert found.pairs == ()
    whys = {each.what: each.why for each in found.refused}
    assert "measure different things (package and dc)" in whys["cpu.package0 and psu.dc_output"]
    assert len(whys) == 3
    with pytest.raises(ConfigError, match="did you mean"):
        compare_sources([run], channels=["psu.dc_outputs"])


def test_one_meter_of_two_supplies_is_no_meter_of_either(tmp_path):
    found = compare_sources([run_of(tmp_path, WALL, AC, DC, OTHER_DC)])
    assert found.pairs == ()
    assert "which of the 2 supplies" in found.refused[0].why


def test_real_and_emulated_devices_are_not_compared(tmp_path):
    found = compare_sources([run_of(tmp_path, EMULATED_WALL, AC, DC, EMULATED_GPU)])
    assert found.pairs == ()
    assert found.first_line.endswith("[emulated devices]")
    assert any("wall.plug is emulated" in each.why for each in found.refused)
    assert any("gpu0 is emulated" in each.why for each in found.refused)
    runs = [run_of(tmp_path, WALL, name="A"), run_of(tmp_path, EMULATED_WALL, name="B")]
    with pytest.raises(ConfigError, match="in another"):
        compare_sources(runs)


def test_runs_of_two_machines_or_one_run_twice_are_refused(tmp_path):
    first = run_of(tmp_path, WALL, AC, name="A")
    other = run_of(tmp_path, WALL, AC, name="B", host={"name": "node2"})
    with pytest.raises(ConfigError, match="several machines"):
        compare_sources([first, other])
    with pytest.raises(ConfigError, match="twice"):
        compare_sources([first, first])


def test_another_device_under_the_same_name_is_not_pooled(tmp_path):
    other = channel("gpu0", Domain.GPU, "energy", description="another card")
    runs = [
        run_of(tmp_path, GPU, GPU_POWER, name="A"),
        run_of(tmp_path, other, GPU_POWER, name="B"),
    ]
    found = compare_sources(runs)
    assert found.pairs == ()
    assert "not the same devices" in found.refused[0].why


def test_sources_that_never_have_readings_together_are_refused(tmp_path):
    wall = [100.0] * 30 + [None] * 30
    ac = [None] * 30 + [110.0] * 30
    found = compare_sources([recorded(tmp_path, {WALL: wall, AC: ac})])
    assert found.pairs == ()
    assert "all have a reading" in found.refused[0].why


def test_what_covers_no_known_part_is_named(tmp_path):
    found = compare_sources([run_of(tmp_path, HWMON, DC)])
    assert "hwmon.chip.power1" in {each.what for each in found.refused}


def test_a_run_without_rows_is_left_out_and_no_run_is_an_error(tmp_path):
    empty = recorded(tmp_path, {WALL: [], AC: []}, name="empty")
    full = run_of(tmp_path, WALL, AC)
    found = compare_sources([full, empty])
    assert found.runs == ("PACT.csv",)
    assert found.refused[0].what == "empty.csv"
    for runs in ([], [empty]):
        with pytest.raises(PactError, match="nothing to compare"):
            compare_sources(runs)


def test_rows_that_do_not_follow_one_another_are_refused(tmp_path):
    for starts_s in ([2.0, 1.0, 3.0], [1.0, 1.0, 3.0]):
        run = recorded(tmp_path, {WALL: [1.0] * 3, AC: [1.0] * 3}, starts_s=starts_s)
        with pytest.raises(PactError, match="do not follow"):
            compare_sources([run])


@pytest.mark.parametrize("span_s", [0.0, -1.0, math.nan, math.inf])
def test_spans_of_no_length_are_refused(tmp_path, span_s):
    with pytest.raises(ConfigError):
        compare_sources([run_of(tmp_path, WALL, AC)], span_s=span_s)


# --- lag ----------------------------------------------------------------------------------------


def delayed(folder, lag_s, seconds_s=300, row_s=0.2, seed=2):
    """A run whose estimate of AC tells of a random load so much later than the meter."""
    rng = np.random.default_rng(seed)
    edges_s = np.concatenate([[-20.0], np.cumsum(rng.uniform(1.5, 6.0, 400)) - 20.0])
    total_j = np.concatenate([[0.0], np.cumsum(rng.choice([90, 200, 380], 400) * np.diff(edges_s))])

    def rows(shift_s):
        at_s = np.arange(0, seconds_s + row_s / 2, row_s) - shift_s
        return (np.diff(np.interp(at_s, edges_s, total_j)) / row_s).tolist()

    return recorded(folder, {WALL: rows(0.0), AC: rows(lag_s)}, window_s=row_s)


@pytest.mark.parametrize("lag_s", [-0.7, 0.4, 1.6])
def test_a_delay_is_found_taken_out_and_told(tmp_path, lag_s):
    run = delayed(tmp_path, lag_s)
    (plain,) = compare_sources([run], span_s=1.0).pairs
    (found,) = compare_sources([run], span_s=1.0, lag="find").pairs
    assert plain.lag is None
    assert isinstance(found.lag, Lag)
    assert found.lag.lag_s.value == pytest.approx(lag_s, abs=0.05)
    assert found.to_dict()["lag"]["applied"] is True
    assert found.scores.wmape_pct < 0.3 * plain.scores.wmape_pct


def test_a_delay_that_is_known_is_taken_out_of_all_comparisons(tmp_path):
    run = delayed(tmp_path, 0.5)
    found = compare_sources([run], span_s=1.0, lag={"psu.ac_input": 0.5})
    assert found.lag_s == {"psu.ac_input": 0.5}
    plain = compare_sources([run], span_s=1.0)
    assert found.pairs[0].scores.wmape_pct < 0.5 * plain.pairs[0].scores.wmape_pct
    for bad in ({"psu.ac_input": math.nan}, "search"):
        with pytest.raises(ConfigError):
            compare_sources([run], lag=bad)


def test_a_delay_of_a_channel_that_no_run_has_is_told_and_changes_nothing(tmp_path):
    run = delayed(tmp_path, 0.5)
    found = compare_sources([run], lag={"gpu7": 0.5})
    assert any(each.what == "the delay of gpu7" for each in found.refused)
    assert found.pairs == compare_sources([run]).pairs


@given(lag_s=st.floats(-3.0, 3.0), seed=st.integers(0, 99))
@settings(max_examples=25)
def test_a_shift_keeps_a_steady_power_and_loses_only_the_ends(tmp_path_factory, lag_s, seed):
    run = recorded(tmp_path_factory.getbasetemp(), {WALL: [150.0] * 20})
    moved = shifted(rows_of(run), {"wall.plug": lag_s}).sources[0].power_w
    known = moved[~np.isnan(moved)]
    assert known == pytest.approx(150.0)
    assert known.size >= 20 - math.ceil(abs(lag_s)) - 1


def test_a_shift_does_not_reach_over_a_pause_or_a_gap(tmp_path):
    power_w = [100.0] * 10 + [None] + [200.0] * 9
    starts_s = [k + 50.0 * (k >= 15) for k in range(20)]
    run = recorded(tmp_path, {WALL: power_w}, starts_s=starts_s)
    moved = shifted(rows_of(run), {"wall.plug": 0.5}).sources[0].power_w
    assert np.flatnonzero(np.isnan(moved)).tolist() == [9, 10, 14, 19]


# --- remainders ---------------------------------------------------------------------------------


def test_a_supply_less_its_parts_is_a_remainder_and_no_error(tmp_path):
    run = run_of(tmp_path, WALL, AC, DC, PACKAGE, CORE, DRAM, PSYS, GPU, GPU_POWER)
    found = compare_sources([run]).remainders
    assert [(each.whole, each.parts) for each in found] == [
        ("wall.plug", ("psu.dc_output",)),
        ("wall.plug", ("cpu.package0", "cpu.dram0", "gpu0")),
        ("psu.dc_output", ("cpu.package0", "cpu.dram0", "gpu0")),
        ("cpu.psys", ("cpu.package0", "cpu.dram0")),
    ]
    of_dc = found[2]
    assert of_dc.share_pct == pytest.approx(25.0, abs=0.2)
    assert (of_dc.violations, of_dc.violated) == (0, False)
    bins = of_dc.by_load(4)
    assert sum(each.spans for each in bins) == 20
    assert [each.load_w for each in bins] == sorted(each.load_w for each in bins)
    for each in bins:
        assert each.remainder_w == pytest.approx(0.25 * each.load_w, rel=0.02)


def test_equal_sensors_add_their_errors_linearly_and_others_in_squares(tmp_path):
    gpus = [channel(f"gpu{k}", Domain.GPU, "energy", accuracy_pct=10.0) for k in range(2)]
    supply = channel("psu.dc_output", Domain.DC, accuracy_pct=2.0)
    run = recorded(tmp_path, {supply: [500.0] * 40, **{g: [100.0] * 40 for g in gpus}})
    rows = rows_of(run)
    whole, *parts = rows.sources
    found = remainder(rows, whole, parts, 10.0)
    u_pct = [each.u_pct for each in rows.sources]
    whole_w, part_w = u_pct[0] / 100 * 500, sum(u_pct[1:]) / 100 * 100
    assert found.span_u_w == pytest.approx([math.hypot(whole_w, part_w)] * 4)
    assert found.u_j == pytest.approx(40 * math.hypot(whole_w, part_w))
    assert part_w == pytest.approx(20.0, rel=0.02)


def test_parts_beyond_the_whole_are_a_violation_only_beyond_the_uncertainty(tmp_path):
    for gpu_w, violated in ((102.0, False), (130.0, True)):
        run = recorded(tmp_path, {DC: [100.0] * 40, GPU: [gpu_w] * 40})
        (found,) = compare_sources([run]).remainders
        assert (found.violated, bool(found.violations)) == (violated, violated)
    unknown = channel("gpu0", Domain.GPU, "energy", accuracy_pct=None)
    run = recorded(tmp_path, {DC: [100.0] * 40, unknown: [130.0] * 40})
    (found,) = compare_sources([run]).remainders
    assert (found.u_j, found.violated, found.violations) == (None, None, None)


def test_remainders_of_runs_are_pooled_and_err_alike(tmp_path):
    runs = [run_of(tmp_path, DC, GPU, name=f"R{k}", seed=3) for k in range(3)]
    (one,) = compare_sources(runs[:1]).remainders
    (all_three,) = compare_sources(runs).remainders
    assert all_three.energy_j == pytest.approx(3 * one.energy_j)
    assert all_three.u_j == pytest.approx(3 * one.u_j)
    assert set(all_three.run.tolist()) == {0, 1, 2}


def test_several_supplies_feed_the_machine_together(tmp_path):
    (found,) = compare_sources([run_of(tmp_path, DC, OTHER_DC, GPU)]).remainders
    assert found.whole == "psu*.dc_output"
    assert found.share_pct == pytest.approx(100 * (1 - 0.5 / 1.5), abs=0.2)


def test_a_whole_without_parts_is_refused(tmp_path):
    found = compare_sources([run_of(tmp_path, DC)])
    assert found.remainders == ()
    assert "no part of psu.dc_output was measured" in found.refused[0].why


def test_a_part_is_never_counted_twice(tmp_path):
    rows = rows_of(run_of(tmp_path, DC, PACKAGE, CORE, GPU))
    dc, package, core, gpu = rows.sources
    with pytest.raises(ConfigError, match="counted in"):
        require_parts(dc, (package, core))
    with pytest.raises(ConfigError, match="counted in"):
        require_parts(dc, (gpu, gpu))
    with pytest.raises(ConfigError, match="no part of"):
        require_parts(package, (gpu,))
    assert together([gpu], "gpus") is gpu


@given(
    st.lists(
        st.tuples(st.none() | st.floats(1, 900), st.none() | st.floats(1, 900)),
        min_size=1,
        max_size=60,
    ),
    st.floats(0.5, 30.0),
)
@settings(max_examples=40)
def test_no_joule_is_lost_or_made_by_joining_rows(tmp_path_factory, powers, span_s):
    run = recorded(
        tmp_path_factory.getbasetemp(), {DC: [a for a, _ in powers], GPU: [b for _, b in powers]}
    )
    both = [(a, b) for a, b in powers if a is not None and b is not None]
    rows = rows_of(run)
    if not both:
        assert compare_sources([run]).remainders == ()
        return
    found = spans(rows, rows.sources, span_s)
    assert found.energy_j.sum(axis=1) == pytest.approx(np.sum(both, axis=0))
    assert found.time_s.sum() == pytest.approx(len(both))
    assert (found.time_s <= span_s + 1.0).all()
    assert (np.diff(found.middle_s) > 0).all()


# --- the whole result ---------------------------------------------------------------------------


def test_the_result_is_plain_data_without_nan(tmp_path):
    run = run_of(tmp_path, WALL, AC, DC, PACKAGE, GPU, GPU_POWER, HWMON)
    found = compare_sources([run], lag="find", tdp_w=125.0, ram_bytes=32 * 1024**3)
    data = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert data["schema"] == 1
    assert set(data) == {
        *("schema", "runs", "host", "synthetic", "span_s", "lag_s"),
        *("pairs", "remainders", "beside", "refused"),
    }
    assert data["pairs"][0]["line"]["variance_ratio"] == 1.0
    assert set(data["pairs"][0]["bias"]["mean_w"]) == {"value", "interval"}
    assert data["beside"][0]["reference"] == "wall.plug"
    assert len(data["remainders"][0]["over_time"]["middle_s"]) == 20


cells = st.none() | st.floats(allow_nan=True, allow_infinity=True)


@given(
    st.lists(st.tuples(cells, cells, cells, cells), max_size=40),
    st.sampled_from([1.0, 10.0]),
    st.sampled_from([None, "find"]),
)
@settings(max_examples=40)
def test_whatever_stands_in_the_files_there_is_no_traceback_and_no_nan(
    tmp_path_factory, powers, span_s, lag
):
    columns = zip(*powers, strict=True) if powers else ([], [], [], [])
    run = recorded(
        tmp_path_factory.getbasetemp(),
        dict(zip((WALL, AC, DC, GPU), map(list, columns), strict=True)),
    )
    try:
        found = compare_sources([run], span_s=span_s, lag=lag)
    except PactError:
        return
    json.dumps(found.to_dict(), allow_nan=False)


@pytest.mark.parametrize("bad_w", [-5.0, math.inf, 1e300])
def test_a_channel_with_a_reading_that_is_no_power_is_left_out_and_named(tmp_path, bad_w):
    run = recorded(tmp_path, {WALL: [100.0, bad_w] * 20, AC: [100.0] * 40, DC: [90.0] * 40})
    found = compare_sources([run])
    assert found.pairs == ()
    assert "wall.plug" in found.refused[0].what
    assert "more than 1e+12 W" in found.refused[0].why
