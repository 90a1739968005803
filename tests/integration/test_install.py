"""As it reaches people: a wheel in a bare environment, and a clone that is not installed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BARE = Path(sys.base_prefix) / "bin" / "python3"

# the example of the documented README, with its sys.path lines and without a main guard
EXAMPLE = """
import os
import sys
currentDir = os.path.dirname(os.path.realpath(__file__))
parentDir = os.path.abspath(os.path.join(currentDir, os.pardir))
sys.path.append(os.path.join(parentDir, "src"))
from trackerPACT import PACT

events_groups = [['MIGRATIONS'],['FAULTS'],['CACHE-MISSES'],['CYCLES']]

@PACT(measure_period = 1, perf_measure_period = 0.01, events_groups = events_groups,
      tracker_file_name = "./PACT.csv"{psu})
def your_function():
  # your code
  print("ran")
  return 42

assert your_function() == 42
"""


@pytest.fixture
def clone(tmp_path):
    """A clone's `src` beside a folder of the user's, and a Python that knows no pactmeter."""
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "mine").mkdir()
    return tmp_path


def run_example(clone, psu):
    (clone / "mine/script.py").write_text(EXAMPLE.format(psu=psu))
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    return subprocess.run(
        [BARE, "script.py"],
        cwd=clone / "mine",
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_documented_example_runs_from_a_clone_that_is_not_installed(clone):
    done = run_example(clone, "")
    assert (done.returncode, done.stdout) == (0, "ran\n"), done.stderr
    assert "PACT.csv" in done.stderr
    header = (clone / "mine/PACT.csv").read_text().splitlines()[0]
    assert header.endswith("migrations,faults,cache-misses,cycles")
    for name in ("PACT.counters.csv", "PACT.regions.csv", "PACT.json"):
        assert (clone / "mine" / name).exists()


def test_the_documented_example_with_its_psu_ends_before_the_function_in_a_clear_error(clone):
    done = run_example(clone, ', PSU = "Corsair_1500i"')
    assert done.returncode == 1
    assert "ran" not in done.stdout
    last = done.stderr.strip().splitlines()[-2:]
    assert "DeviceError" in last[0]
    assert "1b1c:1c1f" in last[0]
    assert "fix:" in last[1]


@pytest.mark.usefixtures("gauge")
def test_the_wheel_works_in_a_bare_environment(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", tmp_path, ROOT],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    subprocess.run([BARE, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    python = tmp_path / "venv/bin/python"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python]
    subprocess.run([*pip, "install", "-q", "--no-index", wheel], check=True)
    command = [tmp_path / "venv/bin/pactmeter", "run", "-o", "out.csv", "--", "sh", "-c", "exit 7"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 7, done.stderr
    assert "PACT run  complete" in done.stderr
    code = "import pactmeter.data as d; d.open_table('cpu_tdp.csv').close(); import trackerPACT"
    subprocess.run([python, "-W", "error", "-c", code], check=True, cwd=tmp_path)
