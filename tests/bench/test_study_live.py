"""A whole study on the emulated machine: its report against the true joules of every trial."""

import json
import math
import subprocess
import sys

import pytest

from pactmeter.study.energy_stats import COLUMNS
from support.bench import PACT, bench, require

SECONDS = 3.0
BURN = """
import sys, time
share, end_s = float(sys.argv[1]), time.monotonic() + float(sys.argv[2])
while time.monotonic() < end_s:
    until = time.thread_time() + 0.05 * share
    began = time.monotonic()
    while time.thread_time() < until and time.monotonic() < end_s:
        pass
    time.sleep(max(0.0, 0.05 - (time.monotonic() - began)))
print('PACT-WORK {"steps": 100, "data": "made up"}')
"""
STUDY = """
schema = 1
[settings]
trials = 2
seed = 7
measure_period_s = 0.1
events = [["SYSTEMWIDE:CONTEXT-SWITCHES"], ["SYSTEMWIDE:FAULTS"]]
baseline_s = 5
cool_down_s = 0
timeout_s = 60
control = "cpu_10"
"""
SHARES = {"idle": 0.0, "cpu_10": 0.1, "io_40": 0.4, "vm_95": 0.95}
"""The families are names alone: each burns so much of one processor."""


def workload(name, family, share):
    words = ["{python}", "-P", "-m", "pactmeter", "run", "-q", "{measuring}", "--"]
    words += ["{python}", "{here}/burn.py", str(share), str(SECONDS)]
    return f'[[workload]]\nname = "{name}"\nfamily = "{family}"\ncommand = {json.dumps(words)}\n'


@pytest.fixture(scope="module")
def studied(tmp_path_factory):
    require()
    folder = tmp_path_factory.mktemp("study")
    (folder / "burn.py").write_text(BURN)
    loads = [workload(name, "stress", share) for name, share in SHARES.items()]
    (folder / "study.toml").write_text(STUDY + "".join(loads) + workload("train_70", "cv", 0.7))
    words = (*PACT, "study", "run", "study.toml", "-o", "out")
    options = ("--psu", "hx1500i", "--rapl", "1x", "--load", "follow")
    found = bench(folder, *options, command=words, timeout=300)
    assert found.code == 0, found.err
    report = [*PACT, "study", "report", "out", "--json", "--html", "out.html"]
    done = subprocess.run(report, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return found, json.loads(done.stdout)


def truth(found, row):
    """Return the true joules of a mean trial of a row."""
    each = [found.within(f"out/{stem}_PACT.csv") for stem in row["trials"]]
    return {name: math.fsum(one[name] for one in each) / len(each) for name in each[0]}


def test_every_energy_is_the_true_one_within_its_uncertainty(studied):
    found, told = studied

    assert len(told["rows"]) == 5
    for row in told["rows"]:
        true_j = truth(found, row)["psu.dc_output"]
        off_pct = 100 * (row["energy"]["value"] / true_j - 1)
        print(f"{row['workload']}: {off_pct:+.2f} %")
        assert abs(row["energy"]["value"] - true_j) <= row["u_j"], row["workload"]
        assert row["world"][0] == "emulated devices"


def test_the_remainder_is_the_true_one_within_its_uncertainty(studied):
    found, told = studied

    for row in told["rows"]:
        joules = truth(found, row)
        (left,) = [each for each in row["left"] if each["whole"] == "psu.dc_output"]
        true_w = (joules["psu.dc_output"] - sum(joules[p] for p in left["parts"])) / SECONDS
        covered_s = left["energy_j"] / left["mean_w"]
        u_w = left["u_j"] / covered_s
        print(f"{row['workload']}: {left['mean_w']:.2f} W, truly {true_w:.2f} W, U {u_w:.2f} W")
        assert abs(left["mean_w"] - true_w) <= u_w, row["workload"]
        assert left["violated"] is False


def test_the_model_of_the_stress_loads_tells_the_energy_of_the_training(studied):
    found, told = studied
    training = next(row for row in told["rows"] if row["family"] == "cv")
    true_j = truth(found, training)["psu.dc_output"]

    tests = told["model"]["tests"]["linear"]
    print([f"{one['off_pct']:+.2f} %" for one in tests], told["model"]["refused"])
    assert [one["trial"] for one in tests] == sorted(training["trials"])
    assert all(abs(one["off_pct"]) < 5 for one in tests)
    rows = {row["TestRun"]: row for row in told["stats"]["rows"]}
    assert tuple(rows["train_70_1"]) == COLUMNS
    kwh = [rows[stem]["actualEnergy(kWh)"] for stem in training["trials"]]
    mean_j = math.fsum(kwh) / len(kwh) * 0.92 * 3.6e6
    assert mean_j == pytest.approx(true_j, rel=training["u_j"] / true_j)


def test_rest_drift_work_and_noise_are_told(studied):
    found, told = studied

    before, after = told["rests"]
    assert before["mean_w"] == pytest.approx(after["mean_w"], rel=0.1)
    assert after["drift_pct"] is not None
    assert told["noise_pct"] is not None
    for row in told["rows"]:
        assert row["per"]["steps"]["value"] == pytest.approx(row["energy"]["value"] / 100)
        assert row["above_idle"]["value"] < row["energy"]["value"]
    page = (found.folder / "out.html").read_text(encoding="utf-8")
    assert "Uncovered remainder" in page
    assert "Power model: fitted on stress" in page
    assert sys.executable not in page
