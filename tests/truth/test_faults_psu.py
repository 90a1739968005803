"""Faults of power supplies, over USB and through the kernel's driver: what each costs, and no more.

The real liquidctl and the real kernel's file calls, the emulated firmware, one clock that stands.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from pactmeter.bench.faults import KINDS
from pactmeter.sensors.psu_corsair import RAILS
from support.faulty import (
    BEGIN_S,
    CALL_S,
    LOST_S,
    POLL_S,
    REOPEN_S,
    WAIT_S,
    Emulated,
)
from support.judge import COLUMNS, TITLE, Case, emulated_case, extremes_w, judge
from support.rights import ordinary_user

NO_REPLY = "no valid reply"
CANNOT = "cannot be: it is rated"
THREE_LOST_S = 2 * WAIT_S + LOST_S
TO_THE_END_S = CALL_S - 5.03
BACK_S = REOPEN_S + POLL_S
"""How much later than it could a device is back that has to be opened again."""


def old(faults, *more, **options):
    """Return a case on a kernel that hands on reports shorter than the descriptor says."""
    return Case(faults, *more, short_reports=True, **options)


OF_BOTH = [
    # replies that do not come, come late, or come to another
    Case("psu0:drop*1@5.03", LOST_S, reason=NO_REPLY),
    Case("psu0:drop*3@5.03", THREE_LOST_S, reason=NO_REPLY),
    Case("psu0:drop@5.03+5", 5.0, WAIT_S, reason=NO_REPLY),
    Case("psu0:late*1@5.03", LOST_S, reason=NO_REPLY),
    Case("psu0:late=0.3@5.03+5", 5.0, WAIT_S, reason=NO_REPLY),
    Case("psu0:wrong_echo*1@5.03", LOST_S, reason=NO_REPLY),
    Case("psu0:wrong_echo@5.03+2", 2.0, WAIT_S, reason=NO_REPLY),
    Case("psu0:foreign@5.03+5", 0.0),
    # replies of another length or without content
    old("psu0:short=1@5.03+2", 2.0, WAIT_S, reason=NO_REPLY),
    old("psu0:short=2@5.03+2", 2.0, WAIT_S, reason=NO_REPLY),
    old("psu0:short=3@5.03+2", 2.0, WAIT_S, reason=NO_REPLY),
    old("psu0:short=10@5.03+2", 0.0),
    Case("psu0:short=10@5.03+2", 2.0, WAIT_S, reason=NO_REPLY),
    Case("psu0:long@5.03+5", 0.0),
    Case("psu0:empty*1@5.03", LOST_S, reason=NO_REPLY),
    # the device's life
    Case("psu0:unplug@5.03+5", 5.0, BACK_S, reason="cannot read", exchanges=4),
    Case("psu0:unplug@5.03", TO_THE_END_S, reason="cannot read"),
    Case("psu0:eio*1@5.03", POLL_S, reason="cannot read"),
    Case("psu0:eio@5.03+2", 2.0, reason="cannot read"),
    *(
        Case(
            f"psu0:unplug@5.03+1 psu0:open={name}@5.03+4",
            4.0,
            BACK_S,
            reason="cannot read",
            exchanges=4,
        )
        for name in ("EACCES", "EBUSY", "EIO", "ENODEV", "ENOENT")
    ),
    Case("psu0:frozen@5.03+5", 5.0, reason="stuck", repeats=True),
    Case("psu0:zero@5.03", TO_THE_END_S, reason="reads 0 W"),
]

OF_CORSAIR = [
    Case("psu0:delay=0.1@5.03+5", 0.0),
    Case("psu0:chatter=20@5.03+5", 0.0),
    Case("psu0:chatter=200@5.03+5", 0.0),
    Case("psu0:uninitialised*1@5.03", 0.0, exchanges=4),
    Case("psu0:uninitialised@5.03+2", 2.0, reason="still not initialised", exchanges=4),
    Case("psu0:raw=ee:ff7b*1@5.03", POLL_S, reason=CANNOT),
    Case("psu0:raw=ee:ff7b@5.03+5", 5.0, reason=CANNOT),
    Case("psu0:raw=ee:ffff@5.03+5", 5.0, reason=CANNOT),
    Case("psu0:raw=ee:00fc@5.03+5", 5.0, reason=CANNOT),
    Case("psu0:raw=ee:0178@5.03+5", 5.0, reason=CANNOT),  # 1 * 2^15
    Case("psu0:raw=88:0000@5.03+5", 0.0),
    Case("psu0:raw=d8:07@5.03+5 psu0:raw=f0:09@5.03+5", 0.0),
    Case("psu0:zero*1@5.03", POLL_S, reason="reads 0 W"),
]

OF_NZXT = [
    Case("psu0:delay=0.1@5.03+5", 0.0, 3 * POLL_S, exchanges=6),  # a poll takes 0.5 s
    Case("psu0:chatter=100@5.03+5", 0.0),
    Case("psu0:busy*1@5.03", 0.0),
    Case("psu0:busy*2@5.03", 0.0),
    Case("psu0:busy*3@5.03", POLL_S, reason="busy 3 times"),
    Case("psu0:busy@5.03+5", 5.0, reason="busy 3 times"),
    Case("psu0:bad_pec*1@5.03", LOST_S, reason=NO_REPLY),
    Case("psu0:bad_pec@5.03+2", 2.0, WAIT_S, reason=NO_REPLY),
    Case("psu0:raw=20:40@5.03+5", 0.0),
    Case("psu0:raw=96:ff7b*1@5.03", POLL_S, reason=CANNOT),
    Case("psu0:raw=96:ffff@5.03+5", 5.0, reason=CANNOT),
    Case("psu0:raw=96:0178@5.03+5", 5.0, reason=CANNOT),
    Case("psu0:zero*5@5.03", POLL_S, reason="0 W on every rail"),
]

OF_DRIVER = [
    Case("psu0:eio*1@5.03", POLL_S, reason="Input/output error"),
    Case("psu0:eio@5.03+5", 5.0, reason="Input/output error"),
    Case("psu0:etimedout*1@5.03", POLL_S, reason="timed out"),
    Case("psu0:etimedout@5.03+5", 5.0, reason="timed out"),
    Case("psu0:eopnotsupp*1@5.03", POLL_S, reason="not supported"),
    Case("psu0:enodev@5.03+5", 5.0, reason="No such device"),
    Case("psu0:drop@5.03+5", 5.0, reason="timed out"),
    Case("psu0:late@5.03+5", 5.0, reason="timed out"),
    Case("psu0:foreign@5.03+2", 2.0, reason="not supported"),
    Case("psu0:wrong_echo*1@5.03", POLL_S, reason="not supported"),
    Case("psu0:chatter=50@5.03+5", 0.0),
    Case("psu0:renumber@5.03+5", 2 * POLL_S, reason="No such device"),
    Case("psu0:unplug@5.03+5", 5.0, BACK_S, reason="No such device"),
    Case("psu0:raw=power1_input:-555745280@5.03+5", 5.0, reason=CANNOT),
    Case("psu0:raw=power1_input:33521664000000*1@5.03", POLL_S, reason=CANNOT),
    Case("psu0:raw=power1_input:nonsense*1@5.03", POLL_S, reason="cannot read"),
    Case("psu0:raw=in0_input:0@5.03+5", 0.0),
    Case("psu0:raw=ee:ff7b*1@5.03", POLL_S, reason=CANNOT),
    Case("psu0:frozen@5.03+5", 5.0, reason="stuck", repeats=True),
    Case("psu0:zero*1@5.03", POLL_S, reason="reads 0 W"),
    Case("psu0:zero@5.03", TO_THE_END_S, reason="reads 0 W"),
]

MACHINES = {
    "HX1500i, USB": (["hx1500i,serial=A1"], [*OF_BOTH, *OF_CORSAIR]),
    "E850, USB": (["e850,serial=B2"], [*OF_BOTH, *OF_NZXT]),
    "HX1500i, hwmon": (["hx1500i,serial=A1,hwmon"], OF_DRIVER),
}


@pytest.fixture
def open_to_all():
    """Give a folder that an ordinary user may enter; pytest's own are closed to them."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def exchanges(name, case):
    """Return what a case allows; a reading of an E850 takes an exchange a rail, and one more."""
    if name.startswith("E850"):
        retries = 3 if "busy" in case.faults else 1
        return {"exchanges": 6 * retries}
    return {}


