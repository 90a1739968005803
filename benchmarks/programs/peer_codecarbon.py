"""CodeCarbon around a function that sleeps. See benchmarks/peers.py for the two commands."""

from __future__ import annotations

import csv
import json
import sys
import time
from pathlib import Path

J_PER_KWH = 3_600_000.0


def measure(seconds):
    from codecarbon import OfflineEmissionsTracker

    # No network and no account. A sample a second, as the other tools take them: its own period
    # is 15 s, about as long as the whole run.
    tracker = OfflineEmissionsTracker(
        country_iso_code="DEU", measure_power_secs=1, log_level="warning"
    )
    tracker.start()
    start_s = time.monotonic()
    time.sleep(seconds)
    end_s = time.monotonic()
    tracker.stop()
    return start_s, end_s


def claim():
    with Path("emissions.csv").open(newline="") as stream:
        (row,) = csv.DictReader(stream)

    def energy_j(name):
        return float(row[name]) * J_PER_KWH

    everything = ["cpu.package*", "cpu.dram*", "gpu*"]
    claims = [
        ["processors", ["cpu.package*"], energy_j("cpu_energy")],
        # of its size in the machine that this runs on: the emulated one has no size
        ["memory, estimated", ["cpu.dram*"], energy_j("ram_energy")],
        ["GPUs", ["gpu*"], energy_j("gpu_energy")],
        ["all of these", everything, energy_j("energy_consumed")],
    ]
    return {"time_s": float(row["duration"]), "claims": claims}


if __name__ == "__main__":
    told = claim() if sys.argv[1] == "claim" else measure(float(sys.argv[2]))
    print("\n" + json.dumps(told))
