from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pactmeter.errors import ConfigError
from pactmeter.model import psu
from pactmeter.model.psu_curve import GOLD, minimum

HX1500I = psu.match("Corsair_1500i").model


@pytest.mark.parametrize(
    ("name", "usb_id"),
    [
        ("Corsair_1500i", "1b1c:1c1f"),
        ("corsair hx1500i", "1b1c:1c1f"),
        ("HX1500i", "1b1c:1c1f"),
        ("NZXT_850", "7793:2500"),
        ("nzxt_e850", "7793:2500"),
        ("NZXT E500", "7793:5911"),
        ("Corsair_HX1000i_2022", "1b1c:1c1e"),
        ("Corsair HX1000i (2022)", "1b1c:1c1e"),
        ("Corsair_HX1000i", "1b1c:1c07"),
        ("Corsair HX1200i ATX 3.1 #2", "1b1c:1c27"),
        ("RM550i", "1b1c:1c09"),
        (" 1B1C:1c0d ", "1b1c:1c0d"),
    ],
)
def test_a_name_binds_its_model_whatever_its_spelling(name, usb_id):
    assert psu.match(name).model.usb_id == usb_id
    assert psu.match(name).serial is None


def test_a_serial_may_follow_the_usb_id_and_keeps_its_case():
    assert psu.match("1b1c:1c1f:AbC:1").serial == "AbC:1"


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("Corsair_1000i", "Corsair_HX1000i"),
        ("NZXT_855", "NZXT_850"),
        ("1b1c:1c1d", "1b1c:1c1f"),
        ("", "Corsair_1500i"),
        ("dead:beef", "7793:2500"),
        ("wattsup", "NZXT_E650"),
    ],
)
def test_an_unknown_name_is_an_error_with_names_that_would_do(name, near):
    with pytest.raises(ConfigError, match="unknown PSU") as caught:
        psu.match(name)

    assert near in str(caught.value.fix)


def test_every_name_offered_binds_a_model_and_every_model_has_one():
    assert {psu.match(name).model for name in psu.names()} == set(psu.MODELS)
    assert {psu.match(model.usb_id).model for model in psu.MODELS} == set(psu.MODELS)


def test_fifteen_models_go_through_liquidctl_and_three_through_the_kernel_alone():
    assert sum(not model.kernel_only for model in psu.MODELS) == 15
    assert sorted(model.usb_id for model in psu.MODELS if model.kernel_only) == [
        "1b1c:1c03",
        "1b1c:1c04",
        "1b1c:1c09",
    ]


@pytest.mark.parametrize("model", psu.MODELS, ids=lambda model: model.name)
def test_the_rated_power_is_the_one_in_the_name(model):
    assert f"{model.rated_w:.0f}" in model.name


@pytest.mark.parametrize(
    ("dc_w", "at_115_v", "at_230_v"),
    [
        (60, 79.0, 77.8),
        (75, 94.3, 93.2),
        (150, 171.3, 170.4),
        (300, 327.7, 326.2),
        (750, 814.6, 806.4),
        (1500, 1685.5, 1648.4),
    ],
)
def test_the_hx1500i_draws_what_its_published_curve_says(dc_w, at_115_v, at_230_v):
    assert psu.ac_input_w(HX1500I, dc_w, 115.0) == pytest.approx(at_115_v, abs=0.05)
    assert psu.ac_input_w(HX1500I, dc_w, 230.0) == pytest.approx(at_230_v, abs=0.05)
    assert psu.ac_input_w(HX1500I, dc_w, 172.5) == pytest.approx(
        (at_115_v + at_230_v) / 2, abs=0.05
    )


@pytest.mark.parametrize("input_v", [None, 0.0, 89.9, 264.1, math.nan, math.inf])
def test_a_voltage_that_is_unknown_or_out_of_range_gives_no_estimate(input_v):
    assert psu.ac_input_w(HX1500I, 100.0, input_v) is None


def test_a_supply_without_voltage_gets_the_mean_of_the_gold_minimum_efficiencies():
    model = psu.match("NZXT_850").model

    assert psu.ac_input_w(model, 425.0, None) == pytest.approx(425 * (1 / 0.90 + 1 / 0.92) / 2)
    assert "80 PLUS Gold minimum" in model.efficiency.source


@pytest.mark.parametrize("share", [0, 1, 2])
def test_the_curve_of_a_tier_goes_through_its_minimum_efficiencies(share):
    load_w = (170.0, 425.0, 850.0)[share]

    curves = minimum(850.0, GOLD)

    assert load_w / curves.at_115_v.at(load_w) == pytest.approx(GOLD.at_115_v[share])
    assert load_w / curves.at_230_v.at(load_w) == pytest.approx(GOLD.at_230_v[share])


@given(
    model=st.sampled_from(psu.MODELS),
    load=st.floats(0.0, psu.MAX_LOAD),
    input_v=st.floats(*psu.VALID_INPUT_V),
)
def test_no_supply_gives_more_than_it_draws(model, load, input_v):
    dc_w = load * model.rated_w

    assert psu.ac_input_w(model, dc_w, input_v) > dc_w
