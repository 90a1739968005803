"""The stated interval (k=2) against the truth while something is wrong: many runs of each fault.

All is on a clock that a test moves: PACT's own sensors, the emulated firmware, counters, library.
Not here, but with their gaps and energies in `tests/truth` and `tests/bench`, is what needs real
files or real time: faults of the kernel's driver for power supplies (``renumber``, ``etimedout``,
``eopnotsupp``, ``enodev``), rights (``deny``), a GPU that hangs (``hang``). Nor is what keeps a
machine from being measured at all.
"""

import random
import statistics
from dataclasses import replace

import pytest

from pactmeter.analysis.energy import energies
from pactmeter.bench import gpu
from pactmeter.bench.faults import KINDS, parse
from pactmeter.bench.loads import Span, pieces
from pactmeter.bench.machine import Machine, parse_psu
from pactmeter.bench.timeline import Timeline
from support import children
from support.devices import benched, gpu_environment, own_gpus
from support.uncertainty import (
    FAULTY_RUNS,
    TRUENESS_PCT,
    WINDOW_S,
    gain_of_many,
    outcome,
    scaled,
    told,
)
from support.virtual import VirtualRun

START_S = 20.0
PACKAGE_ALONE = "1x,nodram,nocore,nouncore"
FOR = "@{from_s}+{for_s}"
AGAIN = "@{middle_s}"
BRIEF_S, SOME_S, LONG_S = 3.0, 6.0, 12.0
END = None

