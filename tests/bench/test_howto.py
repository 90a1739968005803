"""The how-to pages of the emulated machine: every command works exactly as it is typed there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support import bench as machines
from support.bench import PACT

HOWTO = Path(__file__).parents[2] / "docs/howto"
ROOT_SHELL = 'sudo env "PATH=$PATH" '


@pytest.fixture(autouse=True)
def _machine():
    machines.require()


def blocks(name):
    """Return what is typed on a page, as root types it: the lines of each block."""
    text = (HOWTO / name).read_text(encoding="utf-8")
    found = re.findall(r"^```console\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    lines = [re.findall(r"^\$ (.*)$", block, flags=re.MULTILINE) for block in found]
    return [[line.removeprefix(ROOT_SHELL) for line in block] for block in lines]


def typed(line, folder, launcher=()):
    """Type a line into a shell that has PACT's commands; return what it printed."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        [*launcher, "bash", "-c", line],
        cwd=folder,
        env={**os.environ, "PATH": path, "CUDA_VISIBLE_DEVICES": "0,1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{line}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done.stdout


@pytest.mark.slow
def test_every_command_of_both_pages_works_as_typed(tmp_path):
    records, *rest = blocks("record-a-psu.md")
    supply = [*PACT, "bench", "run", "--psu", "hx1500i", "--"]
    shell, *others = blocks("emulated-machine.md")
    assert shell == ["bash"]

    def record(line):
        out = typed(line.replace("--duration 20", "--duration 2"), tmp_path, supply)
        assert "reports from it" in out, line

    def work_through(number, lines):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name in ("psu.csv", "status.csv"):
            shutil.copy(tmp_path / name, folder)
        for line in lines:
            out = typed(line, folder)
            if "liquidctl status" in line:
                assert "Total power output" in out, line
            if " compare " in line:
                assert re.search(r"^gpu1 .* 100\.0 %$", out, re.MULTILINE)
            if "true_energy_j" in line:
                assert "'cpu.package0': " in out

    with ThreadPoolExecutor(4) as pool:
        assert len(list(pool.map(record, records))) == 3
        worked = [*rest, *others]
        assert sum(map(len, worked)) >= 15
        list(pool.map(work_through, range(len(worked)), worked))


def test_the_options_of_bench_run_stand_in_the_reference():
    page = (HOWTO.parent / "reference/cli.md").read_text(encoding="utf-8")
    section = page.split("\n## bench\n")[1].split("\n## ")[0]
    told = subprocess.run(
        [*PACT, "bench", "run", "--help"], capture_output=True, text=True, check=True
    ).stdout

    options = set(re.findall(r"^  (--[a-z]+)", told, flags=re.MULTILINE))
    assert len(options) == 8
    for option in options:
        assert f"`{option}" in section, option
    told = subprocess.run([*PACT, "bench", "--help"], capture_output=True, text=True, check=True)
    for command in re.findall(r"^    (\w+)  ", told.stdout, flags=re.MULTILINE):
        assert f"pactmeter bench {command}" in section, command
