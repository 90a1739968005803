"""Each check against defects that are planted, and on clean runs: what is found, what is not.

The machine here has a true power of CPU, GPU and the rest; its sensors are off by a gain that is
drawn within their stated accuracy, lag, round and are polled ten times a second. None of its
numbers is taken from the checks.
"""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from pactmeter.analysis.checks.check import Beside, Case, Idle
from pactmeter.analysis.run import load
from pactmeter.analysis.verdict import all_checks
from pactmeter.bench.faults import parse
from pactmeter.bench.loads import Span
from pactmeter.bench.machine import Machine, parse_psu
from pactmeter.model.calibration import from_dict
from pactmeter.model.channel import Domain
from support.devices import benched
from support.virtual import VirtualRun
from support.written import (
    AC,
    CORE,
    DC,
    GPU,
    PACKAGE,
    UTC_S,
    counter,
    gauge,
    judged,
    proof_dict,
    write,
)

TITLE = "Checks: what is found of defects that were planted (clean: false alarms of all clean runs)"
COLUMNS = ("check", "planted", "runs", "found %", "least %")
CLEAN = "Checks on clean runs: how many of them a check warns of or fails"
CLEAN_COLUMNS = ("check", "runs judged", "false alarms", "%", "at most %")
CLEAN_RUNS, PLANTED, BENCHED, LOCKS = 330, 50, 8, 400
BENCH_CLEAN = 30
MOST_FALSE_PCT, LEAST_FOUND_PCT = 2.0, 95.0

STEP_S, POLLS_PER_ROW, STEPS_PER_POLL = 0.02, 10, 5
RAILS = [gauge(f"psu.rail.{name}", None, resolution=0.5) for name in ("12v", "5v")]


def load_w(chance, kind, seconds):
    """Return the powers of CPU and GPU each 20 ms, and when each step of the work began."""
    steps, cpu, gpu, starts_s = round(seconds / STEP_S), [], [], []
    of_cpu = chance.uniform(15, 30), chance.uniform(60, 150)
    of_gpu = chance.uniform(40, 70), chance.uniform(150, 420)
    period_s, level, until = chance.uniform(0.25, 0.9), 1.0, 0
    for step in range(steps):
        if step >= until:
            if kind == "bursts":
                level = 1.0 - level
                until = step + chance.uniform(0.8, 3.7) / STEP_S
            elif kind == "training":
                starts_s.append(step * STEP_S)
                until = step + max(5, chance.gauss(period_s, 0.05 * period_s) / STEP_S)
            else:
                until = steps
        at = level
        if kind == "training":
            at = 0.25 if step - starts_s[-1] / STEP_S < 0.15 * period_s / STEP_S else 1.0
        noise = chance.gauss(0.0, 0.01)
        cpu.append((of_cpu[0] + at * (of_cpu[1] - of_cpu[0])) * (1 + noise))
        gpu.append((of_gpu[0] + at * (of_gpu[1] - of_gpu[0])) * (1 - noise))
    return cpu, gpu, starts_s


def means(values, size):
    return [sum(values[i : i + size]) / size for i in range(0, len(values), size)]


def gain(chance, channel):
    """Return the gain of a sensor whose accuracy (k=2) is as stated."""
    return chance.gauss(1.0, channel.accuracy_pct / 200)


