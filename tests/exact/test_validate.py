"""`pactmeter validate`: sensors of planted gain and offset, on the emulated machine, many seeds."""

import random
import statistics

from pactmeter.analysis.regions import windows
from pactmeter.analysis.validation import PREFIX, judge
from pactmeter.bench.loads import Span
from pactmeter.bench.machine import Machine, parse_psu
from pactmeter.bench.timeline import Source
from support import children
from support.devices import benched
from support.virtual import VirtualRun

SEEDS = 200
SETTLE_S, WINDOW_S, WINDOWS = 5.0, 15.0, 5
LOADS = ("idle", "half", "full")
START_S = 20.0
SHARE = 0.93
METER_SHARE = 0.0005
"""Of the meter's reading, its own scatter (k=1); it shows tenths of a watt."""
TITLE = (
    f"Sources against a meter: planted gain and offset, {len(LOADS)} loads of {WINDOWS} windows of"
    f" {WINDOW_S:.0f} s, {SEEDS} seeds"
)
COLUMNS = (
    *("sensor", "gain inside %", "median U of gain %", "offset inside %"),
    "median U of offset W",
)


def planted(source, gain, offset_w):
    """Return what a sensor sees that is off by a gain and an offset."""
    parts = ((line, share * gain) for line, share in source.parts)
    return Source(*parts, offset_w=source.offset_w * gain + offset_w)


def validated(seed):
    """Return for each sensor the planted line and what was found."""
    chance = random.Random(seed)
    segment_s = SETTLE_S + WINDOWS * WINDOW_S
    at_s = [START_S + k * segment_s for k in (1, 2)]

    def steps(low_w, high_w):
        levels_w = (low_w, low_w + chance.uniform(0.35, 0.65) * (high_w - low_w), high_w)
        first, *others = (f"{level_w:.1f}" for level_w in levels_w)
        later = (f"{level}@{s:g}" for level, s in zip(others, at_s, strict=True))
        return f"steps:{','.join([first, *later])}+noise:{chance.uniform(1, 4):.2f}"

    idle_w, busy_w = chance.uniform(20, 60), chance.uniform(200, 420)
    loads = {"cpu": steps(25, chance.uniform(80, 160)), "gpu0": steps(idle_w, busy_w)}
    psu = parse_psu(f"hx1500i,tau={chance.uniform(0.0, 0.4):.2f}")
    machine = Machine([psu], gpus=[Span(idle_w, busy_w)], load="idle", loads=loads, seed=seed)
    supply = machine.supplies[0]
    true = {"psu.dc_output": supply._load, "cpu.package0": machine.sources["cpu.package0"]}
    lines = {name: (chance.gauss(1, 0.025), chance.uniform(-6, 6)) for name in true}
    supply._load = planted(true["psu.dc_output"], *lines["psu.dc_output"])
    machine.sources["cpu.package0"] = planted(true["cpu.package0"], *lines["cpu.package0"])
    with benched(machine, start_s=START_S, topology="1x") as bench:
        run = VirtualRun(bench.devices, bench.clock)
        run.call(len(LOADS) * segment_s)
        recorded = run.recorded()
    spans = {}
    for number, load in enumerate(LOADS):
        from_s = number * segment_s + SETTLE_S
        spans[PREFIX + load] = [
            (from_s + k * WINDOW_S, from_s + (k + 1) * WINDOW_S) for k in range(WINDOWS)
        ]
    told = {name: windows(recorded, each) for name, each in spans.items()}
    results = {}
    for name, source in true.items():
        meter_w = {
            load: [
                round(source.mean_w(START_S + a, START_S + b) * chance.gauss(1, METER_SHARE), 1)
                for a, b in each
            ]
            for load, each in spans.items()
        }
        found = {one.channel: one.line for one in judge(recorded, told, meter_w)[0]}[name]
        gain, offset_w = lines[name]
        results[name] = {
            "gain_error": found.gain - 1 / gain,
            "u_gain": found.u_gain,
            "offset_error_w": found.offset_w + offset_w / gain,
            "u_offset_w": found.u_offset_w,
        }
    return results


def test_the_planted_gain_and_offset_come_out_within_their_intervals(figures):
    runs = children.share_out(__file__, "validated", seeds=SEEDS)
    for name in runs[0]:
        of = [run[name] for run in runs]
        gain = sum(abs(run["gain_error"]) <= run["u_gain"] for run in of) / SEEDS
        offset = sum(abs(run["offset_error_w"]) <= run["u_offset_w"] for run in of) / SEEDS
        figures(TITLE, *COLUMNS).add(
            name,
            f"{100 * gain:.1f}",
            f"{100 * statistics.median(run['u_gain'] for run in of):.2f}",
            f"{100 * offset:.1f}",
            f"{statistics.median(run['u_offset_w'] for run in of):.2f}",
        )
        assert gain >= SHARE
        assert offset >= SHARE


if __name__ == "__main__":
    children.answer(globals())
