"""A function that sleeps, under one tool. Runs with the tool's own Python: standard library only.

``tools.py call TOOL SECONDS CALLS`` prints one JSON object: times of the import and of each call.
``tools.py claim TOOL`` prints what energy the files in this folder claim, and how many files.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

J_PER_KWH = 3_600_000.0
_stamps = [0.0, 0.0]


def sleeper(seconds):
    def work():
        _stamps[0] = time.monotonic()
        time.sleep(seconds)
        _stamps[1] = time.monotonic()  # the last act: what follows is the tool's
        return "value"

    return work


def bare(work):
    return work


def pact(work):
    from trackerPACT import PACT

    return PACT(work)


def codecarbon(work):
    from codecarbon import track_emissions

    # offline, into a file of this folder: no network, no account
    return track_emissions(
        offline=True,
        country_iso_code="DEU",
        save_to_file=True,
        save_to_api=False,
        output_dir=".",
        log_level="error",
    )(work)


def carbontracker(work):
    from carbontracker.tracker import CarbonTracker

    def measured():
        tracker = CarbonTracker(epochs=1, log_dir=".", verbose=0)
        tracker.epoch_start()
        value = work()
        tracker.epoch_end()
        tracker.stop()
        return value

    return measured


def perun(work):
    # `perun.monitor` only marks a region of a run under `perun monitor`; this one measures
    from perun import perun as decorate

    return decorate()(work)


TOOLS = {f.__name__: f for f in (bare, pact, codecarbon, carbontracker, perun)}


def call(tool, seconds, calls):
    begin_s = time.monotonic()
    function = TOOLS[tool](sleeper(seconds))
    import_s = time.monotonic() - begin_s
    told = []
    unchanged = True
    for _ in range(calls):
        start_s = time.monotonic()
        unchanged &= function() == "value"
        end_s = time.monotonic()
        told.append(
            {
                "before_s": _stamps[0] - start_s,
                "inside_s": _stamps[1] - _stamps[0],
                "after_s": end_s - _stamps[1],
                "added_s": end_s - start_s - seconds,
            }
        )
    return {"import_s": import_s, "calls": told, "value_unchanged": unchanged}


def claim(tool):
    """Return the joules of each call as the tool's own files give them, and the files."""
    files = [str(path) for path in sorted(Path().rglob("*")) if path.is_file()]
    return {"files": files, "energy_j": CLAIMS[tool](), "what": WHAT[tool]}


def _pact_claim():
    command = [sys.executable, "-m", "pactmeter", "report", "PACT.csv", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    headline = json.loads(done.stdout)["headline"]
    return [] if headline is None else [headline["energy_j"]]


def _codecarbon_claim():
    import csv

    with Path("emissions.csv").open(newline="") as stream:
        return [float(row["energy_consumed"]) * J_PER_KWH for row in csv.DictReader(stream)]


def _carbontracker_claim():
    import re

    found = []
    for path in sorted(Path().glob("*_output.log")):
        _, _, actual = path.read_text().partition("Actual consumption")
        energies_kwh = re.findall(r"Energy:\s*([\d.e+-]+) kWh", actual)
        found += [float(energy_kwh) * J_PER_KWH for energy_kwh in energies_kwh]
    return found


def _perun_claim():
    import h5py

    found = []

    def visit(name, item):
        # APP/nodes/RUN/metrics/ENERGY: a run's figure; there is none where perun found no sensor
        if name.endswith("/metrics/ENERGY") and name.count("/nodes/") == 1:
            found.append(float(item.attrs["sum"]) * float(item.attrs.get("mag", 1)))

    for path in sorted(Path("perun_results").glob("*.hdf5")):
        with h5py.File(path, "r") as stream:
            stream.visititems(visit)
    return found


CLAIMS = {
    "bare": list,
    "pact": _pact_claim,
    "codecarbon": _codecarbon_claim,
    "carbontracker": _carbontracker_claim,
    "perun": _perun_claim,
}
WHAT = {
    "bare": "",
    "pact": "all calls",
    "codecarbon": "a call",
    "carbontracker": "a call, PUE 1.58 included",
    "perun": "a call",
}


if __name__ == "__main__":
    if sys.argv[1] == "call":
        result = call(sys.argv[2], float(sys.argv[3]), int(sys.argv[4]))
    else:
        result = claim(sys.argv[2])
    print("\n" + json.dumps(result))
