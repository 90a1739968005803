"""Joules of every meter in real time, as a user measures them, beside those in virtual time.

The windows are shorter than the 60 s of the bounds: what sampling misses grows as the square root
of 60 s over the window, what a counter misses at its two edges is the same in joules.
"""

import math

import pytest

from pactmeter.analysis.energy import energies
from pactmeter.analysis.headline import headline
from pactmeter.analysis.run import load
from pactmeter.bench.gpu import PRESETS
from pactmeter.bench.loads import Span
from pactmeter.bench.machine import Machine, parse_psu
from support import children
from support.bench import PACT, bench, bench_program, require
from support.compare import stated_sampling_j, within
from support.devices import benched
from support.virtual import VirtualRun

WINDOW_S = 12.0
SEEDS = 5
VIRTUAL_SEEDS = 100
PSUS = ("hx1500i,tau=0.3", "e850")
RAPL = "2x"
GPUS = ["v100"] * 2
BY_SAMPLING, BY_EDGES = math.sqrt(60.0 / WINDOW_S), 60.0 / WINDOW_S
BOUNDS_PCT = {
    "psu.dc_output": 0.5 * BY_SAMPLING,
    "psu1.dc_output": None,  # instant: its stated sampling uncertainty
    **{f"cpu.{part}{n}": 0.1 * BY_EDGES for part in ("package", "dram") for n in range(2)},
    **{f"gpu{n}": 0.1 * BY_EDGES for n in range(2)},
}
TITLE = f"Real time against virtual time: {WINDOW_S:.0f} s of a training-like load, errors in %"
COLUMNS = (
    *("meter", *(f"run {n + 1}" for n in range(SEEDS)), "bound"),
    f"95 % of {VIRTUAL_SEEDS} virtual runs within",
)

DECORATED = f"""
import time
from pactmeter import PACT

@PACT(tracker_file_name="PACT.csv")
def train():
    time.sleep({WINDOW_S})

time.sleep(1.0)
train()
"""


def real(seed, folder):
    """Measure a run by the decorator or by the command; return its energies and the true joules."""
    options = [word for psu in PSUS for word in ("--psu", psu)]
    options += ["--rapl", RAPL, "--gpu", ",".join(GPUS), "--load", "training", "--seed", seed]
    if seed % 2:
        words = [*PACT, "run", "--", "sleep", str(WINDOW_S)]
        done = bench(folder, *options, command=words)
    else:
        done = bench_program(folder, *options, code=DECORATED)
    assert done.code == 0, done.err
    run = load(folder / "PACT.csv")
    assert run.status == "complete"
    return energies(run), done.within()


def virtual(seed):
    """Return the errors in percent of the supplies and the processors on a virtual clock."""
    models = [PRESETS[name] for name in GPUS]
    machine = Machine(
        map(parse_psu, PSUS),
        packages=2,
        gpus=[Span(model.idle_w, model.busy_w) for model in models],
        load="training",
        seed=seed,
    )
    with benched(machine, start_s=2.0 + 0.37 * seed % 1, topology=RAPL) as bench:
        run = VirtualRun(bench.devices, bench.clock)
        start_s = bench.clock()
        run.call(WINDOW_S)
        true_j = machine.true_energy(start_s, start_s + WINDOW_S)
        return {
            name: 100 * (one.energy_j / true_j[name] - 1) for name, one in run.energies().items()
        }


def test_runs_in_real_time_agree_with_the_truth_and_with_those_in_virtual_time(tmp_path, figures):
    require()
    expected = children.share_out(__file__, "virtual", seeds=VIRTUAL_SEEDS)
    runs = []
    for seed in range(SEEDS):
        (tmp_path / f"{seed}").mkdir()
        runs.append(real(seed, tmp_path / f"{seed}"))
    failed = []
    for name, bound_pct in BOUNDS_PCT.items():
        virtual_pct = None
        if name in expected[0]:
            virtual_pct = within([errors[name] for errors in expected])
        errors = []
        for found, true_j in runs:
            (one,) = (energy for energy in found if energy.channel == name)
            errors.append(100 * (one.energy_j / true_j[name] - 1))
            stated_pct = 100 * stated_sampling_j(one) / true_j[name]
            limit_pct = bound_pct or stated_pct
            if "psu" in name:
                limit_pct = min(limit_pct, 2 * virtual_pct)
            if abs(errors[-1]) > limit_pct or one.coverage < 0.99 or one.gaps:
                failed.append((name, errors[-1], limit_pct, one.coverage, one.gaps))
        figures(TITLE, *COLUMNS).add(
            name,
            *(f"{error:+.3f}" for error in errors),
            f"{bound_pct:.2f}" if bound_pct else f"{stated_pct:.2f} (stated)",
            f"{virtual_pct:.3f}" if virtual_pct else "-",
        )

    assert failed == []
    for found, true_j in runs:
        whole_j = true_j["psu.dc_output"] + true_j["psu1.dc_output"]
        assert headline(found).energy_j == pytest.approx(whole_j, rel=0.03)


if __name__ == "__main__":
    children.answer(globals())
