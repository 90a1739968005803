"""What an uncertainty is made of: items that combine to what is stated, each for its own reason."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pactmeter.analysis.budget import Seen, items
from pactmeter.analysis.combined import difference, ratio, table
from pactmeter.analysis.energy import energies, total
from pactmeter.analysis.run import RecordedRun
from pactmeter.errors import PactError
from pactmeter.model.channel import Channel, Domain, Kind, Origin
from pactmeter.model.energy import GAPS, BudgetItem, Energy, Shape
from pactmeter.model.psu import match
from pactmeter.units import Unit


def channel(kind=Kind.POWER, domain=Domain.DC, accuracy_pct=5.0, **more):
    unit = Unit.WATT if kind is Kind.POWER else Unit.JOULE
    return Channel("x", unit, kind, "x", domain, accuracy_pct=accuracy_pct, **more)


def energy(energy_j=6000.0, covered_s=20.0, gap_s=0.0, polls=200, **more):
    known = {
        "channel": "x",
        "label": "x",
        "domain": Domain.DC,
        "origin": Origin.MEASURED,
        "synthetic": None,
        "gaps": int(gap_s > 0),
        "budget": (),
    }
    return Energy(
        **{**known, "energy_j": energy_j, "covered_s": covered_s, "gap_s": gap_s, "polls": polls}
        | more
    )


def of(name, found):
    """Return the item of a name."""
    (item,) = [one for one in found if one.name == name]
    return item


def rough(pairs, next_w2, growth=None):
    """Return how polls differ, by mean squares."""
    known = {"pairs": pairs, "square_w2": pairs * next_w2}
    if growth is not None:
        known |= {"triples": pairs - 1, "square2_w2": (pairs - 1) * growth * next_w2}
    return known


sizes = st.floats(0.0, 1e7)
spans = st.just(0.0) | st.floats(1e-6, 1e6)
roughs = st.none() | st.builds(
    rough, st.integers(0, 10**6), st.floats(0.0, 1e6), st.none() | st.floats(0.0, 4.5)
).filter(lambda one: one.get("triples", 0) >= 0)
seens = st.builds(
    Seen,
    calls=st.integers(1, 10_000),
    poll_s=st.floats(0.01, 10.0),
    update_s=st.floats(0.001, 10.0),
    low_w=st.just(0.0),
    peak_w=st.floats(0.0, 5000.0),
    roughness=roughs,
    lag=st.none()
    | st.fixed_dictionaries({"energy_j": st.floats(-1e4, 1e4), "tau_s": st.floats(0.0, 1.0)}),
    window_s=st.none() | st.floats(0.001, 1.0),
    most_w=st.none() | st.floats(0.0, 5000.0),
    is_aperiodic=st.booleans(),
    curve_pct=st.sampled_from([0.0, 3.0, 5.0]),
    low_load_j=st.floats(0.0, 1e6),
    rated_w=st.just(1500.0),
)
found_energies = st.builds(
    energy, sizes, spans, spans, st.integers(0, 10**6), origin=st.sampled_from(list(Origin))
)
channels = st.builds(
    channel,
    st.sampled_from([Kind.POWER, Kind.ENERGY]),
    accuracy_pct=st.none() | st.floats(0.0, 60.0),
    resolution=st.none() | st.floats(0.0, 10.0),
)


@given(found_energies, channels, seens)
def test_the_items_combine_to_what_is_stated(found, one, seen):
    stated = found.with_budget(items(found, one, seen))
    rows = table(stated)
    if not stated.budget:
        assert (stated.u_j, stated.u_mean_w, rows) == (None, None, [])
        return
    assert all(math.isfinite(item.u_j) and item.u_j >= 0 for item in stated.budget)
    assert len({item.name for item in stated.budget}) == len(stated.budget)
    assert stated.u_j == pytest.approx(2 * math.sqrt(sum(i.u_j**2 for i in stated.budget)))
    assert 2 * math.hypot(*(row["u_j"] for row in rows)) == pytest.approx(
        stated.u_j, rel=1e-9, abs=1e-4
    )
    for item in stated.budget:
        assert item.half_width_j / item.shape.divisor == pytest.approx(item.u_j)
        assert item.basis
    if found.covered_s > 1e-3:
        of_mean_w = 2 * math.hypot(*(row["u_mean_w"] for row in rows))
        assert of_mean_w == pytest.approx(stated.u_mean_w, rel=1e-9, abs=1e-4)
        if not found.gap_s:
            assert stated.u_mean_w * found.covered_s == pytest.approx(stated.u_j)
    assert stated.dof is None or stated.dof >= min(i.dof for i in stated.budget if i.dof) - 1e-9


def test_the_sensor_and_its_steps_are_what_the_channel_says():
    found = items(energy(), channel(resolution=2.0), Seen())
    assert of("sensor", found).u_j == pytest.approx(0.025 * 6000)
    assert of("resolution", found).u_j == pytest.approx(2.0 * 20 / math.sqrt(12))
    counted = items(energy(), channel(Kind.ENERGY, resolution=0.5), Seen(calls=9))
    assert of("resolution", counted).u_j == pytest.approx(0.5 * 3 / math.sqrt(6))


def test_an_estimate_has_a_model_for_a_sensor():
    found = items(energy(origin=Origin.ESTIMATED), channel(accuracy_pct=60.0), Seen())
    assert of("model", found).half_width_j == pytest.approx(0.6 * 6000)


def test_of_an_unknown_sensor_nothing_is_stated():
    assert items(energy(), channel(accuracy_pct=None), Seen()) == ()


def test_edges_go_by_the_polls_that_were_not_by_those_asked_for():
    asked, half = (
        of("edges", items(energy(polls=polls), channel(), Seen())).u_j for polls in (200, 100)
    )
    assert asked == pytest.approx(300 * 0.1 / math.sqrt(6))
    assert half == pytest.approx(2 * asked)


@given(st.integers(2, 1000))
def test_calls_err_alike_at_their_edges(calls):
    for kind in (Kind.POWER, Kind.ENERGY):
        one, many = (
            of("edges", items(energy(), channel(kind), Seen(calls=n))).u_j for n in (1, calls)
        )
        assert calls * one / math.sqrt(4 / 3 if kind is Kind.ENERGY else 1) <= many * (1 + 1e-9)
        assert many <= calls * one * (1 + 1e-9)


def test_a_counter_renewed_every_100_ms_may_miss_2_percent_of_a_call_of_5_s():
    found = items(energy(1500.0, 5.0, polls=50), channel(Kind.ENERGY), Seen(update_s=0.1))
    assert 2 * of("edges", found).u_j / 1500 == pytest.approx(0.02 * 2 / math.sqrt(3), rel=1e-6)


HALF_BLIND = {"update_s": 0.1, "window_s": 0.025, "most_w": 700.0}


@pytest.mark.parametrize("kind", [Kind.POWER, Kind.ENERGY])
@given(st.floats(0.0, 700.0), roughs)
def test_a_sensor_that_sees_a_quarter_always_carries_the_duty_bound(kind, mean_w, roughness):
    seen = Seen(**HALF_BLIND, roughness=roughness)
    duty = of("duty", items(energy(mean_w * 20), channel(kind), seen))
    assert duty.half_width_j == pytest.approx(0.75 * max(mean_w, 700 - mean_w) * 20)


def test_the_duty_bound_falls_away_only_where_the_load_is_known_not_to_repeat():
    names = {i.name for i in items(energy(), channel(), Seen(**HALF_BLIND, is_aperiodic=True))}
    assert "duty" not in names
    whole = Seen(update_s=0.1, window_s=0.1)
    assert "duty" not in {i.name for i in items(energy(), channel(), whole)}


def test_without_a_limit_of_the_device_nobody_knows_what_a_half_blind_sensor_misses():
    assert items(energy(), channel(), Seen(update_s=0.1, window_s=0.025)) == ()


def test_what_a_gap_may_hold_is_in_the_energy_not_in_the_mean_power():
    gappy = energy(gap_s=5.0)
    gappy = gappy.with_budget(items(gappy, channel(), Seen(peak_w=400.0)))
    gap = of(GAPS, gappy.budget)
    assert (gap.half_width_j, gap.shape) == (pytest.approx(5 * 400), Shape.ONE_SIDED)
    without = items(energy(), channel(), Seen(peak_w=400.0))
    rest_j = [item.u_j for item in gappy.budget if item.name != GAPS]
    assert rest_j == pytest.approx([item.u_j for item in without])
    assert gappy.u_mean_w == pytest.approx(2 * math.hypot(*rest_j) / 20)


@given(st.floats(0.0, 10.0), st.floats(0.01, 10.0))
def test_an_error_to_one_side_is_held_however_wide_the_rest_is(share, spread):
    """Of 95 %: of a constant error up to the half-width beside a normal one."""

    def below(z):
        return (1 + math.erf(z / math.sqrt(2))) / 2

    error = min(share, 1.0)
    u = 2 * math.hypot(1 / Shape.ONE_SIDED.divisor, spread)
    assert below((u - error) / spread) - below((-u - error) / spread) >= 0.9495


def lag_of(growth, lag=None, low_w=100.0, peak_w=300.0):
    seen = Seen(low_w=low_w, peak_w=peak_w, roughness=rough(200, 50.0, growth), lag=lag)
    found = items(energy(), channel(), seen)
    return of("lag", found).half_width_j if any(i.name == "lag" for i in found) else 0.0


def test_a_lag_correction_is_doubted_whole_unless_the_polls_glide():
    lag = {"energy_j": -90.0, "tau_s": 0.3}
    assert lag_of(None, lag) == pytest.approx(90.0)  # nothing but the fall after the call tells
    assert lag_of(1.0, lag) == pytest.approx(90.0)
    assert lag_of(3.4, lag) == pytest.approx(45.0)


@pytest.mark.parametrize("tau_s", [0.1, 0.2, 0.3, 0.45])
def test_a_lag_that_was_not_seen_is_bounded_by_how_polls_follow_each_other(tau_s):
    kept = math.exp(-0.1 / tau_s)
    bound_j = lag_of(2 * (1 + kept))
    assert tau_s * 200 <= bound_j <= 0.5 * 200


def test_a_sensor_that_follows_at_once_has_hardly_any_lag_and_a_steady_load_none():
    assert lag_of(2.0) <= 0.07 * 200
    assert lag_of(None) == pytest.approx(0.5 * 200)
    assert lag_of(2.0, low_w=300.0) == 0.0


def sampling_of(roughness, covered_s=20.0, energy_j=6000.0):
    found = energy(energy_j, covered_s, polls=round(10 * covered_s))
    return of("sampling", items(found, channel(), Seen(roughness=roughness)))


def test_polls_with_nothing_in_common_are_independent_draws():
    """Von Neumann 1941: half the mean square difference is their variance."""
    found = sampling_of(rough(199, 2 * 50.0**2))
    assert found.u_j == pytest.approx(20 * 50.0 / math.sqrt(200))
    assert (found.evaluation, found.dof) == ("A", 133)


@given(st.floats(1.0, 1e4), st.floats(0.0, 4.0))
def test_steps_between_polls_cost_less_than_draws(next_w2, growth):
    least, found, most = (sampling_of(rough(10**6, next_w2, g)).u_j for g in (4.0, growth, None))
    assert least <= found <= most <= math.sqrt(6) * least * (1 + 1e-9)


def test_few_polls_are_worth_less_and_hardly_any_have_a_bound():
    enough, few = (
        sampling_of(rough(10, 500.0), 1.0, 300.0),
        sampling_of(rough(5, 500.0), 1.0, 300.0),
    )
    assert 1.3 * enough.u_j < few.u_j < 2.0 * enough.u_j
    bounds = [sampling_of(None, t_s, 300 * t_s) for t_s in (0.6, 60.0, 600.0)]
    assert [b.evaluation for b in bounds] == ["B"] * 3
    assert [
        b.half_width_j / (300 * t_s) for b, t_s in zip(bounds, (0.6, 60, 600), strict=True)
    ] == (pytest.approx([0.08, 0.008, 0.008]))


def test_beats_do_not_average_away():
    found = sampling_of(rough(6 * 10**5, 200.0**2), 6e4, 6e4 * 300)
    assert found.half_width_j == pytest.approx(0.008 * 200.0 * 6e4)
    assert sampling_of(rough(6 * 10**5, 0.0), 6e4, 6e4 * 300).u_j == 0.0  # of a steady load


# --- power supplies ---------------------------------------------------------------------------


def supply_run(watts, name="hx1500i", seconds=60):
    """Return a run of a supply at constant DC powers, one row a second."""
    model = match(name).model
    dc = Channel("psu.dc_output", Unit.WATT, Kind.POWER, "DC", Domain.DC, accuracy_pct=5.0)
    curve_pct = model.efficiency.accuracy_pct
    ac = Channel(
        *("psu.ac_input", Unit.WATT, Kind.POWER, f"AC input power of {model.name}, estimated"),
        *(Domain.AC, Origin.ESTIMATED),
        accuracy_pct=round(math.hypot(5.0, curve_pct), 1),
    )
    columns = {"window_s": [1.0] * seconds}
    for one, factor in ((dc, 1.0), (ac, 1.1)):
        powers = [factor * watts[k * len(watts) // seconds] for k in range(seconds)]
        sums = [math.fsum(powers[: k + 1]) for k in range(seconds)]
        columns |= dict(zip(one.columns, (powers, sums, [10.0] * seconds), strict=True))
    manifest = {
        "calls": 1,
        "channels": [
            {**one.to_dict(), "poll_period_s": 0.1, "device": "s", "roughness": rough(590, 1.0)}
            for one in (dc, ac)
        ],
    }
    return RecordedRun(None, manifest, "complete", None, columns)


def test_ac_power_has_the_sensor_and_the_curve_apart():
    _, ac = energies(supply_run([500.0]))
    curve_pct = match("hx1500i").model.efficiency.accuracy_pct
    assert of("curve", ac.budget).half_width_j == pytest.approx(curve_pct / 100 * ac.energy_j)
    own_j = of("sensor", ac.budget).half_width_j
    assert math.hypot(own_j, of("curve", ac.budget).half_width_j) == pytest.approx(
        round(math.hypot(5.0, curve_pct), 1) / 100 * ac.energy_j
    )
    assert "extrapolated" not in {item.name for item in ac.budget}


def test_below_a_tenth_of_its_load_a_supply_is_extrapolated():
    dc, ac = energies(supply_run([100.0]))
    assert ac.u_j >= 0.1 * ac.energy_j
    assert "100 % of it at less than 10 % of 1500 W" in of("extrapolated", ac.budget).basis
    assert "extrapolated" not in {item.name for item in dc.budget}
    _, half = energies(supply_run([100.0, 500.0]))
    low_j = half.energy_j / 6
    assert of("extrapolated", half.budget).half_width_j == pytest.approx(
        math.sqrt(10**2 - 5.8**2) / 100 * low_j, rel=0.01
    )


def test_the_efficiency_of_a_supply_does_not_carry_its_sensors_error():
    dc, ac = energies(supply_run([500.0]))
    apart, beside = ratio(dc, ac), ratio(dc, ac, same_sensor=True)
    assert beside.value == apart.value == pytest.approx(1 / 1.1)
    assert beside.u < apart.u
    assert beside.u / beside.value == pytest.approx(0.03, abs=0.005)  # the curve alone


@pytest.mark.parametrize("missing", [range(60), range(1, 60), range(10, 30)])
def test_of_rows_that_are_empty_nothing_is_made_up(missing):
    run = supply_run([500.0])
    for name in run.columns:
        if name != "window_s":
            run.columns[name] = [
                None if k in missing else v for k, v in enumerate(run.columns[name])
            ]
    for found in energies(run):
        assert math.isfinite(found.u_j)
        assert found.covered_s + found.gap_s == pytest.approx(60.0)


@given(
    st.lists(
        st.none() | st.sampled_from([0.0, -5.0, math.nan, math.inf, -math.inf, 1e300]),
        min_size=10,
        max_size=10,
    )
)
def test_what_is_no_number_in_a_file_is_missing(cells):
    run = supply_run([500.0], seconds=10)
    for name in ("psu.dc_output_w", "psu.ac_input_j"):
        run.columns[name] = cells
    for found in energies(run):
        assert math.isfinite(found.energy_j)
        assert found.u_j is None or not math.isnan(found.u_j)


@given(
    st.dictionaries(
        st.sampled_from(
            ["lag", "roughness", "taken_back", "poll_period_s", "seen_update_period_s"]
        ),
        st.none(),
    ),
    st.none() | st.integers(0, 10**6),
)
def test_a_manifest_that_tells_little_is_read_all_the_same(known, calls):
    run = supply_run([500.0], seconds=5)
    run.manifest["calls"] = calls
    for about in run.manifest["channels"]:
        about |= known
    assert all(found.u_j > 0 for found in energies(run))


# --- sums, differences, ratios ------------------------------------------------------------------


def card(number, u_j=75.0, energy_j=3000.0, **more):
    budget = (
        BudgetItem("sensor", u_j, "a", is_systematic=True),
        BudgetItem("sampling", 20.0, "b", dof=30),
    )
    known = {"channel": f"gpu{number}", "domain": Domain.GPU, "budget": budget}
    return energy(energy_j, **{**known, **more})


@given(st.integers(1, 16))
def test_equal_cards_err_alike(count):
    summed = total([card(n) for n in range(count)], "gpus", "gpus")
    assert summed.u_j == pytest.approx(count * card(0).u_j)
    assert summed.dof == pytest.approx(card(0).dof)


def test_a_processor_and_a_card_err_apart():
    package = card(0, channel="cpu.package0", domain=Domain.PACKAGE)
    summed = total([package, card(0), card(1)], "cpu+gpu", "x")
    assert summed.u_j == pytest.approx(math.hypot(package.u_j, 2 * card(0).u_j))
    assert {item.name for item in summed.budget} == {
        *("package sensor", "package sampling", "gpu sensor", "gpu sampling"),
    }
    assert total([package, card(0, budget=())], "x", "x").u_j is None


def test_what_gaps_hide_is_no_part_of_the_mean_power_of_a_sum():
    gap = BudgetItem(GAPS, 500.0, "g", Shape.ONE_SIDED)
    parts = [card(0), card(1, domain=Domain.PACKAGE)]
    gappy = [part.with_budget((*part.budget, gap)) for part in parts]
    assert total(gappy, "x", "x").u_mean_w == pytest.approx(total(parts, "x", "x").u_mean_w)


@given(st.floats(1.0, 1e6), st.floats(1.0, 1e6), st.floats(0.0, 1e5), st.floats(0.0, 1e5))
def test_a_difference_and_a_ratio_of_two_sensors_follow_gum(one_j, other_j, u_one_j, u_other_j):
    one, other = card(0, u_one_j, one_j), card(1, u_other_j, other_j)
    less, over = difference(one, other), ratio(one, other)
    assert less.energy_j == one_j - other_j
    assert less.u_j == pytest.approx(math.hypot(one.u_j, other.u_j))
    assert over.value == one_j / other_j
    relative = math.hypot(one.u_j / one_j, other.u_j / other_j)
    assert over.u == pytest.approx(over.value * relative)


def test_one_sensor_errs_alike_in_two_runs():
    less = difference(card(0), card(0), same_sensor=True)
    assert of("sensor", less.budget).u_j == 0.0
    assert less.u_j == pytest.approx(2 * math.hypot(20, 20))
    half = card(0, u_j=37.5, energy_j=1500.0)
    assert of("sensor", difference(card(0), half, same_sensor=True).budget).u_j == 37.5
    assert ratio(card(0), half, same_sensor=True).u == pytest.approx(2 * math.hypot(20, 40) / 1500)


def test_what_is_unknown_stays_unknown_and_a_ratio_to_nothing_is_refused():
    unknown = card(0, budget=())
    assert difference(unknown, card(1)).u_j is None
    assert ratio(card(1), unknown).u is None
    for first, second in ((card(0), energy(0.0)), (card(0, covered_s=0.0), card(1))):
        with pytest.raises(PactError, match="no ratio of"):
            ratio(first, second)


def test_degrees_of_freedom_are_those_of_welch_and_satterthwaite():
    found = energy().with_budget((BudgetItem("a", 1.0, "-", dof=4), BudgetItem("b", 1.0, "-")))
    assert found.dof == pytest.approx(16.0)
    assert energy().with_budget((BudgetItem("b", 1.0, "-"),)).dof is None
