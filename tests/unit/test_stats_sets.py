"""Statistics of sets of runs against scipy, statsmodels and published examples."""

import itertools
import math
import pickle

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.regression.linear_model import burg
from statsmodels.stats import effect_size as sm_effect
from statsmodels.stats.meta_analysis import effectsize_smd
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW, ttost_ind, ttost_paired
from statsmodels.tsa.stattools import acf

from pactmeter.analysis.stats.intervals import mean_interval, olympic_mean
from pactmeter.analysis.stats.moments import moments
from pactmeter.analysis.stats.sets import difference, effect_size, ratio
from pactmeter.analysis.stats.significance import (
    equivalence,
    holm,
    mann_whitney,
    permutation_test,
    t_test,
)
from pactmeter.errors import ConfigError, PactError

# Student, The probable error of a mean, Biometrika 6 (1908): hours of sleep gained by ten patients
# with two drugs; what R prints for its data set `sleep` is the published result
FIRST_DRUG = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
SECOND_DRUG = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]

RUNS_J = [61200.0, 60850.0, 61930.0, 60410.0, 61500.0, 62010.0, 60990.0, 61350.0]
OTHER_J = [58100.0, 59200.0, 57900.0, 60300.0, 58800.0]

energies = st.lists(st.floats(100.0, 1e6), min_size=2, max_size=9)
two_sets_of = pytest.mark.parametrize(
    "compared", [difference, ratio, effect_size, t_test, permutation_test, mann_whitney]
)


def ends(estimate):
    return (estimate.low, estimate.high)


def normal(seed, count, mean=100.0, spread=3.0):
    return np.random.default_rng(seed).normal(mean, spread, count)


def autoregressive(seed, count, rho):
    noise = np.random.default_rng(seed).normal(size=count)
    values = [noise[0] / math.sqrt(1 - rho**2)]
    for step in noise[1:]:
        values.append(rho * values[-1] + step)
    return np.array(values) + 50.0


# --- one set


@given(energies)
def test_a_mean_has_the_interval_of_statsmodels(values):
    assume(len(set(values)) > 1)

    found = mean_interval(values)

    assert found.value == pytest.approx(np.mean(values))
    assert ends(found) == pytest.approx(DescrStatsW(values).tconfint_mean(0.05), rel=1e-6, abs=1e-6)
    assert found.n == (len(values),)
    assert found.n_eff == pytest.approx((len(values),))


def test_the_mean_of_the_sleep_that_a_drug_gained_is_the_published_one():
    gained = np.subtract(SECOND_DRUG, FIRST_DRUG)

    found = mean_interval(gained)

    assert found.value == pytest.approx(1.58)
    assert ends(found) == pytest.approx((0.7001142, 2.4598858), abs=1e-7)  # R: t.test, paired


@pytest.mark.parametrize("count", [5, 6, 10, 31])
def test_an_olympic_mean_is_the_trimmed_mean_of_scipy(count):
    values = normal(count, count)

    found = olympic_mean(values)

    cut = 1.001 / count
    assert found.value == pytest.approx(stats.trim_mean(values, cut))
    wanted = stats.mstats.trimmed_mean_ci(values, limits=(cut, cut))
    # scipy takes the share cut from `limits`, where Tukey and McLaughlin count what was cut
    kept = count - 2
    exact = math.sqrt((count - 1) / (kept * (kept - 1)))
    half = (wanted[1] - wanted[0]) / 2 * exact / (math.sqrt(count) / count / (1 - 2 * cut))
    assert found.high - found.value == pytest.approx(half)


def test_an_olympic_mean_is_not_moved_by_the_best_and_the_worst():
    assert olympic_mean([1.0, 10.0, 11.0, 12.0, 1e6]).value == 11.0
    assert ends(olympic_mean([1.0, 10, 11, 12, 1e6])) == ends(olympic_mean([9.9, 10, 11, 12, 13]))


# --- values that hang together


def test_the_autocorrelation_is_that_of_statsmodels_less_its_bias():
    values = autoregressive(3, 60, 0.5)

    found = moments(values)

    biased = acf(values, nlags=1)[1]
    corrected = (60 * biased + 1) / 56
    assert f"autocorrelation {corrected:.2f}" in found.note
    assert biased < corrected


