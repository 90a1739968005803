"""Pairs compared by their log ratio."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pactmeter.errors import PactError
from pactmeter.model.channel import Domain, Origin
from pactmeter.model.energy import BudgetItem, Energy, Shape
from pactmeter.study.ab_stats import (
    CONFIDENCE_UNTIL,
    ONE_SIDED,
    ONE_SIDED_UNTIL,
    paired,
    pairs_for,
    remaining_pct,
)

A = [100.0, 104.0, 97.0, 101.0, 103.0]
B = [93.0, 97.5, 90.0, 95.0, 95.0]


def energy(energy_j, *items):
    """Return an energy whose sensor has an accuracy of 5 % and these items beside it."""
    sensor = BudgetItem("sensor", 0.025 * energy_j, "5 %", is_systematic=True)
    return Energy(
        *("psu.dc_output", "DC", Domain.DC, Origin.MEASURED, None),
        *(energy_j, 10.0, 0.0, 0, 100),
        (sensor, *items),
    )


def test_the_interval_is_students_t_of_the_log_ratios():
    found = paired(B, A, "J")

    logs = np.log(np.array(B) / np.array(A))
    ends = stats.ttest_1samp(logs, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((math.exp(ends.low), math.exp(ends.high)))
    assert found.p_value == pytest.approx(stats.ttest_1samp(logs, 0).pvalue)
    assert found.value == pytest.approx(math.exp(logs.mean()))
    assert found.spread_pct == pytest.approx(100 * logs.std(ddof=1))
    assert found.n == 5
    assert found.differ


def test_what_is_in_both_runs_of_a_pair_alike_cancels():
    heat = [1.0, 1.1, 1.2, 1.3, 1.4]
    hot = paired(
        [b * h for b, h in zip(B, heat, strict=True)],
        [a * h for a, h in zip(A, heat, strict=True)],
        "J",
    )

    plain = paired(B, A, "J")
    assert (hot.value, hot.low, hot.high) == pytest.approx((plain.value, plain.low, plain.high))


def test_what_the_sensor_leaves_widens_the_interval():
    plain, found = paired(B, A, "J"), paired(B, A, "J", left_pct=3.0)

    assert found.half_pct == pytest.approx(math.hypot(plain.half_pct, 3.0))
    assert found.value == plain.value


def test_an_interval_that_may_stop_the_comparison_is_wider():
    found = paired(B, A, "J", may_stop=True)

    logs = np.log(np.array(B) / np.array(A))
    low, high = stats.ttest_1samp(logs, 0).confidence_interval(CONFIDENCE_UNTIL)
    assert (found.low, found.high) == pytest.approx((math.exp(low), math.exp(high)))


@pytest.mark.parametrize(("margin_pct", "same"), [(20.0, True), (7.0, False), (None, None)])
def test_the_same_within_a_margin_is_shown_by_an_interval_within_it(margin_pct, same):
    assert paired(B, A, "J", margin_pct=margin_pct).same is same


def test_where_it_may_stop_the_same_is_shown_by_a_wider_interval():
    logs = stats.ttest_1samp(np.log(np.array(B) / np.array(A)), 0)
    ends = [math.exp(logs.confidence_interval(c).low) for c in (ONE_SIDED, ONE_SIDED_UNTIL)]
    margin_pct = 100 * (1 - sum(ends) / 2)

    assert paired(B, A, "J", margin_pct=margin_pct).same
    assert not paired(B, A, "J", margin_pct=margin_pct, may_stop=True).same


def test_pairs_that_do_not_scatter_show_no_difference():
    found = paired([99.0, 99.0, 99.0], [100.0, 100.0, 100.0], "J")

    assert found.p_value is None
    assert not found.differ


@pytest.mark.parametrize("values", [[1.0], [0.0, 1.0], [math.nan, 1.0]])
def test_what_no_comparison_can_be_made_of_is_refused(values):
    with pytest.raises(PactError):
        paired(values, [1.0] * len(values), "J")


@given(st.lists(st.floats(50, 150), min_size=3, max_size=12), st.floats(0.3, 3.0))
def test_units_change_no_ratio(values, factor):
    base = [value * (1 + 0.01 * place) for place, value in enumerate(values)]
    plain = paired(values, base, "J")
    scaled = paired([factor * v for v in values], [factor * v for v in base], "kJ")
    swapped = paired(base, values, "J")

    assert scaled.value == pytest.approx(plain.value)
    assert swapped.value == pytest.approx(1 / plain.value)
    assert (swapped.low, swapped.high) == pytest.approx((1 / plain.high, 1 / plain.low))


@given(st.floats(0.05, 5.0), st.floats(0.5, 5.0), st.booleans())
def test_the_number_of_pairs_is_the_least_that_is_narrow_enough(spread_pct, half_pct, may_stop):
    logs = np.array([-1.0, 1.0, -1.0, 1.0, 0.0])
    logs *= spread_pct / 100 / logs.std(ddof=1)
    found = paired(np.exp(logs).tolist(), [1.0] * 5, "J", may_stop=may_stop)

    n = pairs_for(found, half_pct, may_stop=may_stop)

    confidence = CONFIDENCE_UNTIL if may_stop else 0.95

    def half(pairs):
        return stats.t.ppf((1 + confidence) / 2, pairs - 1) * spread_pct / math.sqrt(pairs)

    assert half(n) <= half_pct * (1 + 1e-9)
    assert n == 2 or half(n - 1) > half_pct * (1 - 1e-9)


def test_no_number_of_pairs_resolves_less_than_the_sensor_leaves():
    found = paired(B, A, "J", left_pct=1.2)

    assert pairs_for(found, 1.0) is None
    assert pairs_for(found, 2.0) is not None


def test_a_sensors_own_error_cancels_in_the_ratio():
    assert remaining_pct([(energy(93.0), energy(100.0))]) == pytest.approx(0.0, abs=1e-9)


def test_what_errs_by_chance_is_in_the_scatter_and_not_counted_twice():
    noisy = [BudgetItem(name, 5.0, "", dof=9) for name in ("sampling", "gaps", "gpu sampling")]

    assert remaining_pct([(energy(93.0, *noisy), energy(100.0, *noisy))]) == pytest.approx(0.0)


def test_the_steps_of_a_gauge_do_not_cancel():
    steps = BudgetItem("resolution", 1.0, "", Shape.RECTANGULAR)

    left = remaining_pct([(energy(100.0, steps), energy(100.0, steps))])

    assert left == pytest.approx(2 * math.sqrt(2))


def test_what_is_late_counts_by_as_much_as_the_runs_differ():
    new, base = (BudgetItem("late", u_j, "") for u_j in (1.0, 1.2))

    alike = remaining_pct([(energy(100.0, new), energy(100.0, new))])
    other = remaining_pct([(energy(100.0, new), energy(100.0, base))])

    assert alike == pytest.approx(0.0)
    assert other == pytest.approx(2 * 0.2)


def test_an_unknown_uncertainty_leaves_an_unknown_part():
    unknown = energy(100.0).with_budget(())

    assert remaining_pct([(unknown, energy(100.0))]) is None
