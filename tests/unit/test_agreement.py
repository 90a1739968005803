"""The statistics of two sources: each against an independent formula or a published example."""

import math
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from pactmeter.analysis.agreement.deming import deming
from pactmeter.analysis.agreement.lag import lag
from pactmeter.analysis.agreement.limits import limits, ratio_limits
from pactmeter.analysis.agreement.pairs import Pairs, pair
from pactmeter.analysis.agreement.scores import bias, scores
from pactmeter.errors import ConfigError, PactError

# cardiac output of 12 persons by two methods, several times each (Bowling et al., in Bland and
# Altman, Stat Methods Med Res 1999;8:135, table 4)
CARDIAC = {
    1: "7.83 6.57 7.42 5.62 7.89 6.90 7.12 6.57 7.88 6.35",
    2: "6.16 4.06 7.26 4.29 6.71 4.26 6.54 4.09",
    3: "4.75 4.71 5.24 5.50 4.86 5.08 4.78 5.02 6.05 6.01 5.42 5.67",
    4: "4.21 4.14 3.61 4.20 3.72 4.61 3.87 4.68 3.92 5.04",
    5: "3.13 3.03 2.98 2.86 2.85 2.77 3.17 2.46 3.09 2.32 3.12 2.43",
    6: "5.92 5.90 6.42 5.81 5.92 5.70 6.27 5.76",
    7: "7.13 5.09 6.62 4.63 6.58 4.61 6.93 5.09",
    8: "4.54 4.72 4.81 4.61 5.11 4.36 5.29 4.20 5.39 4.36 5.57 4.20",
    9: "4.48 3.17 4.92 3.12 3.97 2.96",
    10: "4.22 4.35 4.65 4.62 4.74 3.16 4.44 3.53 4.50 3.53",
    11: "6.78 7.20 6.07 6.09 6.52 7.00 6.42 7.10 6.41 7.40 5.76 6.80",
    12: "5.06 4.50 4.72 4.20 4.90 3.80 4.80 3.80 4.90 4.20 5.10 4.50",
}
METHODS = [np.array(text.split(), float).reshape(-1, 2).T for text in CARDIAC.values()]
powers_w = st.floats(1.0, 2000.0)


def made(runs=8, windows=20, gain=1.0, offset_w=0.0, noise_w=1.0, seed=1):
    """Two sources over some runs, one with a gain and an offset."""
    rng = np.random.default_rng(seed)
    loads = [rng.uniform(60, 600, windows) for _ in range(runs)]
    return Pairs(
        tuple(load + rng.normal(0, noise_w, windows) for load in loads),
        tuple(gain * load + offset_w + rng.normal(0, noise_w, windows) for load in loads),
    )


# --- limits of agreement ------------------------------------------------------------------------


def test_limits_of_repeated_measures_are_those_of_the_published_example():
    found = limits([first - second for first, second in METHODS])
    assert (found.units, found.windows) == (12, 60)
    assert found.bias.value == pytest.approx(0.7092, abs=5e-5)  # as printed in section 5.2
    # the within-subject variances printed there; what varies with both is not in the differences
    within = [limits([person[k] for person in METHODS]).variances[1] for k in (0, 1)]
    assert within == pytest.approx([0.1072, 0.1379], abs=5e-5)
    # section 5.2 puts the variance together from the same variance of the means
    means = (
        sum(found.variances)
        - (1 - np.mean([1 / p.shape[1] for p in METHODS])) * (found.variances[1])
    )
    hidden = 1 - np.mean([1 / person.shape[1] for person in METHODS])
    assert math.sqrt(means + hidden * sum(within)) == pytest.approx(1.0517, abs=2e-4)


def test_the_variance_within_runs_is_that_of_an_analysis_of_variance():
    table = pd.DataFrame(
        [
            (person, value)
            for person, (first, second) in enumerate(METHODS)
            for value in first - second
        ],
        columns=["person", "difference"],
    )
    of_residual = anova_lm(ols("difference ~ C(person)", table).fit())["mean_sq"]["Residual"]
    found = limits([first - second for first, second in METHODS])
    assert found.variances[1] == pytest.approx(of_residual)


