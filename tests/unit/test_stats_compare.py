"""Sets of runs described and compared through the one door that the command uses."""

import dataclasses
import math
import pickle

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from pactmeter.analysis.stats.compare import TESTS, compare_many, compare_sets, describe_set
from pactmeter.errors import ConfigError, PactError

RUNS_J = [61200.0, 60850.0, 61930.0, 60410.0, 61500.0, 62010.0, 60990.0, 61350.0]
OTHER_J = [58100.0, 59200.0, 57900.0, 60300.0, 58800.0, 58650.0, 59400.0, 58300.0]


def runs(seed, count, mean=100.0, spread=2.0):
    return list(np.random.default_rng(seed).normal(mean, spread, count))


# --- what is there


def test_a_set_is_described_by_mean_spread_and_olympic_mean():
    found = describe_set(RUNS_J)

    wanted = stats.ttest_1samp(RUNS_J, 0).confidence_interval()
    assert found.mean.value == pytest.approx(np.mean(RUNS_J))
    assert (found.mean.low, found.mean.high) == pytest.approx(tuple(wanted))
    assert found.spread == pytest.approx(np.std(RUNS_J, ddof=1))
    assert found.half_pct == pytest.approx(50 * (wanted[1] - wanted[0]) / np.mean(RUNS_J))
    assert found.olympic.value == pytest.approx(np.mean(sorted(RUNS_J)[1:-1]))


def test_a_set_under_five_runs_has_no_olympic_mean_and_is_approximate():
    found = describe_set([100.0, 101.0, 102.0])

    assert found.olympic is None
    assert "approximate" in found.mean.note


def test_a_mean_of_zero_has_no_relative_width():
    assert describe_set([-1.0, 1.0]).half_pct is None


def test_a_comparison_holds_all_figures_and_each_says_how_it_was_found():
    found = compare_sets(RUNS_J, OTHER_J, margin_pct=10, tests=TESTS)

    p_value = stats.ttest_ind(RUNS_J, OTHER_J, equal_var=False).pvalue
    assert found.p_value == found.t_test.p_value == pytest.approx(p_value)
    assert found.difference.value == pytest.approx(np.mean(RUNS_J) - np.mean(OTHER_J))
    assert found.ratio.value == pytest.approx(stats.gmean(RUNS_J) / stats.gmean(OTHER_J))
    assert found.ranks.p_value == pytest.approx(stats.mannwhitneyu(RUNS_J, OTHER_J).pvalue)
    assert found.cliff.value == 1.0
    assert found.permutation.p_value < 0.01
    shown = [found.new.mean, found.difference, found.ratio, found.effect, found.equivalence.ratio]
    assert all(one.method and one.n and one.n_eff and one.confidence_pct for one in shown)
    assert found.ratio.n == (8, 8)
    assert found.left_out == ()


def test_what_is_not_asked_for_is_not_done():
    found = compare_sets(RUNS_J, OTHER_J)
    assert (found.equivalence, found.ranks, found.cliff, found.permutation) == (None,) * 4


def test_pairs_that_move_together_tell_a_difference_that_sets_hide():
    base = [100.0, 120.0, 90.0, 140.0, 110.0, 95.0]
    new = [x + gain for x, gain in zip(base, [2.0, 2.5, 1.5, 2.2, 1.8, 2.1], strict=True)]

    assert compare_sets(new, base, paired=True).differ
    assert not compare_sets(new, base).differ


@pytest.mark.parametrize(
    ("new", "margin_pct", "verdict"),
    [
        (runs(1, 12, 110.0), None, "different"),
        (runs(1, 12, 110.0), 5, "different"),
        (runs(1, 12, 110.0), 20, "different, but the same within 20 %"),
        (runs(1, 12), 5, "the same within 5 %"),
        (runs(1, 12), None, "neither a difference nor equality is shown"),
        (runs(1, 3, spread=30), 5, "neither a difference nor equality is shown"),
        ([100.0] * 5, 5, "not tested: the runs do not scatter"),
    ],
)
def test_the_verdict_says_what_is_shown(new, margin_pct, verdict):
    base = [100.0] * 5 if new == [100.0] * 5 else runs(2, 12)
    assert compare_sets(new, base, margin_pct=margin_pct).verdict == verdict


def test_a_difference_is_not_claimed_beside_an_interval_that_holds_zero():
    found = compare_sets(runs(1, 12, 110.0), runs(2, 12))
    beside = dataclasses.replace(found.difference, low=-1.0)

    assert found.differ
    assert not dataclasses.replace(found, difference=beside).differ


def test_what_the_data_do_not_allow_is_left_out_with_its_reason():
    found = compare_sets([-1.0, 2.0, 3.0, 1.0], [1.0, 1.0, 1.0, 1.0], margin_pct=5)

    assert found.ratio is None
    assert found.equivalence is None
    assert found.difference.value == pytest.approx(0.25)
    assert ["ratio" in found.left_out[0], "equivalence" in found.left_out[1]] == [True, True]
    assert "value 1 is -1" in found.left_out[0]