def plain(folder, seed, *, seconds=64, rails=False, plant=None):
    """Write a clean run of a machine, less what a test plants into it; return its file.

    Args:
        folder: Where to.
        seed: Of everything.
        seconds: How long it is.
        rails: Whether the rails of the supply are recorded.
        plant: Changes what is about to be written: sources, options.
    """
    chance = random.Random(seed)
    kind = ("steady", "training", "bursts")[seed % 3]
    cpu, gpu, starts_s = load_w(chance, kind, seconds)
    rest_w = chance.uniform(35, 60)
    true = [a + b + rest_w for a, b in zip(cpu, gpu, strict=True)]
    tau_s, shown, polled = chance.uniform(0.2, 0.5), true[0], []
    supply = gain(chance, DC)
    for step, power_w in enumerate(true):
        shown += (power_w - shown) * STEP_S / tau_s
        if step % STEPS_PER_POLL == STEPS_PER_POLL - 1:
            polled.append(2 * round(supply * shown / 2))
    rows = round(seconds)
    dc = means(polled, POLLS_PER_ROW)
    efficiency = chance.uniform(0.86, 0.94)
    row = STEPS_PER_POLL * POLLS_PER_ROW
    card, socket = gain(chance, GPU), gain(chance, PACKAGE)
    gpu_w = [card * w for w in means(gpu, row)]
    cpu_w = [socket * w for w in means(cpu, row)]
    sources = {DC: dc, AC: [w / efficiency for w in dc], PACKAGE: cpu_w, GPU: gpu_w}
    sources[CORE] = [w * chance.uniform(0.7, 0.9) for w in cpu_w]
    if rails:
        share = chance.uniform(0.03, 0.1)
        for channel, part in zip(RAILS, (1 - share, share), strict=True):
            error = gain(chance, channel)
            sources[channel] = [0.5 * round(error * part * w / 0.5) for w in means(true, row)]
    pairs = list(pairwise(polled))
    rough = {"pairs": len(pairs), "square_w2": sum((a - b) ** 2 for a, b in pairs)}
    regions = [[0.0, float(rows), "call", 0, 1]]
    regions += [[t, t + 0.1, "step", n, 1] for n, t in enumerate(starts_s)]
    options = {
        "rows": rows,
        "regions": regions,
        "more": {
            "about": {DC.name: {"roughness": rough}},
            "columns": {"gpu0.instant_w": [round(w + chance.gauss(0, 1), 3) for w in gpu_w]},
            "sampler": {"late_rows": int(chance.random() < 0.2), "rows": rows},
        },
    }
    if plant is not None:
        plant(chance, sources, options)
    return write(folder, sources, **options)


def checks_of(run, beside=None):
    first, found = judged(run)
    return {c.id: c for c in all_checks(Case(run, first, found, beside or Beside()))}


def is_alarm(check):
    return check.outcome in {"warn", "fail"}


def good_beside(chance):
    """Return a baseline and a calibration that hold."""
    idle_w = chance.uniform(50, 80)
    after_w = idle_w * (1 + chance.gauss(0.0, 0.005))
    return Beside(proof_of(-200, 100), (Idle(idle_w, 90.0), Idle(after_w, 90.0)))


def proof_of(made, expires, *, host="here", to_w=900.0):
    """Return a calibration in force from one day to another, counted from that of the run."""
    day = datetime.fromtimestamp(UTC_S, tz=UTC).date()
    made, expires = (str(day + timedelta(days=days)) for days in (made, expires))
    line = {"terms": [0.0, 1.0], "from_w": 20.0, "to_w": to_w}
    return from_dict(proof_dict(line, made=made, expires=expires, host=host))


def test_a_clean_run_is_hardly_ever_warned_of(tmp_path, figures):
    told = {}
    for seed in range(CLEAN_RUNS):
        chance = random.Random(1000 + seed)
        run = load(plain(tmp_path, seed, rails=seed % 2 == 0))
        for name, check in checks_of(run, good_beside(chance)).items():
            if check.outcome != "not checked":
                told.setdefault(name, []).append(is_alarm(check))
    table = figures(CLEAN, *CLEAN_COLUMNS)
    for name, alarms in told.items():
        percent = 100 * sum(alarms) / len(alarms)
        table.add(name, len(alarms), sum(alarms), f"{percent:.1f}", MOST_FALSE_PCT)
    for name, alarms in told.items():
        assert 100 * sum(alarms) / len(alarms) <= MOST_FALSE_PCT, name
    assert set(told) == {f"Q{n}" for n in range(1, 18)} - {"Q10", "Q12", "Q14"}


# --- what is planted: each changes what is about to be written ------------------------------------


def lose_time(chance, sources, _options):
    first = chance.randrange(5, 30)
    for row in range(first, first + chance.randrange(4, 30)):
        sources[DC][row] = None


