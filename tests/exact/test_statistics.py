"""Intervals and tests of sets of runs against data whose truth is known, many times over.

An interval of 95 % that holds the true figure in less than 93 % of all sets says too much, in more
than 97 % too little. Seeds are fixed: the figures are the same on every machine. Errors of the
figures themselves (one standard deviation) stand beside them.
"""

import collections
import math

import numpy as np
import pytest

from pactmeter.analysis.stats import moments, sets, significance
from pactmeter.analysis.stats.compare import compare_sets
from pactmeter.analysis.stats.intervals import mean_interval, olympic_mean
from pactmeter.analysis.stats.sets import difference, effect_size, ratio
from pactmeter.analysis.stats.significance import (
    equivalence,
    holm,
    mann_whitney,
    permutation_test,
    t_test,
)

FEWER = 999
"""Resamples of a bootstrap or a permutation test here, for time; in use there are 9 999."""

COVERAGE = (
    f"Intervals of 95 % that hold the true figure: 93 to 97 % (bootstrap of {FEWER} resamples)",
    *("figure", "runs", "n", "by (mostly)", "sets", "inside %", "±"),
)
SKEWED = (
    f"Intervals of 95 % of skewed runs: approximate (bootstrap of {FEWER} resamples)",
    *("figure", "runs", "n", "by (mostly)", "sets", "inside %", "±", "labelled so %"),
)
ALARMS = (
    "False alarms at 5 %, where there is nothing to find: at most 6 %",
    *("test", "runs", "n", "by", "times", "alarms %", "±"),
)
MEAN_J, SPREAD_J = 52_000.0, 1_300.0  # runs of a training that scatter by 2.5 %


@pytest.fixture(autouse=True)
def _fewer_resamples(monkeypatch):
    monkeypatch.setattr(sets, "_RESAMPLES", FEWER)
    monkeypatch.setattr(significance, "_RESAMPLES", FEWER)


@pytest.fixture
def _shape_unseen(monkeypatch):
    """Do without the note on skewness: it changes no figure and takes most of the time."""
    monkeypatch.setattr(moments, "_shape", lambda array: [])


unlabelled = pytest.mark.usefixtures("_shape_unseen")


def normal(rng, times, n):
    return rng.normal(MEAN_J, SPREAD_J, (times, n))


def autoregressive(rho):
    def make(rng, times, n):
        values = np.empty((times, n))
        steps = rng.normal(0, SPREAD_J * math.sqrt(1 - rho**2), (times, n))
        values[:, 0] = rng.normal(0, SPREAD_J, times)
        for i in range(1, n):
            values[:, i] = rho * values[:, i - 1] + steps[:, i]
        return values + MEAN_J

    return make


def lognormal(rng, times, n):
    return MEAN_J * rng.lognormal(-0.125, 0.5, (times, n))  # its mean is exp(-1/8 + 1/8)


def exponential(rng, times, n):
    return rng.exponential(MEAN_J, (times, n))


def generator(*key):
    """Return a generator of random numbers that depends on the test alone."""
    return np.random.default_rng([ord(letter) for letter in repr(key)])


def error_pct(share, times):
    """Return the standard deviation of a share of so many, in percent."""
    return 100 * math.sqrt(max(share * (1 - share), 1 / times) / times)


def row(figure, label, n, found, truth):
    """Return a row on estimates of a known figure, and the share that holds it."""
    share = sum(one.low <= truth <= one.high for one in found) / len(found)
    methods = collections.Counter(one.method for one in found)
    shown = (f"{100 * share:.1f}", f"{error_pct(share, len(found)):.1f}")
    return (figure, label, n, methods.most_common(1)[0][0], len(found), *shown), share


def add_coverage(figures, *told):
    """Add a row, and return the share of estimates that holds the truth."""
    cells, share = row(*told)
    figures(*COVERAGE).add(*cells)
    return share


def add_skewed(figures, figure, label, n, found, truth):
    """Add a row, and return the share of estimates that are labelled as skewed."""
    said = sum("skewed" in (one.note or "") for one in found) / len(found)
    cells, _ = row(figure, label, n, found, truth)
    figures(*SKEWED).add(*cells, f"{100 * said:.0f}")
    return said


def add_alarms(figures, test, label, n, by, alarms):
    """Add a row on tests of nothing, and return the share that gave an alarm."""
    share = sum(alarms) / len(alarms)
    error = f"{error_pct(share, len(alarms)):.2f}"
    figures(*ALARMS).add(test, label, n, by, len(alarms), f"{100 * share:.2f}", error)
    return share


