"""Long runs as files for the page's tests: an hour at 10 Hz and 100 Hz, or a day."""

from __future__ import annotations

import json

import numpy as np

from pactmeter.model.channel import Channel, Domain, Kind
from pactmeter.units import Unit

NAMES = ("psu.dc_output", "psu.ac_input", "cpu.package0", "cpu.core0", "gpu0", "cpu.dram0")
EVENTS = ("faults", "migrations", "cache-misses", "cycles")


def long_run(folder, hours=1.0, power_hz=10.0, counters_hz=100.0, seed=7):
    """Write a run with six sources and four events whose values are noise, and return its file."""
    rng = np.random.default_rng(seed)
    channels = [
        Channel(n, Unit.WATT, Kind.POWER, n, Domain.DC if k == 0 else None, accuracy_pct=5.0)
        for k, n in enumerate(NAMES)
    ]
    rows, step_s = round(hours * 3600 * power_hz), 1 / power_hz
    end_s = np.arange(1, rows + 1) * step_s + rng.normal(0, 1e-4, rows)
    length_s = np.diff(end_s, prepend=0.0)
    load = 200 + 100 * np.sin(np.arange(rows) / 600) + 40 * (np.arange(rows) % 300 < 150)
    columns = {"due_s": np.arange(1, rows + 1) * step_s, "read_s": end_s}
    columns |= {"late_s": np.zeros(rows), "window_s": length_s}
    for k, name in enumerate(NAMES):
        watts = load / (k + 1) + rng.normal(0, 3, rows)
        columns |= {f"{name}_w": watts, f"{name}_j": np.cumsum(watts * length_s)}
        columns[f"{name}_n"] = np.ones(rows)
    _csv(folder / "PACT.csv", columns)
    bins, step_s = round(hours * 3600 * counters_hz), 1 / counters_hz
    edges_s = np.arange(bins + 1) * step_s + rng.normal(0, 5e-5, bins + 1)
    counts = {
        "faults": rng.poisson(3, bins),
        "migrations": rng.poisson(0.2, bins),
        "cache-misses": rng.lognormal(9, 1, bins).astype(int),
        "cycles": (2e7 + rng.normal(0, 4e6, bins)).astype(int),
    }
    columns = {"start_s": edges_s[:-1], "dt_s": np.diff(edges_s), **counts}
    columns["faults_running"] = np.ones(bins)
    _csv(folder / "PACT.counters.csv", columns)
    length = hours * 3600
    marks = [f"0,{length},call,0,1"]
    marks += [f"{k * 30},{k * 30 + 20},step,{k},1" for k in range(int(length // 30))]
    text = "\n".join(["start_s,end_s,name,index,tid", *marks])
    (folder / "PACT.regions.csv").write_text(text + "\n")
    manifest = {
        "schema": 1,
        "status": "complete",
        "reason": None,
        "calls": 1,
        "config": {"measure_period_s": 1 / power_hz},
        "host": {"name": "here"},
        "channels": [{**c.to_dict(), "device": c.name.partition(".")[0]} for c in channels],
        "gaps": [],
        "events": [
            {"column": e, "scope": "tree", "status": "ok", "reason": None, "group": e}
            for e in EVENTS
        ],
        "running_shares": dict.fromkeys(EVENTS, 1.0),
        "sampler": {"cpu_s": 0.1, "late_rows": 0, "rows": rows},
    }
    (folder / "PACT.json").write_text(json.dumps(manifest))
    return folder / "PACT.csv"


def _csv(path, columns):
    whole = {name: np.issubdtype(np.asarray(v).dtype, np.integer) for name, v in columns.items()}
    form = ["%d" if whole[name] else "%.6f" for name in columns]
    np.savetxt(
        path,
        np.column_stack(list(columns.values())),
        fmt=form,
        delimiter=",",
        header=",".join(columns),
        comments="",
    )
