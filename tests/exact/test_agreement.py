"""Whether the intervals of a comparison of two sensors hold what they say: Monte Carlo and a meter.

Two sensors see one load. The second has a gain, an offset and a delay; both err from window to
window (white or AR(1)), and where the table says so the second also from run to run.
"""

import csv
import os
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from pactmeter.analysis.agreement.compare import compare_sources
from pactmeter.analysis.agreement.deming import deming
from pactmeter.analysis.agreement.limits import ratio_limits
from pactmeter.analysis.agreement.pairs import Pairs, pair
from pactmeter.analysis.agreement.scores import bias, scores
from support.agreement_runs import AC, WALL, recorded

DEMING = "Deming line of two sensors with a known gain and offset: what the 95 % intervals hold"
LIMITS = "Bland-Altman limits of the log ratio with repeated measures: what the 95 % intervals hold"
LAGGED = "Two sensors with a known gain, offset and delay, through `compare_sources`, one run each"
METER = "CodeCarbon beside a wall meter (unequal measurands: what it does not cover is no error)"

AR = {"white": 0.0, "AR(1) 0.6": 0.6}
FROM_RUN_TO_RUN = "AR(1) 0.6, runs 3 W"
FIVE, TEN, THIRTY = (5, 20, 2000, 90, 99), (10, 20, 2000, 93, 97), (30, 20, 1000, 93, 97)
ONE = (1, 200, 2000, 90, 99)


def errors(rng, shape, sd, rho):
    """Errors along the last axis, white or AR(1), of a given standard deviation."""
    found = rng.normal(0, sd, shape)
    for k in range(1, shape[-1]):
        found[..., k] = rho * found[..., k - 1] + np.sqrt(1 - rho**2) * found[..., k]
    return found


def loads(rng, runs, windows):
    """Runs of unlike loads: each has its own level, and steps about it."""
    level = rng.uniform(90, 450, (runs, 1))
    return np.clip(level + rng.uniform(-60, 60, (runs, windows)), 40, None)


def holds(found, truth):
    return found.interval[0] <= truth <= found.interval[1]


def share_pct(held):
    return 100 * np.mean(held)


