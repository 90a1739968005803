import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pactmeter.analysis.calibration.files import load_curve, save
from pactmeter.analysis.calibration.psu import Point, certified, fit_supply
from pactmeter.errors import ConfigError, FileError, PactError
from pactmeter.model.psu import MODELS
from pactmeter.model.psu_curve_points import from_dict

GOLD_115 = {0.1: 0.84, 0.2: 0.885, 0.5: 0.905, 1.0: 0.875}
GOLD_230 = {0.1: 0.85, 0.2: 0.90, 0.5: 0.92, 1.0: 0.895}
RATED_W = 650.0


def supply(*certificates, accuracy_pct=0.0, rated_w=RATED_W):
    """Fit a supply to certificates at 115 V, and at 230 V if there is a second."""
    points = [
        point
        for efficiencies, volts in zip(certificates, (115.0, 230.0), strict=False)
        for point in certified(rated_w, efficiencies, volts)
    ]
    return fit_supply("a supply", rated_w, points, source="a test", accuracy_pct=accuracy_pct)


def without(load):
    return {key: value for key, value in GOLD_115.items() if key != load}


@pytest.mark.parametrize("load", GOLD_115)
def test_the_curve_goes_through_its_points(load):
    found = supply(GOLD_115).apply(load * RATED_W, 115.0)

    assert load * RATED_W / found.ac_w == pytest.approx(GOLD_115[load], rel=1e-3)
    assert not found.extrapolated
    assert found.u_w < 0.005 * found.ac_w


@pytest.mark.parametrize("left", [0.1, 0.2, 0.5])
def test_three_points_give_the_parabola_through_them(left):
    kept = without(left)
    loads = np.array(list(kept))
    parabola = np.polyfit(loads, loads / np.array(list(kept.values())), 2)

    found = supply(kept).apply(left * RATED_W, 115.0)

    assert found.ac_w == pytest.approx(RATED_W * np.polyval(parabola, left), rel=1e-4)
    assert found.ac_w == pytest.approx(left * RATED_W / GOLD_115[left], abs=found.u_w)


def test_a_point_left_out_is_less_sure_the_farther_it_is():
    shares = [found.u_w / found.ac_w for found in map(supply(without(0.1)).apply, (65, 104, 130))]

    assert shares[0] > shares[1] > shares[2]


@pytest.mark.parametrize("load", [0.0, 0.02, 0.05, 0.099])
def test_below_ten_percent_load_it_is_extrapolated_and_unsure_by_ten_percent_at_least(load):
    found = supply(GOLD_115).apply(load * RATED_W, 115.0)

    assert found.extrapolated
    assert found.u_w >= 0.1 * found.ac_w
    assert found.ac_w > load * RATED_W


def test_points_at_low_load_make_it_known_there():
    found = supply({0.02: 0.62, 0.05: 0.77, **GOLD_115}).apply(0.05 * RATED_W, 115.0)

    assert not found.extrapolated
    assert 0.05 * RATED_W / found.ac_w == pytest.approx(0.77, abs=0.02)
    assert found.u_w < 0.05 * found.ac_w


def test_above_the_highest_point_it_is_extrapolated():
    assert supply(GOLD_115).apply(1.1 * RATED_W, 115.0).extrapolated


def test_two_mains_voltages_are_interpolated():
    curve = supply(GOLD_115, GOLD_230)
    low, middle, high = (curve.apply(325.0, volts) for volts in (115.0, 172.5, 230.0))

    assert 325 / low.ac_w == pytest.approx(0.905, rel=1e-3)
    assert 325 / high.ac_w == pytest.approx(0.92, rel=1e-3)
    assert middle.ac_w == pytest.approx((low.ac_w + high.ac_w) / 2)


def test_an_unknown_mains_voltage_widens_the_interval_over_both():
    curve = supply(GOLD_115, GOLD_230)

    found = curve.apply(325.0)

    for volts in (115.0, 230.0):
        assert abs(found.ac_w - curve.apply(325.0, volts).ac_w) <= found.u_w


@pytest.mark.parametrize("volts", [230.0, None])
def test_the_curve_of_another_mains_voltage_is_less_sure(volts):
    curve = supply(GOLD_115)

    assert curve.apply(325.0, volts).u_w >= 0.03 * curve.apply(325.0, volts).ac_w
    assert curve.apply(325.0, 120.0).u_w < 0.01 * curve.apply(325.0, 120.0).ac_w


def test_the_accuracy_of_the_points_is_in_the_interval():
    assert supply(GOLD_115, accuracy_pct=3.0).apply(325.0, 115.0).u_w >= 0.03 * 325.0 / 0.905


@pytest.mark.parametrize("model", [m for m in MODELS if not m.kernel_only], ids=lambda m: m.name)
def test_four_points_of_a_published_parabola_give_it_back(model):
    published = model.efficiency.at_115_v
    points = [Point(s * model.rated_w, published.at(s * model.rated_w), 115.0) for s in GOLD_115]

    curve = fit_supply(model.name, model.rated_w, points, source="published")

    for share in (0.15, 0.35, 0.75):
        dc_w = share * model.rated_w
        assert curve.apply(dc_w, 115.0).ac_w == pytest.approx(published.at(dc_w), rel=1e-5)