@pytest.mark.parametrize("rho", [0.2, 0.6, 0.9])
def test_a_long_series_counts_as_its_known_number_of_values(rho):
    found = moments(autoregressive(1, 200_000, rho))

    assert found.n_eff / found.n == pytest.approx((1 - rho) / (1 + rho), rel=0.05)
    assert found.spread == pytest.approx(1 / math.sqrt(1 - rho**2), rel=0.02)


def test_the_error_of_a_mean_is_that_of_the_covariance_matrix_of_an_ar1():
    values = autoregressive(5, 80, 0.6)
    found = moments(values)
    rho = (80 * acf(values, nlags=1)[1] + 1) / 76
    lags = np.abs(np.subtract.outer(np.arange(80), np.arange(80)))
    correlation = rho**lags

    of_mean = correlation.sum() / 80**2
    of_values = (80 - correlation.sum() / 80) / 79  # E(s^2) in units of the variance
    wanted = math.sqrt(np.var(values, ddof=1) / of_values * of_mean)

    assert found.error == pytest.approx(wanted)


def test_autocorrelation_is_near_what_burg_finds():
    values = autoregressive(8, 400, 0.6)
    rho, _ = burg(values, order=1)
    assert f"autocorrelation {rho[0]:.1f}" in moments(values).note


def test_values_that_alternate_are_not_believed_to_say_more():
    values = [1.0, 2.0] * 40
    assert moments(np.array(values)).n_eff == pytest.approx(80)


def test_few_values_that_hang_together_are_remarked_on():
    values = [1.0, 1.1, 1.3, 1.2, 1.5, 1.7, 1.6, 1.9, 2.2, 2.1, 2.3, 2.5]

    found = mean_interval(values)

    assert "too few to correct for" in found.note
    assert ends(found) == pytest.approx(DescrStatsW(values).tconfint_mean(0.05))


def test_an_interval_of_autocorrelated_values_is_wider_and_says_so():
    values = autoregressive(2, 200, 0.6)

    found = mean_interval(values)

    blind = DescrStatsW(values).tconfint_mean(0.05)
    assert 1.6 < (found.high - found.low) / (blind[1] - blind[0]) < 2.6
    assert 30 < found.n_eff[0] < 90  # 50 if the 200 knew their autocorrelation
    assert "effective n" in found.method
    assert "200 values count as" in found.note


def test_a_drift_is_said_and_has_a_wide_interval():
    found = mean_interval(np.linspace(100, 120, 200) + normal(1, 200, 0, 0.1))

    assert "drift" in found.note
    assert found.high - found.low > 10


# --- two sets


@given(energies, energies)
def test_a_difference_of_few_runs_has_welchs_interval(new, base):
    assume(len(set(new)) > 1)
    assume(len(set(base)) > 1)

    found = difference(new, base)

    sides = CompareMeans(DescrStatsW(new), DescrStatsW(base))
    wanted = sides.tconfint_diff(0.05, usevar="unequal")
    assert ends(found) == pytest.approx(wanted, rel=1e-6, abs=1e-5)


def test_a_difference_of_pairs_has_the_interval_of_their_differences():
    new, base = RUNS_J[:5], OTHER_J

    found = difference(new, base, paired=True)

    wanted = DescrStatsW(np.subtract(new, base)).tconfint_mean(0.05)
    assert ends(found) == pytest.approx(wanted)


def test_a_ratio_of_few_runs_has_welchs_interval_of_the_logarithms():
    found = ratio(RUNS_J, OTHER_J)

    sides = CompareMeans(DescrStatsW(np.log(RUNS_J)), DescrStatsW(np.log(OTHER_J)))
    assert ends(found) == pytest.approx(np.exp(sides.tconfint_diff(0.05, usevar="unequal")))
    assert found.value == pytest.approx(stats.gmean(RUNS_J) / stats.gmean(OTHER_J))


