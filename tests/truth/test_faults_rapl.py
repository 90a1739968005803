"""Faults of the processor's energy counters: what each costs, and no more.

The counters are files of a real FUSE filesystem, which fail as the kernel's do.
"""

from __future__ import annotations

import math

import pytest

from pactmeter.bench.faults import KINDS
from pactmeter.bench.rapl import TICK_S
from pactmeter.bench.timeline import FOREVER_S, Piece
from support.faulty import (
    BEGIN_S,
    CALL_S,
    OPEN_S,
    POLL_S,
    Emulated,
)
from support.judge import COLUMNS, TITLE, Case, emulated_case, judge

PSU = ["hx1500i,serial=A1"]
CANNOT = "cannot read"
RESET_S = 2 * POLL_S
"""A counter that was set is known again from the second reading on: the first only shows it."""
TO_THE_END_S = CALL_S - 5.03

PACKAGE, DRAM = "cpu.package0", "cpu.dram0"
CASES = [
    # a counter goes on while it cannot be read: nothing is lost
    (PACKAGE, Case("cpu.package0:eio*1@5.03", 0.0, reason="gave no value")),
    (PACKAGE, Case("rapl:eio@5.03+2", 0.0, reason=CANNOT)),
    (DRAM, Case("cpu.dram0:eio@5.03+5", 0.0, reason="gave no value")),
    (DRAM, Case("cpu.dram0:eio@5.03", TO_THE_END_S, reason="gave no value")),
    (PACKAGE, Case("rapl:eio@5.03", TO_THE_END_S, reason=CANNOT)),
    (PACKAGE, Case("rapl:vanish@5.03+3", 0.0, reason=CANNOT)),
    (PACKAGE, Case("rapl:vanish@5.03", TO_THE_END_S, reason=CANNOT)),
    (PACKAGE, Case("cpu.package1:vanish@5.03+3", 0.0)),
    (PACKAGE, Case("rapl:deny@5.03+5", 0.0)),
    (PACKAGE, Case("rapl:vanish@5.03+1 rapl:deny@5.03+4", 0.0, reason=CANNOT)),
    # it was set: what lies between is not known
    (PACKAGE, Case("rapl:back@5.03", RESET_S, reason="fell from")),
    (PACKAGE, Case("cpu.package0:back@5.03", RESET_S, reason="fell from")),
    (PACKAGE, Case("rapl:jump@5.03", RESET_S, reason="rose from")),
    (PACKAGE, Case("cpu.package0:jump=0.5@5.03", RESET_S, reason="fell from")),
    # it stands still while the power supply moves
    (PACKAGE, Case("rapl:frozen@5.03+5", 5.0, reason="stuck", repeats=True)),
]


@pytest.mark.parametrize(
    ("channel", "case"),
    [pytest.param(channel, case, id=f"{channel}: {case.faults}") for channel, case in CASES],
)
def test_a_fault_costs_what_it_took_and_no_more(channel, case, tmp_path, monkeypatch, figures):
    row, *_ = emulated_case(case, channel, tmp_path, monkeypatch, psus=PSU, zones="2x")
    figures(TITLE, *COLUMNS).add("RAPL", case.faults.replace("@5.03", ""), *row)


def test_every_fault_of_a_counter_is_here():
    named = {order.partition(":")[2] for _, case in CASES for order in case.faults.split()}
    named = {name.partition("@")[0].partition("=")[0].partition("*")[0] for name in named}
    assert named | {"no_range"} == set(KINDS["rapl"])


def zone(machine):
    """Return the counter of the first package."""
    return next(zone for zone in machine.zones if zone.spec.component == PACKAGE)


def measured(machine, **options):
    with machine.running():
        return machine.measure(**options)


def test_a_wrap_is_bridged(tmp_path, monkeypatch, figures):
    machine = Emulated(tmp_path, monkeypatch, zones="1x")
    left_j = machine.source(PACKAGE).energy_j(0.5, BEGIN_S + 5.03)
    machine.order(f"cpu.package0:jump={left_j:.3f}@0.5", zero_s=0.0)
    run = measured(machine)
    row = judge(machine, run, PACKAGE, Case("", 0.0))
    figures(TITLE, *COLUMNS).add("RAPL", "wrap", *row)


