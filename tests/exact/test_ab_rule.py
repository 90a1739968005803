"""The rule by which `pactmeter ab --until` stops: its error rate, whatever scatters how much.

It depends on one number, the scatter of a pair over the wanted half-width, and on the most pairs.
"""

import math

import numpy as np
import pytest
from scipy import special

from pactmeter.study.ab_stats import CONFIDENCE_UNTIL, FIRST_LOOK, paired

TIMES = 40_000
RULE = (
    "pactmeter ab --until: intervals at the pair where it stops (95 % or more hold the truth)",
    *("scatter of a pair / half-width", "most pairs", "comparisons", "mean pairs", "inside %"),
    *("inside % if taken at 95 %",),
)


def stopped(scatter, most, confidence, seed):
    """Return how many pairs were made, and whether the interval held the truth (zero)."""
    logs = np.random.default_rng(seed).normal(0, scatter, (TIMES, most))
    n = np.arange(1, most + 1)
    mean = logs.cumsum(axis=1) / n
    squares = (logs**2).cumsum(axis=1) - n * mean**2
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.sqrt(np.maximum(squares, 0) / (n - 1))
        half = special.stdtrit(n - 1, (1 + confidence) / 2) * spread / np.sqrt(n)
    ends = (half <= 1.0) & (n >= FIRST_LOOK)
    ends[:, -1] = True
    at = ends.argmax(axis=1)
    rows = np.arange(TIMES)
    return at + 1, np.abs(mean[rows, at]) <= half[rows, at]


@pytest.mark.parametrize("most", [10, 30, 100])
@pytest.mark.parametrize("scatter", [0.5, 0.8, 1.1, 1.4, 1.7, 2.2, 3.0, 4.0])
def test_stopping_when_the_interval_is_narrow_keeps_the_error_rate(scatter, most, figures):
    pairs, inside = stopped(scatter, most, CONFIDENCE_UNTIL, seed=[int(10 * scatter), most])
    _, plain = stopped(scatter, most, 0.95, seed=[int(10 * scatter), most])

    shown = (f"{pairs.mean():.1f}", f"{100 * inside.mean():.2f}", f"{100 * plain.mean():.2f}")
    figures(*RULE).add(f"{scatter:g}", most, TIMES, *shown)
    assert inside.mean() >= 0.95 - 2 * math.sqrt(0.05 * 0.95 / TIMES)


def test_the_rule_above_is_the_one_in_use():
    logs = np.random.default_rng(7).normal(0, 0.012, 12)
    found = paired(np.exp(logs), np.ones(12), "J", may_stop=True)

    half = special.stdtrit(11, (1 + CONFIDENCE_UNTIL) / 2) * logs.std(ddof=1) / math.sqrt(12)
    assert found.half_pct == pytest.approx(100 * half)
