"""What the tests of stated intervals share: drawn gains, outcomes and the rows of their table."""

from __future__ import annotations

import math
import os
import random
import statistics

from pactmeter.bench.timeline import Source
from support.compare import within

REDUCED = int(os.environ.get("PACTMETER_TRUTH_RUNS") or 0)
"""Fewer runs a row than are asked for, while one works on it; the table says so."""
RUNS, FAULTY_RUNS = REDUCED or 1000, REDUCED or 100
WINDOW_S = 20.0
TRUENESS_PCT = {"psu": 5.0, "gpu": 5.0, "package": 10.0}
"""Of a sensor, k=2: the gain of each is drawn with half of it as standard deviation."""
SHARE_LEFT = 0.93
TITLE = (
    f"Stated interval (k=2) against truth, {WINDOW_S:.0f} s a run unless told, sensors true to"
    " what is stated of them (pipeline: without the sensor's own error)"
) + (f"; REDUCED to {REDUCED} runs a row, of 1000 and 100" if REDUCED else "")
COLUMNS = (
    *("load, sensor", "runs", "inside %", "error 95 % %", "median U %", "U / error", "at most"),
    *("pipeline inside %", "its error 95 % %", "its U %"),
)


def drawn_gain(chance, accuracy_pct):
    return 1 + chance.gauss(0.0, accuracy_pct / 2 / 100)


def gain_of_many(name, seed, accuracy_pct, runs=FAULTY_RUNS):
    """Return a gain for one of so many runs, each from a share of its own of all gains.

    Where next to nothing but the gain errs, an interval holds the truth in 95 % of all runs: of
    100 free draws, in less than 93 as often as in one row of ten.
    """
    strata = random.Random(name).sample(range(runs), runs)
    share = (strata[seed] + random.Random(f"{name} {seed}").random()) / runs
    return statistics.NormalDist(1.0, accuracy_pct / 2 / 100).inv_cdf(share)


def scaled(source, gain):
    """Return what a sensor sees whose gain is not 1."""
    parts = ((line, share * gain) for line, share in source.parts)
    return Source(*parts, offset_w=source.offset_w * gain)


def outcome(found, true_j, gain):
    """Return error and U in percent, of all and of the pipeline alone."""
    rest = [item.u_j for item in found.budget if item.name != "sensor"]
    return (
        100 * (found.energy_j / true_j - 1),
        100 * found.u_j / true_j,
        100 * (found.energy_j / gain / true_j - 1),
        100 * 2 * math.hypot(*rest) / true_j,
    )


def told(figures, name, runs, most, shares=SHARE_LEFT):
    """Add a row; return whether what was found is within the bounds."""
    errors, stated, own_errors, own_stated = zip(*runs, strict=True)
    inside = statistics.mean(abs(e) <= u for e, u in zip(errors, stated, strict=True))
    own = statistics.mean(abs(e) <= u for e, u in zip(own_errors, own_stated, strict=True))
    wide_pct = statistics.median(stated)
    figures(TITLE, *COLUMNS).add(
        name,
        len(runs),
        f"{100 * inside:.1f}",
        f"{within(errors):.2f}",
        f"{wide_pct:.2f}",
        f"{wide_pct / within(errors):.2f}",
        f"{most:g}",
        f"{100 * own:.1f}",
        f"{within(own_errors):.2f}",
        f"{statistics.median(own_stated):.2f}",
    )
    return inside >= shares and own >= shares and wide_pct <= most * within(errors)