def test_a_ratio_of_pairs_has_students_interval_of_the_log_ratios():
    found = ratio(RUNS_J[:5], OTHER_J, paired=True)

    logs = np.log(np.divide(RUNS_J[:5], OTHER_J))
    assert ends(found) == pytest.approx(np.exp(DescrStatsW(logs).tconfint_mean(0.05)))


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("compared", [difference, ratio])
def test_from_ten_runs_on_the_bootstrap_gives_near_the_t_interval_for_normal_runs(compared, paired):
    new, base = normal(3, 30, 105), normal(4, 30)

    found = compared(new, base, paired=paired)
    if compared is ratio:
        logs = (np.log(new), np.log(base))
        shown = np.exp(ends_by_t(*logs, paired=paired))
    else:
        shown = ends_by_t(new, base, paired=paired)

    assert "BCa" in found.method
    width = shown[1] - shown[0]
    assert ends(found) == pytest.approx(tuple(shown), abs=0.06 * width)
    assert compared(new, base, paired=paired) == found  # the same data, the same interval


def ends_by_t(new, base, *, paired):
    if paired:
        return DescrStatsW(new - base).tconfint_mean(0.05)
    return CompareMeans(DescrStatsW(new), DescrStatsW(base)).tconfint_diff(0.05, usevar="unequal")


def test_the_bootstrap_of_few_runs_is_wider_than_that_of_scipy_by_what_it_lacks():
    new, base = normal(3, 10, 105), normal(4, 10)

    found = ratio(new, base)

    plain = stats.bootstrap(
        (new, base),
        lambda x, y, axis: x.mean(axis=axis) / y.mean(axis=axis),
        vectorized=True,
        random_state=np.random.default_rng(1),
    ).confidence_interval
    wider = (found.high - found.low) / (plain.high - plain.low)
    assert wider == pytest.approx(stats.t.ppf(0.975, 18) / 1.96 * math.sqrt(10 / 9), abs=0.05)
    assert found.value == pytest.approx(new.mean() / base.mean())


def test_the_bootstrap_of_skewed_runs_leans_the_way_they_do_and_says_approximate():
    new = np.exp(normal(5, 20, 0, 1))
    base = normal(6, 20)

    found = difference(new, base)

    assert found.high - found.value > 1.1 * (found.value - found.low)
    assert "skewed" in found.note
    assert "skewed" in ratio(new, base + 100).note


def test_autocorrelated_runs_are_compared_by_t_with_effective_n():
    new, base = autoregressive(1, 100, 0.7), autoregressive(2, 100, 0.7)

    found = difference(new, base)
    blind = stats.ttest_ind(new, base, equal_var=False).confidence_interval()

    assert found.method == "Welch's t"
    assert found.high - found.low > 1.7 * (blind.high - blind.low)
    assert ratio(new, base).method.endswith("t on the log ratio")


def test_long_sets_are_compared_by_t():
    assert difference(normal(1, 1001), normal(2, 1001)).method == "Welch's t"


@given(energies, energies)
def test_swapping_the_sets_inverts_the_ratio_and_turns_the_difference(new, base):
    assume(len(set(new)) > 1)
    there, back = ratio(new, base), ratio(base, new)
    assert there.value * back.value == pytest.approx(1)
    assert there.low * back.high == pytest.approx(1)
    one, other = difference(new, base), difference(base, new)
    assert one.low == pytest.approx(-other.high, abs=1e-9)


@given(energies, st.floats(1e-3, 1e3))
def test_the_unit_does_not_change_a_ratio(values, scale):
    base = [100.0, 103.0, 99.0]
    found = ratio(values, base)
    scaled = ratio([x * scale for x in values], [x * scale for x in base])
    assert scaled.value == pytest.approx(found.value)
    assert ends(scaled) == pytest.approx(ends(found), rel=1e-6)


# --- effect size


def test_hedges_g_is_that_of_statsmodels():
    found = effect_size(RUNS_J, OTHER_J)

    numbers = [f(x) for x in (RUNS_J, OTHER_J) for f in (np.mean, lambda x: np.std(x, ddof=1), len)]
    wanted, _ = effectsize_smd(*numbers)  # with Hedges' approximation 1 - 3/(4 df - 1)
    assert found.value == pytest.approx(wanted, rel=1e-3)