SERIES = [(autoregressive(rho), f"AR(1), rho {rho}", 200) for rho in (0.0, 0.3, 0.6)]
GOOD = [*((normal, "normal", n) for n in (5, 10, 20, 30, 200)), *SERIES]
LEANING = [
    *((lognormal, "log-normal, sigma 0.5", n) for n in (5, 10, 30, 200)),
    *((exponential, "exponential", n) for n in (5, 10, 30, 200)),
]


@unlabelled
@pytest.mark.parametrize(("make", "label", "n"), GOOD)
def test_the_interval_of_a_mean_holds_the_truth(make, label, n, figures):
    found = [mean_interval(x) for x in make(generator("mean", label, n), 6_000, n)]

    assert 0.93 <= add_coverage(figures, "mean", label, n, found, MEAN_J) <= 0.97
    assert n > 5 or {one.method for one in found} == {"mean, Student's t"}


@unlabelled
@pytest.mark.parametrize("rho", [0.3, 0.6])
def test_autocorrelation_of_thirty_runs_is_counted_in(rho, figures):
    draws = autoregressive(rho)(generator("few", rho), 6_000, 30)
    found = [mean_interval(x) for x in draws]

    share = add_coverage(figures, "mean", f"AR(1), rho {rho}", 30, found, MEAN_J)

    assert 0.93 <= share <= 0.97
    plain = np.abs(draws.mean(axis=1) - MEAN_J) <= 2.045 * draws.std(axis=1, ddof=1) / 30**0.5
    assert plain.mean() < 0.88  # what counting each of them in full would give


@pytest.mark.parametrize(("make", "label", "n"), LEANING)
def test_skewed_runs_are_called_approximate(make, label, n, figures):
    found = [mean_interval(x) for x in make(generator("skewed", label, n), 1_000, n)]
    said = add_skewed(figures, "mean", label, n, found, MEAN_J)
    assert said > {5: 0.15, 10: 0.3, 30: 0.7, 200: 0.99}[n]


@pytest.mark.parametrize("n", [10, 30])
def test_normal_runs_are_rarely_called_skewed(n, figures):
    found = [mean_interval(x) for x in normal(generator("plain", n), 1_000, n)]
    assert add_skewed(figures, "mean", "normal, to compare", n, found, MEAN_J) < 0.13


@pytest.mark.parametrize("make", [lognormal, exponential], ids=["log-normal", "exponential"])
@pytest.mark.parametrize("n", [10, 30])
def test_a_ratio_of_skewed_sets_is_printed(make, n, figures):
    rng = generator("skewed sets", make.__name__, n)
    pairs = zip(1.1 * make(rng, 500, n), make(rng, 500, n), strict=True)
    found = [ratio(x, y) for x, y in pairs]
    add_skewed(figures, "ratio", make.__name__, n, found, 1.1)


@unlabelled
@pytest.mark.parametrize("n", [5, 10, 30])
def test_the_interval_of_an_olympic_mean_holds_the_truth(n, figures):
    found = [olympic_mean(x) for x in normal(generator("olympic", n), 6_000, n)]
    assert 0.93 <= add_coverage(figures, "Olympic mean", "normal", n, found, MEAN_J) <= 0.97


@unlabelled
@pytest.mark.parametrize(
    ("make", "label", "n", "times"),
    [
        (normal, "normal", 5, 6_000),
        (normal, "normal", 10, 2_000),
        (normal, "normal", 30, 2_000),
        *((*case, times) for case, times in zip(SERIES, (1_000, 1_000, 3_000), strict=True)),
    ],
)
def test_intervals_of_difference_and_ratio_hold_the_truth(make, label, n, times, figures):
    rng = generator("two", label, n)
    pairs = list(zip(1.1 * make(rng, times, n), make(rng, times, n), strict=True))

    gaps = [difference(x, y) for x, y in pairs]
    ratios = [ratio(x, y) for x, y in pairs]

    assert 0.93 <= add_coverage(figures, "difference", label, n, gaps, 0.1 * MEAN_J) <= 0.97
    assert 0.93 <= add_coverage(figures, "ratio", label, n, ratios, 1.1) <= 0.97
    assert n > 5 or not any("BCa" in one.method for one in (*gaps, *ratios))
    assert n not in {10, 30} or sum("BCa" in one.method for one in gaps) > 0.9 * times


@unlabelled
@pytest.mark.parametrize("n", [5, 10, 30])
def test_the_interval_of_the_difference_of_pairs_holds_the_truth(n, figures):
    rng = generator("pairs", n)
    together = normal(rng, 2_000, 1)  # what both runs of a pair share: the heat of the day
    new, base = (normal(rng, 2_000, n) + together + gain for gain in (0.1 * MEAN_J, 0))
    found = [difference(x, y, paired=True) for x, y in zip(new, base, strict=True)]
    share = add_coverage(figures, "difference of pairs", "normal", n, found, 0.1 * MEAN_J)
    assert 0.93 <= share <= 0.97