def test_limits_of_one_window_a_run_are_those_of_the_plain_method():
    differences = np.array([1.0, -2.0, 0.5, 3.0, -1.0, 0.0])
    found = limits([np.array([d]) for d in differences])
    sd = differences.std(ddof=1)
    assert found.lower.value == pytest.approx(differences.mean() - 1.959964 * sd)
    assert found.upper.value == pytest.approx(differences.mean() + 1.959964 * sd)
    # variance of the sd: chi-square intervals of the plain method, here with MOVER (Zou 2013)
    assert found.upper.interval[0] < found.upper.value < found.upper.interval[1]


@settings(max_examples=20)
@given(gain=st.floats(0.5, 2.0), seed=st.integers(0, 1000))
def test_a_gain_is_the_same_ratio_at_every_load(gain, seed):
    found = ratio_limits(made(gain=gain, noise_w=0.0, seed=seed))
    expected = 100 * (gain - 1)
    for each in (found.bias, found.lower, found.upper):
        assert each.value == pytest.approx(expected, abs=1e-6)


def test_a_power_of_nothing_has_no_ratio():
    pairs = pair([[0.0, 10.0]] * 6, [[1.0, 11.0]] * 6)
    with pytest.raises(PactError, match="0 W in 6 of 12 windows"):
        ratio_limits(pairs)


# --- Deming -------------------------------------------------------------------------------------


def by_svd(x, y, ratio):
    """Deming's line as total least squares: the direction of least spread, in scaled axes."""
    scale = math.sqrt(ratio)
    points = np.column_stack([(x - x.mean()) * scale, y - y.mean()])
    across = np.linalg.svd(points, full_matrices=False)[2][1]
    gain = -across[0] / across[1] * scale
    return gain, y.mean() - gain * x.mean()


@pytest.mark.parametrize("errors_w", [(1.0, 1.0), (1.0, 3.0), (2.0, 0.5)])
def test_the_line_is_that_of_total_least_squares(errors_w):
    pairs = made(gain=1.08, offset_w=-7.0, noise_w=15.0)
    x, y = np.concatenate(pairs.reference_w), np.concatenate(pairs.source_w)
    found = deming(pairs, errors_w)
    assert (found.gain.value, found.offset_w.value) == pytest.approx(
        by_svd(x, y, (errors_w[1] / errors_w[0]) ** 2)
    )
    assert found.variance_ratio == pytest.approx((errors_w[1] / errors_w[0]) ** 2)


def test_against_a_reference_without_errors_the_line_is_that_of_least_squares():
    pairs = made(gain=1.08, offset_w=-7.0, noise_w=15.0)
    x, y = np.concatenate(pairs.reference_w), np.concatenate(pairs.source_w)
    found = deming(pairs, (1e-5, 1.0))
    assert (found.gain.value, found.offset_w.value) == pytest.approx(tuple(np.polyfit(x, y, 1)))


def test_the_line_is_that_of_odrpack():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        odr = pytest.importorskip("scipy.odr")
    pairs = made(gain=0.9, offset_w=12.0, noise_w=20.0)
    x, y = np.concatenate(pairs.reference_w), np.concatenate(pairs.source_w)
    line = odr.Model(lambda beta, at: beta[0] * at + beta[1])
    fitted = odr.ODR(odr.RealData(x, y, sx=2.0, sy=3.0), line, beta0=[1.0, 0.0]).run().beta
    found = deming(pairs, (2.0, 3.0))
    assert (found.gain.value, found.offset_w.value) == pytest.approx(tuple(fitted), rel=1e-4)


def test_the_intervals_are_those_of_leaving_one_run_out():
    pairs = made(runs=6, gain=1.05, offset_w=4.0, noise_w=5.0)
    gains = []
    for left_out in range(6):
        x, y = (
            np.concatenate([run for k, run in enumerate(runs) if k != left_out])
            for runs in (pairs.reference_w, pairs.source_w)
        )
        gains.append(by_svd(x, y, 1.0)[0])
    error = math.sqrt(5 / 6 * sum((g - np.mean(gains)) ** 2 for g in gains))
    found = deming(pairs)
    half = (found.gain.interval[1] - found.gain.interval[0]) / 2
    assert half == pytest.approx(2.776445 * error)  # t of 4 degrees of freedom


