"""`pactmeter validate` in real time, on files that follow a known power, against a meter's CSV."""

import json
import os
import subprocess
import sys

import pytest

from pactmeter.analysis.run import load
from support.machine import Machine

GAIN = 1.05
WINDOW_S, SETTLE_S = 2.0, 0.6


def test_the_gain_of_a_meter_is_found_and_applied_by_name(tmp_path):
    with Machine(tmp_path / "sys", idle_w=60.0) as machine:
        file = tmp_path / "sys" / "load"

        def pactmeter(*words):
            command = [sys.executable, "-m", "pactmeter", *map(str, words)]
            return subprocess.run(
                command,
                cwd=tmp_path,
                env=os.environ | machine.env,
                capture_output=True,
                text=True,
                check=False,
            )

        loads = [f"sh -c 'echo {watts} > {file}; exec sleep 60'" for watts in (200, 380)]
        words = ("--window", WINDOW_S, "--settle", SETTLE_S, "--later", "--psu", "none")
        done = pactmeter("validate", *words, "--load", loads[0], "--load", loads[1])
        assert done.returncode == 0, done.stderr
        assert "validate.csv --reference METER.csv" in done.stdout

        start = load(tmp_path / "validate.csv").manifest["clock"]["start"]
        times_s = [start["monotonic_s"] + 0.3 + k / 10 for k in range(10 * 34)]
        powers_w = machine.power_w(times_s)
        lines = [
            f"{start['utc_s'] + t - start['monotonic_s']:.3f},{GAIN * w:.2f}"
            for t, w in zip(times_s, powers_w, strict=True)
        ]
        (tmp_path / "meter.csv").write_text("\n".join(["time,P [W]", *lines]) + "\n")
        words = ("--reference", "meter.csv", "--power-column", "P [W]", "--accuracy", "0.5")
        wanted = ("--calibration", "c.json", "--source", "cpu.package0", "--json")
        done = pactmeter("validate", "validate.csv", *words, *wanted)
        assert done.returncode == 0, done.stderr

    found = {one["channel"]: one for one in json.loads(done.stdout)["sources"]}
    line = found["cpu.package0"]["line"]
    assert line["terms"][1] == pytest.approx(GAIN, rel=0.01)
    assert [each["name"] for each in found["cpu.package0"]["loads"]] == ["idle", "load1", "load2"]
    kept = json.loads((tmp_path / "c.json").read_text())
    assert (kept["source"], kept["accuracy_pct"]) == ("cpu.package0", 0.5)


def test_a_load_that_ends_early_is_an_error_and_leaves_no_process(tmp_path):
    with Machine(tmp_path / "sys") as machine:
        words = ("validate", "--later", "--window", "2", "--settle", "0", "--psu", "none")
        command = [sys.executable, "-m", "pactmeter", *words, "--load", "true", "--load", "true"]
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env=os.environ | machine.env,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert "the load true ended early (exit code 0)" in done.stderr