@given(
    st.dictionaries(st.sampled_from((0.02, 0.05, 0.1, 0.2, 0.5, 1.0)), st.floats(0.5, 0.98)),
    st.floats(0, 1.3),
    st.none() | st.floats(90, 264),
)
def test_any_points_give_more_in_than_out_or_a_clear_error(efficiencies, load, input_v):
    try:
        curve = supply(efficiencies)
    except ConfigError:
        assert len(efficiencies) < 3
        return
    found = curve.apply(load * RATED_W, input_v)

    assert load * RATED_W <= found.ac_w < math.inf
    assert 0 <= found.u_w < math.inf
    assert from_dict(json.loads(json.dumps(curve.to_dict()))) == curve


def points(*pairs, volts=115.0):
    return [Point(dc_w, ac_w, volts) for dc_w, ac_w in pairs]


GOOD = ((65, 77), (130, 147), (325, 359), (650, 743))


@pytest.mark.parametrize(
    ("given_points", "message"),
    [
        ([], "one mains voltage or two"),
        (points(*GOOD[:2]), "2 values, at least 3"),
        (points(GOOD[0], GOOD[0], GOOD[1]), "2 different loads"),
        (points((65, 60), *GOOD[1:]), "is no efficiency"),
        (points((6.5, 77), *GOOD[1:]), "is no efficiency"),
        (points((0, 10), *GOOD[1:]), "loads must be above 0"),
        (points(*GOOD, (900, 1100)), "loads must be above 0"),
        (points((65, math.nan), *GOOD[1:]), "is nan"),
        (points((-65, 77), *GOOD[1:]), "negative"),
        (points(*GOOD, volts=48.0), "one mains voltage or two"),
        (points(*GOOD, volts=math.nan), "one mains voltage or two"),
        (points(*GOOD) + points(*GOOD[:1], volts=230.0), "at 230 V: DC output: 1 values"),
        (
            points(*GOOD) + points(*GOOD, volts=200.0) + points(*GOOD, volts=230.0),
            "one mains voltage or two",
        ),
    ],
)
def test_points_that_make_no_curve_are_refused_with_the_reason(given_points, message):
    with pytest.raises(ConfigError, match=message):
        fit_supply("a supply", RATED_W, given_points, source="a test")


@pytest.mark.parametrize("rated_w", [0.0, -1.0, math.nan, math.inf])
def test_a_rated_power_must_be_possible(rated_w):
    with pytest.raises(ConfigError, match="rated power"):
        fit_supply("a supply", rated_w, points(*GOOD), source="a test")


@pytest.mark.parametrize("accuracy_pct", [-1.0, 101.0, math.nan])
def test_an_accuracy_must_be_possible(accuracy_pct):
    with pytest.raises(ConfigError, match="accuracy"):
        fit_supply("a", RATED_W, points(*GOOD), source="a test", accuracy_pct=accuracy_pct)


@pytest.mark.parametrize("efficiency", [90.0, 1.0, 0.0, -0.5, math.nan])
def test_an_efficiency_is_a_share(efficiency):
    with pytest.raises(ConfigError, match="not between"):
        certified(RATED_W, {0.5: efficiency}, 115.0)


@pytest.mark.parametrize(("dc_w", "volts"), [(-1, 115), (900, 115), (math.nan, 115), (100, 12)])
def test_what_a_supply_cannot_have_is_refused(dc_w, volts):
    with pytest.raises(ConfigError):
        supply(GOLD_115).apply(float(dc_w), float(volts))


def test_a_curve_is_kept_and_read_back_as_it_was(tmp_path):
    curve = supply(GOLD_115, GOLD_230)
    save(tmp_path / "curve.json", curve)

    assert load_curve(tmp_path / "curve.json") == curve


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(schema=2), "newer PACT"),
        (lambda d: d.update(kind="pactmeter calibration"), "not a pactmeter supply curve"),
        (lambda d: d.update(rated_w=0), "contradict"),
        (lambda d: d.update(rated_w=-1), "no possible value"),
        (lambda d: d.update(curves=[]), "one mains voltage, or two"),
        (lambda d: d.update(curves=3), "not a supply curve"),
        (lambda d: d["curves"].append(d["curves"][0]), "one mains voltage, or two"),
        (lambda d: d["curves"][0].update(terms=[1.0]), "4 terms"),
        (lambda d: d["curves"][0].update(covariance=[[1.0]] * 4), "4 terms"),
        (lambda d: d["curves"][0]["covariance"][0].__setitem__(0, -1.0), "contradict"),
        (lambda d: d["curves"][0].update(from_pct=101.0), "contradict"),
        (lambda d: d["curves"][0].pop("from_pct"), "lacks from_pct"),
    ],
)
def test_a_file_that_is_no_curve_is_refused(change, message):
    data = json.loads(json.dumps(supply(GOLD_115).to_dict()))
    change(data)

    with pytest.raises(FileError, match=message):
        from_dict(data)


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
KEPT = supply(GOLD_115).to_dict()


@given(st.sampled_from(sorted(KEPT)), json_values)
def test_any_value_in_any_field_is_read_or_refused(field, value):
    try:
        from_dict(KEPT | {field: value})
    except PactError:
        pass
