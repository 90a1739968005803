"""Runs written as files, as a sampler would have left them, with whatever a test plants in them."""

from __future__ import annotations

import json

from pactmeter.analysis.energy import energies
from pactmeter.analysis.headline import headline
from pactmeter.analysis.run import load
from pactmeter.model.channel import Channel, Domain, Kind, Origin
from pactmeter.store.table import format_cell
from pactmeter.units import Unit

UTC_S = 1_772_000_000.0
"""When the runs were: 2026-02-25."""


def gauge(name, domain, accuracy=5.0, **more):
    """Return a channel of polled power."""
    return Channel(name, Unit.WATT, Kind.POWER, name, domain, accuracy_pct=accuracy, **more)


def counter(name, domain, accuracy=5.0, **more):
    """Return a channel of counted energy."""
    return Channel(name, Unit.JOULE, Kind.ENERGY, name, domain, accuracy_pct=accuracy, **more)


DC = gauge("psu.dc_output", Domain.DC, resolution=2.0)
AC = gauge("psu.ac_input", Domain.AC, 5.8, origin=Origin.ESTIMATED)
WALL = gauge("wall.plug", Domain.AC, 1.0)
PACKAGE = counter("cpu.package0", Domain.PACKAGE)
CORE = counter("cpu.core0", Domain.CORE)
PSYS = counter("cpu.psys", Domain.PSYS)
GPU = counter("gpu0", Domain.GPU)


def write(folder, sources, *, rows=60, row_s=1.0, polls=10, more=None, events=(), regions=None):
    """Write a run and return its power file.

    Args:
        folder: Where to.
        sources: By channel the watts of its rows: one figure, or a list in which None is a gap.
        rows: Number of rows.
        row_s: Length of each.
        polls: Polls in a row.
        more: Keys of the manifest that are other; below ``about`` by channel what is told of it.
        events: Names of events, of which 5 are counted in each row.
        regions: Rows of the regions' file; None: the one call.
    """
    more = dict(more or {})
    about = more.pop("about", {})
    extra = more.pop("columns", {})
    watts = {c: p if isinstance(p, list) else [p] * rows for c, p in sources.items()}
    totals = dict.fromkeys(watts, 0.0)
    header = ["due_s", "read_s", "late_s", "window_s"]
    header += [name for c in watts for name in c.columns] + [*extra, *events]
    lines = [header]
    for row in range(rows):
        end_s = (row + 1) * row_s
        cells = [end_s, end_s, 0.0, row_s]
        for c, means in watts.items():
            if means[row] is None:
                cells += [None, None, 0]
                continue
            totals[c] += means[row] * row_s
            cells += [means[row], totals[c], polls]
        cells += [values[row] for values in extra.values()] + [5 for _ in events]
        lines.append(cells)
    text = "".join(",".join(map(format_cell, line)) + "\n" for line in lines)
    (folder / "PACT.csv").write_text(text)
    end_s = rows * row_s
    regions = [[0.0, end_s, "call", 0, 1]] if regions is None else regions
    text = "".join(",".join(map(format_cell, line)) + "\n" for line in regions)
    (folder / "PACT.regions.csv").write_text(f"start_s,end_s,name,index,tid\n{text}")
    bins = [[k * row_s, row_s, *(5 for _ in events)] for k in range(rows)]
    text = "".join(",".join(map(format_cell, line)) + "\n" for line in bins)
    header = ",".join(["start_s", "dt_s", *events])
    (folder / "PACT.counters.csv").write_text(f"{header}\n{text}")
    manifest = {
        "schema": 1,
        "status": "complete",
        "reason": None,
        "calls": 1,
        "config": {"measure_period_s": row_s},
        "host": {"name": "here"},
        "clock": {
            "start": {"monotonic_s": 100.0, "utc_s": UTC_S},
            "end": {"monotonic_s": 100.0 + end_s, "utc_s": UTC_S + end_s},
        },
        "channels": [
            {
                **c.to_dict(),
                "device": c.name.partition(".")[0],
                "poll_period_s": row_s / polls,
                "seen_update_period_s": row_s / polls,
                **about.get(c.name, {}),
            }
            for c in watts
        ],
        "gaps": [],
        "events": [
            {"column": e, "scope": "tree", "status": "ok", "reason": None, "group": e}
            for e in events
        ],
        "running_shares": dict.fromkeys(events, 1.0),
        "sampler": {"cpu_s": 0.1, "late_rows": 0, "rows": rows},
        **more,
    }
    (folder / "PACT.json").write_text(json.dumps(manifest))
    return folder / "PACT.csv"


def written(folder, sources, **options):
    """Write a run and return it as it is read."""
    return load(write(folder, sources, **options))


def judged(run):
    """Return the headline and all energies of a run."""
    found = energies(run)
    return headline(found), tuple(found)


def proof_dict(line=(), **changes):
    """Return a calibration of `DC` as its file holds it; some of it changed."""
    fitted = {
        "terms": [-2.0, 1.02],
        "covariance": [0.0, 0.0, 0.0],
        "low_pct": -0.8,
        "high_pct": 0.8,
        "scatter_pct": 0.3,
        "from_w": 60.0,
        "to_w": 700.0,
        "runs": 15,
        "groups": 3,
    }
    return {
        "schema": 1,
        "kind": "pactmeter calibration",
        "line": None if line is None else fitted | dict(line),
        "host": "here",
        "source": DC.name,
        "reference": "WT310E",
        "accuracy_pct": 0.1,
        "made": "2026-01-10",
        "expires": "2026-12-31",
        **changes,
    }
