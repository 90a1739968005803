"""PACT around a function that sleeps. See benchmarks/peers.py for the two commands."""

from __future__ import annotations

import json
import subprocess
import sys
import time

KINDS = {"cpu.package": "processors", "cpu.dram": "memory", "gpu": "GPUs"}


def measure(seconds):
    from trackerPACT import PACT

    @PACT
    def work():
        start_s = time.monotonic()
        time.sleep(seconds)
        return start_s, time.monotonic()

    return work()


def claim():
    words = [sys.executable, "-m", "pactmeter", "report", "PACT.csv", "--json"]
    report = json.loads(subprocess.run(words, capture_output=True, check=True).stdout)
    if report["status"] != "complete":
        sys.exit(f"the run is {report['status']}: {report['reason']}")
    claims = []
    for source in report["sources"]:
        channel = source["channel"]
        if kind := KINDS.get(channel.rstrip("0123456789")):
            claims.append([kind, [channel], source["energy_j"]])
    if report["headline"]["channel"] == "cpu+gpu":
        covers = ["cpu.package*", "gpu*"]
        claims.append(["processors + GPUs", covers, report["headline"]["energy_j"]])
    return {"time_s": report["duration_s"], "claims": claims}


if __name__ == "__main__":
    told = claim() if sys.argv[1] == "claim" else measure(float(sys.argv[2]))
    print("\n" + json.dumps(told))
