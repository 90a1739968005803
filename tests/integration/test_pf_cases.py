"""What performance-features hangs or aborts on goes through: right exit code, complete files."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pactmeter.analysis.run import load

PROGRAM = Path(__file__).parents[2] / "benchmarks/programs/counter_cases.py"
CASES = {
    "a shell that execs": (["sh", "-c", "exec sleep 0.5"], 0),
    "env, which execs": ([shutil.which("env") or "env", "sleep", "0.5"], 0),
    "a timer's SIGALRM": ([sys.executable, str(PROGRAM), "alarm"], 7),
    "a SIGUSR1 from another process": ([sys.executable, str(PROGRAM), "usr1"], 5),
    "a group of events and thread churn": ([sys.executable, str(PROGRAM), "churn"], 0),
}
EVENTS = "cpu-clock,faults,context-switches,migrations"


@pytest.mark.perf("user")
@pytest.mark.parametrize("case", CASES)
def test_an_ordinary_program_goes_through(tmp_path, case):
    words, code = CASES[case]
    options = ["-q", "--psu", "none", "-e", EVENTS, "--perf-period", "0.01"]
    command = [sys.executable, "-m", "pactmeter", "run", *options, "--", *words]
    start_s = time.monotonic()
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ, capture_output=True, timeout=30, check=False
    )
    assert done.returncode == code, done.stderr
    assert time.monotonic() - start_s < 15  # each takes a second; some hang for ever under others
    run = load(tmp_path / "PACT.csv")
    assert run.status == "complete"
    assert run.manifest["calls"] == 1
    assert sum(value or 0 for value in run.columns["cpu-clock"]) > 0
