"""`pactmeter ab` as a user runs it, on the emulated machine in real time."""

import json

import pytest

from pactmeter.bench.truth import windows_of, within
from support.bench import PACT, bench, require

pytestmark = [pytest.mark.slow, pytest.mark.root]

PAIRS = 4
WORK = "sleep {seconds}; echo 'PACT-WORK {{\"steps\": 20}}'"
LIVE = (
    "pactmeter ab on the emulated machine, in real time: B is a fifth shorter",
    *("load", "pairs", "true ratio of the joules", "ratio told", "95 % interval", "sensor"),
)


@pytest.mark.parametrize("load", ["steady:200", "training"])
def test_the_interval_holds_the_joules_that_flowed(load, tmp_path, figures):
    require()
    a, b = (("sh", "-c", WORK.format(seconds=s)) for s in (2.5, 2.0))
    options = ("--runs", str(PAIRS), "--seed", "1", "--measure-period", "0.5", "--json")
    command = (*PACT, "ab", *options, "--", *a, "--vs", *b)
    machine = ("--psu", "hx1500i", "--rapl", "1x", "--load", load, "--load", "rest=steady:45")

    done = bench(tmp_path, *machine, command=command)

    assert done.code == 0, done.err
    found = json.loads(done.out)
    energy = found["figures"]["energy_j"]
    joules = {
        side: sum(
            within(done.truth, windows_of(folder / "PACT.csv"))["psu.dc_output"]
            for folder in sorted(tmp_path.glob(f"ab/{side}_*"))
        )
        for side in "AB"
    }
    true = joules["B"] / joules["A"]
    told = f"{energy['low']:.4f} to {energy['high']:.4f}"
    figures(*LIVE).add(
        *(load, energy["n"], f"{true:.4f}", f"{energy['value']:.4f}", told),
        found["source"]["channel"],
    )
    assert energy["n"] == PAIRS
    assert found["source"]["channel"] == "psu.dc_output"
    assert found["source"]["synthetic"] == "emulated"
    assert energy["low"] <= true <= energy["high"]
    assert energy["differ"]
    assert found["per"] == "steps"
