"""Recorded runs in memory, of channels whose power in each row is given."""

import math

from pactmeter.analysis.run import RecordedRun
from pactmeter.model.channel import Channel, Domain, Kind, Origin
from pactmeter.store.files import RunFiles
from pactmeter.units import Unit

_KINDS = {"power": Kind.POWER, "energy": Kind.ENERGY, "quantity": Kind.QUANTITY}


def channel(name, domain, kind="power", *, origin=Origin.MEASURED, accuracy_pct=5.0, **more):
    """Return a channel of watts (or of joules, where it counts energy)."""
    unit = Unit.JOULE if kind == "energy" else Unit.WATT
    more = {"description": f"the {name}", **more}
    description = more.pop("description")
    return Channel(
        name, unit, _KINDS[kind], description, domain, origin, accuracy_pct=accuracy_pct, **more
    )


WALL = channel("wall.plug", Domain.AC, accuracy_pct=1.0)
AC = channel("psu.ac_input", Domain.AC, origin=Origin.ESTIMATED)
DC = channel("psu.dc_output", Domain.DC)
PACKAGE = channel("cpu.package0", Domain.PACKAGE, "energy")
DRAM = channel("cpu.dram0", Domain.DRAM, "energy")
PSYS = channel("cpu.psys", Domain.PSYS, "energy")
GPU = channel("gpu0", Domain.GPU, "energy")
GPU_POWER = channel("gpu0.instant_w", None, "quantity")


def recorded(
    folder, powers_w, *, name="PACT", window_s=1.0, windows_s=None, starts_s=None, **about
):
    """Return a run of channels with the power of each row in watts; None: no reading."""
    count = len(next(iter(powers_w.values())))
    windows_s = [window_s] * count
    starts_s = list(starts_s or [math.fsum(windows_s[:k]) for k in range(count)])
    ends_s = [start + length for start, length in zip(starts_s, windows_s, strict=True)]
    columns = {"due_s": ends_s, "read_s": ends_s, "late_s": [0.0] * count, "window_s": windows_s}
    for each, powers in powers_w.items():
        columns[each.columns[0]] = list(powers)
        if each.kind is Kind.QUANTITY:
            continue
        total_j, totals = 0.0, []
        for power, length in zip(powers, windows_s, strict=True):
            total_j += (power or 0.0) * length
            totals.append(None if power is None else total_j)
        columns[each.columns[1]] = totals
        columns[each.columns[2]] = [0 if power is None else 10 for power in powers]
    manifest = {
        "schema": 1,
        "status": "complete",
        "calls": 1,
        "config": {"measure_period_s": window_s},
        "host": {"name": "node1", "machine": "x86_64"},
        "channels": [{**each.to_dict(), "poll_period_s": 0.1} for each in powers_w],
        **about,
    }
    return RecordedRun(RunFiles(folder / f"{name}.csv"), manifest, "complete", None, columns)