def test_a_wrap_right_behind_the_highest_value_is_bridged(tmp_path, monkeypatch, figures):
    machine = Emulated(tmp_path, monkeypatch, zones="1x")
    poll_s = BEGIN_S + 5.0
    # so many steps until that poll, and one less than it takes to wrap
    ticks_s = [t_s // TICK_S * TICK_S for t_s in (0.5, poll_s)]
    steps = math.floor(machine.source(PACKAGE).energy_j(*ticks_s) * 2**14)
    machine.order(f"cpu.package0:jump={(steps + 1) / 2**14!r}@0.5", zero_s=0.0)
    run = measured(machine)
    counter = zone(machine)
    assert counter._shown_uj(counter._counts(poll_s)) == counter.range_uj
    assert counter._shown_uj(counter._counts(poll_s + POLL_S)) < 1e8
    row = judge(machine, run, PACKAGE, Case("", 0.0))
    figures(TITLE, *COLUMNS).add("RAPL", "wrap exactly at the highest value", *row)


def test_a_counter_without_a_range_is_good_until_it_wraps(tmp_path, monkeypatch, figures):
    machine = Emulated(tmp_path, monkeypatch, zones="1x")
    left_j = machine.source(PACKAGE).energy_j(0.5, BEGIN_S + 5.03)
    machine.order("rapl:no_range@0", zero_s=0.0)
    machine._update()
    machine.order(f"cpu.package0:jump={left_j:.3f}@0.5", zero_s=0.0)
    run = measured(machine)
    row = judge(machine, run, PACKAGE, Case("", RESET_S, reason="range is unknown"))
    figures(TITLE, *COLUMNS).add("RAPL", "no_range, wrap", *row)


@pytest.mark.parametrize(("power_w", "wraps"), [(200.0, 0), (900.0, 2)])
def test_an_outage_with_room_for_two_wraps_is_no_energy(
    power_w, wraps, tmp_path, monkeypatch, figures
):
    machine = Emulated(tmp_path, monkeypatch, zones="1x,nodram")
    line = machine.machine.timelines[PACKAGE]
    line.switch(0.0, iter([Piece(FOREVER_S, power_w, power_w)]))
    machine.order("rapl:eio@20.3+600")
    run = measured(machine, call_s=700.0, poll_s=1.0)
    out_j = machine.source(PACKAGE).energy_j(BEGIN_S + 20.3, BEGIN_S + 620.3)
    assert out_j // (zone(machine).range_uj * 1e-6) == wraps
    case = Case("", 601.0, reason=CANNOT, slack_s=1.0)
    row = judge(machine, run, PACKAGE, case, call_s=700.0, poll_s=1.0)
    figures(TITLE, *COLUMNS).add("RAPL", f"eio+600, {wraps} wraps meanwhile", *row)


def test_a_counter_that_was_set_between_two_calls_costs_nothing(tmp_path, monkeypatch):
    machine = Emulated(tmp_path, monkeypatch, zones="1x")
    machine.order(f"rapl:back@{OPEN_S + 2}", zero_s=0.0)
    run = measured(machine)
    energy = run.energies()[PACKAGE]
    assert energy.gap_s <= POLL_S + 1e-6  # the opening edge shows it
    true_j = machine.source(PACKAGE).energy_j(BEGIN_S + POLL_S, BEGIN_S + CALL_S)
    assert energy.energy_j == pytest.approx(true_j, rel=0.001)


@pytest.mark.parametrize("zones", ["2x,mmio", "2x,reversed", "2x,psys", "1x,die2", "amd"])
def test_machines_of_all_kinds_lose_nothing_to_an_outage(zones, tmp_path, monkeypatch):
    machine = Emulated(tmp_path, monkeypatch, zones=zones)
    machine.order("rapl:eio@5.03+2")
    run = measured(machine)
    found = run.energies()
    assert len(found) == len({z.spec.component for z in machine.zones})  # mmio is none of its own
    for name, energy in found.items():
        assert energy.coverage == pytest.approx(1.0)
        true_j = machine.source(name).energy_j(BEGIN_S, BEGIN_S + CALL_S)
        assert energy.energy_j == pytest.approx(true_j, rel=0.001)
