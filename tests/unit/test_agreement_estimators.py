"""What tools of the field would have said: by hand here, against the tools in tests/exact."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pactmeter.analysis.agreement.beside import beside
from pactmeter.analysis.agreement.estimators import (
    CARBONTRACKER,
    CODECARBON,
    ORIGINAL,
    Seen,
    carbontracker_energy_j,
    codecarbon_constant_w,
    codecarbon_load_w,
    codecarbon_ram_w,
    field_estimates,
    original_energy_j,
)
from pactmeter.analysis.agreement.rows import rows_of
from pactmeter.errors import ConfigError, PactError
from pactmeter.model.channel import Domain, Origin
from support.agreement_runs import DC, DRAM, GPU, PACKAGE, WALL, channel, recorded

GIB = 1024**3


def test_codecarbon_takes_half_of_the_tdp_or_a_cubic_of_the_load():
    assert codecarbon_constant_w(125.0) == 62.5
    assert codecarbon_load_w(100.0, 0.0) == pytest.approx(10.0)
    assert codecarbon_load_w(100.0, 50.0) == pytest.approx(10 + 90 / 8)
    assert codecarbon_load_w(100.0, 100.0) == pytest.approx(100.0)


@pytest.mark.parametrize(
    ("gib", "expected_w"),
    [(1, 10), (8, 10), (16, 10), (32, 20), (64, 20), (128, 38), (256, 38), (2048, 70)],
)
def test_codecarbon_counts_memory_modules_by_the_size(gib, expected_w):
    assert codecarbon_ram_w(gib * GIB) == pytest.approx(expected_w)


def test_carbontracker_multiplies_the_mean_reading_by_time_and_pue():
    readings_w = [[100.0, 300.0], [200.0, 400.0]]
    assert carbontracker_energy_j(readings_w, 10.0, 1.0) == pytest.approx(5000.0)
    assert carbontracker_energy_j(readings_w, 10.0) == pytest.approx(1.58 * 5000.0)
    # as released since 2024-03: half of the energy of two devices
    assert carbontracker_energy_j(readings_w, 10.0, 1.0, flattened=True) == pytest.approx(2500.0)


def test_the_original_divides_by_92_percent_and_multiplies_by_646_grams():
    assert original_energy_j([400.0, 100.0], [5.0, 2.0]) == pytest.approx(2200.0 / 0.92)
    (found,) = field_estimates(Seen(10.0, dc_w=[360.0], row_s=[10.0]))
    assert found.tool == ORIGINAL
    assert found.energy_j == pytest.approx(3600 / 0.92)
    assert found.carbon_g == pytest.approx(0.001 / 0.92 * 646)


def test_a_run_tells_each_tool_what_it_would_have_seen(tmp_path):
    powers = {WALL: 500.0, DC: 460.0, PACKAGE: 100.0, DRAM: 10.0, GPU: 250.0}
    run = recorded(tmp_path, {c: [power_w] * 20 for c, power_w in powers.items()})
    found = beside(rows_of(run), tdp_w=125.0, ram_bytes=32 * GIB)
    assert (found.reference, found.reference_j) == ("wall.plug", pytest.approx(10000.0))
    told = {(e.tool, e.formula.partition(" (")[0]): e.energy_j / 20 for e in found.estimates}
    assert told[CODECARBON, "CPU: RAPL"] == pytest.approx(100 + 250 + 20)
    assert told[CODECARBON, "CPU: TDP / 2"] == pytest.approx(62.5 + 250 + 20)
    by_tool = {e.tool: e for e in found.estimates}
    # packages and memories are its devices of one component, GPUs those of another
    assert by_tool[CARBONTRACKER].energy_j / 20 == pytest.approx(1.58 * (55 + 250))
    assert by_tool["carbontracker before 2024-03"].energy_j / 20 == pytest.approx(1.58 * 360)
    assert by_tool[ORIGINAL].energy_j / 20 == pytest.approx(500.0)
    assert found.share_pct(by_tool[ORIGINAL]) == pytest.approx(100.0)


def test_where_the_cpu_has_no_meter_load_and_tdp_are_those_of_the_runs_own_estimate(tmp_path):
    text = "0.3 + 0.7 * utilisation of 2 x 100 W TDP of a processor"
    estimate = channel("cpu.estimate", Domain.PACKAGE, origin=Origin.ESTIMATED, description=text)
    full_w, load = 200.0, 0.5
    run = recorded(tmp_path, {estimate: [full_w * (0.3 + 0.7 * load)] * 10})
    found = beside(rows_of(run))
    told = {e.formula.partition(" (hard")[0]: e.energy_j / 10 for e in found.estimates}
    assert told["CPU: TDP x (0.1 + 0.9 load^3)"] == pytest.approx(full_w * (0.1 + 0.9 * load**3))
    assert told["CPU: TDP / 2"] == pytest.approx(100.0)
    assert (found.reference, found.reference_j, found.share_pct(found.estimates[0])) == (None,) * 3


def test_a_tool_that_would_have_seen_nothing_says_nothing(tmp_path):
    assert field_estimates(Seen(10.0)) == []
    run = recorded(tmp_path, {WALL: [100.0] * 5})
    assert beside(rows_of(run)).estimates == ()


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf])
def test_figures_that_cannot_be_are_refused(bad):
    for call in (
        lambda: codecarbon_constant_w(bad),
        lambda: codecarbon_load_w(100.0, bad),
        lambda: codecarbon_ram_w(bad),
        lambda: carbontracker_energy_j([[bad]], 1.0),
        lambda: field_estimates(Seen(bad)),
    ):
        with pytest.raises(ConfigError):
            call()
    with pytest.raises(ConfigError):
        codecarbon_load_w(100.0, 101.0)
    for readings_w in ([], [[]], [[1.0], [1.0, 2.0]]):
        with pytest.raises(PactError):
            carbontracker_energy_j(readings_w, 1.0)
    for columns in (([], []), ([1.0], [1.0, 2.0])):
        with pytest.raises(PactError):
            original_energy_j(*columns)


@given(st.floats(0.1, 4096.0), st.booleans())
@settings(max_examples=50)
def test_memory_never_costs_less_than_two_modules_nor_more_than_all_slots(gib, arm):
    power_w = codecarbon_ram_w(int(gib * GIB), arm=arm)
    each_w = 1.5 if arm else 5.0
    assert 2 * each_w <= power_w <= each_w * (4 + 3.6 + 6.4 + 0.7 * 16) + 1e-9