@unlabelled
def test_sets_that_scatter_unlike_hold_the_truth(figures):
    rng = generator("unequal")
    new, base = MEAN_J + 3 * (normal(rng, 2_000, 10) - MEAN_J), normal(rng, 2_000, 30)
    found = [difference(x, y) for x, y in zip(new, base, strict=True)]
    label = "normal, spread 3 to 1"
    assert 0.93 <= add_coverage(figures, "difference", label, "10, 30", found, 0.0) <= 0.97


@unlabelled
@pytest.mark.parametrize("n", [5, 10, 30])
def test_the_interval_of_hedges_g_holds_the_truth(n, figures):
    rng = generator("effect", n)
    new, base = normal(rng, 6_000, n) + 0.8 * SPREAD_J, normal(rng, 6_000, n)
    found = [effect_size(x, y) for x, y in zip(new, base, strict=True)]
    assert 0.93 <= add_coverage(figures, "Hedges' g of 0.8", "normal", n, found, 0.8) <= 0.97
    assert np.mean([one.value for one in found]) == pytest.approx(0.8, abs=0.03)


@unlabelled
@pytest.mark.parametrize(
    ("make", "label", "n"), [*((normal, "normal", n) for n in (5, 10, 30)), *SERIES]
)
def test_welchs_t_gives_few_false_alarms(make, label, n, figures):
    rng = generator("welch", label, n)
    pairs = zip(make(rng, 6_000, n), make(rng, 6_000, n), strict=True)
    alarms = [t_test(x, y).p_value < 0.05 for x, y in pairs]
    assert add_alarms(figures, "t test", label, n, "Welch's t", alarms) <= 0.06


@unlabelled
@pytest.mark.parametrize(
    ("make", "n", "times"),
    [(normal, 5, 4_000), (normal, 10, 1_200), (normal, 30, 1_000)],
)
def test_the_decision_that_sets_differ_gives_few_false_alarms(make, n, times, figures):
    rng = generator("decision", make.__name__, n)
    pairs = zip(make(rng, times, n), make(rng, times, n), strict=True)
    alarms = [compare_sets(x, y).differ for x, y in pairs]
    told = ("decision: different", make.__name__, n)
    assert add_alarms(figures, *told, f"compare ({FEWER} resamples)", alarms) <= 0.06


@unlabelled
@pytest.mark.parametrize("n", [5, 10, 30])
@pytest.mark.parametrize("edge", [0.95, 1.05])
def test_sets_that_differ_by_just_the_margin_are_rarely_called_the_same(n, edge, figures):
    rng = generator("tost", n, edge)
    pairs = zip(edge * normal(rng, 4_000, n), normal(rng, 4_000, n), strict=True)
    alarms = [equivalence(x, y, margin_pct=5).equivalent for x, y in pairs]
    label = f"normal, {100 * (edge - 1):+.0f} %"
    assert add_alarms(figures, "decision: the same within 5 %", label, n, "TOST", alarms) <= 0.06


@unlabelled
@pytest.mark.parametrize(
    ("test", "by", "times"),
    [
        (lambda x, y: mann_whitney(x, y)[0], "Mann-Whitney", 3_000),
        (permutation_test, f"permutation ({FEWER} relabellings)", 1_200),
    ],
    ids=["ranks", "permutation"],
)
def test_tests_on_request_give_few_false_alarms(test, by, times, figures):
    rng = generator("request", by)
    pairs = zip(exponential(rng, times, 10), exponential(rng, times, 10), strict=True)
    alarms = [test(x, y).p_value < 0.05 for x, y in pairs]
    assert add_alarms(figures, "on request", "exponential", 10, by, alarms) <= 0.06


@unlabelled
@pytest.mark.parametrize("n", [5, 10])
def test_six_variants_at_once_give_few_false_alarms_in_all(n, figures):
    rng = generator("many", n)
    studies = zip(*(normal(rng, 4_000, n) for _ in range(7)), strict=True)
    alarms, plain = [], []
    for base, *others in studies:
        p_values = [t_test(x, base).p_value for x in others]
        alarms.append(min(holm(p_values)) < 0.05)
        plain.append(min(p_values) < 0.05)
    told = ("any of 6 variants different", "normal", n)
    assert add_alarms(figures, *told, "Welch's t, Holm", alarms) <= 0.06
    assert sum(plain) > 2 * sum(alarms)