def lose_some(chance, sources, options):
    start_s = chance.uniform(5, 40)
    gap = {"channels": [DC.name], "start_s": start_s, "reason": "no reply"}
    options["more"]["gaps"] = [{**gap, "end_s": start_s + chance.uniform(0.9, 3.0)}]


def end_early(chance, sources, options):
    options["rows"] = rows = chance.randrange(2, 50)
    for channel in sources:
        sources[channel] = sources[channel][:rows]
    for values in options["more"]["columns"].values():
        del values[rows:]


def jump(chance, sources, options):
    """The sensor shows moments of a load that jumps about faster than it is polled."""
    jump_w = chance.uniform(0.6, 1.5) * sum(sources[DC]) / len(sources[DC])
    about = {"pairs": 600, "square_w2": 600 * 2 * (jump_w / 2) ** 2}
    options["more"]["about"] = {DC.name: {"roughness": about}}


def steps(period_s, jitter_s, chance, seconds=64):
    time_s, rows = chance.uniform(0, period_s), [[0.0, float(seconds), "call", 0, 1]]
    while time_s < seconds:
        rows.append([time_s, time_s + period_s / 3, "step", len(rows), 1])
        time_s += max(0.001, chance.gauss(period_s, jitter_s))
    return rows


def lock(chance, _sources, options):
    order = chance.choice([1 / 4, 1 / 3, 1 / 2, 1, 2, 3])
    options["regions"] = steps(0.1 * order, 1e-4, chance)


def lock_own_clock(chance, _sources, options):
    """The sensor renews its readings by a clock of its own, a little off what it states."""
    period_s, off = chance.uniform(0.25, 1.0), chance.uniform(-0.002, 0.002)
    options["more"]["about"][DC.name]["update_period_s"] = period_s
    order = chance.choice([1 / 3, 1 / 2, 1, 2, 3])
    options["regions"] = steps(period_s * order * (1 + off), 1e-4, chance)


def lock_counted(chance, _sources, options):
    """No region is marked: only the counters show that the load repeats with the polls."""
    options["regions"] = None
    options["events"] = ("cycles",)


def miscount(chance, _sources, options):
    factor = chance.choice([chance.uniform(0.3, 0.85), chance.uniform(1.15, 2.0)])
    columns = options["more"]["columns"]
    columns["gpu0.instant_w"] = [w * factor for w in columns["gpu0.instant_w"]]


def psu_low(chance, sources, _options):
    factor = chance.uniform(0.3, 0.6)
    sources[DC] = [w * factor for w in sources[DC]]


def gpu_twice(chance, sources, _options):
    """A card that is counted twice, as dies are (codecarbon #316)."""
    sources[counter("gpu1", Domain.GPU)] = list(sources[GPU])


def absurd_input(chance, sources, _options):
    factor = chance.choice([chance.uniform(3, 60), chance.uniform(0.3, 0.8)])
    sources[AC] = [w * factor for w in sources[AC]]


def core_above(chance, sources, _options):
    sources[CORE] = [w * chance.uniform(1.3, 2.0) for w in sources[PACKAGE]]


def rail_wrong(chance, sources, _options):
    factor = chance.choice([chance.uniform(0.1, 0.7), chance.uniform(1.3, 2.0)])
    sources[RAILS[0]] = [w * factor for w in sources[DC]]


def step_clock(chance, _sources, options):
    step_s = chance.choice([-1, 1]) * 10 ** chance.uniform(-0.5, 4)
    pair = {"start": {"monotonic_s": 5.0, "utc_s": UTC_S}}
    pair["end"] = {"monotonic_s": 69.0, "utc_s": UTC_S + 64.0 + step_s}
    options["more"]["clock"] = pair


def be_late(chance, _sources, options):
    options["more"]["sampler"]["late_rows"] = chance.randrange(5, 40)


def be_unsure(chance, sources, _options):
    doubt = chance.choice([None, chance.uniform(7, 60)])
    channel = replace(DC, accuracy_pct=doubt)
    rest = {c: w for c, w in sources.items() if c is not DC}
    values = sources[DC]
    sources.clear()
    sources.update({channel: values, **rest})