def test_the_interval_of_hedges_g_is_that_of_the_noncentral_t():
    found = effect_size(RUNS_J, OTHER_J)

    statistic = stats.ttest_ind(RUNS_J, OTHER_J).statistic
    low, high = sm_effect._noncentrality_t(statistic, 11).confint
    root = math.sqrt(1 / 8 + 1 / 5)
    unbiased = math.gamma(5.5) / math.gamma(5) / math.sqrt(5.5)
    assert ends(found) == pytest.approx((low * root * unbiased, high * root * unbiased), rel=1e-4)


def test_hedges_g_is_that_of_a_published_example():
    # Borenstein et al., Introduction to Meta-Analysis (2009), chapter 4: means 103 and 100,
    # standard deviations 5.5 and 4.5, 50 in each group: d = 0.5970, g = 0.5924
    shape = stats.zscore(stats.norm.ppf((np.arange(50) + 0.5) / 50), ddof=1)
    shuffled = np.random.default_rng(2).permuted([shape, shape], axis=1)

    found = effect_size(103 + 5.5 * shuffled[0], 100 + 4.5 * shuffled[1])

    assert found.value == pytest.approx(0.5924, abs=5e-5)


def test_hedges_g_of_pairs_is_in_standard_deviations_of_their_differences():
    found = effect_size(SECOND_DRUG, FIRST_DRUG, paired=True)

    # t = 4.0621 with 9 degrees (R: t.test, paired), so d_z = 4.0621/sqrt(10)
    assert found.value == pytest.approx(4.0621 / math.sqrt(10) * (1 - 3 / 35), rel=2e-3)
    low, high = sm_effect._noncentrality_t(4.062128, 9).confint
    assert found.low / found.high == pytest.approx(low / high, rel=1e-4)


def test_an_effect_size_without_scatter_is_refused():
    with pytest.raises(PactError, match="needs scatter"):
        effect_size([1.0, 1.0], [2.0, 2.0])
    with pytest.raises(PactError, match="needs scatter"):
        effect_size([1.0, 1.0 + 1e-12], [2.0, 2.0 + 1e-12])


# --- tests


def test_welchs_t_is_the_published_one():
    found = t_test(FIRST_DRUG, SECOND_DRUG)  # R: t.test(extra ~ group, data = sleep)

    assert found.statistic == pytest.approx(-1.8608, abs=5e-5)
    assert found.degrees == pytest.approx(17.776, abs=5e-4)
    assert found.p_value == pytest.approx(0.07939, abs=5e-6)


def test_the_paired_t_is_the_published_one():
    found = t_test(FIRST_DRUG, SECOND_DRUG, paired=True)

    assert found.statistic == pytest.approx(-4.0621, abs=5e-5)
    assert found.degrees == 9
    assert found.p_value == pytest.approx(0.002833, abs=5e-7)


@given(energies, energies)
def test_welchs_t_is_that_of_scipy(new, base):
    assume(np.std(new) > 1e-6 * np.mean(new))
    assume(np.std(base) > 1e-6 * np.mean(base))

    found = t_test(new, base)

    wanted = stats.ttest_ind(new, base, equal_var=False)
    assert found.p_value == pytest.approx(wanted.pvalue, rel=1e-6, abs=1e-12)
    assert found.degrees == pytest.approx(wanted.df)


@pytest.mark.parametrize("margin_pct", [1.0, 5.0, 20.0])
def test_equivalence_is_the_tost_of_statsmodels(margin_pct):
    new = [99.0, 101.5, 100.2, 98.7, 100.9]
    base = [100.1, 102.0, 99.5, 101.1, 100.0, 100.6]
    bounds = (1 - margin_pct / 100, 1 + margin_pct / 100)

    found = equivalence(new, base, margin_pct=margin_pct)
    pairs = equivalence(new, base[:5], margin_pct=margin_pct, paired=True)

    arrays = np.array(new), np.array(base)
    wanted = ttost_ind(*arrays, *bounds, usevar="unequal", transform=np.log)[0]
    assert found.p_value == pytest.approx(wanted)
    wanted = ttost_paired(arrays[0], arrays[1][:5], *bounds, transform=np.log)[0]
    assert pairs.p_value == pytest.approx(wanted)


