"""P(t) of the emulated machine: its integral is exact, whatever it is made of."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pactmeter.bench.loads import NAMES, Span, pieces
from pactmeter.bench.machine import Machine, parse_psu
from pactmeter.bench.timeline import Piece, Source, Timeline
from pactmeter.errors import ConfigError, FileError

SPAN = Span(20.0, 220.0)
watts = st.floats(0.0, 2000.0)
stretches = st.lists(st.tuples(st.floats(0.01, 5.0), watts, watts), min_size=1, max_size=20)
times_s = st.floats(0.0, 60.0)


def line(*made):
    return Timeline(iter([Piece(*piece) for piece in made]))


def summed(power, from_s, to_s, steps=200_000):
    """Integrate without knowing anything: many small middles."""
    step_s = (to_s - from_s) / steps
    return math.fsum(power(from_s + (i + 0.5) * step_s) for i in range(steps)) * step_s


@given(made=stretches, a=times_s, b=times_s, c=times_s)
def test_the_energies_of_two_windows_add_up_to_that_of_both(made, a, b, c):
    p = line(*made)
    a, b, c = sorted((a, b, c))
    assert p.energy_j(a, b) + p.energy_j(b, c) == pytest.approx(p.energy_j(a, c), abs=1e-6)


@given(made=stretches, cut=times_s, then=watts)
def test_a_switch_leaves_the_past_and_its_energy_alone(made, cut, then):
    p, untouched = line(*made), line(*made)
    p.energy_j(0, 70)
    p.switch(cut, iter([Piece(1e9, then, then)]))
    assert p.energy_j(0, cut) == pytest.approx(untouched.energy_j(0, cut), abs=1e-6)
    assert p.energy_j(cut, cut + 10) == pytest.approx(10 * then, abs=1e-6)


def test_energy_is_the_integral_of_power():
    p = Timeline(pieces("training+noise:5", SPAN, seed=3))
    assert p.energy_j(1.0, 9.0) == pytest.approx(summed(p.power_w, 1.0, 9.0), rel=2e-5)


def test_before_the_start_the_power_is_that_of_the_start():
    p = line((1.0, 50.0, 100.0))
    assert p.power_w(-3.0) == 50.0
    assert p.energy_j(-2.0, 0.0) == 100.0


def test_a_lagging_sensor_shows_the_exponential_of_a_step():
    p = line((2.0, 100.0, 100.0), (9.0, 400.0, 400.0))
    shown_w = p.lagged_w(2.3, 0.3)
    assert shown_w == pytest.approx(100 + 300 * (1 - math.exp(-1)))


@given(seed=st.integers(0, 1000), tau_s=st.floats(0.05, 1.0))
def test_a_lagging_sensor_loses_no_energy_but_what_is_still_to_come(seed, tau_s):
    p = Timeline(pieces("bursts", SPAN, seed))

    def shown(t):
        return p.lagged_w(t, tau_s)

    missing_j = p.energy_j(0, 4) - summed(shown, 0, 4, steps=4000)
    still_to_come_j = tau_s * (shown(4.0) - shown(0.0))
    assert missing_j == pytest.approx(still_to_come_j, abs=1.0)


def test_a_slope_seen_with_a_lag_runs_behind_by_the_lag():
    p = line((10.0, 0.0, 1000.0))
    assert p.lagged_w(9.0, 0.3) == pytest.approx(p.power_w(8.7), abs=1e-6)


@given(
    made=stretches,
    asked=st.lists(st.tuples(times_s, st.sampled_from([0.1, 0.5])), max_size=20),
    cuts=st.lists(st.tuples(times_s, stretches), max_size=3),
)
def test_what_a_lagging_sensor_shows_does_not_depend_on_what_it_was_asked_before(made, asked, cuts):
    p, fresh = line(*made), line(*made)
    for at_s, then in [*sorted(cuts, key=lambda cut: cut[0]), (61.0, made)]:
        for t_s, tau_s in asked:
            p.lagged_w(t_s, tau_s)
        for each in (p, fresh):
            each.switch(at_s, iter([Piece(*piece) for piece in then]))
    for t_s, tau_s in asked:
        fresh._followed.clear()
        assert p.lagged_w(t_s, tau_s) == pytest.approx(fresh.lagged_w(t_s, tau_s), abs=1e-6)


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_load_stays_between_idle_and_busy_or_as_typed(name, tmp_path):
    trace = tmp_path / "trace.csv"
    trace.write_text("t_s,power_w\n0,10\n5,110\n")
    value = {
        "steady": "100",
        "steps": "100,400@5,100@10",
        "ramp": "100-200@2-4",
        "square": "0.1,0.25",
        "noise": "3",
        "trace": str(trace),
    }.get(name)
    p = Timeline(pieces(f"{name}:{value}" if value else name, SPAN, seed=1))
    seen = [p.power_w(t / 100) for t in range(3000)]
    low, high = {"steps": (100, 400), "noise": (-20, 20), "trace": (10, 110)}.get(name, (20, 220))
    assert low <= min(seen)
    assert max(seen) <= high


def test_steps_are_where_they_were_ordered():
    p = Timeline(pieces("steps:100,400@5,100@10", SPAN))
    assert [p.power_w(t) for t in (0, 4.999, 5, 9.999, 10)] == [100, 100, 400, 400, 100]
    assert p.energy_j(0, 15) == pytest.approx(500 + 2000 + 500)


def test_noise_takes_no_power_below_0_so_that_no_counter_runs_backwards():
    p = Timeline(pieces("idle+noise:3", Span(3.0, 12.0), seed=1))
    sloped = Timeline(pieces("ramp:0-10@0-10+noise:3", SPAN, seed=1))
    done_j = [p.energy_j(0, k / 40) for k in range(2400)]
    assert all(later >= earlier for earlier, later in itertools.pairwise(done_j))
    assert min(p.from_w) == min(sloped.power_w(k / 1000) for k in range(10_000)) == 0.0
    assert sloped.energy_j(0, 10) == pytest.approx(summed(sloped.power_w, 0, 10), rel=1e-4)


def test_who_follows_a_load_is_told_what_was_cut():
    p = line((1.0, 5.0, 5.0), (1.0, 6.0, 6.0), (9.0, 7.0, 7.0))
    assert p.take_cut() is None
    p.switch(2.5, iter([Piece(1.0, 1.0, 1.0)]))
    p.switch(1.5, iter([Piece(1.0, 2.0, 2.0)]))
    p.switch(1.75, iter([Piece(1.0, 3.0, 3.0)]))
    assert (p.take_cut(), p.take_cut()) == (1, None)
    assert list(p.starts_s) == [0.0, 1.0, 1.5, 1.75]


def test_terms_add_and_idle_is_counted_once():
    one = Timeline(pieces("training", SPAN, seed=7))
    both = Timeline(pieces("training+busy", SPAN, seed=7))
    assert both.energy_j(0, 60) == pytest.approx(one.energy_j(0, 60) + 60 * 200)


def test_the_same_seed_gives_the_same_load_and_another_one_does_not():
    first, again, other = (Timeline(pieces("training", SPAN, s)).energy_j(0, 9) for s in (1, 1, 2))
    assert first == again != other


def test_a_machine_gives_its_supplies_what_its_components_draw():
    psus = [parse_psu("hx1500i,share=2"), parse_psu("e850")]
    machine = Machine(psus, packages=2, gpus=[Span(50, 300)] * 2, load="training", seed=5)
    truth = machine.true_energy(3.0, 63.0)
    parts = [truth[name] for name in machine.timelines]
    assert truth["psu.dc_output"] == pytest.approx(sum(parts) * 2 / 3)
    assert truth["psu1.dc_output"] == pytest.approx(sum(parts) / 3)
    assert truth["cpu.core0"] < truth["cpu.package0"] < truth["cpu.psys"]


@pytest.mark.parametrize("volts", [115, 230])
def test_the_mains_side_is_the_exact_integral_of_the_losses(volts):
    machine = Machine([parse_psu(f"hx1500i,input_v={volts},standby=5")], seed=2)
    (supply,) = machine.supplies
    source = machine.sources

    def ac_w(t):
        dc_w = sum(source[name].power_w(t) for name in machine.timelines)
        return supply.true_ac_w(dc_w + 5.0)

    assert supply.true_ac_j(0, 4) == pytest.approx(summed(ac_w, 0, 4, steps=40_000), rel=1e-5)


@pytest.mark.parametrize("name", ["hx1500i", "rm650i", "e850"])
@pytest.mark.parametrize("volts", [115.0, 230.0])
def test_the_true_efficiency_is_not_the_one_the_product_assumes_but_near(name, volts):
    from pactmeter.model.psu import ac_input_w

    (supply,) = Machine([parse_psu(f"{name},input_v={volts}")]).supplies
    rated_w = supply.model.rated_w
    off = []
    for load in (0.1, 0.2, 0.5, 0.8, 1.0):
        assumed_w = ac_input_w(supply.model, load * rated_w, volts)
        off.append(assumed_w / supply.true_ac_w(load * rated_w) - 1)
    assert all(abs(error) < 0.06 for error in off)
    assert max(off) - min(off) > 0.003


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("trainin", "did you mean 'training'"),
        ("steady:lots", "steady:WATTS"),
        ("steps:1@5,2@3", "steps:"),
        ("square:0", "square:"),
        ("training:0.001", "training"),
    ],
)
def test_a_load_that_cannot_be_read_says_what_would_be(spec, said):
    with pytest.raises(ConfigError) as error:
        pieces(spec, SPAN)
    assert said in str(error.value)


@pytest.mark.parametrize("text", ["", "t_s,power_w\n0,1\n", "0,1\n0,2\n", "0,1\n1,x\n"])
def test_a_trace_that_is_none_says_so_at_once(text, tmp_path):
    (tmp_path / "trace.csv").write_text(text)
    with pytest.raises(FileError):
        pieces(f"trace:{tmp_path}/trace.csv", SPAN)


@pytest.mark.parametrize(
    "text", ["hx1500x", "hx1500i,tua=1", "hx1500i,tau=x", "e850,hwmon", "rm650i,share=0"]
)
def test_a_supply_that_cannot_be_is_refused(text):
    with pytest.raises(ConfigError):
        parse_psu(text)


def test_a_source_is_straight_between_its_breaks():
    one, two = line((1, 0, 10), (2, 5, 5)), line((1.5, 1, 1), (9, 7, 0))
    source = Source((one, 1.0), (two, 0.5), offset_w=3.0)
    for a, b in itertools.pairwise(source.straight_between_s(0.2, 4.0)):
        middle_w = (source.power_w(a + 1e-9) + source.power_w(b - 1e-9)) / 2
        assert source.power_w((a + b) / 2) == pytest.approx(middle_w, abs=1e-6)
