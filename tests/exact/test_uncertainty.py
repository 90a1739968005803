"""The stated interval (k=2) against the truth: many runs of each load; faults have their own file.

Sensors are drawn as true as their makers say, so that what is tested is the whole uncertainty. The
columns of the pipeline leave that out: error and uncertainty of polls, timing and integration.
"""

import math
import random

import pytest

from pactmeter.analysis.energy import energies
from pactmeter.bench.loads import Span, pieces
from pactmeter.bench.machine import Machine, parse_psu
from pactmeter.bench.timeline import Source, Timeline
from pactmeter.model.channel import Channel, Domain, Kind
from pactmeter.units import Unit
from support import children
from support.devices import benched
from support.uncertainty import (
    RUNS,
    TRUENESS_PCT,
    WINDOW_S,
    drawn_gain,
    outcome,
    scaled,
    told,
)
from support.virtual import VirtualRun
from unit.psu_fakes import ManualClock

SHORT_S = 5.0


def supply_run(seed, load):
    """Return the outcome for a power supply under a load that goes on before and after."""
    chance = random.Random(seed)
    # its sensor follows at once or lags
    tau_s = 0.0 if seed % 2 else chance.uniform(0.1, 0.5)
    cards = [Span(chance.uniform(30, 80), chance.uniform(150, 400))]
    psus = [parse_psu(f"hx1500i,tau={tau_s:.3f}")]
    machine = Machine(psus, gpus=cards, load=load, seed=seed)
    (seen,) = machine.supplies
    gain = drawn_gain(chance, TRUENESS_PCT["psu"])
    true, seen._load = seen._load, scaled(seen._load, gain)
    with benched(machine, start_s=20.0 + chance.random()) as bench:
        run = VirtualRun(bench.devices, bench.clock)
        start_s = bench.clock()
        run.call(WINDOW_S)
        found = run.energies()["psu.dc_output"]
    return outcome(found, true.energy_j(start_s, start_s + WINDOW_S), gain)


class Card:
    """A card on a clock that a test moves."""

    name = "card"
    update_s = 0.1

    def __init__(self, clock, source, phase_s):
        self.clock, self.source, self.phase_s = clock, source, phase_s

    open = close = lambda self: None

    def updated_s(self):
        """Return when the sensor was last renewed."""
        self.clock.now_s += 1e-4
        updates = math.floor((self.clock() - self.phase_s) / self.update_s - 1e-9)
        return updates * self.update_s + self.phase_s


class HalfBlindCard(Card):
    """It shows the mean of the last 25 ms of every 100 ms."""

    window_s = 0.025
    channels = (
        Channel(
            *("gpu0", Unit.WATT, Kind.POWER, "-", Domain.GPU),
            resolution=0.001,
            accuracy_pct=TRUENESS_PCT["gpu"],
            update_period_s=Card.update_s,
        ),
    )

    def read(self):
        end_s = self.updated_s()
        return (round(self.source.mean_w(end_s - self.window_s, end_s), 3),)


class CountingCard(Card):
    """It counts joules in steps of 100 ms."""

    channels = (
        Channel(
            *("gpu0", Unit.JOULE, Kind.ENERGY, "-", Domain.GPU),
            resolution=0.001,
            accuracy_pct=TRUENESS_PCT["gpu"],
        ),
    )

    def read(self):
        return (round(self.source.energy_j(0.0, self.updated_s()), 3),)


def card_run(seed, kind, load, call_s):
    """Return the outcome for a card; ``locked``: its load is in step with its sensor.

    ``call``: the load is that of the function alone.
    """
    chance = random.Random(seed)
    span = Span(chance.uniform(50, 90), chance.uniform(250, 400))
    start_s = 20.0 + chance.random()
    if load == "locked":
        load = f"square:{0.1 / chance.choice((0.5, 1, 1, 2))!r},{chance.uniform(0.2, 0.8):.3f}"
    elif load == "call":
        steps = ((span.busy_w, start_s), (span.idle_w, start_s + call_s))
        load = f"steps:{span.idle_w},{','.join(f'{w}@{at_s!r}' for w, at_s in steps)}"
    true = Source((Timeline(pieces(load, span, seed)), 1.0))
    gain = drawn_gain(chance, TRUENESS_PCT["gpu"])
    clock = ManualClock()
    clock.now_s = start_s
    made = {"gauge": HalfBlindCard, "counter": CountingCard}[kind]
    card = made(clock, scaled(true, gain), chance.random() * 0.1)
    run = VirtualRun([card], clock)
    run.call(call_s)
    recorded = run.recorded()
    if kind == "gauge":
        limit_w = 50 * math.ceil(span.busy_w / 50)
        recorded.manifest["channels"][0] |= {"window_s": card.window_s, "most_w": limit_w}
    (found,) = energies(recorded)
    return outcome(found, true.energy_j(start_s, start_s + call_s), gain)


@pytest.mark.parametrize(
    ("name", "load"), [("constant", "busy"), ("training", "training"), ("bursty", "bursts")]
)
def test_the_interval_of_a_supply_holds_the_truth(name, load, figures):
    runs = children.share_out(__file__, "supply_run", load, seeds=RUNS)
    assert told(figures, f"{name}, PSU", runs, 1.5)


@pytest.mark.parametrize(
    ("name", "kind", "load", "call_s", "most"),
    [
        ("phase-locked, GPU that sees 25 %", "gauge", "locked", WINDOW_S, 3.0),
        ("constant in the call alone, GPU counter", "counter", "call", SHORT_S, 1.5),
        ("training, GPU counter", "counter", "training", SHORT_S, 1.5),
    ],
)
def test_the_interval_of_a_card_holds_the_truth(name, kind, load, call_s, most, figures):
    runs = children.share_out(__file__, "card_run", kind, load, call_s, seeds=RUNS)
    about = "" if call_s == WINDOW_S else f", {call_s:.0f} s"
    assert told(figures, name + about, runs, most)


if __name__ == "__main__":
    children.answer(globals())