FAULTS = {
    "psu": {
        "no reply": ("hx1500i", "psu0:drop" + FOR, BRIEF_S),
        "replies late": ("hx1500i", "psu0:late=0.3" + FOR, BRIEF_S),
        "replies slow": ("hx1500i", "psu0:delay=0.05" + FOR, LONG_S),
        "replies cut": ("hx1500i", "psu0:short=2" + FOR, BRIEF_S),
        "replies long": ("hx1500i", "psu0:long" + FOR, LONG_S),
        "replies empty": ("hx1500i", "psu0:empty" + FOR, BRIEF_S),
        "replies to others": ("hx1500i", "psu0:foreign" + FOR, LONG_S),
        "wrong echo": ("hx1500i", "psu0:wrong_echo" + FOR, BRIEF_S),
        "another program": ("hx1500i", "psu0:chatter=20" + FOR, LONG_S),
        "another program, busy": ("hx1500i", "psu0:chatter=200" + FOR, LONG_S),
        "handshake lost": ("hx1500i", "psu0:uninitialised" + FOR, BRIEF_S),
        "garbage": ("hx1500i", "psu0:raw=ee:ff7b" + FOR, BRIEF_S),
        "frozen": ("hx1500i", "psu0:frozen" + FOR, SOME_S),
        "reads 0 W": ("hx1500i", "psu0:zero" + FOR, BRIEF_S),
        "unplugged": ("hx1500i", "psu0:unplug" + FOR, SOME_S),
        "unplugged, for good": ("hx1500i", "psu0:unplug" + FOR, END),
        "cannot be opened": (
            "hx1500i",
            f"psu0:eio{FOR} psu0:open=EACCES@{{middle_s}}+{{for_s}}",
            BRIEF_S,
        ),
        "I/O error": ("hx1500i", "psu0:eio" + FOR, BRIEF_S),
        "busy (NZXT)": ("e850", "psu0:busy" + FOR, BRIEF_S),
        "bad checksum (NZXT)": ("e850", "psu0:bad_pec" + FOR, BRIEF_S),
        "frozen (NZXT)": ("e850", "psu0:frozen" + FOR, SOME_S),
    },
    "rapl": {
        "I/O error": ("counter", "rapl:eio" + FOR, SOME_S),
        "I/O error, for good": ("counter", "rapl:eio" + FOR, END),
        "gone": ("counter", "rapl:vanish" + FOR, SOME_S),
        "gone, for good": ("counter", "rapl:vanish" + FOR, END),
        "back at 0": ("counter", "rapl:back@{from_s}", END),
        "gone, back at 0": ("counter", f"rapl:vanish{FOR} rapl:back{AGAIN}", BRIEF_S),
        "set": ("counter", "rapl:jump=1000@{from_s}", END),
        "wraps": ("counter", "rapl:jump={left_j}@19", END),
        "no range, wraps": ("counter", "rapl:no_range@0 rapl:jump={left_j}@19", END),
        "frozen": ("beside a supply", "rapl:frozen" + FOR, SOME_S),
    },
    "gpu": {
        # a counter goes on while nobody can read it
        "lost": ("a100", "gpu0:lost" + FOR, SOME_S),
        "lost, for good": ("a100", "gpu0:lost" + FOR, END),
        "off the bus": ("a100", "gpu0:gone" + FOR, SOME_S),
        "wants a reset": ("a100", "gpu0:reset_required" + FOR, SOME_S),
        "no permission": ("a100", "gpu0:no_permission" + FOR, SOME_S),
        "unknown error": ("a100", "gpu0:unknown" + FOR, SOME_S),
        "no counter": ("a100", "gpu0:not_supported=energy" + FOR, SOME_S),
        "driver fails": ("a100", f"gpu0:lost{FOR} gpu0:driver=18{FOR}", SOME_S),
        "function missing": (
            "a100",
            "gpu0:function=nvmlDeviceGetTotalEnergyConsumption" + FOR,
            SOME_S,
        ),
        "back at 0": ("a100", "gpu0:energy_reset@{from_s}", END),
        "lost, back at 0": ("a100", f"gpu0:lost{FOR} gpu0:energy_reset{AGAIN}", BRIEF_S),
        "frozen": ("a100", "gpu0:frozen" + FOR, SOME_S),
        # a gauge does not
        "lost (gauge)": ("p100", "gpu0:lost" + FOR, BRIEF_S),
        "off the bus (gauge)": ("p100", "gpu0:gone" + FOR, BRIEF_S),
        "no power (gauge)": ("p100", "gpu0:not_supported=power" + FOR, BRIEF_S),
        "driver fails (gauge)": ("p100", f"gpu0:lost{FOR} gpu0:driver=9{FOR}", BRIEF_S),
        "garbage (gauge)": ("p100", "gpu0:garbage" + FOR, BRIEF_S),
        "frozen (gauge)": ("p100", "gpu0:frozen" + FOR, SOME_S),
    },
}
"""By kind of device: which one, what is ordered, and the longest that it lasts (to the end: None).

What costs a reading lasts a few seconds at most, lest the gaps be all that there is.
"""
UNSEEN = {
    *("replies slow", "replies long", "replies to others", "wraps"),
    *("another program", "another program, busy"),
}
"""What is no gap; all else has to be noted as one in most runs, or it did not strike."""
ELSEWHERE = {
    "psu": {"renumber", "etimedout", "eopnotsupp", "enodev", "deny"},
    "rapl": {"deny"},
    "gpu": {"hang"},
}


def orders(text, longest_s, chance):
    """Return the faults of a run; they begin in its first part."""
    from_s = START_S + chance.uniform(2.0, 12.0)
    for_s = chance.uniform(longest_s / 4, longest_s) if longest_s else 2 * WINDOW_S
    times = {"from_s": from_s, "for_s": for_s, "middle_s": from_s + for_s / 2}
    times["left_j"] = chance.uniform(500.0, 1500.0)  # it draws some 100 W
    text = text.format(**{name: f"{value:.3f}" for name, value in times.items()})
    return [parse(order, [order.partition(":")[0]]) for order in text.split()]


def psu_machine(model, chance, seed, gain):
    """Return a machine, its channel, what truly flows, and how its devices are made."""
    tau_s = 0.0 if seed % 2 else chance.uniform(0.1, 0.5)
    cards = [Span(chance.uniform(30, 80), chance.uniform(150, 400))]
    machine = Machine([parse_psu(f"{model},tau={tau_s:.3f}")], gpus=cards, seed=seed)
    (supply,) = machine.supplies
    true, supply._load = supply._load, scaled(supply._load, gain)
    return machine, "psu.dc_output", true, {"topology": PACKAGE_ALONE}


