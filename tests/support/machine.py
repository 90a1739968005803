"""A little emulated machine: plain sysfs files whose power follows a file called `load`.

Run as a process: ``python machine.py ROOT IDLE_W LOAD_W``. It keeps a RAPL package (a counter that
wraps) and an hwmon power sensor below ROOT, both driven by one power: LOAD_W while ROOT/load
exists (or the watts that stand in it), else IDLE_W. Every change is noted in ROOT/truth with its
time, so that the true joules of any window are known even where the machine is too busy to react at
once. ROOT/fail makes the hwmon reading unreadable while it exists.
"""

import itertools
import math
import os
import subprocess
import sys
import time
from pathlib import Path

from pactmeter.store.table import read_table

MAX_UJ = 262143328850
START_UJ = MAX_UJ - 150_000_000  # wraps after 150 J


def prepare(root):
    """Make the tree; return the files to drive."""
    zone = root / "class/powercap/intel-rapl:0"
    chip = root / "class/hwmon/hwmon3"
    for folder in (zone, chip):
        folder.mkdir(parents=True)
    (root / "class/powercap/intel-rapl").mkdir()
    (zone / "name").write_text("package-0\n")
    (zone / "max_energy_range_uj").write_text(f"{MAX_UJ}\n")
    (chip / "name").write_text("acpi_meter\n")
    (chip / "power1_label").write_text("board\n")
    (zone / "energy_uj").write_text(f"{START_UJ:015d}\n")
    (chip / "power1_input").write_text(f"{0:015d}\n")
    return zone / "energy_uj", chip / "power1_input"


def drive(root, idle_w, load_w):
    """Follow the load until our parent closes our standard input."""
    energy, power = prepare(root)
    energy_fd, power_fd = os.open(energy, os.O_WRONLY), os.open(power, os.O_WRONLY)
    joules, last = 0.0, time.monotonic()
    watts = idle_w
    truth = (root / "truth").open("w")
    print("ready", flush=True)
    os.set_blocking(0, False)
    while True:
        now = time.monotonic()
        joules, last = joules + watts * (now - last), now
        try:  # one look: the file can go away between two
            wanted = float((root / "load").read_text().strip() or load_w)
        except FileNotFoundError:
            wanted = idle_w
        if wanted != watts or not joules:
            truth.write(f"{now} {wanted}\n")
            truth.flush()
        watts = wanted
        raw = (START_UJ + int(joules * 1e6)) % (MAX_UJ + 61)
        os.pwrite(energy_fd, f"{raw:015d}\n".encode(), 0)
        broken = (root / "fail").exists()
        os.pwrite(
            power_fd, b"garbage garbage" if broken else f"{int(watts * 1e6):015d}\n".encode(), 0
        )
        try:
            if os.read(0, 1) == b"":
                return
        except BlockingIOError:
            pass
        time.sleep(0.0005)


class Machine:
    """The machine as a context manager; `env` makes PACT see it."""

    def __init__(self, root, idle_w=100.0, load_w=400.0):
        self.root = Path(root)
        self._idle_w = idle_w
        self._arguments = [str(self.root), str(idle_w), str(load_w)]
        self.env = {"PACTMETER_SYSFS": str(self.root)}

    def true_j(self, run):
        """Return the joules that truly flowed during the calls of a run."""
        lines = (self.root / "truth").read_text().splitlines()
        changes = [tuple(map(float, line.split())) for line in lines]
        zero = run.manifest["zero_monotonic_s"]
        joules = 0.0
        for row in read_table(run.files.regions)[1]:
            start, end = zero + float(row[0]), zero + float(row[1])
            for (since, watts), (until, _) in itertools.pairwise([*changes, (math.inf, 0.0)]):
                joules += watts * max(0.0, min(end, until) - max(start, since))
        return joules

    def power_w(self, times_s):
        """Return the true power at times of CLOCK_MONOTONIC that are past."""
        lines = (self.root / "truth").read_text().splitlines()
        changes = [tuple(map(float, line.split())) for line in lines]
        return [[self._idle_w, *(w for since, w in changes if since <= t)][-1] for t in times_s]

    def __enter__(self):
        self._process = subprocess.Popen(
            [sys.executable, __file__, *self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout.readline() == "ready\n"
        return self

    def __exit__(self, *_error):
        self._process.communicate()


if __name__ == "__main__":
    drive(Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]))
