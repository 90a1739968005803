"""24 virtual hours of polling with dozens of faults: the joules of the covered time are true."""

import itertools
import math
import os
import random
import tempfile
import time
from pathlib import Path

import pytest

from pactmeter.bench.faults import Fault
from pactmeter.bench.machine import Machine, parse_psu
from pactmeter.store.table import TableWriter, read_table
from support import children
from support.devices import Told, benched
from support.virtual import VirtualRun

DAY_S = 86400.0
POLL_S = 1.0
"""Ten times a second, the default, would take ten times as long."""
ZERO_S = 20.0

FAULTS = (
    # name, value, whether the supply's figures are missing while it holds
    ("unplug", None, True),
    ("drop", None, True),
    ("foreign", None, False),
    ("short", None, True),
    ("raw", "ee:ff7b", True),
    ("long", None, False),
    ("empty", None, True),
    ("frozen", None, True),
    ("raw", "ee:0000", True),
    ("delay", "0.05", False),
    ("late", "0.6", True),
    ("uninitialised", None, False),
)
EVERY_S = 1200.0
LEAST_S, MOST_S = 20.0, 120.0
RAPL_BACK_S, RAPL_EIO_S = 30_000.0, 50_000.0


def orders():
    """Return a day's faults of the supply, each with whether it leaves a gap."""
    chance = random.Random(1)
    found = []
    start_s = ZERO_S + EVERY_S
    for name, value, is_gap in itertools.cycle(FAULTS):
        if start_s > DAY_S - EVERY_S:
            return found
        duration_s = chance.uniform(LEAST_S, MOST_S)
        count = 1 if name == "uninitialised" else None
        found.append((Fault("psu0", name, value, start_s, duration_s, count), is_gap))
        start_s += EVERY_S + chance.uniform(0.0, 60.0)
    return found


class Trouble:
    """Orders the faults when their time has come, and ends them."""

    def __init__(self, bench):
        self._bench = bench
        self._coming = [fault for fault, _ in orders()]
        self._now = None
        self._number = 0

    def __call__(self):
        now_s = self._bench.clock()
        if self._now and now_s >= self._now.start_s + self._now.duration_s:
            self._end(self._now)
            self._now = None
        if self._coming and now_s >= self._coming[0].start_s:
            self._now = self._coming.pop(0)
            self._begin(self._now)

    def _begin(self, fault):
        if fault.name != "unplug":
            self._bench.faults.add(fault)
            return
        (self._unit,) = self._bench.transport.hidapi.plugged.values()
        self._bench.transport.unplug(self._number)

    def _end(self, fault):
        if fault.name != "unplug":
            self._bench.faults.clear(fault.device, fault.name)
            return
        self._number += 1
        ids, serial, firmware = self._unit
        firmware.reset()
        self._bench.transport.plug(ids, firmware, number=self._number, serial=serial)


class DayRun(VirtualRun):
    """A run whose rows go to a file, as those of a real one, so that memory shows what PACT keeps.

    Attributes:
        memory_b: Resident memory of this process after each hour, in bytes.
    """

    def __init__(self, devices, clock, path, **options):
        super().__init__(devices, clock, **options)
        header = ["due_s", "read_s", "late_s", "window_s", *self.power.columns]
        self._path = path
        self._table = TableWriter.create(path, header)
        self.memory_b = []
        self._seen = 0

    def _row(self, *arguments, **options):
        super()._row(*arguments, **options)
        self._table.add(self._rows.pop())
        self._seen += 1
        if self._seen % 3600 == 0:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            self.memory_b.append(pages * os.sysconf("SC_PAGE_SIZE"))

    def recorded(self):
        self._rows = [
            [float(cell) if cell else None for cell in row] for row in read_table(self._path)[1]
        ]
        return super().recorded()


def loads(folder):
    """Return loads that change all day long, of all components together, never twice the same."""
    chance = random.Random(2)
    points, t_s = [], 0.0
    while t_s < DAY_S + 60.0:
        points.append((t_s, chance.random()))
        t_s += chance.choice([1.0, 10.0]) * chance.uniform(0.5, 3.0)
    found = {}
    for name, low_w, high_w in (("cpu.package0", 20, 150), ("cpu.dram0", 3, 12), ("rest", 60, 900)):
        rows = (f"{t_s:.3f},{low_w + share * (high_w - low_w):.3f}" for t_s, share in points)
        path = folder / f"{name}.csv"
        path.write_text("\n".join(rows))
        found[name] = f"trace:{path}"
    return found


def day():
    """Measure a day and return what came of it, and what should have."""
    with tempfile.TemporaryDirectory() as name:
        return _day(Path(name))


