"""The stated interval (k=2) against the truth: many runs of each load, and of each fault.

Sensors are drawn as true as their makers say, so that what is tested is the whole uncertainty. The
columns of the pipeline leave that out: error and uncertainty of polls, timing and integration.
"""

import math
import os
import random
import statistics

import pytest

from pactmeter.analysis.energy import energies
from pactmeter.bench.faults import Fault
from pactmeter.bench.loads import Span, pieces
from pactmeter.bench.machine import Machine, parse_psu
from pactmeter.bench.timeline import Source, Timeline
from pactmeter.model.channel import Channel, Domain, Kind
from pactmeter.units import Unit
from support import children
from support.compare import within
from support.devices import benched
from support.virtual import VirtualRun
from unit.psu_fakes import ManualClock

REDUCED = int(os.environ.get("PACTMETER_TRUTH_RUNS") or 0)
"""Fewer runs a row than are asked for, while one works on it; the table says so."""
RUNS, FAULTY_RUNS = REDUCED or 1000, REDUCED or 100
WINDOW_S, SHORT_S = 20.0, 5.0
TRUENESS_PCT = {"psu": 5.0, "gpu": 5.0, "package": 5.0}
"""Of a sensor, k=2: the gain of each is drawn with half of it as standard deviation."""
SHARE_LEFT = 0.93
TITLE = (
    f"Stated interval (k=2) against truth, {WINDOW_S:.0f} s a run unless told, sensors true to"
    " what is stated of them (pipeline: without the sensor's own error)"
) + (f"; REDUCED to {REDUCED} runs a row, of 1000 and 100" if REDUCED else "")
COLUMNS = (
    *("load, sensor", "runs", "inside %", "error 95 % %", "median U %", "U / error", "at most"),
    *("pipeline inside %", "its error 95 % %", "its U %"),
)


def drawn_gain(chance, accuracy_pct):
    return 1 + chance.gauss(0.0, accuracy_pct / 2 / 100)


def scaled(source, gain):
    """Return what a sensor sees whose gain is not 1."""
    parts = ((line, share * gain) for line, share in source.parts)
    return Source(*parts, offset_w=source.offset_w * gain)


def outcome(found, true_j, gain):
    """Return error and U in percent, of all and of the pipeline alone."""
    rest = [item.u_j for item in found.budget if item.name != "sensor"]
    return (
        100 * (found.energy_j / true_j - 1),
        100 * found.u_j / true_j,
        100 * (found.energy_j / gain / true_j - 1),
        100 * 2 * math.hypot(*rest) / true_j,
    )


def drawn_machine(chance, load, seed, psu="hx1500i"):
    """Return a machine whose supply's sensor follows at once or lags, and which of them."""
    tau_s = 0.0 if seed % 2 else chance.uniform(0.1, 0.5)
    cards = [Span(chance.uniform(30, 80), chance.uniform(150, 400))]
    return Machine([parse_psu(f"{psu},tau={tau_s:.3f}")], gpus=cards, load=load, seed=seed)


def supply_run(seed, load):
    """Return the outcome for a power supply under a load that goes on before and after."""
    chance = random.Random(seed)
    machine = drawn_machine(chance, load, seed)
    return measured(machine, machine.supplies[0], "psu", chance)


def measured(machine, seen, channel, chance, **options):
    """Return the outcome for one sensor of a machine, whose load it sees through its gain."""
    gain = drawn_gain(chance, TRUENESS_PCT["psu"])
    true, seen._load = seen._load, scaled(seen._load, gain)
    with benched(machine, start_s=20.0 + chance.random(), **options) as bench:
        run = VirtualRun(bench.devices, bench.clock)
        start_s = bench.clock()
        run.call(WINDOW_S)
        found = run.energies()[f"{channel}.dc_output"]
    return outcome(found, true.energy_j(start_s, start_s + WINDOW_S), gain)


FAULTS = {
    "no reply": ("hx1500i", "drop", None, 3.0),
    "replies late": ("hx1500i", "late", "0.3", 3.0),
    "replies slow": ("hx1500i", "delay", "0.05", 12.0),
    "replies cut": ("hx1500i", "short", "2", 3.0),
    "replies long": ("hx1500i", "long", None, 12.0),
    "replies empty": ("hx1500i", "empty", None, 3.0),
    "replies to others": ("hx1500i", "foreign", None, 12.0),
    "wrong echo": ("hx1500i", "wrong_echo", None, 3.0),
    "handshake lost": ("hx1500i", "uninitialised", None, 3.0),
    "garbage": ("hx1500i", "raw", "ee:ff7b", 3.0),
    "frozen": ("hx1500i", "frozen", None, 6.0),
    "reads 0 W": ("hx1500i", "zero", None, 3.0),
    "busy (NZXT)": ("e850", "busy", None, 3.0),
    "bad checksum (NZXT)": ("e850", "bad_pec", None, 3.0),
    "frozen (NZXT)": ("e850", "frozen", None, 6.0),
}
"""Of the firmware: model, fault, its value, and the longest that it lasts."""


def faulty_run(number):
    """Return the outcome for a supply under a training while something is wrong with it."""
    names = list(FAULTS)
    seed, psu_fault = number // len(names), FAULTS[names[number % len(names)]]
    chance = random.Random(number)
    psu, name, value, longest_s = psu_fault
    machine = drawn_machine(chance, "training", seed, psu)
    start_s = 20.0 + chance.uniform(2.0, 12.0)
    order = Fault("psu0", name, value, start_s, chance.uniform(longest_s / 4, longest_s))
    # the processor's counters beside it: what stands still is known by what does not
    options = {"topology": "1x"} if name == "frozen" else {}
    return measured(machine, machine.supplies[0], "psu", chance, orders=[order], **options)


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


def told(figures, name, runs, most, shares=SHARE_LEFT):
    """Add a row; return whether what was found is within the bounds."""
    errors, stated, own_errors, own_stated = zip(*runs, strict=True)
    inside = statistics.mean(abs(e) <= u for e, u in zip(errors, stated, strict=True))
    own = statistics.mean(abs(e) <= u for e, u in zip(own_errors, own_stated, strict=True))
    wide_pct = statistics.median(stated)
    figures(TITLE, *COLUMNS).add(
        name,
        len(runs),
        f"{100 * inside:.1f}",
        f"{within(errors):.2f}",
        f"{wide_pct:.2f}",
        f"{wide_pct / within(errors):.2f}",
        f"{most:g}",
        f"{100 * own:.1f}",
        f"{within(own_errors):.2f}",
        f"{statistics.median(own_stated):.2f}",
    )
    return inside >= shares and own >= shares and wide_pct <= most * within(errors)


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


def test_the_interval_of_a_faulty_supply_holds_the_truth(figures):
    runs = children.share_out(__file__, "faulty_run", seeds=FAULTY_RUNS * len(FAULTS))
    good = [
        told(figures, f"training, PSU: {name}", runs[place :: len(FAULTS)], 3.0)
        for place, name in enumerate(FAULTS)
    ]
    assert all(good)


if __name__ == "__main__":
    children.answer(globals())