def test_many_are_corrected_after_holm():
    variants = {f"v{i}": runs(i + 3, 8, 100 + i) for i in range(5)}

    found = compare_many(variants, runs(2, 8), margin_pct=5)

    plain = [compare_sets(values, runs(2, 8)).p_value for values in variants.values()]
    wanted = multipletests(plain, method="holm")[1]
    assert [one.p_value for one in found.values()] == pytest.approx(list(wanted))
    assert all(one.comparisons == 5 for one in found.values())
    assert all(one.t_test.p_value <= one.p_value for one in found.values())


def test_what_cannot_be_tested_is_no_comparison_to_correct_for():
    found = compare_many({"still": [5.0, 5.0], "a": [1.0, 1.0]}, [1.0, 1.0])
    assert [one.p_value for one in found.values()] == [None, None]
    assert compare_many({}, RUNS_J) == {}


# --- what must hold for all values

energies = st.lists(st.floats(1.0, 1e6), min_size=2, max_size=8)


@settings(max_examples=50)
@given(energies, energies)
def test_swapping_the_sets_changes_signs_and_nothing_else(new, base):
    assume(np.ptp(new) > 1e-3 * np.mean(new))
    assume(np.ptp(base) > 1e-3 * np.mean(base))
    one, other = compare_sets(new, base, tests=()), compare_sets(base, new)
    assert one.p_value == pytest.approx(other.p_value)
    assert one.differ == other.differ
    assert one.effect.value == pytest.approx(-other.effect.value)
    assert one.ratio.value == pytest.approx(1 / other.ratio.value)


@settings(max_examples=50)
@given(energies, energies, st.floats(-1e6, 1e6))
def test_a_shift_of_both_moves_no_difference(new, base, shift):
    one = compare_sets(new, base).difference
    moved = compare_sets([x + shift for x in new], [x + shift for x in base]).difference
    close = {"rel": 1e-6, "abs": 1e-5}
    assert moved.value == pytest.approx(one.value, **close)
    assert (moved.low, moved.high) == pytest.approx((one.low, one.high), **close)


@settings(max_examples=50)
@given(energies, st.randoms())
def test_the_order_of_few_runs_does_not_matter(values, random):
    shuffled = random.sample(values, len(values))
    one, other = describe_set(values).mean, describe_set(shuffled).mean
    assert (one.low, one.high) == pytest.approx((other.low, other.high))


# --- what is refused


@pytest.mark.parametrize(
    ("new", "options", "said"),
    [
        ([1.0], {}, "first set.*at least 2 values, there are 1"),
        ([], {}, "first set.*at least 2 values, there are 0"),
        ([1.0, 2.0], {"tests": ["mann-whitney"]}, "at least 4 values in each set"),
        ([1.0, 2.0, 3.0], {"tests": ["permutation"], "paired": True}, "at least 6 values"),
        ([1.0, 2.0], {"paired": True}, "as many values in both sets, there are 2 and 3"),
        ([1.0, math.nan, 3.0], {}, "value 2 is nan"),
        (["a", "b"], {}, "needs numbers"),
    ],
)
def test_too_little_is_refused_with_what_is_needed(new, options, said):
    with pytest.raises(PactError) as caught:
        compare_sets(new, [1.0, 2.0, 4.0], **options)
    assert caught.match(f"(?s){said}")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tests": ["permutations"]}, "did you mean 'permutation'"),
        ({"tests": ["mann-whitney"], "paired": True}, "use the permutation test"),
        ({"margin_pct": 0}, "more than 0"),
        ({"margin_pct": math.nan}, "more than 0"),
    ],
)
def test_impossible_options_are_refused(options, said):
    with pytest.raises(ConfigError, match=said):
        compare_sets(RUNS_J, OTHER_J, **options)


sizes = st.floats(-1e3, 1e3) | st.integers(-3, 3).map(float)
anything = st.lists(sizes, max_size=14) | st.lists(sizes | st.floats(), max_size=14)


@settings(max_examples=200)
@given(anything, anything, st.booleans(), st.sampled_from([(), TESTS]))
def test_any_data_give_a_clear_error_or_finite_figures(new, base, paired, tests):
    asked = {"margin_pct": 5.0, "paired": paired, "tests": tests if not paired else tests[1:]}
    try:
        found = compare_sets(new, base, **asked)
    except PactError as error:
        assert "needs" in error.message or error.fix  # noqa: PT017  both outcomes are legal
    else:
        check(found)
        assert found.verdict


def check(found):
    """Assert that all figures of a result mean something, however deep they lie."""
    for field in dataclasses.fields(found):
        value = getattr(found, field.name)
        if dataclasses.is_dataclass(value):
            check(value)
        elif isinstance(value, float):
            assert math.isfinite(value), field.name
            assert not field.name.startswith("p_") or 0 <= value <= 1
    if hasattr(found, "low"):
        assert found.low <= found.high
        assert "BCa" in found.method or found.low <= found.value <= found.high