@pytest.mark.parametrize(
    ("noise", "runs", "windows", "seeds", "least_pct", "most_pct"),
    [(noise, *each) for each in (FIVE, TEN, THIRTY) for noise in (*AR, FROM_RUN_TO_RUN)]
    + [(noise, *ONE) for noise in AR],
)
def test_the_intervals_of_gain_and_offset(
    noise, runs, windows, seeds, least_pct, most_pct, figures
):
    began_s, rho = time.process_time(), AR.get(noise, 0.6)
    of_run_w = 3.0 if noise == FROM_RUN_TO_RUN else 0.0
    held = defaultdict(list)
    widths = []
    for seed in range(seeds):
        rng = np.random.default_rng([seed, runs, windows, int(10 * rho)])
        gain, offset_w = rng.uniform(0.75, 1.25), rng.uniform(-15, 40)
        load = loads(rng, runs, windows)
        if runs == 1:  # one run goes through all loads, over and over
            load = np.tile(rng.permutation(np.linspace(60, 500, 20)), windows // 20)[None, :]
        x = load + errors(rng, load.shape, 3.0, rho)
        y = gain * load + offset_w + errors(rng, load.shape, 3.0, rho)
        y = y + rng.normal(0, of_run_w, (runs, 1))
        found = deming(Pairs(tuple(x), tuple(y)))
        held["gain"].append(holds(found.gain, gain))
        held["offset"].append(holds(found.offset_w, offset_w))
        widths.append(np.ptp(found.gain.interval) / 2)
    gain_pct, offset_pct = share_pct(held["gain"]), share_pct(held["offset"])
    figures(DEMING, "units", "errors", "seeds", "gain %", "offset %", "half-width %", "CPU s").add(
        f"{runs} runs" if runs > 1 else "10 segments of 1 run",
        noise,
        seeds,
        f"{gain_pct:.1f}",
        f"{offset_pct:.1f}",
        f"{100 * np.median(widths):.2f}",
        f"{time.process_time() - began_s:.1f}",
    )
    assert least_pct <= gain_pct <= most_pct
    assert least_pct <= offset_pct <= most_pct


@pytest.mark.parametrize("noise", AR)
@pytest.mark.parametrize(("runs", "seeds"), [(5, 2000), (10, 2000), (30, 1000)])
def test_the_intervals_of_the_limits(runs, seeds, noise, figures):
    rho, windows = AR[noise], 12
    between, within = 0.012, 0.02
    held = defaultdict(list)
    for seed in range(seeds):
        rng = np.random.default_rng([seed, runs, int(10 * rho), 7])
        mean = rng.uniform(-0.25, 0.25)
        load = loads(rng, runs, windows)
        apart = rng.normal(0, between, (runs, 1)) + errors(rng, load.shape, within, rho)
        found = ratio_limits(Pairs(tuple(load), tuple(load * np.exp(mean + apart))))
        reach = 1.959964 * np.hypot(between, within)
        held["bias"].append(holds(found.bias, 100 * np.expm1(mean)))
        held["lower"].append(holds(found.lower, 100 * np.expm1(mean - reach)))
        held["upper"].append(holds(found.upper, 100 * np.expm1(mean + reach)))
    told = {name: share_pct(each) for name, each in held.items()}
    figures(LIMITS, "runs", "errors", "seeds", "bias %", "lower limit %", "upper limit %").add(
        runs, noise, seeds, *(f"{told[name]:.1f}" for name in ("bias", "lower", "upper"))
    )
    assert 93 <= told["bias"] <= 97
    assert min(told["lower"], told["upper"]) >= (93 if runs >= 10 and rho == 0 else 90)


def two_sensors(folder, seed, lag_s, row_s):
    """A run of some minutes: a meter, and a sensor with a gain, an offset and a delay."""
    rng = np.random.default_rng([seed, int(100 * abs(lag_s))])
    gain, offset_w = rng.uniform(0.85, 1.15), rng.uniform(-10, 20)
    dwell_s = rng.uniform(1.5, 12.0, 400)
    edges_s = np.concatenate([[-20.0], np.cumsum(dwell_s) - 20.0])
    power_w = rng.uniform(80, 420, dwell_s.size)
    total_j = np.concatenate([[0.0], np.cumsum(power_w * dwell_s)])
    rows_s = np.arange(0, 600 + row_s / 2, row_s)

    def rows(delay_s):
        return np.diff(np.interp(rows_s - delay_s, edges_s, total_j)) / row_s

    noise_w = 2.0 / np.sqrt(row_s)
    meter = rows(0.0) + rng.normal(0, noise_w, rows_s.size - 1)
    sensor = gain * rows(lag_s) + offset_w + rng.normal(0, noise_w, rows_s.size - 1)
    powers = {WALL: np.abs(meter).tolist(), AC: np.abs(sensor).tolist()}
    return recorded(folder, powers, window_s=row_s), gain, offset_w


@pytest.mark.parametrize(("lag_s", "row_s"), [(0.0, 1.0), (0.7, 1.0), (-1.4, 1.0), (0.7, 0.2)])
def test_gain_offset_and_delay_of_whole_runs(lag_s, row_s, tmp_path, figures):
    seeds = 150 if row_s == 1.0 else 40
    held, off_s, spread = defaultdict(list), [], defaultdict(list)
    for seed in range(seeds):
        run, gain, offset_w = two_sensors(tmp_path, seed, lag_s, row_s)
        for key, lag in (("as it is", None), ("taken out", "find")):
            (found,) = compare_sources([run], lag=lag).pairs
            held[key].append(holds(found.line.gain, gain) and holds(found.line.offset_w, offset_w))
            held[f"{key} gain"].append(holds(found.line.gain, gain))
            spread[key].append(np.ptp(found.line.gain.interval) / 2)
        off_s.append(abs(found.lag.lag_s.value - lag_s))
        held["lag"].append(holds(found.lag.lag_s, lag_s))
        held["applied"].append(found.lag.applied)
    figures(
        LAGGED,
        *("delay s", "row s", "seeds", "gain holds %, as it is", "taken out"),
        *("half-width %, as it is", "taken out ", "delay: 95 % within ms", "holds %"),
    ).add(
        f"{lag_s:g}",
        f"{row_s:g}",
        seeds,
        *(f"{share_pct(held[f'{key} gain']):.0f}" for key in ("as it is", "taken out")),
        *(f"{100 * np.median(spread[key]):.2f}" for key in ("as it is", "taken out")),
        f"{1000 * np.quantile(off_s, 0.95):.0f}",
        f"{share_pct(held['lag']):.0f}",
    )
    assert share_pct(held["applied"]) == 100
    assert share_pct(held["taken out gain"]) >= 90
    assert share_pct(held["lag"]) >= 90
    assert np.quantile(off_s, 0.95) <= (0.1 if row_s == 1.0 else 0.05)


def test_a_correlation_near_one_stands_beside_a_bias_of_20_percent(figures):
    table = figures(METER, "figure", "value")
    folder = os.environ.get("PACTMETER_TRUTH")
    if not folder:
        table.add("all", "not run: no data")
        return
    by_model = defaultdict(list)
    with (Path(folder) / "truth/wall_vs_codecarbon_llm.csv").open(newline="") as stream:
        for row in csv.DictReader(stream):
            wall_j, software_j = float(row["wall_energy_j"]), float(row["software_energy_j"])
            by_model[row["model"]].append((wall_j, software_j, float(row["duration_s"])))
    wall_j, software_j, duration_s = np.array([run for runs in by_model.values() for run in runs]).T
    pairs = pair(
        [[wall / seconds for wall, _, seconds in runs] for runs in by_model.values()],
        [[software / seconds for _, software, seconds in runs] for runs in by_model.values()],
    )
    off, limits, line, score = bias(pairs), ratio_limits(pairs), deming(pairs), scores(pairs)
    energies = np.corrcoef(wall_j, software_j)[0, 1]
    powers = np.corrcoef(wall_j / duration_s, software_j / duration_s)[0, 1]

    def told(found, unit):
        return f"{found.value:.3g} ({found.interval[0]:.3g} to {found.interval[1]:.3g}) {unit}"

    table.add("runs, models (each a unit)", f"{wall_j.size}, {len(by_model)}")
    table.add("correlation r of energies, of mean powers", f"{energies:.4f}, {powers:.4f}")
    table.add("bias of the total", told(off.total_pct, "%"))
    table.add("bias in watts", told(off.mean_w, "W"))
    table.add("limits of agreement, lower", told(limits.lower, "%"))
    table.add("limits of agreement, upper", told(limits.upper, "%"))
    table.add("Deming gain (variance ratio 1)", told(line.gain, ""))
    table.add("Deming offset", told(line.offset_w, "W"))
    table.add("MAPE, WMAPE", f"{score.mape_pct:.1f} %, {score.wmape_pct:.1f} %")
    table.add("R2 as it stands", f"{score.r2_pct:.0f} %")
    assert energies >= 0.989
    assert off.total_pct.value == pytest.approx(-20, abs=1)
    assert off.total_pct.interval[1] < -15
    assert score.mape_pct == pytest.approx(19.9, abs=0.2)
