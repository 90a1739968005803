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

RUNS = Path(__file__).parent
ROOT = RUNS.parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "unit")]

from test_plots import model_files  # noqa: E402

from pactmeter.analysis.run import load  # noqa: E402
from support.machine import Machine  # noqa: E402

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
    with tempfile.TemporaryDirectory() as scratch:
        made, _ = model_files(Path(scratch))
        shutil.copy(made, folder / "model.json")


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
