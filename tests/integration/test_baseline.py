"""`pactmeter baseline`, and what a report makes of it, on files that follow a known power."""

import json
import os
import subprocess
import sys

import pytest

from support.machine import Machine

LOADED = (
    "import sys, time, pathlib; f = pathlib.Path(sys.argv[1]); f.touch(); time.sleep(2); f.unlink()"
)


def pactmeter(*words, folder, env):
    command = [sys.executable, "-m", "pactmeter", *words]
    return subprocess.run(
        command, cwd=folder, env=os.environ | env, capture_output=True, text=True, check=False
    )


def test_the_joules_above_idle_of_a_known_load_come_out(tmp_path):
    with Machine(tmp_path / "sys", idle_w=100.0, load_w=400.0) as machine:
        idle = pactmeter("baseline", "--duration", "5", "--json", folder=tmp_path, env=machine.env)
        assert idle.returncode == 0, idle.stderr
        load = str(tmp_path / "sys" / "load")
        words = ("run", "-q", "--", sys.executable, "-c", LOADED, load)
        assert pactmeter(*words, folder=tmp_path, env=machine.env).returncode == 0
        told = pactmeter(
            "report",
            "PACT.csv",
            "--json",
            "--baseline",
            "idle.csv",
            folder=tmp_path,
            env=machine.env,
        )
    found = json.loads(idle.stdout)
    powers = {channel["channel"]: channel["mean_w"] for channel in found["idle"]}
    assert powers["cpu.package0"] == pytest.approx(100.0, rel=0.005)
    assert 0 <= found["busy_pct"] <= 100
    above = json.loads(told.stdout)["baseline"]
    net = {entry["channel"]: entry for entry in above["net"]}
    true_j = 2.0 * 300.0
    assert net["cpu.package0"]["energy_j"] == pytest.approx(true_j, rel=0.02)
    assert abs(net["cpu.package0"]["energy_j"] - true_j) < net["cpu.package0"]["u_j"]
    assert any("60 s is what the rules ask for" in note for note in above["notes"])


def test_without_a_source_of_power_it_is_refused_at_once(tmp_path):
    done = pactmeter("baseline", folder=tmp_path, env={})

    assert done.returncode == 1
    assert "no power source" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [("--duration", "0.5"), ("--duration", "nan")])
def test_a_duration_that_tells_nothing_is_refused(tmp_path, words):
    done = pactmeter("baseline", *words, folder=tmp_path, env={})

    assert done.returncode == 2
    assert "--duration 60" in done.stderr
