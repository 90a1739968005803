"""The curve of a supply from three points, against the fourth of its own certificate."""

import csv
import math
import os
from pathlib import Path

import numpy as np
import pytest

from pactmeter.analysis.calibration.psu import certified, fit_supply
from pactmeter.model.psu_curve_points import CONSTANT_EFFICIENCY

TITLE = "AC input power of a certificate's point, foretold from its other three (or from all four)"
COLUMNS = (
    *("data", "point", "supplies", "mean error %", "p95 %", "least squares mean %", "p95 %"),
    *("inside %", "U %", "constant 92 %: mean %", "p95 %"),
)
LOADS = (0.1, 0.2, 0.5, 1.0)


def certificates():
    """Return rated power and efficiencies at `LOADS` of each certificate; None without data."""
    folder = os.environ.get("PACTMETER_TRUTH")
    if not folder:
        return None
    with (Path(folder) / "truth/psu_efficiency_80plus.csv").open(newline="") as file:
        return [
            (float(r["rated_w"]), [float(r[f"eff_{load * 100:.0f}"]) for load in LOADS])
            for r in csv.DictReader(file)
        ]


def made_up(count=400, seed=5):
    """Supplies with losses at rest, in diodes, in wires, and one that saturates."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        rest, wire = rng.uniform(0.006, 0.02), rng.uniform(0.02, 0.10)
        diode, bent = rng.uniform(0.01, 0.05), rng.uniform(-0.01, 0.03)
        loss = [rest + diode * x + wire * x**2 + bent * math.tanh(6 * x) / 6 for x in LOADS]
        shares = [x / (x + each) for x, each in zip(LOADS, loss, strict=True)]
        made.append((float(rng.uniform(200, 1600)), [round(share, 4) for share in shares]))
    return made


def foretold(supplies, point, left):
    """Return errors in percent: ours, least squares, constant; half-widths; and the flags."""
    rows = []
    for rated_w, shares in supplies:
        kept = {x: e for x, e in zip(LOADS, shares, strict=True) if x != left}
        curve = fit_supply(
            "a", rated_w, certified(rated_w, kept, 115.0), source="it", accuracy_pct=0
        )
        true_w = point * rated_w / shares[LOADS.index(point)]
        found = curve.apply(point * rated_w, 115.0)
        loads = np.array(list(kept))
        plain = np.polyval(np.polyfit(loads, loads / np.array(list(kept.values())), 2), point)
        rows.append(
            (
                100 * (found.ac_w / true_w - 1),
                100 * (plain * rated_w / true_w - 1),
                100 * (point * rated_w / CONSTANT_EFFICIENCY / true_w - 1),
                100 * found.u_w / true_w,
                abs(found.ac_w - true_w) <= found.u_w,
            )
        )
    return np.array(rows).T


def add(table, data, point, count, found):
    ours, plain, constant, u, inside = found
    figures = [(np.abs(e).mean(), np.percentile(np.abs(e), 95)) for e in (ours, plain, constant)]
    table.add(
        *(data, f"{100 * point:.0f} %", count),
        *(f"{value:.2f}" for value in (*figures[0], *figures[1])),
        *(f"{100 * inside.mean():.1f}", f"{np.median(u):.2f}"),
        *(f"{value:.2f}" for value in figures[2]),
    )
    return figures, 100 * inside.mean()


@pytest.mark.parametrize("left", LOADS[:3])
@pytest.mark.parametrize("data", ["psu_efficiency_80plus", "made up"])
def test_a_point_left_out_is_foretold_as_well_as_least_squares_and_inside(data, left, figures):
    table = figures(TITLE, *COLUMNS)
    supplies = made_up() if data == "made up" else certificates()
    if supplies is None:
        table.add(data, f"{100 * left:.0f} %", "not run: no data", *[""] * 8)
        return

    (ours, plain, constant), inside_pct = add(
        table, data, left, len(supplies), foretold(supplies, left, left)
    )

    for mine, theirs in zip(ours, plain, strict=True):
        assert mine <= 1.05 * theirs
    assert ours[0] < constant[0] / 3
    assert inside_pct >= 93


@pytest.mark.parametrize("point", LOADS)
def test_four_points_leave_next_to_nothing(point, figures):
    table = figures(TITLE, *COLUMNS)
    supplies = certificates()
    if supplies is None:
        table.add("all four points", f"{100 * point:.0f} %", "not run: no data", *[""] * 8)
        return

    (ours, _, _), inside_pct = add(
        table, "all four points", point, len(supplies), foretold(supplies, point, None)
    )

    assert ours[1] <= 1.0
    assert inside_pct >= 93
