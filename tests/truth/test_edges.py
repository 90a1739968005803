"""A 5.0 s function that takes the machine from 100 W to 400 W and back takes 2000 J."""

import json

import pytest

from pactmeter.bench.machine import Machine, parse_psu
from support.bench import bench_program, require
from support.devices import benched
from support.virtual import VirtualRun

CALL_S = 5.0
TRUE_J = 400.0 * CALL_S
DELAYS_S = [0.0, 0.001, 0.002, 0.005, 0.008, 0.011, 0.014, 0.017, 0.02]
"""How long after the edge of a call the sampler learns of it: no function waits longer for it."""
TITLE = f"A {CALL_S:.1f} s function from 100 W to 400 W and back: {TRUE_J:.0f} J at the PSU"
COLUMNS = ("supply, sensor", "clock", "runs", "mean %", "worst %", "stated %", "bound %")


def late(run, delay_s):
    """Let the sampler learn of both edges of a call some time after them."""

    def told(hear):
        def hear_late(*arguments):
            run.clock.sleep(delay_s)
            hear(*arguments)

        return hear_late

    run.power.begin, run.power.end = told(run.power.begin), told(run.power.end)


def measured(psu, delay_s, phase_s):
    """Return the energy of such a call that begins some time after the sensor was last asked."""
    start_s = 30.0 + phase_s
    load = f"steps:100,400@{start_s!r},100@{start_s + CALL_S!r}"
    machine = Machine([parse_psu(psu)], load="steady:0", loads={"rest": load})
    with benched(machine, start_s=29.0) as bench:
        bench.devices[0].read()
        bench.clock.now_s = start_s
        run = VirtualRun(bench.devices, bench.clock)
        late(run, delay_s)
        run.call(CALL_S)
    true_j = machine.true_energy(start_s, start_s + CALL_S)["psu.dc_output"]
    assert true_j == pytest.approx(TRUE_J)
    return run.energies()["psu.dc_output"]


@pytest.mark.parametrize(
    ("psu", "bound_pct"),
    [
        ("hx1500i", 0.5),
        ("hx1500i,tau=0.1", 1.5),
        ("hx1500i,tau=0.3", 1.5),
        ("hx1500i,tau=0.5", 1.5),
        ("e850", 0.5),
        ("e850,tau=0.1", 1.5),
        ("e850,tau=0.3", 1.5),
        ("e850,tau=0.5", 1.5),
    ],
)
def test_a_call_is_given_what_it_took(psu, bound_pct, figures):
    found = [measured(psu, delay, k / 100) for k, delay in enumerate(DELAYS_S)]
    errors = [100 * (one.energy_j / TRUE_J - 1) for one in found]
    stated = 100 * max(one.u_j for one in found) / TRUE_J
    worst = max(errors, key=abs)
    figures(TITLE, *COLUMNS).add(
        psu if "tau" in psu else f"{psu}, instant",
        "virtual",
        len(found),
        f"{sum(errors) / len(errors):+.3f}",
        f"{worst:+.3f}",
        f"{stated:.1f}",
        f"{bound_pct:g}",
    )

    assert abs(worst) <= bound_pct


PROGRAM = f"""
import json, time
from pactmeter import PACT
from pactmeter.bench.control import tell

def rest(watts):
    tell({{"load": {{"component": "rest", "spec": f"steady:{{watts}}"}}}})

@PACT(tracker_file_name="PACT.csv", events_groups=[["FAULTS"]])
def work():
    start_s = time.monotonic()
    rest(400)
    time.sleep(start_s + {CALL_S} - time.monotonic())
    rest(100)

time.sleep(3.0)  # all that was started has come to rest
work()
time.sleep(1.0)
"""


@pytest.mark.parametrize(("psu", "bound_pct"), [("hx1500i", 0.5), ("hx1500i,tau=0.3", 1.5)])
def test_a_call_in_real_time_is_given_what_it_took(psu, bound_pct, tmp_path, figures):
    """The median of three: on a busy machine a single poll may come late by a twentieth second."""
    require()
    errors, uncertainties = [], []
    for number in range(3):
        folder = tmp_path / str(number)
        folder.mkdir()
        done = bench_program(
            folder, "--psu", psu, "--load", "steady:0", "--load", "rest=steady:100", code=PROGRAM
        )
        assert done.code == 0, done.err
        (found,) = (s for s in done.report()["sources"] if s["channel"] == "psu.dc_output")
        true_j = done.within()["psu.dc_output"]
        assert true_j == pytest.approx(TRUE_J, rel=0.01)
        errors.append(100 * (found["energy_j"] / true_j - 1))
        uncertainties.append(100 * found["u_j"] / true_j)
        assert abs(errors[-1]) <= uncertainties[-1], json.dumps(found)
    errors.sort(key=abs)
    figures(TITLE, *COLUMNS).add(
        psu if "tau" in psu else f"{psu}, instant",
        "real",
        len(errors),
        f"{sum(errors) / len(errors):+.3f}",
        f"{errors[-1]:+.3f}",
        f"{max(uncertainties):.1f}",
        f"{bound_pct:g}",
    )

    assert abs(errors[1]) <= bound_pct, errors
