"""Joules of the processor's and the GPUs' own counters against the truth, on a virtual clock."""

import itertools
import os
import random
import statistics

import pytest

from pactmeter.bench import gpu
from pactmeter.bench.faults import Fault, FaultBoard
from pactmeter.bench.loads import Span, pieces
from pactmeter.bench.machine import Machine
from pactmeter.bench.timeline import Piece, Timeline
from support import children
from support.devices import benched, gpu_environment, open_gpus
from support.virtual import VirtualRun
from unit.psu_fakes import ManualClock

SEEDS, FEWER = 200, 60
WINDOW_S = 60.0
TITLE = f"Energy counters against truth: {WINDOW_S:.0f} s of a training-like load, virtual clock"
COLUMNS = ("counter", "updated every", "seeds", "bias %", "sd %", "worst %", "bound %")
ZONES = ("cpu.package0", "cpu.core0", "cpu.uncore0", "cpu.dram0", "cpu.psys")
RAPL_PCT = 0.1
GPU_PCT = {0.02: 0.1, 0.1: 0.3}
"""Bounds by the time between two steps of the counter."""


def rapl_errors_pct(seed):
    """Return the error of each RAPL zone over one window, in which the larger ones wrap."""
    machine = Machine(load="training", seed=seed)
    start_s = 20.0 + 0.37 * seed % 1
    order = Fault("rapl", "jump", "5000", start_s=1.0)  # in 5000 J the counters start again
    with benched(machine, start_s=start_s, topology="1x,psys", orders=[order]) as bench:
        run = VirtualRun(bench.devices, bench.clock)
        start_s = bench.clock()
        shown_uj = [zone.energy_uj() for zone in bench.zones]
        run.call(WINDOW_S)
        wrapped = [zone.energy_uj() < uj for zone, uj in zip(bench.zones, shown_uj, strict=True)]
        found = run.energies()
    assert sum(wrapped) == 3  # package, core, psys
    true_j = machine.true_energy(start_s, start_s + WINDOW_S)
    return {zone: 100 * (found[zone].energy_j / true_j[zone] - 1) for zone in ZONES}


def test_rapl_counters_are_true_to_a_thousandth(figures):
    errors = children.share_out(__file__, "rapl_errors_pct", seeds=SEEDS)
    worst = {
        zone: _row(figures, zone, 0.001, [e[zone] for e in errors], RAPL_PCT) for zone in ZONES
    }

    assert max(worst.values()) <= RAPL_PCT


def gpu_errors_pct(part, parts, spec, windows):
    """Return the errors of one type of GPU in every so manieth window of one long time.

    In each window the load has another seed; the GPU is read by nvidia-ml-py.
    """
    (model,) = gpu.parse_gpus(spec)
    seeds = range(part, windows, parts)
    line = Timeline(_one_after_another(Span(model.idle_w, model.busy_w), seeds))
    clock = ManualClock()
    clock.now_s = 0.0
    (device,) = open_gpus([model], [line], FaultBoard(clock), clock)
    errors = []
    for index, seed in enumerate(seeds):
        clock.now_s = start_s = index * _EACH_S + 2.0 + random.Random(seed).random()
        run = VirtualRun([device], clock)
        run.call(WINDOW_S)
        true_j = line.energy_j(start_s, start_s + WINDOW_S)
        errors.append(100 * (run.energies()["gpu0"].energy_j / true_j - 1))
    device.close()
    return errors


_EACH_S = WINDOW_S + 5.0


def _one_after_another(span, seeds):
    """Yield the pieces of loads that differ in their seed, each for some time."""
    for seed in seeds:
        left_s = _EACH_S
        for piece in pieces("training", span, seed):
            if piece.duration_s >= left_s:
                yield Piece(left_s, piece.from_w, piece.from_w)
                break
            left_s -= piece.duration_s
            yield piece


@pytest.mark.parametrize("spec", [name for name, m in gpu.PRESETS.items() if m.counts_energy])
def test_gpu_counters_are_true_within_their_update_period(spec, tmp_path, figures):
    windows = SEEDS if spec in {"v100", "a100"} else FEWER
    parts = len(os.sched_getaffinity(0))
    started = [
        children.start(
            *(__file__, "gpu_errors_pct", part, parts, spec, windows),
            env=gpu_environment(tmp_path, part),
        )
        for part in range(parts)
    ]
    errors = list(itertools.chain(*map(children.result, started)))
    period_s = gpu.PRESETS[spec].energy_period_s
    name = gpu.PRESETS[spec].name.removeprefix("NVIDIA ")

    assert len(errors) == windows
    assert _row(figures, name, period_s, errors, GPU_PCT[period_s]) <= GPU_PCT[period_s]


def _row(figures, name, period_s, errors, bound_pct):
    """Add a row of the table and return the worst error, in percent."""
    worst = max(map(abs, errors))
    figures(TITLE, *COLUMNS).add(
        name,
        f"{1e3 * period_s:.0f} ms",
        len(errors),
        f"{statistics.mean(errors):+.4f}",
        f"{statistics.stdev(errors):.4f}",
        f"{worst:.4f}",
        f"{bound_pct:g}",
    )
    return worst


if __name__ == "__main__":
    children.answer(globals())