@settings(max_examples=20)
@given(gain=st.floats(0.2, 5.0), offset_w=st.floats(-50.0, 200.0), seed=st.integers(0, 999))
def test_a_line_without_noise_is_found_exactly(gain, offset_w, seed):
    found = deming(made(gain=gain, offset_w=offset_w, noise_w=0.0, seed=seed))
    assert found.gain.value == pytest.approx(gain)
    assert found.offset_w.value == pytest.approx(offset_w, abs=1e-6)


@settings(max_examples=20)
@given(seed=st.integers(0, 999))
def test_the_line_turned_round_is_the_inverse_line(seed):
    pairs = made(gain=1.2, offset_w=5.0, noise_w=10.0, seed=seed)
    there = deming(pairs, (1.0, 2.0))
    back = deming(Pairs(pairs.source_w, pairs.reference_w), (2.0, 1.0))
    assert back.gain.value == pytest.approx(1 / there.gain.value)
    assert back.offset_w.value == pytest.approx(-there.offset_w.value / there.gain.value)


def test_one_load_does_not_tell_gain_from_offset():
    with pytest.raises(PactError, match="load hardly varies"):
        deming(pair([[100.0] * 10] * 6, [[105.0] * 10] * 6))
    rng = np.random.default_rng(1)
    with pytest.raises(PactError, match="load hardly varies"):
        deming(pair(rng.normal(100, 1, (6, 10)), rng.normal(105, 1, (6, 10))))


@pytest.mark.parametrize(
    "errors_w", [(0.0, 1.0), (1.0, -1.0), (math.nan, 1.0), (1.0, math.inf), (1e-300, 1e300)]
)
def test_errors_of_nothing_are_refused(errors_w):
    with pytest.raises(ConfigError):
        deming(made(), errors_w)


# --- bias and scores ----------------------------------------------------------------------------


def test_scores_are_those_of_sklearn_and_of_the_hand():
    pairs = pair([[100.0, 200.0], [400.0]], [[90.0, 210.0], [380.0]])
    x, y = [100.0, 200.0, 400.0], [90.0, 210.0, 380.0]
    found = scores(pairs)
    assert found.mape_pct == pytest.approx((10 + 5 + 5) / 3)
    assert found.wmape_pct == pytest.approx(100 * 40 / 700)
    assert found.mape_pct == pytest.approx(100 * metrics.mean_absolute_percentage_error(x, y))
    assert found.r2_pct == pytest.approx(100 * metrics.r2_score(x, y))
    assert found.windows == 3


def test_a_correlation_of_one_stands_beside_a_bias_of_20_percent():
    pairs = made(gain=0.8, noise_w=0.01)
    x, y = np.concatenate(pairs.reference_w), np.concatenate(pairs.source_w)
    assert np.corrcoef(x, y)[0, 1] > 0.9999
    assert bias(pairs).total_pct.value == pytest.approx(-20.0, abs=0.01)
    assert scores(pairs).wmape_pct == pytest.approx(20.0, abs=0.01)


@settings(max_examples=20)
@given(gain=st.floats(0.3, 3.0), runs=st.integers(5, 12), seed=st.integers(0, 999))
def test_the_bias_of_a_gain_is_the_gain_and_its_interval_holds_it(gain, runs, seed):
    found = bias(made(runs=runs, gain=gain, noise_w=0.0, seed=seed))
    assert found.total_pct.value == pytest.approx(100 * (gain - 1), abs=1e-9)
    low, high = found.total_pct.interval
    assert high - low < 1e-9
    assert (found.units, found.unit) == (runs, "runs")


def test_what_does_not_vary_has_no_r2_and_what_draws_nothing_no_percentage():
    assert scores(pair([[50.0] * 4], [[49.0, 51.0, 50.0, 50.0]])).r2_pct is None
    with pytest.raises(PactError, match="0 W"):
        scores(pair([[0.0, 1.0]], [[1.0, 1.0]]))
    with pytest.raises(PactError, match="draws nothing"):
        bias(pair([[0.0]] * 5, [[1.0]] * 5))


# --- pairs --------------------------------------------------------------------------------------


def test_few_runs_are_cut_into_segments_and_enough_are_not():
    assert made(runs=5).independent().unit == "runs"
    cut = made(runs=1, windows=40).independent()
    assert (cut.unit, [run.size for run in cut.reference_w]) == ("segments", [4] * 10)
    assert len(made(runs=3, windows=20).independent().reference_w) == 12
    with pytest.raises(PactError, match="20 windows of each run"):
        made(runs=1, windows=19).independent()