@pytest.mark.parametrize(
    ("name", "psus", "case"),
    [
        pytest.param(name, psus, case, id=f"{name}: {case.id}")
        for name, (psus, cases) in MACHINES.items()
        for case in cases
    ],
)
def test_a_fault_costs_what_it_took_and_no_more(name, psus, case, tmp_path, monkeypatch, figures):
    case = case.but(**exchanges(name, case))
    row, machine, _ = emulated_case(
        case, "psu.dc_output", tmp_path, monkeypatch, psus=psus, zones="1x"
    )
    figures(TITLE, *COLUMNS).add(name, case.id, *row)
    counted = {request.hex() for request in machine.firmware["psu0"].counts}
    if "chatter" not in case.faults:
        assert not counted & {"03d8", "03f0", "033b"}  # modes have no business in a measurement


def test_at_least_sixty_pairs_and_every_fault_of_a_supply_are_among_them():
    pairs = [(name, case) for name, (_, cases) in MACHINES.items() for case in cases]
    named = {order.partition(":")[2] for _, case in pairs for order in case.faults.split()}
    named = {name.partition("@")[0].partition("=")[0].partition("*")[0] for name in named}
    assert len(set(pairs)) == len(pairs) >= 60
    assert named | {"deny"} == set(KINDS["psu"])  # that one needs another user, below


