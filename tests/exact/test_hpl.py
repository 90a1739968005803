"""Power of a large HPL run, integrated, against the energy counter beside it."""

import csv
import gzip
import os
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from pactmeter.analysis.calibration.closure import closure

TITLE = "Integrated power against an independent energy counter, by windows"
COLUMNS = ("data", "window s", "windows", "whole %", "p95 %", "inside %", "U %")


def series(folder, name):
    with gzip.open(Path(folder) / "truth" / name, "rt", newline="") as file:
        rows = list(csv.reader(file))[1:]
    times_s = np.array([datetime.fromisoformat(row[0]).timestamp() for row in rows])
    return times_s, np.array([float(row[1]) for row in rows])


def add(table, data, window_s, found):
    table.add(
        *(data, f"{window_s:g}", len(found.windows), f"{found.whole_pct:+.3f}"),
        *(f"{found.p95_pct:.2f}", f"{found.inside_pct:.1f}", f"{found.u_pct:.2f}"),
    )


@pytest.mark.parametrize("window_s", [30.0, 60.0, 300.0])
def test_the_power_of_an_hpl_run_closes_with_its_counter(window_s, figures):
    table = figures(TITLE, *COLUMNS)
    folder = os.environ.get("PACTMETER_TRUTH")
    if not folder:
        table.add("hpl_node", f"{window_s:g}", "not run: no data", *[""] * 4)
        return
    power, energy = (series(folder, f"hpl_node_{name}.csv.gz") for name in ("power", "energy"))

    found = closure(*power, *energy, window_s=window_s)
    add(table, "hpl_node", window_s, found)

    assert abs(found.whole_pct) <= 0.05
    assert found.inside_pct >= 93
    if window_s >= 60:
        assert found.p95_pct <= 1.0


def made_up(seed, minutes=30):
    """A load of phases read at 5 Hz with noise; a counter at 1 Hz with jitter and steps of 50 J."""
    rng = np.random.default_rng(seed)
    fine_s = np.arange(0, 60 * minutes + 5, 0.02)
    at, level_w = 0, np.empty(len(fine_s))
    while at < len(fine_s):
        length = int(rng.exponential(4) / 0.02) + 1
        level_w[at : at + length] = rng.choice([90.0, 240.0, 310.0, 380.0])
        at += length
    energy_j = np.concatenate([[0.0], np.cumsum(level_w[:-1]) * 0.02])
    times_s = np.arange(0, fine_s[-1], 0.2)
    power_w = np.interp(times_s, fine_s, level_w) + rng.normal(0, 3, len(times_s))
    count_s = np.arange(0.5, fine_s[-1] - 1, 1.0)
    counter_j = np.floor(np.interp(count_s, fine_s, energy_j) / 50) * 50
    return times_s, power_w, count_s + rng.normal(0, 0.05, len(count_s)), counter_j


def test_windows_of_made_up_series_are_inside_their_intervals(figures):
    found = [closure(*made_up(seed)) for seed in range(10)]
    windows = [window for each in found for window in each.windows]
    inside = np.mean([window.is_inside for window in windows])
    differences = np.abs([window.difference_pct for window in windows])
    figures(TITLE, *COLUMNS).add(
        *("made up: phases, jitter 50 ms", "60", len(windows)),
        f"{np.mean([each.whole_pct for each in found]):+.3f}",
        f"{np.percentile(differences, 95):.2f}",
        f"{100 * inside:.1f}",
        f"{np.median([window.u_pct for window in windows]):.2f}",
    )

    assert inside >= 0.93


def test_a_counter_with_another_gain_does_not_close(figures):
    times_s, power_w, count_s, counter_j = made_up(99)
    found = closure(times_s, power_w, count_s, 1.02 * counter_j)
    add(figures(TITLE, *COLUMNS), "made up: counter reads 2 % more", 60.0, found)

    assert found.inside_pct <= 20
