"""Time lines for the page: what is decoded is what was recorded, or an envelope that holds it."""

import base64
import json
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pactmeter.analysis.run import load
from pactmeter.report.html import lines
from pactmeter.report.html.encode import codes, packed, watts
from pactmeter.report.html.grid import BUCKETS, envelope, grid
from pactmeter.report.html.lines import time_lines
from support.written import DC, GPU, PACKAGE, write, written


def unpacked(text, dtype):
    planes = np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8)
    size = np.dtype(dtype).itemsize
    return np.ascontiguousarray(planes.reshape(size, -1).T).view(dtype).ravel()


def decoded(coded):
    """What ``page.js`` makes of codes."""
    coded = coded.astype(np.int64)
    large = ((coded & 1023) | 1024) * 2.0 ** ((coded >> 10) - 1)
    return np.where(coded == 65535, np.nan, np.where(coded < 1024, coded, large))


def middles(axis):
    """Middle of each stretch, as ``page.js`` makes them."""
    lengths = unpacked(axis["lengths"], "<u4").astype(np.int64)
    anew = dict(map(tuple, axis["anew"]))
    result, at = [], 0
    for k, length in enumerate(lengths):
        if k in anew:
            at = round(anew[k] * 1e5)
        result.append((at + length / 2) * 1e-5)
        at += length
    return np.array(result)


@given(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1))
def test_packed_integers_come_back(values):
    array = np.array(values, dtype=np.int32)

    assert unpacked(packed(array), "<i4").tolist() == values


@given(st.integers(0, 2**57))
def test_a_code_is_exact_when_small_and_within_a_two_thousandth_else(count):
    (back,) = decoded(codes(np.array([float(count)])))

    assert back == count if count < 2048 else back == pytest.approx(count, rel=2**-11)


def test_codes_are_in_the_order_of_the_counts():
    counts = np.unique(np.geomspace(1, 2.0**57, 5000).astype(np.int64)).astype(float)

    assert (np.diff(codes(counts).astype(int)) >= 0).all()


@pytest.mark.parametrize("cell", [np.nan, -1.0, np.inf, -np.inf, 1e18])
def test_what_is_no_count_has_no_code(cell):
    assert codes(np.array([cell]))[0] == 65535


@pytest.mark.parametrize("cell", [np.nan, np.inf])
def test_power_that_is_not_known_is_no_number(cell):
    assert watts(np.array([cell]))[0] == -(2**31)


def test_the_power_of_each_row_stands_at_its_middle(tmp_path):
    run = written(tmp_path, {DC: [100.0, None, 250.25]}, rows=3)

    (panel,) = time_lines(run)["panels"]

    assert middles(panel["axis"]) == pytest.approx([0.5, 1.5, 2.5])
    assert unpacked(panel["lines"][0]["mean"], "<i4").tolist() == [10000, -(2**31), 25025]


def test_counts_share_the_axis_of_the_first(tmp_path):
    run = written(tmp_path, {DC: 10.0}, rows=4, events=("faults", "cycles"))

    _, first, second = time_lines(run)["panels"]

    assert (first["title"], second["title"], second["axis"]) == ("faults", "cycles", None)
    assert decoded(unpacked(second["lines"][0]["mean"], "<u2")).tolist() == [5, 5, 5, 5]


def test_a_pause_begins_the_axis_anew():
    rows = grid(np.array([0.0, 1.0, 100_000.0]), np.array([1.0, 1.0, 1.0]))

    axis = lines._axis(rows)

    assert axis["anew"] == [[0, 0.0], [2, 100_000.0]]
    assert middles(axis) == pytest.approx([0.5, 1.5, 100_000.5])


def test_times_are_exact_after_a_day_of_rows():
    start_s = np.arange(864_000) * 0.1
    rows = grid(start_s, np.full(864_000, 0.1))

    assert middles(lines._axis(rows))[-1] == pytest.approx(86_399.95, abs=2e-5)


def test_an_envelope_holds_every_value_and_the_mean(tmp_path):
    values = np.random.default_rng(1).normal(100, 10, 100_000)
    rows = grid(np.arange(100_000) * 0.01, np.full(100_000, 0.01))

    stretches = envelope(rows, [])
    low, mean, high = stretches.of(values)

    assert len(low) == BUCKETS
    assert (low.min(), high.max()) == (values.min(), values.max())
    lengths_s = stretches.grid.end_s - stretches.grid.start_s
    assert np.average(mean, weights=lengths_s) == pytest.approx(values.mean())


def test_rows_beside_a_region_border_stay_single_in_an_envelope():
    values = np.arange(100_000, dtype=float)
    rows = grid(values * 0.01, np.full(100_000, 0.01))

    low, _, high = envelope(rows, [500.0]).of(values)

    single = low[low == high]
    assert {49_900.0, 50_000.0, 50_100.0} <= set(single)


def test_an_envelope_of_nothing_is_nothing():
    rows = grid(np.arange(10_000) * 0.01, np.full(10_000, 0.01))

    low, mean, high = envelope(rows, []).of(np.full(10_000, np.nan))

    assert np.isnan([low, mean, high]).all()


def test_a_long_series_becomes_an_envelope(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "MOST_POINTS", 50)
    run = written(tmp_path, {DC: 100.0}, rows=60, events=("faults",))

    power, faults = time_lines(run)["panels"]

    assert {"low", "mean", "high"} <= set(power["lines"][0])
    assert decoded(unpacked(faults["lines"][0]["mean"], "<u2")) == pytest.approx(5000, rel=1e-3)


def test_many_regions_are_drawn_as_fewer(tmp_path):
    regions = [[k * 0.001, k * 0.001 + 0.0005, "step", k, 1] for k in range(20_000)]
    run = written(tmp_path, {DC: 1.0}, regions=regions)

    told = time_lines(run)["regions"]

    assert 0 < len(told["spans"]) <= 5000
    assert told["joined_s"] > 0


def test_the_first_twelve_names_have_lanes(tmp_path):
    regions = [[k, k + 1, f"part {k}", "", 1] for k in range(20)]
    run = written(tmp_path, {DC: 1.0}, regions=regions)

    told = time_lines(run)["regions"]

    assert (len(told["names"]), told["left_out"]) == (12, 8)


@pytest.mark.parametrize("content", ["", "nonsense\n1\n", "start_s,dt_s,faults\n0,1,many\n"])
def test_a_counters_file_that_another_wrote_is_not_drawn(tmp_path, content):
    path = write(tmp_path, {DC: 1.0}, events=("faults",))
    path.with_name("PACT.counters.csv").write_text(content)

    assert [p["title"] for p in time_lines(load(path))["panels"]] == ["Power"]


def test_a_run_without_any_energy_still_has_its_counters(tmp_path):
    run = written(tmp_path, {}, events=("faults",))

    assert [p["title"] for p in time_lines(run)["panels"]] == ["faults"]


def test_all_of_it_is_plain_json(tmp_path):
    run = written(tmp_path, {DC: [None] * 60, PACKAGE: 3.0, GPU: 5.0}, events=("faults",))

    json.dumps(time_lines(run), allow_nan=False)
