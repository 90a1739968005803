"""Record the runs that the pictures of the docs are drawn from; needs root and /dev/fuse.

    sudo .venv/bin/python docs/runs/record.py

``emulated/train.csv``: `train.py` on an emulated machine. ``emulated/validate.csv`` and
``meter.csv``: a validation on emulated files whose meter reads 4 % more. ``emulated/model.json``: a
power model of made-up runs. ``real/PACT.csv``: the training of ``make demo`` on this machine.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

RUNS = Path(__file__).parent
ROOT = RUNS.parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from pactmeter.analysis.run import load  # noqa: E402
from pactmeter.model.channel import Domain  # noqa: E402
from support.machine import Machine  # noqa: E402
from support.written import counter, gauge, write  # noqa: E402

PACT = [sys.executable, "-m", "pactmeter"]
METER_GAIN = 1.04


def call(*words, cwd, **more):
    """Run a command; end where it fails."""
    subprocess.run([str(word) for word in words], cwd=cwd, check=True, **more)


def train(folder):
    machine = ["--psu", "hx1500i", "--rapl", "1x,mmio", "--gpu", "a100", "--load", "training"]
    measure = ["-o", "train.csv", "--measure-period", "0.2", "--perf-period", "0.05"]
    measure += ["-e", "FAULTS", "-e", "CONTEXT-SWITCHES"]
    program = [*PACT, "run", *measure, "--", sys.executable, RUNS / "train.py"]
    call(*PACT, "bench", "run", *machine, "--seed", "1", "--", *program, cwd=folder)


def validate(folder):
    with Machine(folder / "sys", idle_w=60.0) as machine:
        power = folder / "sys" / "load"
        loads = [f"sh -c 'echo {watts} > {power}; exec sleep 60'" for watts in (200, 380)]
        words = ["--window", "3", "--settle", "1", "--later", "--psu", "none"]
        words += [word for command in loads for word in ("--load", command)]
        environment = os.environ | machine.env
        call(*PACT, "validate", *words, cwd=folder, env=environment)
        run = load(folder / "validate.csv")
        start = run.manifest["clock"]["start"]
        count = int(10 * (run.duration_s + 0.5))
        times_s = [start["monotonic_s"] + 0.3 + k / 10 for k in range(count)]
        watts = machine.power_w(times_s)
    zero_s = start["utc_s"] - start["monotonic_s"]
    lines = [f"{zero_s + t:.3f},{METER_GAIN * w:.2f}" for t, w in zip(times_s, watts, strict=True)]
    (folder / "meter.csv").write_text("\n".join(["time,P [W]", *lines]) + "\n")


def model(folder):
    """Fit a model to made-up runs of six workloads, in which cycles and cache misses take power."""
    supply = gauge("psu.dc_output", Domain.DC, synthetic="emulated")
    package = counter("cpu.package0", Domain.PACKAGE, synthetic="emulated")
    files = []
    with tempfile.TemporaryDirectory() as scratch:
        for place, name in enumerate(("cpu_a", "cpu_b", "io_a", "io_b", "vm_a", "vm_b")):
            rng = np.random.default_rng(place)
            cycles = (1 + place % 3) * 2e9 * rng.uniform(0.6, 1.4, 200)
            misses = (1 + place // 2) * 3e7 * rng.uniform(0.5, 1.5, 200)
            cpu_w = 20 + 1.2e-8 * cycles + rng.normal(0, 1.0, 200)
            dc_w = 45 + 1.1 * cpu_w + 3e-7 * misses + rng.normal(0, 2.0, 200)
            start = {"monotonic_s": 1000.0 * place, "utc_s": 1.772e9 + 1000.0 * place}
            end = {key: value + 200 for key, value in start.items()}
            event = {"scope": "system", "status": "ok", "reason": None, "group": "0"}
            events = [{**event, "column": e, "full_name": e} for e in ("cycles", "cache-misses")]
            more = {
                "clock": {"start": start, "end": end},
                "events": events,
                "columns": {"cycles": cycles.tolist(), "cache-misses": misses.tolist()},
            }
            place_of = Path(scratch) / name
            place_of.mkdir()
            powers = {supply: dc_w.tolist(), package: cpu_w.tolist()}
            files.append(write(place_of, powers, rows=200, more=more))
        call(*PACT, "model", "fit", *files, "-o", folder / "model.json", cwd=folder)


def forget_paths():
    """Take the paths of this machine out of what was recorded."""
    for file in RUNS.glob("*/*.json"):
        text = file.read_text().replace(f"{ROOT}/", "")
        file.write_text(re.sub(r"/tmp/\w+/", "", text))


if __name__ == "__main__":
    for name in ("emulated", "real"):
        shutil.rmtree(RUNS / name, ignore_errors=True)
        (RUNS / name).mkdir()
    train(RUNS / "emulated")
    validate(RUNS / "emulated")
    shutil.rmtree(RUNS / "emulated" / "sys")
    model(RUNS / "emulated")
    call(sys.executable, ROOT / "CV" / "demo.py", "12", cwd=RUNS / "real")
    for file in (RUNS / "real" / "demo-run").iterdir():
        file.rename(RUNS / "real" / file.name)
    (RUNS / "real" / "demo-run").rmdir()
    (RUNS / "emulated" / "validate.counters.csv").unlink()
    forget_paths()
