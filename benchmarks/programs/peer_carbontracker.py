"""carbontracker around an epoch that sleeps. See benchmarks/peers.py for the two commands."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path

J_PER_KWH = 3_600_000.0


def measure(seconds):
    from carbontracker.tracker import CarbonTracker

    tracker = CarbonTracker(epochs=1, log_dir=".", verbose=0)
    tracker.epoch_start()
    start_s = time.monotonic()
    time.sleep(seconds)
    end_s = time.monotonic()
    tracker.epoch_end()
    tracker.stop()
    return start_s, end_s


def claim():
    from carbontracker.constants import PUE_2023

    (path,) = Path().glob("*_carbontracker.log")
    (output,) = Path().glob("*_output.log")
    log = path.read_text()
    hours, minutes, seconds = re.search(r"Duration: (\d+):(\d+):([\d.]+)", log).groups()
    time_s = int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    power_w = dict(re.findall(r"Average power usage \(W\) for (\w+): ([\d.]+)", log))
    _, _, actual = output.read_text().partition("Actual consumption")
    total_j = float(re.search(r"Energy:\s*([\d.e+-]+) kWh", actual)[1]) * J_PER_KWH
    everything = ["cpu.package*", "cpu.dram*", "gpu*"]
    claims = [
        ["processors + memory", ["cpu.package*", "cpu.dram*"], float(power_w["cpu"]) * time_s],
        ["GPUs", ["gpu*"], float(power_w["gpu"]) * time_s],
        # PUE is what a data centre draws beside its machines: the truth is that of the machine
        ["all of these, its PUE taken out", everything, total_j / PUE_2023],
    ]
    return {"time_s": time_s, "claims": claims}


if __name__ == "__main__":
    told = claim() if sys.argv[1] == "claim" else measure(float(sys.argv[2]))
    print("\n" + json.dumps(told))
