"""The estimators of the field against the tools themselves, on the same synthetic input.

The tools run in the Python environment of `make bench` (benchmarks/peers.txt); where there is none,
the table says so. The original PACT has no licence and is not installed: its formula stands in
tests/unit/test_agreement_estimators.py, with figures by hand.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest

from pactmeter.analysis.agreement.estimators import (
    CARBONTRACKER,
    CODECARBON,
    carbontracker_cpu_w,
    carbontracker_energy_j,
    codecarbon_constant_w,
    codecarbon_load_w,
    codecarbon_ram_w,
)

ROOT = Path(__file__).parents[2]
PEERS = Path(os.environ.get("PACTMETER_PEERS", ROOT / ".venv/peers/bin/python"))
TITLE = "Estimators of the field, re-implemented, against the tools on the same input"
COLUMNS = ("tool", "figure", "inputs", "largest deviation %")

TDPS_W = [15.0, 65.0, 125.0, 350.0]
LOADS_PCT = [0.0, 3.0, 10.0, 37.5, 50.0, 88.0, 100.0]
GIBS = [0.5, 2, 3.7, 4, 8, 15.6, 16, 31.2, 32, 47, 62.7, 64, 96, 125.6, 128, 188, 251, 503, 3000]
READINGS_W = [
    [[100.0], [140.0], [90.0]],
    [[61.0, 200.0], [75.5, 310.0], [70.0, 180.0]],
    [[50.0, 60.0, 70.0, 80.0]] * 5,
]
DURATION_S = 37.5

CODECARBON_SAYS = """
import json, sys
from unittest import mock
from codecarbon.external import hardware
from codecarbon.external.ram import RAM
asked = json.load(sys.stdin)
said = {"constant": [], "load": [], "ram": [], "arm": []}
for tdp_w in asked["tdps_w"]:
    cpu = hardware.CPU(output_dir=".", mode="constant", model="x", tdp=tdp_w)
    said["constant"].append(cpu.measure_power_and_energy(10.0)[0].W)
    for load_pct in asked["loads_pct"]:
        cpu = hardware.CPU(output_dir=".", mode="cpu_load", model="x", tdp=tdp_w)
        with mock.patch.object(hardware.SystemCPULoadMeter, "percent", lambda self: load_pct):
            said["load"].append(cpu.total_power().W)
for size in asked["sizes"]:
    for name, machine in (("ram", "x86_64"), ("arm", "aarch64")):
        with mock.patch("platform.machine", lambda: machine):
            ram = RAM()
        with mock.patch("psutil.virtual_memory", lambda: mock.Mock(total=size)):
            said[name].append(ram.total_power().W)
print(json.dumps(said))
"""

CARBONTRACKER_SAYS = """
import json, sys
import numpy as np
from unittest import mock
from carbontracker import constants
from carbontracker.components.component import Component
from carbontracker.components.cpu.generic import GenericCPU
from carbontracker.tracker import CarbonTrackerThread
asked = json.load(sys.stdin)
said = {"energy_j": [], "generic_w": []}
class Handler:
    def __init__(self, readings): self.readings = iter(readings)
    def power_usage(self): return list(next(self.readings))
for readings in asked["readings_w"]:
    component = Component.__new__(Component)
    component.name, component.power_usages, component.cur_epoch = "gpu", [], -1
    component._handler = Handler(readings)
    for _ in readings:
        component.collect_power_usage(1)
    thread = mock.Mock(components=[component], epoch_times=[asked["duration_s"]])
    kwh = CarbonTrackerThread.total_energy_per_epoch(thread).sum()
    said["energy_j"].append(float(kwh) * 3.6e6)
for tdp_w in asked["tdps_w"]:
    cpu = GenericCPU.__new__(GenericCPU)
    cpu.tdp, cpu.cpu_brand = None, "test cpu"
    cpu.cpu_power_data, cpu.average_tdp = {"test cpu": tdp_w}, 1.0
    cpu.init()
    said["generic_w"].append(cpu.power_usage()[0])
print(json.dumps(said))
"""


@pytest.fixture
def said(figures, tmp_path):
    """Ask a tool; None, with a row that says so, where there is none."""
    table = figures(TITLE, *COLUMNS)

    def ask(tool, code, asked):
        if not PEERS.is_file():
            table.add(tool, "not run: no peers", "", "")
            return None
        words = [str(PEERS), "-c", code]
        done = subprocess.run(
            words,
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.strip().splitlines()[-1])

    def agree(tool, figure, ours, theirs):
        assert len(ours) == len(theirs)
        worst_pct = max(100 * abs(a / b - 1) for a, b in zip(ours, theirs, strict=True))
        table.add(tool, figure, len(ours), f"{worst_pct:.1g}")
        assert worst_pct < 1e-9, (figure, ours, theirs)

    ask.agree = agree
    return ask


def test_codecarbon_says_the_same(said):
    sizes = [int(gib * 1024**3) for gib in GIBS]
    asked = {"tdps_w": TDPS_W, "loads_pct": LOADS_PCT, "sizes": sizes}
    told = said(CODECARBON, CODECARBON_SAYS, asked)
    if told is None:
        return
    constant = [codecarbon_constant_w(tdp_w) for tdp_w in TDPS_W]
    load = [codecarbon_load_w(tdp_w, pct) for tdp_w in TDPS_W for pct in LOADS_PCT]
    said.agree(CODECARBON, "CPU from the TDP, W", constant, told["constant"])
    said.agree(CODECARBON, "CPU from TDP and load, W", load, told["load"])
    said.agree(CODECARBON, "memory, W", [codecarbon_ram_w(size) for size in sizes], told["ram"])
    arm = [codecarbon_ram_w(size, arm=True) for size in sizes]
    said.agree(CODECARBON, "memory on ARM, W", arm, told["arm"])


def test_carbontracker_says_the_same(said):
    asked = {"readings_w": READINGS_W, "duration_s": DURATION_S, "tdps_w": TDPS_W}
    told = said(CARBONTRACKER, CARBONTRACKER_SAYS, asked)
    if told is None:
        return
    ours = [carbontracker_energy_j(each, DURATION_S, flattened=True) for each in READINGS_W]
    said.agree(CARBONTRACKER, "energy of a component x PUE, J", ours, told["energy_j"])
    generic = [carbontracker_cpu_w(tdp_w) for tdp_w in TDPS_W]
    said.agree(CARBONTRACKER, "CPU from the TDP, W", generic, told["generic_w"])


def test_the_names_of_the_releases_are_those_that_were_run(said):
    code = (
        "import json; from importlib.metadata import version;"
        " print(json.dumps([version('codecarbon'), version('carbontracker')]))"
    )
    if PEERS.is_file():
        found = said("", code, {})
        assert [
            f"CodeCarbon {found[0]}",
            f"carbontracker {found[1]}",
        ] == [CODECARBON, CARBONTRACKER]
