"""`pactmeter probe gpu` on emulated GPUs: every generation is found to be what it is.

Most run on a clock that the test moves, through the real nvidia-ml-py and the emulated library; one
runs the command as a user does, on an emulated machine.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from pactmeter.analysis.gpu_probe import examine
from pactmeter.analysis.gpu_window import BOXCAR
from pactmeter.bench import gpu, nvml
from pactmeter.bench.faults import Fault, FaultBoard
from pactmeter.bench.loads import Span, pieces
from pactmeter.bench.timeline import Timeline
from pactmeter.sensors.gpu_card import find
from pactmeter.sensors.gpu_load import Edge
from pactmeter.sensors.gpu_probe import Recorder
from support.rights import refuse

PROBE = """
import argparse, sys
from pactmeter.cli import probe
parser = argparse.ArgumentParser()
probe.prepare(parser)
sys.exit(probe.run(parser.parse_args(sys.argv[1:])))
"""
RUN_S = 24.0
"""The shortest probe with an uncertainty of everything but the cost of polling; takes 17 s."""


@pytest.fixture(scope="session")
def library_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nvml")
    nvml.build_library(folder, cache=tmp_path_factory.getbasetemp() / "cache")
    return folder


def in_child(library_folder, tmp_path, *words):
    """Run this file as a program that has the emulated library; return what it says."""
    environment = {
        **os.environ,
        "LD_LIBRARY_PATH": str(library_folder),
        "PYTHONPATH": str(Path(__file__).parents[1]),
        nvml.ENVIRONMENT: str(tmp_path / "gpus"),
    }
    environment.pop("CUDA_VISIBLE_DEVICES", None)
    done = subprocess.run(
        [sys.executable, __file__, *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


class Machine:
    """One emulated GPU on a clock that the probe's own sleeps move, and its load."""

    name = "the test's own"
    edge_u_s = 0.0

    def __init__(self, model, fault):
        self.span = Span(model.idle_w, model.busy_w)
        self.time_s = 0.0
        self.line = Timeline(pieces("idle", self.span))
        board = FaultBoard(lambda: self.time_s)
        if fault:
            board.add(Fault("gpu0", fault))
        path = Path(os.environ[nvml.ENVIRONMENT])
        self.publisher = nvml.Publisher(path, [model], [self.line], time.monotonic(), board)
        self.publisher.set_virtual_now(0.0)
        self.told = []
        self.sleep(5.0)

    def now(self):
        self.time_s += 10e-6
        self.publisher.set_virtual_now(self.time_s)
        return self.time_s

    def sleep(self, duration_s):
        self.time_s += duration_s
        self.publisher.set_virtual_now(self.time_s)

    def start(self, timeout_s):
        self.sleep(5.0)

    def switch(self, on):
        self.line.switch(self.time_s, pieces("busy" if on else "idle", self.span))
        self.publisher.publish(self.time_s + 10.0)
        self.told.append(Edge(self.time_s, on))

    def edges(self):
        return self.told

    def close(self):
        pass


def probed(name, fault):
    """Probe an emulated GPU and print what was found."""
    machine = Machine(gpu.PRESETS[name], fault)
    (card,), _ = find()
    recording = Recorder(card, machine, lambda text: None).record(machine, 180.0)
    found = examine(recording).to_dict()
    print(json.dumps({"synthetic": card.synthetic, "missing": sorted(card.missing), **found}))
    card.close()