def nothing(_chance, _sources, _options):
    """Nothing: the file is changed afterwards."""


def cut_file(chance, file):
    lines = file.read_text().splitlines(keepends=True)
    first = chance.randrange(2, 50)
    del lines[first : first + chance.randrange(1, 12)]
    file.write_text("".join(lines))


def double_file(chance, file):
    lines = file.read_text().splitlines(keepends=True)
    row = chance.randrange(2, 60)
    lines[row:row] = lines[row : row + chance.randrange(1, 5)]
    file.write_text("".join(lines))


def count_pulses(chance, file):
    """Cycles of a load that is on for a part of each period of the polls, or of two of them."""
    period_s, on = chance.choice([0.1, 0.2]), chance.uniform(0.3, 0.7)
    lines = ["start_s,dt_s,cycles\n"]
    for k in range(6400):
        phase = k * 0.01 % period_s / period_s
        count = (1e7 if phase < on else 1e6) * chance.gauss(1, 0.1)
        lines.append(f"{k * 0.01:.6f},0.01,{count:.0f}\n")
    file.with_name("PACT.counters.csv").write_text("".join(lines))


def drift(chance):
    idle_w = chance.uniform(50, 80)
    after_w = idle_w * (1 + chance.choice([-1, 1]) * chance.uniform(0.03, 0.2))
    return Beside(idle=(Idle(idle_w, 90.0), Idle(after_w, 90.0)))


def stale_proof(chance):
    made, until, host, to_w = -200, 100, "here", 900.0
    what = chance.randrange(3)
    if what == 0:
        until = -chance.randrange(1, 400)
        made = until - 300
    elif what == 1:
        host = "elsewhere"
    else:
        to_w = chance.uniform(25, 60)
    return Beside(proof_of(made, until, host=host, to_w=to_w))


@pytest.mark.parametrize(
    ("name", "words", "plant", "change", "beside"),
    [
        ("Q1", "6 to 46 % of the time lost", lose_time, None, None),
        ("Q2", "a gap of 0.9 to 3 s", lose_some, None, None),
        ("Q3", "2 to 49 s", end_early, None, None),
        ("Q4", "instant sensor, load jumps by 60 to 150 %", jump, None, None),
        ("Q5", "regions locked to the polls", lock, None, None),
        ("Q5", "regions locked to a sensor's own clock", lock_own_clock, None, None),
        ("Q5", "cycles locked to the polls", lock_counted, count_pulses, None),
        ("Q6", "GPU counter off by 13 % or more", miscount, None, None),
        ("Q7", "supply tells 30 to 60 %", psu_low, None, None),
        ("Q7", "one GPU under two names", gpu_twice, None, None),
        ("Q7", "AC estimate absurd (liquidctl #675)", absurd_input, None, None),
        ("Q7", "core above package", core_above, None, None),
        ("Q7", "rail wrong (AX1500i #332)", rail_wrong, None, None),
        ("Q9", "idle drifts by 3 to 20 %", nothing, None, drift),
        ("Q11", "clock set by 0.3 s to 3 h", step_clock, None, None),
        ("Q13", "calibration stale, of another host or range", nothing, None, stale_proof),
        ("Q15", "8 to 60 % of the rows late", be_late, None, None),
        ("Q16", "accuracy unknown or 7 to 60 %", be_unsure, None, None),
        ("Q17", "rows cut out", nothing, cut_file, None),
        ("Q17", "rows doubled", nothing, double_file, None),
    ],
)
def test_what_is_planted_is_found(tmp_path, figures, name, words, plant, change, beside):
    found = 0
    for seed in range(PLANTED):
        chance = random.Random(5000 + seed)
        file = plain(tmp_path, seed, plant=plant)
        if change is not None:
            change(chance, file)
        check = checks_of(load(file), beside and beside(chance))[name]
        found += is_alarm(check)
        assert not is_alarm(check) or (check.text and check.todo)
    percent = 100 * found / PLANTED
    figures(TITLE, *COLUMNS).add(name, words, PLANTED, f"{percent:.1f}", LEAST_FOUND_PCT)
    assert percent >= LEAST_FOUND_PCT


