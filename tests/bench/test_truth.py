"""The truth of an emulated machine, over the calls of a run that was measured on it."""

import json

import pytest

from pactmeter.bench.machine import Machine, parse_psu
from pactmeter.bench.truth import compare, truth_of, windows_of, within
from pactmeter.errors import FileError


def written(folder, from_s, to_s, calls, zero_s):
    machine = Machine([parse_psu("hx1500i")], seed=3)
    (folder / "truth.json").write_text(json.dumps(truth_of(machine, from_s, to_s, from_s)))
    (folder / "p.json").write_text(json.dumps({"zero_monotonic_s": zero_s}))
    rows = [
        "start_s,end_s,name,index,tid",
        *(f"{a},{b},call,{i},1" for i, (a, b) in enumerate(calls)),
    ]
    rows.append("0.0,12.0,epoch,0,1")  # a region that the program marked is no call
    (folder / "p.regions.csv").write_text("\n".join(rows) + "\n")
    return machine, json.loads((folder / "truth.json").read_text())


def test_the_truth_within_calls_is_the_integral_over_them_and_nested_calls_count_once(tmp_path):
    calls = [(1.0, 3.0), (1.5, 2.0), (2.5, 4.0), (6.0, 7.0)]
    machine, truth = written(tmp_path, 100.0, 120.0, calls, zero_s=102.0)
    windows_s = windows_of(tmp_path / "p.csv")
    assert windows_s == [(103.0, 106.0), (108.0, 109.0)]
    expected, later = machine.true_energy(3.0, 6.0), machine.true_energy(8.0, 9.0)
    for name, energy_j in within(truth, windows_s).items():
        assert energy_j == pytest.approx(expected[name] + later[name], rel=2e-3)


@pytest.mark.parametrize("zero_s", [50.0, 119.0, 500.0])
def test_a_run_that_was_not_measured_on_that_machine_is_not_compared_with_it(tmp_path, zero_s):
    written(tmp_path, 100.0, 120.0, [(0.0, 5.0)], zero_s)
    with pytest.raises(FileError, match="times do not match"):
        compare(tmp_path / "truth.json", tmp_path / "p.csv")