@given(energies, energies, st.floats(0.1, 50))
def test_equivalence_is_shown_just_where_the_90_percent_interval_is_inside(new, base, margin_pct):
    assume(np.ptp(new) > 1e-9 * np.mean(new))
    found = equivalence(new, base, margin_pct=margin_pct)

    bounds = (1 - margin_pct / 100, 1 + margin_pct / 100)
    gaps = [found.ratio.low / bounds[0] - 1, bounds[1] / found.ratio.high - 1]
    assume(abs(min(gaps)) > 1e-9)
    assert found.equivalent == (min(gaps) > 0)
    assert found.ratio.confidence_pct == 90


@settings(max_examples=10)  # statsmodels takes 0.1 s for each
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_the_correction_for_many_is_that_of_statsmodels(p_values):
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.randoms())
def test_the_correction_for_many_does_not_depend_on_their_order(p_values, random):
    corrected = dict(zip(p_values, holm(p_values), strict=True))
    assert all(p <= q <= min(1, p * len(p_values)) for p, q in corrected.items())
    random.shuffle(p_values)
    assert dict(zip(p_values, holm(p_values), strict=True)) == corrected


def test_a_permutation_test_counts_all_relabellings():
    new, base = [101.0, 103.0, 104.0, 107.0], [99.0, 100.0, 102.0, 98.0, 97.0]

    found = permutation_test(new, base)

    everything = new + base
    seen = np.mean(new) - np.mean(base)
    gaps = []
    for chosen in itertools.combinations(range(9), 4):
        mine = [everything[i] for i in chosen]
        gaps.append(np.mean(mine) - (sum(everything) - sum(mine)) / 5)
    larger, smaller = np.mean(np.array(gaps) >= seen - 1e-9), np.mean(np.array(gaps) <= seen)
    assert found.p_value == pytest.approx(2 * min(larger, smaller))
    assert found.statistic == pytest.approx(seen)


def test_a_permutation_test_of_pairs_turns_signs():
    gaps = [1.0, 2.0, 3.0, 4.0, 5.0, 6.5]
    new, base = [100 + g for g in gaps], [100.0] * 6
    assert permutation_test(new, base, paired=True).p_value == pytest.approx(2 / 2**6)


def test_ranks_are_compared_as_scipy_does():
    found, _ = mann_whitney(RUNS_J, OTHER_J)

    wanted = stats.mannwhitneyu(RUNS_J, OTHER_J, method="exact")
    assert (found.statistic, found.p_value) == pytest.approx(tuple(wanted))


def test_cliffs_delta_is_that_of_the_r_package_effsize():
    # effsize, cliff.delta, example of its manual
    treatment = [10.0, 10, 20, 20, 20, 30, 30, 30, 40, 50]
    control = [10.0, 20, 30, 40, 40, 50]

    found, delta = mann_whitney(treatment, control)

    assert delta.value == pytest.approx(-0.25)
    assert ends(delta) == pytest.approx((-0.7265846, 0.3890062), abs=1e-7)
    assert "equal" in found.note


def test_cliffs_delta_of_sets_that_do_not_overlap_has_an_interval_still():
    _, delta = mann_whitney([5.0, 6, 7, 8, 9, 10, 11, 12, 13, 14], list(range(-9, 1)))
    _, back = mann_whitney(list(range(-9, 1)), [5.0, 6, 7, 8, 9, 10, 11, 12, 13, 14])

    assert (delta.value, delta.high) == (1.0, 1.0)
    assert 0 < delta.low < 1
    assert ends(back) == (-delta.high, -delta.low)


# --- what is said, and what is refused


def test_few_values_and_skewed_ones_carry_a_note():
    assert "only 3 values" in mean_interval([1.0, 2.0, 3.0]).note
    assert mean_interval([1.0, 2.0, 3.0, 4.0, 5.0]).note is None
    assert "skewed" in mean_interval([1.0, 1.1, 1.2, 1.0, 1.1, 1.3, 1.2, 9.0]).note


def test_rounding_is_no_scatter():
    with pytest.raises(PactError, match="needs scatter"):
        t_test([0.1 + 0.2, 0.3, 0.3], [0.3, 0.3, 0.1 + 0.2])


