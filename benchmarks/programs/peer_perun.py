"""perun around a function that sleeps. See benchmarks/peers.py for the two commands."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

METRICS = {
    "CPU_ENERGY": ("processors", ["cpu.package*"]),
    "DRAM_ENERGY": ("memory", ["cpu.dram*"]),
    "GPU_ENERGY": ("GPUs", ["gpu*"]),
    "ENERGY": ("all of these", ["cpu.package*", "cpu.dram*", "gpu*"]),
}


def measure(seconds):
    # `perun.monitor` only marks a region of a run under `perun monitor`; this one measures
    from perun import perun

    @perun(format="hdf5")
    def work():
        start_s = time.monotonic()
        time.sleep(seconds)
        return start_s, time.monotonic()

    _status, value = work()
    return value


def claim():
    import h5py

    (path,) = Path("perun_results").glob("*.hdf5")
    with h5py.File(path, "r") as stream:
        (run,) = stream.values()
        metrics = run["metrics"]
        claims = [
            [kind, covers, float(metrics[name].attrs["sum"] * metrics[name].attrs["mag"])]
            for name, (kind, covers) in METRICS.items()
            if name in metrics
        ]
        time_s = float(metrics["RUNTIME"].attrs["sum"])
    return {"time_s": time_s, "claims": claims}


if __name__ == "__main__":
    told = claim() if sys.argv[1] == "claim" else measure(float(sys.argv[2]))
    print("\n" + json.dumps(told))
