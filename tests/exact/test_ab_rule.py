"""The rule by which `pactmeter ab --until` stops: its error rate, whatever scatters how much.

It depends on one number, the scatter of a pair over the wanted half-width, and on the most pairs.
Of normal values the mean is independent of their scatter, and so of the pair where it stops.
"""

import math

import numpy as np
import pytest
from scipy import special

from pactmeter.study.ab_stats import (
    CONFIDENCE,
    CONFIDENCE_UNTIL,
    FIRST_LOOK,
    ONE_SIDED,
    ONE_SIDED_UNTIL,
    paired,
)

TIMES = 40_000
RULE = (
    "pactmeter ab --until, where it stops: 95 % intervals (95 % or more), tests of a margin (5 %)",
    *("scatter of a pair / half-width", "most pairs", "comparisons", "mean pairs", "inside %"),
    *("inside % if taken at 95 %", "one-sided error %", "one-sided error % if taken at 90 %"),
)
SERIES = (
    "pactmeter ab from 20 pairs on, independent pairs: what is taken for autocorrelation",
    *("pairs", "comparisons", "corrected %", "inside %"),
)


def times_error(n, confidence):
    """Return the half-width of an interval, in standard errors of the mean of n values."""
    return special.stdtrit(n - 1, (1 + confidence) / 2)


def stopped(scatter, most, confidence, seed):
    """Return how many pairs were made, and the mean there (in truth zero) in standard errors.

    Args:
        scatter: Standard deviation of a pair's log ratio; the wanted half-width is 1.
        most: The most pairs.
        confidence: Of the interval whose width ends it.
        seed: Of the pairs.
    """
    logs = np.random.default_rng(seed).normal(0, scatter, (TIMES, most))
    n = np.arange(1, most + 1)
    mean = logs.cumsum(axis=1) / n
    squares = (logs**2).cumsum(axis=1) - n * mean**2
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.sqrt(np.maximum(squares, 0) / (n - 1) / n)
        ends = (times_error(n, confidence) * error <= 1.0) & (n >= FIRST_LOOK)
    ends[:, -1] = True
    at = ends.argmax(axis=1)
    rows = np.arange(TIMES)
    return at + 1, mean[rows, at] / error[rows, at]


@pytest.mark.parametrize("most", [10, 30, 100])
@pytest.mark.parametrize("scatter", [0.5, 0.8, 1.1, 1.4, 1.7, 2.2, 3.0, 4.0])
def test_stopping_when_the_interval_is_narrow_keeps_the_error_rate(scatter, most, figures):
    seed = [int(10 * scatter), most]
    pairs, off = stopped(scatter, most, CONFIDENCE_UNTIL, seed)
    plain_pairs, plain_off = stopped(scatter, most, CONFIDENCE, seed)

    inside = (abs(off) <= times_error(pairs, CONFIDENCE_UNTIL)).mean()
    plain = (abs(plain_off) <= times_error(plain_pairs, CONFIDENCE)).mean()
    # both tests of a margin err alike: half of what is beyond either end
    errs = (abs(off) > times_error(pairs, ONE_SIDED_UNTIL)).mean() / 2
    plain_errs = (abs(plain_off) > times_error(plain_pairs, ONE_SIDED)).mean() / 2
    shown = (f"{100 * share:.2f}" for share in (inside, plain, errs, plain_errs))
    figures(*RULE).add(f"{scatter:g}", most, TIMES, f"{pairs.mean():.1f}", *shown)
    assert inside >= 0.95 - 2 * math.sqrt(0.05 * 0.95 / TIMES)
    assert errs <= 0.05 + math.sqrt(0.1 * 0.9 / TIMES)


@pytest.mark.parametrize("n", [FIRST_LOOK, 12, 19])
def test_the_rule_above_is_the_one_in_use_below_20_pairs(n):
    logs = np.random.default_rng(7).normal(0, 0.012, n)
    found = paired(np.exp(logs), np.ones(n), "J", may_stop=True)

    half = times_error(n, CONFIDENCE_UNTIL) * logs.std(ddof=1) / math.sqrt(n)
    assert found.half_pct == pytest.approx(100 * half)


def in_use(logs, *, may_stop):
    """Return half-width (as `logs`), and whether autocorrelation was counted in, by `paired`."""
    found = paired(np.exp(logs / 100), np.ones(logs.size), "J", may_stop=may_stop)
    return found.half_pct, "count as" in (found.note or "")


def chance_inside(half, scatter, n):
    """Return how often so wide an interval holds the truth: its mean is independent of it."""
    return 2 * special.ndtr(half * math.sqrt(n) / scatter) - 1


@pytest.mark.parametrize("n", [20, 40, 100])
def test_from_20_pairs_on_the_interval_of_independent_pairs_holds_the_truth_as_often(n, figures):
    times = 3000
    chance = np.random.default_rng([n, 1])
    each = [in_use(chance.normal(0, 1.0, n), may_stop=False) for _ in range(times)]

    inside = np.mean([chance_inside(half, 1.0, n) for half, _ in each])
    corrected = np.mean([counted for _, counted in each])
    figures(*SERIES).add(n, times, f"{100 * corrected:.1f}", f"{100 * inside:.2f}")
    assert corrected > 0
    assert inside >= 0.95


@pytest.mark.parametrize("scatter", [2.2, 3.0])
def test_stopping_after_20_pairs_and_more_keeps_the_error_rate(scatter, figures):
    times, most = 1500, 60
    chance = np.random.default_rng([int(10 * scatter), 2])

    def comparison():
        logs = chance.normal(0, scatter, most)
        for n in range(FIRST_LOOK, most + 1):
            plain = times_error(n, CONFIDENCE_UNTIL) * logs[:n].std(ddof=1) / math.sqrt(n)
            if plain > 1 and n < most:
                continue  # what is counted in widens it, so that it goes on
            half, counted = in_use(logs[:n], may_stop=True)
            assert half >= plain * (1 - 1e-6)
            if half <= 1:
                break
        return n, counted, chance_inside(half, scatter, n)

    each = [comparison() for _ in range(times)]
    pairs, counted, inside = (np.mean(each) for each in zip(*each, strict=True))
    shown = (f"{100 * counted:.1f}", f"{100 * inside:.2f}")
    figures(*SERIES).add(f"{pairs:.1f} on the mean (--until)", times, *shown)
    assert pairs > 20
    assert inside >= 0.95 - 0.002  # two standard errors of it