def test_windows_without_a_reading_of_both_are_left_out():
    nan = math.nan
    found = pair([[1.0, nan, 3.0], [nan]], [[1.0, 2.0, nan], [1.0]])
    assert (len(found.reference_w), found.windows, found.left_out) == (1, 1, 3)
    with pytest.raises(PactError, match="no window"):
        pair([[nan]], [[1.0]])


@pytest.mark.parametrize("bad_w", [-1.0, math.inf, -math.inf])
def test_powers_that_cannot_be_are_refused(bad_w):
    with pytest.raises(PactError, match="negative, or more than"):
        pair([[1.0, bad_w]], [[1.0, 1.0]])
    with pytest.raises(PactError, match="windows of one source"):
        pair([[1.0]], [[1.0, 2.0]])
    with pytest.raises(PactError, match="runs of one source"):
        pair([[1.0]], [])


any_w = st.floats(allow_nan=True, allow_infinity=True) | powers_w | st.just(0.0)


@given(
    st.lists(st.lists(st.tuples(any_w, any_w), max_size=30), max_size=7),
)
def test_whatever_comes_in_a_figure_is_a_number_or_an_error_says_why(rows):
    try:
        pairs = pair([[x for x, _ in run] for run in rows], [[y for _, y in run] for run in rows])
    except PactError:
        return
    for statistic in (bias, ratio_limits, deming, scores):
        try:
            found = statistic(pairs)
        except PactError:
            continue
        for name in ("gain", "offset_w", "mean_w", "total_pct", "bias", "lower", "upper"):
            if hasattr(found, name):
                each = getattr(found, name)
                assert np.isfinite([each.value, *each.interval]).all(), (statistic, found)


# --- lag ----------------------------------------------------------------------------------------


def burst(seed, count=240, step_s=1.0, lag_s=0.0, noise_w=1.0):
    """A random on/off load and the same so much later, each the mean of its window."""
    rng = np.random.default_rng(seed)
    fine = 50
    length = count * fine
    levels = rng.choice([80.0, 300.0], length)
    dwell = np.repeat(levels, rng.integers(40, 200, length))[: length + 20 * fine]
    ends = np.concatenate([[0.0], np.cumsum(dwell)]) * step_s / fine
    times_s = np.arange(ends.size) * step_s / fine

    def windows(shift_s):
        edges_s = 10 * step_s + np.arange(count + 1) * step_s - shift_s
        return np.diff(np.interp(edges_s, times_s, ends)) / step_s

    noise = rng.normal(0, noise_w, (2, count))
    return windows(0.0) + noise[0], windows(lag_s) + noise[1]


@pytest.mark.parametrize("lag_s", [-1.3, 0.0, 0.35, 2.0])
def test_the_delay_of_a_random_load_is_found(lag_s):
    found = lag(*burst(3, lag_s=lag_s), 1.0, 3.0)
    assert found.lag_s.value == pytest.approx(lag_s, abs=0.1)
    assert found.lag_s.interval[0] <= lag_s <= found.lag_s.interval[1]
    assert found.applied


def test_a_periodic_load_has_rivals_and_none_is_taken_out():
    wave = 200 + 100 * np.sin(np.arange(400) * 2 * math.pi / 3)
    found = lag(wave, np.roll(wave, 1), 1.0, 5.0)
    assert found.rivals_s
    assert not found.applied


def test_no_delay_is_found_where_there_is_none_to_find():
    rng = np.random.default_rng(1)
    with pytest.raises(PactError, match="do not change alike"):
        lag(rng.normal(100, 1, 400), rng.normal(100, 1, 400), 1.0, 3.0)
    with pytest.raises(PactError, match="too few"):
        lag([1.0, 2.0], [1.0, 2.0], 1.0, 3.0)
    with pytest.raises(PactError, match="gaps"):
        lag([math.nan] * 200, [1.0] * 200, 1.0, 3.0)
    with pytest.raises(PactError, match="samples of one source"):
        lag([1.0] * 200, [1.0] * 199, 1.0, 3.0)
    with pytest.raises(ConfigError):
        lag([1.0] * 200, [1.0] * 200, 0.0, 3.0)