def test_values_without_scatter_have_an_interval_without_width_and_a_note():
    for found in (mean_interval([4.0] * 5), difference([5.0] * 12, [1.0] * 12)):
        assert found.low == found.value == found.high == 4.0
        assert "no scatter" in found.note
    assert ratio([2.0, 2.0], [1.0, 1.0]).high == 2.0


@two_sets_of
def test_a_set_without_scatter_never_gives_nothing(compared):
    for count in (5, 12):
        assert compared([100.0] * count, normal(1, count))


@pytest.mark.parametrize("compared", [t_test, lambda a, b: equivalence(a, b, margin_pct=5)])
def test_a_test_without_scatter_is_refused(compared):
    with pytest.raises(PactError, match="all values of a set are equal"):
        compared([1.0, 1.0], [2.0, 2.0])


@pytest.mark.parametrize(
    ("call", "needed"),
    [
        (lambda: mean_interval([1.0]), "at least 2 values, there are 1"),
        (lambda: mean_interval([]), "at least 2 values, there are 0"),
        (lambda: olympic_mean([1.0, 2.0, 3.0, 4.0]), "at least 5 values, there are 4"),
        (lambda: difference([1.0, 2.0], [1.0]), r"\(second set\) needs at least 2"),
        (lambda: ratio([1.0], [1.0, 2.0]), r"\(first set\) needs at least 2"),
        (lambda: effect_size([1.0, 2.0], [3.0, 5.0], paired=True), "at least 3"),
        (lambda: equivalence([1.0], [1.0], margin_pct=5), "at least 2"),
        (lambda: permutation_test([1.0, 2.0, 3.0], [4.0, 5.0, 6.0]), "at least 4 values"),
        (lambda: permutation_test([1.0] * 5, [2.0] * 5, paired=True), "at least 6 values"),
        (lambda: mann_whitney([1.0, 2.0, 3.0], [4.0, 5.0, 6.0]), "at least 4 values"),
    ],
)
def test_too_few_values_are_refused_with_how_many_are_needed(call, needed):
    with pytest.raises(PactError) as caught:
        call()
    assert caught.match(needed)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e300, 1e-300])
@two_sets_of
def test_what_is_no_finite_number_is_refused_with_its_place(compared, bad):
    with pytest.raises(PactError, match="value 3 is"):
        compared([1.0, 2.0, bad, 3.0, 4.0, 5.0], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0])


@pytest.mark.parametrize("bad", [0.0, -5.0])
def test_a_logarithm_of_what_is_not_positive_is_refused(bad):
    for call in (ratio, lambda a, b: equivalence(a, b, margin_pct=5)):
        with pytest.raises(PactError, match="above zero; value 2 is") as caught:
            call([1.0, bad, 3.0], [1.0, 2.0, 3.0])
        assert "difference" in caught.value.fix


@pytest.mark.parametrize("bad", [["a", "b"], [None, 1.0], [[1.0], [2.0]], "text", 5.0, [1j, 2.0]])
def test_what_is_no_list_of_numbers_is_refused(bad):
    with pytest.raises(PactError, match="needs"):
        mean_interval(bad)


def test_pairs_must_be_complete():
    for call in (difference, ratio, effect_size, t_test, permutation_test):
        with pytest.raises(PactError, match="as many values in both sets, there are 8 and 5"):
            call(RUNS_J, OTHER_J, paired=True)


@pytest.mark.parametrize("wrong", [0, -5, 100, math.nan, math.inf])
def test_impossible_margins_are_refused(wrong):
    with pytest.raises(ConfigError, match="a margin of"):
        equivalence(RUNS_J, OTHER_J, margin_pct=wrong)


@pytest.mark.parametrize("wrong", [[], [0.5, 1.5], [math.nan], [-0.1], [[0.5]]])
def test_what_is_no_p_value_is_refused(wrong):
    with pytest.raises(ConfigError, match="p-values from 0 to 1"):
        holm(wrong)


def test_a_ratio_over_all_powers_of_ten_is_refused():
    with pytest.raises(PactError, match="powers of ten"):
        ratio([1e-90, 1e90], [1.0, 2.0])
