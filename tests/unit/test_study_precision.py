"""How many trials a precision needs."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pactmeter.errors import ConfigError
from pactmeter.study import precision
from support.written import DC, PACKAGE, written


@given(st.floats(0.01, 30), st.floats(0.5, 50), st.sampled_from([1, 2]))
def test_the_number_is_the_smallest_that_reaches_the_precision(spread_pct, precision_pct, sets):
    found = precision.trials_for(spread_pct, precision_pct, sets)

    def half_pct(n):
        return stats.t.ppf(0.975, sets * (n - 1)) * spread_pct * math.sqrt(sets / n)

    assert half_pct(found) <= precision_pct * (1 + 1e-9)
    if found > 2:
        assert half_pct(found - 1) > precision_pct * (1 - 1e-9)


def test_what_nobody_can_make_is_no_number():
    assert precision.trials_for(50.0, 0.001) is None


def runs(tmp_path, *watts, source=DC):
    made = []
    for number, power_w in enumerate(watts):
        folder = tmp_path / f"{source.name}{number}"
        folder.mkdir()
        made.append(written(folder, {source: float(power_w)}))
    return made


def test_the_spread_of_the_trials_says_how_many_are_needed(tmp_path):
    found = precision.needed({"a": runs(tmp_path, 98, 100, 102)}, 1.0)

    (need,) = found.needs
    assert (need.name, need.n, need.channel) == ("a", 3, "psu.dc_output")
    assert need.mean_j == pytest.approx(6000)
    assert need.spread_pct == pytest.approx(2.0)
    assert need.half_pct == pytest.approx(stats.t.ppf(0.975, 2) * 2.0 / math.sqrt(3))
    assert need.mean.likely == precision.trials_for(need.spread_pct, 1.0)
    assert need.difference.likely == precision.trials_for(need.spread_pct, 1.0, sets=2)
    # 80 % of such samples show at least this share of the true spread
    largest_pct = 2.0 * math.sqrt(2 / stats.chi2.ppf(0.2, 2))
    assert need.mean.safe == precision.trials_for(largest_pct, 1.0)
    assert need.mean.likely < need.difference.likely
    assert need.mean.likely < need.mean.safe


def test_what_shows_no_spread_is_left_out_with_its_reason(tmp_path):
    mixed = [*runs(tmp_path, 100), *runs(tmp_path, 100, source=PACKAGE)]
    folder = tmp_path / "gaps"
    folder.mkdir()
    gaps = [mixed[0], written(folder, {DC: [100.0] * 30 + [None] * 30})]

    found = precision.needed({"one": mixed[:1], "mixed": mixed, "gaps": gaps}, 1.0)

    assert found.needs == ()
    assert [text.split(":")[0] for text in found.left_out] == ["one", "mixed", "gaps"]
    assert "no spread" in found.left_out[0]
    assert "psu.dc_output" in found.left_out[1]
    assert "50.0 % of psu.dc_output is covered" in found.left_out[2]


@pytest.mark.parametrize("precision_pct", [0, -1, 100, math.nan])
def test_a_precision_that_is_none_is_refused(precision_pct):
    with pytest.raises(ConfigError, match="a precision of"):
        precision.needed({}, precision_pct)