def rapl_machine(how, _chance, seed, gain):
    supplies = [parse_psu("hx1500i")] if how == "beside a supply" else []
    machine = Machine(supplies, seed=seed)
    true = machine.sources["cpu.package0"]
    machine.sources["cpu.package0"] = scaled(true, gain)
    return machine, "cpu.package0", true, {"topology": PACKAGE_ALONE}


def gpu_machine(name, chance, seed, gain):
    model = gpu.PRESETS[name]
    idle_w = model.idle_w * chance.uniform(0.8, 1.2)
    busy_w = model.busy_w * chance.uniform(0.5, 1.0)
    machine = Machine(gpus=[Span(idle_w, busy_w)], seed=seed)
    seen = Span(idle_w * gain, busy_w * gain)
    machine.timelines["gpu0"] = Timeline(pieces("training", seen, seed))
    return machine, "gpu0", machine.sources["gpu0"], {"gpus": [model], "topology": PACKAGE_ALONE}


MACHINES = {"psu": psu_machine, "rapl": rapl_machine, "gpu": gpu_machine}
SENSORS = {"psu": "PSU", "rapl": "RAPL", "gpu": "GPU"}


def faulty_run(number, kind):
    """Return the outcome for a sensor under a training while something is wrong with it.

    Beside it: whether a gap was noted.
    """
    seed, place = divmod(number, len(FAULTS[kind]))
    name, (what, text, longest_s) = list(FAULTS[kind].items())[place]
    chance = random.Random(f"{kind} {name} {seed}")
    accuracy_pct = TRUENESS_PCT["package" if kind == "rapl" else kind]
    gain = gain_of_many(f"{kind} {name}", seed, accuracy_pct)
    machine, channel, true, options = MACHINES[kind](what, chance, seed, gain)
    if "frozen" not in text and kind != "rapl":
        options.pop("topology")  # what stands still alone is known by what does not
    if kind == "gpu":
        own_gpus()
    options["orders"] = orders(text, longest_s, chance)
    with benched(machine, start_s=START_S + chance.random(), **options) as bench:
        run = VirtualRun(bench.devices, bench.clock)
        start_s = bench.clock()
        run.call(WINDOW_S)
    # a training does not repeat in step with a gauge that looks away for a part of the time
    aperiodic = replace(run.recorded(), is_aperiodic=True)
    found = {one.channel: one for one in energies(aperiodic)}[channel]
    return outcome(found, true.energy_j(start_s, start_s + WINDOW_S), gain), bool(run.power.gaps)


@pytest.mark.parametrize("kind", FAULTS)
def test_the_interval_of_a_faulty_sensor_holds_the_truth(kind, tmp_path, figures):
    names = list(FAULTS[kind])
    env = gpu_environment(tmp_path) if kind == "gpu" else None
    seeds = FAULTY_RUNS * len(names)
    runs = children.share_out(__file__, "faulty_run", kind, seeds=seeds, env=env)
    good, struck = [], []
    for place, name in enumerate(names):
        outcomes, gaps = zip(*runs[place :: len(names)], strict=True)
        good.append(told(figures, f"training, {SENSORS[kind]}: {name}", outcomes, 3.0))
        struck.append(name in UNSEEN or statistics.mean(gaps) > 0.8)
    assert all(good)
    assert all(struck)


@pytest.mark.parametrize("kind", FAULTS)
def test_every_fault_is_here_or_elsewhere(kind):
    named = {
        order.partition(":")[2] for _, text, _ in FAULTS[kind].values() for order in text.split()
    }
    named = {name.partition("@")[0].partition("=")[0] for name in named}
    assert named | ELSEWHERE[kind] == set(KINDS[kind])
    assert not named & ELSEWHERE[kind]


if __name__ == "__main__":
    children.answer(globals())