@pytest.mark.parametrize("name", gpu.PRESETS)
def test_each_preset_is_found_to_be_what_it_is(name, library_folder, tmp_path):
    model = gpu.PRESETS[name]

    found = in_child(library_folder, tmp_path, name)

    assert found["synthetic"] == "emulated"
    mean_s = model.average_window_s or model.window_s
    windows_s = {"usage": mean_s, "instant": model.window_s}
    if "average" not in found["missing"]:
        windows_s["average"] = mean_s
    assert set(found["averaging_window"]) == set(windows_s)
    for reading, window_s in windows_s.items():
        period, window = found["update_period"][reading], found["averaging_window"][reading]
        assert abs(period["period_s"] - model.update_period_s) <= period["u_s"]
        assert window["shape"] == BOXCAR
        assert abs(window["length_s"] - window_s) <= window["u_s"] < max(0.002, 0.02 * window_s)
        seen_pct = min(100.0, 100 * window_s / model.update_period_s)
        assert found["seen"][reading]["seen_pct"] == pytest.approx(seen_pct, abs=5)
    if model.counts_energy:
        counter = found["update_period"]["energy"]
        assert abs(counter["period_s"] - model.energy_period_s) <= counter["u_s"]
        for closure in found["closure_loaded"].values():
            assert abs(closure["closure_pct"]) <= closure["u_pct"] < 5
        for closure in found["closure_at_rest"].values():
            assert abs(closure["closure_pct"]) <= closure["u_pct"] + 0.05 < 0.5
        cost = found["polling_cost"]
        assert abs(cost["extra_w"]) <= cost["u_w"] < 0.03 * model.idle_w
        assert cost["rest_w"] == pytest.approx(model.idle_w, rel=0.02)
    else:
        assert "no energy counter" in found["polling_cost"]["reason"]


def test_a_frozen_gpu_has_no_figures(library_folder, tmp_path):
    found = in_child(library_folder, tmp_path, "a100", "frozen")

    for group in ("update_period", "averaging_window"):
        assert all(set(figure) == {"reason"} for figure in found[group].values())
    assert "the energy counter does not move: do not use it" in found["advice"]


def test_power_that_is_garbage_is_no_power(library_folder, tmp_path):
    found = in_child(library_folder, tmp_path, "a100", "garbage")

    assert all(set(figure) == {"reason"} for figure in found["averaging_window"].values())


def started(name):
    command = [sys.executable, "-m", "pactmeter.bench", "run", "--gpu", name, "--"]
    words = ["gpu", "--json", "--duration", str(RUN_S)]
    environment = dict(os.environ)
    environment.pop("CUDA_VISIBLE_DEVICES", None)
    return subprocess.Popen(
        [*command, sys.executable, "-c", PROBE, *words],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.root
def test_the_command_tells_an_a100_from_a_v100_on_an_emulated_machine():
    """In real time; both at once, since they take 17 s."""
    begun_s = time.monotonic()
    with ExitStack() as stack:
        processes = {name: stack.enter_context(started(name)) for name in ("a100", "v100")}
        for process in processes.values():
            stack.callback(process.kill)
        ended = {name: process.communicate(timeout=120) for name, process in processes.items()}
    for name, process in processes.items():
        told, errors = ended[name]
        if "emulated machine" in errors or "/dev/fuse" in errors:
            refuse(errors.strip())
        assert process.returncode == 0, errors
        assert "under load" in errors  # progress
        data, model = json.loads(told), gpu.PRESETS[name]
        assert data["schema"] == 1
        (card,) = data["gpus"]
        assert card["synthetic"] == "emulated"
        period, window = card["update_period"]["usage"], card["averaging_window"]["usage"]
        assert period["period_s"] == pytest.approx(model.update_period_s, rel=0.01)
        # a busy machine is late with its orders: wider than a quiet one would need
        assert window["length_s"] == pytest.approx(model.window_s, abs=0.004 + window["u_s"])
        # three bursts: outside its k=2 in one run of twenty, outside three times that in 0.6 %
        closure = card["closure_loaded"]["usage"]
        assert abs(closure["closure_pct"]) <= 3 * closure["u_pct"] + 0.5
        assert "takes --duration" in card["polling_cost"]["reason"]
    assert time.monotonic() - begun_s < RUN_S + 10


if __name__ == "__main__":
    probed(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None)