def test_loads_of_any_other_period_are_hardly_ever_called_locked(tmp_path, figures):
    """Periodic loads, regular to 0.1 to 5 %, whose period is anything."""
    file = plain(tmp_path, 0)
    manifest = json.loads(file.with_suffix(".json").read_text())
    for words, period_s in (("polls at 10 Hz", None), ("a sensor's own 0.1 to 1 s", 1.0)):
        alarms = 0
        for seed in range(LOCKS):
            chance = random.Random(seed)
            if period_s is not None:
                own_s = 10 ** chance.uniform(-1, 0)
                manifest["channels"][0]["update_period_s"] = own_s
                file.with_suffix(".json").write_text(json.dumps(manifest))
            step_s = 10 ** chance.uniform(math.log10(0.04), math.log10(4.0))
            jitter_s = step_s * 10 ** chance.uniform(-3, math.log10(0.05))
            rows = steps(step_s, jitter_s, chance)
            text = "".join(f"{a:.6f},{b:.6f},{c},{d},{e}\n" for a, b, c, d, e in rows)
            file.with_name("PACT.regions.csv").write_text(f"start_s,end_s,name,index,tid\n{text}")
            alarms += is_alarm(checks_of(load(file))["Q5"])
        percent = 100 * alarms / LOCKS
        name = f"Q5, periodic loads, {words}"
        figures(CLEAN, *CLEAN_COLUMNS).add(name, LOCKS, alarms, f"{percent:.1f}", MOST_FALSE_PCT)
        assert percent <= MOST_FALSE_PCT


@pytest.mark.parametrize(
    ("name", "words", "order"),
    [
        ("Q1", "emulated supply: no reply for 5 s", "psu0:drop@{start}+5"),
        ("Q2", "emulated supply: no reply for 5 s", "psu0:drop@{start}+5"),
        ("Q8", "emulated supply: frozen for 8 s", "psu0:frozen@{start}+8"),
    ],
)
def test_faults_of_an_emulated_supply_are_found(figures, name, words, order):
    found = 0
    for seed in range(BENCHED):
        run = benched_run(seed, order)
        found += is_alarm(checks_of(run)[name])
    percent = 100 * found / BENCHED
    figures(TITLE, *COLUMNS).add(name, words, BENCHED, f"{percent:.1f}", LEAST_FOUND_PCT)
    assert percent >= LEAST_FOUND_PCT


def benched_run(seed, order=None):
    """Return a run of PACT's own polling and rows on an emulated machine, a supply and RAPL."""
    chance = random.Random(seed)
    machine = Machine(
        [parse_psu("hx1500i,tau=0.3")],
        gpus=[Span(50, chance.uniform(200, 350))],
        load=("training", "bursts")[seed % 2],
        seed=seed,
    )
    start_s = 20.0 + chance.random()
    at_s = start_s + chance.uniform(5, 20)
    orders = [parse(order.format(start=at_s), ["psu0"])] if order else []
    with benched(machine, start_s=start_s, topology="1x", orders=orders) as bench:
        run = VirtualRun(bench.devices, bench.clock)
        run.call(62.0)
        return run.recorded()


def test_clean_runs_of_an_emulated_machine_are_hardly_ever_warned_of(figures):
    told = {}
    for seed in range(BENCH_CLEAN):
        for name, check in checks_of(benched_run(seed)).items():
            if check.outcome != "not checked":
                told.setdefault(name, []).append(is_alarm(check))
    alarms = [alarm for each in told.values() for alarm in each]
    percent = 100 * sum(alarms) / len(alarms)
    figures(CLEAN, *CLEAN_COLUMNS).add(
        f"all, {BENCH_CLEAN} runs of the emulated machine",
        len(alarms),
        sum(alarms),
        f"{percent:.1f}",
        MOST_FALSE_PCT,
    )
    assert percent <= MOST_FALSE_PCT