def test_another_users_node_is_a_gap_until_it_is_ours_again(monkeypatch, open_to_all, figures):
    case = Case(
        "psu0:unplug@5.03+1 psu0:deny@0+9.03", 4.0, BACK_S, reason="cannot read", exchanges=4
    )
    machine = Emulated(open_to_all, monkeypatch, psus=["hx1500i,serial=A1"])
    for order in case.faults.split():
        machine.order(order)
    with machine.running(), ordinary_user():
        run = machine.measure()
    row = judge(machine, run, "psu.dc_output", case)
    figures(TITLE, *COLUMNS).add("HX1500i, USB", "deny+4 after unplug", *row)


@pytest.mark.parametrize("psu", ["hx1500i", "hx1500i,hwmon"])
@pytest.mark.parametrize("input_v", ["88:0000", "88:f0e6"])  # 0 V and -5.5 V
def test_without_a_voltage_the_estimate_is_a_gap_and_the_power_is_not(
    psu, input_v, tmp_path, monkeypatch
):
    case = Case(f"psu0:raw={input_v}@5.03+5", 0.0)
    _, _, run = emulated_case(case, "psu.dc_output", tmp_path, monkeypatch, psus=[psu])
    energy = run.energies()["psu.ac_input"]
    assert energy.gap_s == pytest.approx(5.0, abs=1.2)  # the voltage is asked for once a second
    (gap,) = [g for g in run.recorded().manifest["gaps"] if "psu.ac_input" in g["channels"]]
    assert gap["channels"] == ["psu.ac_input"]
    assert "gave no value of psu.ac_input" in gap["reason"]


@pytest.mark.parametrize(
    "faults",
    [
        "psu0:chatter=20@0",
        "psu0:chatter=300@0",
        "psu0:chatter=100@0 psu0:drop*20@5 psu0:foreign*30@8",
        "psu0:late*5@2 psu0:late=0.3@8+2",
        "psu0:wrong_echo*9@2 psu0:chatter=50@5+9",
    ],
)
def test_rails_are_never_mixed_up(faults, tmp_path, monkeypatch):
    machine = Emulated(tmp_path, monkeypatch, psus=["hx1500i,serial=A1"])
    for order in faults.split():
        machine.order(order)
    with machine.running(rails=True):
        machine.measure()
    (device,) = machine.devices
    shares, steps_w, good = (0.93, 0.05, 0.02), (2.0, 0.5, 0.5), 0
    for from_s, to_s, values, _ in device.readings:
        extremes = extremes_w(machine.source("psu.dc_output"), from_s, to_s)
        for share, step_w, rail_w in zip(shares, steps_w, (values or ())[-3:], strict=False):
            if rail_w is not None:
                good += 1
                assert share * extremes[0] - step_w <= rail_w <= share * extremes[1] + step_w
    assert good > 100 * len(RAILS)


@pytest.mark.parametrize(("share", "most_w"), [(0.0005, 0.0), (0.004, 2.0)])
def test_legal_zeros_are_kept(share, most_w, tmp_path, monkeypatch):
    psus = [f"hx1500i,serial=A1,share={share}", "e850,serial=B2"]
    machine = Emulated(tmp_path, monkeypatch, psus=psus, zones="1x")
    with machine.running():
        run = machine.measure()
    energy = run.energies()["psu.dc_output"]
    seen_w = {values[0] for *_, values, _ in machine.devices[0].readings}
    assert seen_w == {0.0, most_w}
    assert energy.coverage == pytest.approx(1.0)
    assert run.power.gaps == []
    true_j = machine.source("psu.dc_output").energy_j(BEGIN_S, BEGIN_S + CALL_S)
    assert energy.energy_j == pytest.approx(true_j, abs=1.0 * CALL_S)  # half a step


def test_codes_that_repeat_while_another_supply_feeds_the_load_are_kept(tmp_path, monkeypatch):
    psus = ["hx1500i,serial=A1", "e850,serial=B2"]
    machine = Emulated(tmp_path, monkeypatch, psus=psus, zones="1x")
    steady, _ = machine.machine.supplies
    steady._load = type(steady._load)((machine.machine.timelines["rest"], 1.0))  # 45 W
    with machine.running():
        run = machine.measure()
    assert run.power.gaps == []
    assert run.energies()["psu.dc_output"].energy_j == pytest.approx(44.0 * CALL_S, abs=1.0)


def test_two_supplies_of_a_kind_stay_apart_through_a_replug(tmp_path, monkeypatch):
    psus = ["hx1500i,serial=A1,share=1", "hx1500i,serial=B2,share=2"]
    machine = Emulated(tmp_path, monkeypatch, psus=psus)
    machine.order("psu0:unplug@5.03+2")
    machine.order("psu1:unplug@6.03+1")
    with machine.running():
        run = machine.measure()
    case = Case("", 2.0, BACK_S, reason="cannot read", exchanges=4)
    judge(machine, run, "psu.dc_output", case, alone=False)
    judge(machine, run, "psu1.dc_output", case.but(uncovered_s=1.0), alone=False)