def _day(folder):
    machine = Machine([parse_psu("hx1500i,tau=0.3,serial=A1")], loads=loads(folder))
    machine.true_energy(0.0, DAY_S + 60.0)  # all of P(t) is there before memory is looked at
    of_rapl = [
        Fault("rapl", "back", start_s=RAPL_BACK_S),
        Fault("rapl", "eio", start_s=RAPL_EIO_S, duration_s=60.0),
    ]
    began_s = time.process_time()
    with benched(machine, start_s=ZERO_S, topology="1x", orders=of_rapl) as bench:
        trouble = Trouble(bench)
        # the processor is asked first, and also while there is no supply
        devices = [*(Told(rapl, trouble) for rapl in bench.rapl), *bench.psus]
        run = DayRun(devices, bench.clock, folder / "PACT.csv", poll_s=POLL_S)
        run.call(DAY_S)
    spent_s = time.process_time() - began_s
    recorded = run.recorded()
    gaps = [
        {**gap, "start_s": gap["start_s"] + ZERO_S, "end_s": gap["end_s"] + ZERO_S}
        for gap in recorded.manifest["gaps"]
    ]
    found = run.energies()
    psu, package = found["psu.dc_output"], found["cpu.package0"]
    of_psu = [gap for gap in gaps if gap["device"] == bench.psus[0].name]
    edges_s = [gap[side] for gap in of_psu for side in ("start_s", "end_s")]
    covered = list(zip([ZERO_S, *edges_s[1::2]], [*edges_s[::2], ZERO_S + DAY_S], strict=True))
    return {
        "cpu_s": spent_s,
        "memory_b": run.memory_b,
        "polls": [psu.polls, package.polls],
        "rows": len(recorded.windows_s),
        "gaps": of_psu,
        "gaps_of_others": [gap for gap in gaps if gap not in of_psu],
        "covered_s": psu.covered_s,
        "between_gaps_s": math.fsum(to_s - from_s for from_s, to_s in covered),
        "energy_j": psu.energy_j,
        "between_gaps_j": math.fsum(
            machine.true_energy(from_s, to_s)["psu.dc_output"] for from_s, to_s in covered
        ),
        "package_j": package.energy_j,
        "true_package_j": machine.true_energy(ZERO_S, ZERO_S + DAY_S)["cpu.package0"],
    }


def test_a_day_with_faults_is_true_where_it_is_covered_and_costs_a_minute_at_most(figures):
    found = children.run(__file__, "day")
    expected = [fault for fault, is_gap in orders() if is_gap]
    true_j = found["between_gaps_j"] * found["covered_s"] / found["between_gaps_s"]
    error = 100 * (found["energy_j"] / true_j - 1)
    package_error = 100 * (found["package_j"] / found["true_package_j"] - 1)
    grown_mb = (found["memory_b"][-1] - found["memory_b"][1]) / 1e6
    table = figures(
        f"24 virtual hours: HX1500i (tau=0.3) and RAPL, {1 / POLL_S:g} poll a second",
        "figure",
        "value",
        "bound",
    )
    table.add("CPU time, s", f"{found['cpu_s']:.1f}", "60")
    table.add("faults ordered, leaving a gap", f"{len(orders())}, {len(expected)}", "-")
    table.add("gaps found", len(found["gaps"]), len(expected))
    table.add("energy of the covered time against truth, %", f"{error:+.4f}", "0.1")
    table.add("covered, %", f"{100 * found['covered_s'] / DAY_S:.3f}", "-")
    table.add("RAPL package (wraps, starts again once), %", f"{package_error:+.4f}", "0.1")
    table.add("memory grown from hour 2 to hour 24, MB", f"{grown_mb:.2f}", "2")

    assert found["cpu_s"] <= 60.0
    assert len(found["gaps"]) == len(expected)
    for gap, fault in zip(found["gaps"], expected, strict=True):
        # a frozen supply may have repeated the reading before
        early_s = POLL_S if fault.name == "frozen" else 0.0
        assert -early_s <= gap["start_s"] - fault.start_s <= 2 * POLL_S, (gap, fault)
        assert 0.0 <= gap["end_s"] - (fault.start_s + fault.duration_s) <= 2 * POLL_S, (gap, fault)
    assert {gap["device"] for gap in found["gaps_of_others"]} == {"RAPL (powercap)"}
    assert len(found["gaps_of_others"]) == 2
    assert found["covered_s"] == pytest.approx(found["between_gaps_s"], abs=len(expected) * POLL_S)
    assert abs(error) <= 0.1
    assert abs(package_error) <= 0.1
    assert grown_mb <= 2.0


if __name__ == "__main__":
    children.answer(globals())
